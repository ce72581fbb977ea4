"""Directory of the disk cache before privileges are dropped: its place, and making it as root.

Root makes it for the user of --run-as if only root could: in a directory of root's. It appears
under its name with that user as its owner, and replaces nothing. Whatever is there already is left
as it is: `disk.folder_check` judges it, as that user.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from s3mount.config import DiskConfig
from s3mount.daemon.privileges import Account
from s3mount.daemon.syscalls import rename_exclusive
from s3mount.disk.folder_check import open_parent
from s3mount.disk.safe_paths import FOLDER_MODE, open_folder
from s3mount.errors import CacheDirectoryError, UsageError
from s3mount.path_resolution import closing


def check_place(disk: DiskConfig, mountpoint: str) -> None:
    """Raise UsageError if the directory is in the mount, also by symbolic links."""
    place = Path(os.path.realpath(disk.folder))
    if place.is_relative_to(mountpoint):
        raise UsageError(
            f"--cache-dir {disk.folder}: it is in the mount point {mountpoint}, which the mount "
            "covers; name a directory elsewhere"
        )


def make_for(disk: DiskConfig, user: Account) -> None:
    """Make the directory for *user*, if it is absent and its parent is root's; for root only."""
    with contextlib.suppress(CacheDirectoryError), _opened_parent(disk.folder) as parent:
        if _is_absent(parent, disk.folder.name) and os.fstat(parent).st_uid == os.geteuid():
            with contextlib.suppress(OSError):  # the user's own attempt says why
                _make(parent, disk.folder.name, user)


def _opened_parent(folder: Path) -> contextlib.AbstractContextManager[int]:
    return closing(open_parent(folder))


def _is_absent(parent: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _make(parent: int, name: str, user: Account) -> None:
    """Make it under another name, and rename it: another mount never sees it as root's."""
    temporary = f".{secrets.token_hex(8)}"
    os.mkdir(temporary, FOLDER_MODE, dir_fd=parent)
    try:
        with closing(open_folder(parent, temporary)) as made:
            os.fchmod(made, stat.S_IRWXU)
            os.fchown(made, user.uid, user.gid)
        rename_exclusive(parent, temporary, name)
    except BaseException:  # raised again
        os.rmdir(temporary, dir_fd=parent)
        raise
