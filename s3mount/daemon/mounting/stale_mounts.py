"""Removal of mounts that have no server any more.

Never waits for a mount: its connection is aborted before it is detached. Each mount is opened
first, without following another user's symbolic links. The mount of that descriptor is aborted and
detached.
"""

import os
import subprocess
from typing import Final

from s3mount.daemon import syscalls
from s3mount.daemon.mounting import unmounting
from s3mount.daemon.mounting.mount_point import is_dead, may_link, mount_on
from s3mount.daemon.mounting.mount_table import MountEntry
from s3mount.errors import SetupError
from s3mount.path_resolution import UntrustedLinkError, closing, open_path

_OUR_FSTYPE: Final = "fuse.s3mount"
_MOUNTS_MAX: Final = 100  # over one another; a user who may mount there could go on for ever


def clear(mountpoint: str, *, is_living_too: bool = False) -> None:
    """Detach dead FUSE mounts on *mountpoint*; with *is_living_too*, s3mount's live ones too.

    Raises SetupError if that is not permitted.
    """
    path = os.path.abspath(mountpoint)  # noqa: PTH100 - as the mount table has it
    for _ in range(_MOUNTS_MAX):
        if not _clear_top(path, is_living_too=is_living_too):
            return
    raise SetupError(
        f"{mountpoint} is covered by more than {_MOUNTS_MAX} mounts; "
        f"as root: umount -l {mountpoint}"
    )


def _clear_top(path: str, *, is_living_too: bool) -> bool:
    """Detach the topmost mount; return whether there was one to detach."""
    try:
        descriptor = open_path(path, is_trusted=may_link)
    except FileNotFoundError:
        return False
    except UntrustedLinkError as exc:
        raise SetupError(
            f"the path {path} has a symbolic link {exc.whose}, which root does not follow"
        ) from exc
    except OSError as exc:
        raise SetupError(f"{path} cannot be reached: {exc.strerror}") from exc
    with closing(descriptor):
        try:
            entry = mount_on(descriptor)
        except OSError as exc:
            raise SetupError(f"{path} cannot be reached: {exc.strerror}") from exc
        if entry is None or not _is_stale(entry, descriptor, is_living_too=is_living_too):
            return False
        unmounting.abort(entry)
        _detach(entry, descriptor)
    return True


def _is_stale(entry: MountEntry, descriptor: int, *, is_living_too: bool) -> bool:
    if is_living_too and entry.fstype == _OUR_FSTYPE:
        return True
    return entry.fstype.startswith("fuse") and is_dead(descriptor)


def _detach(entry: MountEntry, descriptor: int) -> None:
    try:
        if syscalls.has_capability(syscalls.CAP_SYS_ADMIN):
            unmounting.detach_root(descriptor)
        else:
            command = ["fusermount3", "-u", "-z", "--", entry.path]
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as exc:
        raise SetupError(
            f"the dead mount at {entry.path} cannot be detached; as root: umount -l {entry.path}"
        ) from exc
