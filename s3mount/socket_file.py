"""File of a Unix socket: an address that fits, and removal by whoever made it, and nobody else."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ADDRESS_MAX: Final = 107  # bytes of a path: sun_path has 108 with its NUL, see unix(7)


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
