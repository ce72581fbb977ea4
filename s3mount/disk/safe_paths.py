"""Access to files below a directory descriptor, which no name and no symbolic link can leave.

Invariant: each call resolves one name in one open directory, and never follows a link.
"""

import contextlib
import errno
import os
from typing import Final

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600

_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_in(folder: int, name: str, flags: int, mode: int = FILE_MODE) -> int:
    """Open *name* in the directory *folder*. Raises OSError, ELOOP for a symbolic link."""
    _check_name(name)
    return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)


def open_folder(folder: int, name: str) -> int:
    """Open the directory *name* in *folder*. Raises OSError, ENOTDIR for a symbolic link."""
    _check_name(name)
    return os.open(name, _FOLDER_FLAGS, dir_fd=folder)


def make_folder(folder: int, name: str) -> int:
    """Open the directory *name* in *folder*; make it if it is absent, whatever the umask.

    Raises OSError.
    """
    _check_name(name)
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, FOLDER_MODE, dir_fd=folder)
        os.chmod(name, FOLDER_MODE, dir_fd=folder)
    return open_folder(folder, name)


def remove(folder: int, name: str) -> None:
    """Remove the file or link *name* in *folder*, if it is there. Raises OSError."""
    _check_name(name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _check_name(name: str) -> None:
    if name in ("", ".", "..") or "/" in name:
        raise OSError(errno.EINVAL, "not the name of a file in a directory", name)
