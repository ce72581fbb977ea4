"""Control socket in the life of a mount: from the choice of its folder to its end.

Invariants:

1. A mount without a control socket is served all the same. One line of the log says why it has
   none.
2. No client waits for a server that has ended: the socket ends with it, however it does.
"""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

from s3mount.control.listening_socket import ListeningSocket
from s3mount.control.locations import socket_path
from s3mount.control.socket_folder import NoFolderError, Owner, prepare
from s3mount.daemon.interfaces import MountIdentity, Served
from s3mount.daemon.privileges import Account

log = logging.getLogger(__name__)


class ControlSocket:
    """Control socket of one mount, in a folder of *user*, who serves; None is the present user.

    To be made before privileges are dropped, and before the log is set up. State: *_folder* is
    None if there is no place for it; *_refusal* says why there is no socket, at a level of the log.
    *_listening* and *_identity* are set by `open`.
    """

    def __init__(
        self, environment: Mapping[str, str], user: Account | None, *, is_wanted: bool = True
    ) -> None:
        owner = Owner(os.geteuid(), os.getegid()) if user is None else _owner(user)
        # who mounts may talk to it, too: root, or whoever started the program
        self._allowed = frozenset({0, owner.uid, os.getuid()})
        self._folder: Path | None = None
        self._refusal: tuple[int, str] | None = None
        self._listening: ListeningSocket | None = None
        self._identity: MountIdentity | None = None
        if not is_wanted:
            return
        try:
            self._folder = prepare(environment, owner)
        except NoFolderError as exc:
            self._refusal = logging.INFO, str(exc)
        except OSError as exc:
            self._refusal = logging.WARNING, _reason(exc)

    def open(self, source: str, mountpoint: str, connection: int | None) -> None:
        """Listen from now on, at the number of the mount; one line in the log says why not.

        *connection* is None if the kernel does not tell it. Clients wait until `serve`.
        """
        self._listen(connection)
        if self._listening is not None and connection is not None:
            self._identity = MountIdentity(source, mountpoint, connection, time.time())
        elif self._refusal is not None:
            level, reason = self._refusal
            log.log(level, "there is no control socket for s3mountctl: %s", reason)

    async def serve(self, served: Served) -> None:
        """Serve the clients of *served* until cancelled; return if there is no socket."""
        if self._listening is None or self._identity is None:
            return
        try:
            await served.serve_control(self._listening, self._identity, self._allowed)
        except Exception:  # a bug must not end the mount
            log.exception("the control socket is not served: this is a bug")
        finally:  # a client that connects would take the mount for one that hangs
            self.close()

    def close(self) -> None:
        """Stop listening, and remove the socket. Never raises; may be repeated."""
        if self._listening is not None:
            self._listening.close()

    def _listen(self, connection: int | None) -> None:
        if self._folder is None:
            return
        if connection is None:
            self._refusal = logging.INFO, "this kernel does not tell the number of the mount"
            return
        try:
            self._listening = ListeningSocket(socket_path(self._folder, connection))
        except OSError as exc:
            self._refusal = logging.WARNING, _reason(exc)


def _owner(user: Account) -> Owner:
    return Owner(user.uid, user.gid, is_other=True)


def _reason(exc: OSError) -> str:
    return f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc.strerror or exc)
