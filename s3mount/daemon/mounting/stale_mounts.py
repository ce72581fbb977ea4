"""Taking away mounts that nobody serves any more.

Never waits for what is mounted: a connection is aborted before its mount is detached. Each mount is opened first, without following
another user's symbolic links, and what is aborted and detached is the mount of that descriptor.
"""

import os
import subprocess
from pathlib import Path
from typing import Final

from s3mount.daemon import syscalls
from s3mount.daemon.mounting import unmounting
from s3mount.daemon.mounting.mount_point import is_dead, may_link, mount_on
from s3mount.daemon.mounting.mount_table import MountEntry
from s3mount.daemon.mounting.path_resolution import UntrustedLinkError, closing, open_path
from s3mount.errors import SetupError

_CONNECTIONS: Final = Path(
    "/sys/fs/fuse/connections"
)  # Documentation/filesystems/fuse.rst, "Control filesystem"
_OURS: Final = "fuse.s3mount"
_MOUNTS_MAX: Final = 100  # over one another; whoever may mount there could go on for ever


def clear(mountpoint: str, *, is_living_too: bool = False) -> None:
    """Detach the dead FUSE mounts that cover *mountpoint*, and with *is_living_too* s3mount's own ones, whatever they do.

    Raises SetupError if that is not permitted.
    """
    for _ in range(_MOUNTS_MAX):
        if not _clear_top(os.path.abspath(mountpoint), is_living_too=is_living_too):  # noqa: PTH100 - as the mount table has it
            return
    raise SetupError(
        f"{mountpoint} is covered by more than {_MOUNTS_MAX} mounts; as root: umount -l {mountpoint}"
    )


def _clear_top(path: str, *, is_living_too: bool) -> bool:
    """Whether there was a mount to detach."""
    try:
        descriptor = open_path(path, is_trusted=may_link)
    except FileNotFoundError:
        return False
    except UntrustedLinkError as exc:
        raise SetupError(
            f"the way to {path} is a symbolic link {exc.whose}, which root does not follow"
        ) from exc
    except OSError as exc:
        raise SetupError(f"{path} cannot be reached: {exc.strerror}") from exc
    with closing(descriptor):
        try:
            entry = mount_on(descriptor)
        except OSError as exc:
            raise SetupError(f"{path} cannot be reached: {exc.strerror}") from exc
        if entry is None or not _is_to_go(entry, descriptor, is_living_too=is_living_too):
            return False
        _abort(entry)
        _detach(entry, descriptor)
    return True


def _is_to_go(entry: MountEntry, descriptor: int, *, is_living_too: bool) -> bool:
    if is_living_too and entry.fstype == _OURS:
        return True
    return entry.fstype.startswith("fuse") and is_dead(descriptor)


def _abort(entry: MountEntry) -> None:
    """Whoever waits for an answer gets an error, so that nothing holds the mount; without effect where that cannot be said."""
    try:
        (_CONNECTIONS / entry.device.partition(":")[2] / "abort").write_text("1")
    except OSError:
        return


def _detach(entry: MountEntry, descriptor: int) -> None:
    try:
        if syscalls.has_capability(syscalls.CAP_SYS_ADMIN):
            unmounting.detach_root(descriptor)
        else:
            command = ["fusermount3", "-u", "-z", "--", entry.path]
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as exc:
        raise SetupError(
            f"the dead mount at {entry.path} cannot be taken away; as root: umount -l {entry.path}"
        ) from exc
