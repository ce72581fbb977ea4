"""Listening socket of the metrics: a TCP port, or a Unix socket with its file.

Invariants:

1. A Unix socket's file is its user's alone (0600). It replaces the file of a process that is gone,
   and nothing else: neither a socket that a process listens on, nor a file of another kind.
2. The file is removed at the end, unless another process has put its own there by then.
3. It is made by the user who serves, without privileges: no path is followed as root for another.
"""

import contextlib
import errno
import os
import platform
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from s3mount.config import MetricsAddress
from s3mount.errors import SetupError
from s3mount.exposition.host_check import HostCheck, any_host, host_check
from s3mount.socket_file import SocketFile

BACKLOG: Final = 16  # connections that wait to be accepted
MODE: Final = 0o600

_REMEDIES: Final = {
    errno.EADDRINUSE: "another process listens there; name another port",
    errno.EADDRNOTAVAIL: "this machine has no such address; `ip address` shows those it has",
    errno.EACCES: "a port below 1024 needs privileges that are given up; name a higher port",
    errno.EAFNOSUPPORT: "this machine, or the service's unit, has no such addresses",
    errno.EPERM: "it is forbidden, perhaps by the service's unit (SocketBindDeny=)",
}
_UNIX_REMEDIES: Final = {
    errno.ENOENT: "there is no such directory; make it, or let RuntimeDirectory= of a unit make it",
    errno.ENOTDIR: "a part of the path is no directory",
    errno.EADDRINUSE: "another process makes a socket there now; name another path",
    errno.EACCES: "the user who serves may not make a file there; "
    "name a directory that belongs to that user",
    errno.EROFS: "the file system is read-only; name another directory",
}


class MetricsSocket:
    """Non-blocking socket that listens at *address*. The constructor raises SetupError.

    *is_host_allowed* checks the Host of a request to it.
    """

    def __init__(self, address: MetricsAddress) -> None:
        self._path = Path(address.path) if address.path else None
        self.is_host_allowed = _host_check(address)
        self._file: SocketFile | None = None
        self.socket = socket.socket(_family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if self._path is not None:
                self._bind_file(self._path)
            else:
                self._bind_port(address)
            self.socket.listen(BACKLOG)
        except OSError as exc:
            self.close()
            remedies = _UNIX_REMEDIES if self._path else _REMEDIES
            remedy = remedies.get(exc.errno or 0, exc.strerror)
            raise SetupError(f"--metrics {address}: {remedy}") from exc
        except BaseException:  # raised again
            self.close()
            raise

    @property
    def shown(self) -> str:
        """The URL of the metrics, or the path of the socket."""
        if self._path is not None:
            return f"unix:{self._path}"
        host, port, *_ = self.socket.getsockname()
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/metrics"

    def close(self) -> None:
        """Stop listening, and remove the file. Never raises; may be repeated."""
        self.socket.close()
        if self._file is not None:
            self._file.remove()
            self._file = None

    def _bind_port(self, address: MetricsAddress) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.socket.family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.bind((address.host, address.port))

    def _bind_file(self, path: Path) -> None:
        _remove_stale(path)
        with _umask(0o777 & ~MODE):  # so that nobody else connects before chmod
            self.socket.bind(os.fspath(path))
        self._file = SocketFile(path)
        path.chmod(MODE)


def _host_check(address: MetricsAddress) -> HostCheck:
    return any_host if address.path else host_check(address.host, platform.node())


def _family(address: MetricsAddress) -> socket.AddressFamily:
    if address.path:
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _remove_stale(path: Path) -> None:
    """Remove the socket of a process that is gone. Raises SetupError if *path* is anything else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SetupError(f"--metrics unix:{path}: it exists and is no socket; name another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as client:
        result = client.connect_ex(os.fspath(path))
    if result != errno.ECONNREFUSED:  # else connected, or its backlog is full, or another user's
        raise SetupError(
            f"--metrics unix:{path}: another process listens there; name another path, "
            "or remove the file if no process does"
        )
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
