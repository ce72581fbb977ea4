"""Control socket in the life of a mount: from the choice of its folder to its end.

Invariant: a mount without a control socket is served all the same. One line of the log says why it
has none.
"""

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from s3mount import __version__
from s3mount.control.listening_socket import ListeningSocket
from s3mount.control.locations import socket_path
from s3mount.control.protocol import Greeting
from s3mount.control.server import ControlServer
from s3mount.control.socket_folder import NoFolderError, Owner, prepare
from s3mount.daemon.interfaces import Served
from s3mount.daemon.privileges import Account

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MountIdentity:
    """A mount as its clients know it; *connection* is None if the kernel does not tell it."""

    source: str
    mountpoint: str
    connection: int | None


class ControlSocket:
    """Control socket of one mount, in a folder of *user*, who serves; None is the present user.

    To be made before privileges are dropped, and before the log is set up. State: *_folder* is
    None if there is no place for it; *_refusal* says why there is no socket, at a level of the log.
    *_listening* is set from `open` to `close`.
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
        if not is_wanted:
            return
        try:
            self._folder = prepare(environment, owner)
        except NoFolderError as exc:
            self._refusal = logging.INFO, str(exc)
        except OSError as exc:
            self._refusal = logging.WARNING, _reason(exc)

    def open(self, identity: MountIdentity, served: Served) -> ControlServer | None:
        """Listen from now on, and return what serves it; None, and one line in the log, if not."""
        server = self._listen(identity, served)
        if server is None and self._refusal is not None:
            level, reason = self._refusal
            log.log(level, "there is no control socket for s3mountctl: %s", reason)
        return server

    def close(self) -> None:
        """Stop listening, and remove the socket. Never raises; may be repeated."""
        if self._listening is not None:
            self._listening.close()

    def _listen(self, identity: MountIdentity, served: Served) -> ControlServer | None:
        if self._folder is None:
            return None
        connection = identity.connection
        if connection is None:
            self._refusal = logging.INFO, "this kernel does not tell the number of the mount"
            return None
        try:
            self._listening = ListeningSocket(socket_path(self._folder, connection))
        except OSError as exc:
            self._refusal = logging.WARNING, _reason(exc)
            return None
        greeting = Greeting(
            s3mount=__version__,
            pid=os.getpid(),
            connection=connection,
            source=identity.source,
            mountpoint=identity.mountpoint,
            since=time.time(),
        )
        commands = served.commands(greeting)
        return ControlServer(self._listening, greeting, commands, self._allowed)


def _owner(user: Account) -> Owner:
    return Owner(user.uid, user.gid, is_other=True)


def _reason(exc: OSError) -> str:
    return f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc.strerror or exc)
