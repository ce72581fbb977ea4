"""Unix sockets: an address that fits, the user of a peer, and removal of a socket's file."""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

ADDRESS_MAX: Final = 107  # bytes of a path: sun_path has 108 with its NUL, see unix(7)
_UCRED: Final = struct.Struct("=iII")  # pid, uid, gid: struct ucred


class HasOptions(Protocol):
    """A socket, of the standard library or of trio."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


@contextlib.contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """Yield an address of the socket at *path*, for bind(2) or connect(2). Raises OSError.

    It leads through a descriptor of the directory if *path* is too long itself.
    """
    if len(os.fsencode(path)) <= ADDRESS_MAX:
        yield os.fspath(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def peer_uid(connection: HasOptions) -> int:
    """Return the user of the process at the other end, by the kernel's word: see unix(7).

    Of a server, that is the user who called listen(2).
    """
    _, uid, _ = _UCRED.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    )
    assert isinstance(uid, int)
    return uid


class SocketFile:
    """The file that is at *path* now, right after bind(2). The constructor raises OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = _identity(path)

    def remove(self) -> None:
        """Remove it, unless another file is at its path by then. Never raises."""
        with contextlib.suppress(OSError):
            if _identity(self._path) == self._identity:
                self._path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
