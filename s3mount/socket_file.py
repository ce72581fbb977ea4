"""File of a bound Unix socket: removed by whoever made it, and by nobody else."""

import contextlib
from pathlib import Path


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
