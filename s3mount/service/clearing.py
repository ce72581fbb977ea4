"""Taking away mounts that nobody serves any more.

Works on the kernel's mount table and never waits for what is mounted: a connection is aborted before its mount is detached.
"""

import os
import subprocess
from pathlib import Path
from typing import Final

from s3mount.errors import SetupError
from s3mount.service import syscalls
from s3mount.service.mount_table import MountEntry, mount_at
from s3mount.service.mountpoint import is_dead

_CONNECTIONS: Final = Path("/sys/fs/fuse/connections")  # Documentation/filesystems/fuse.rst, "Control filesystem"
_OURS: Final = "fuse.s3mount"


def clear(mountpoint: str, *, is_living_too: bool = False) -> None:
    """Detach whatever dead FUSE mounts cover *mountpoint*, and with *is_living_too* s3mount's own ones, whatever they do.

    Raises SetupError where that is not permitted.
    """
    place = mountpoint if mount_at(mountpoint) else os.path.realpath(mountpoint)
    while (entry := mount_at(place)) is not None and _is_to_go(entry, is_living_too=is_living_too):
        _abort(entry)
        _detach(place)


def _is_to_go(entry: MountEntry, *, is_living_too: bool) -> bool:
    if is_living_too and entry.fstype == _OURS:
        return True
    return entry.fstype.startswith("fuse") and is_dead(entry.path)


def _abort(entry: MountEntry) -> None:
    """Whoever waits for an answer gets an error, so that nothing holds the mount; without effect where that cannot be said."""
    try:
        (_CONNECTIONS / entry.device.partition(":")[2] / "abort").write_text("1")
    except OSError:
        return


def _detach(place: str) -> None:
    try:
        if syscalls.has_capability(syscalls.CAP_SYS_ADMIN):
            syscalls.unmount(place, syscalls.MNT_DETACH | syscalls.UMOUNT_NOFOLLOW)
        else:
            subprocess.run(["fusermount3", "-u", "-z", "--", place], check=True, capture_output=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError) as exc:
        raise SetupError(f"the dead mount at {place} cannot be taken away; as root: umount -l {place}") from exc
