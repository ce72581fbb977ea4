"""Unmounting one mount that this process made, known by its ids and never by a path alone.

Invariant: before anything is taken away, a descriptor was seen to be in that mount. The path comes from the mount table each time, since
whoever owns a directory above may rename it, or put a symbolic link there, at any moment.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from s3mount.daemon import syscalls
from s3mount.daemon.mounting.mount_table import MountEntry, mount_id, mount_of
from s3mount.daemon.mounting.path_resolution import closing, open_component, open_unlinked


@dataclass(frozen=True, slots=True)
class OwnMount:
    """A mount as it stood when it was made. *unique_id* tells it from a later one with the same ids; None if the kernel has none."""

    entry: MountEntry
    unique_id: int | None


class _OtherMountError(OSError):
    """What stands there is not the mount that was made."""


def own_mount(root: int) -> OwnMount | None:
    """The mount that the descriptor *root* is in; None if it stands nowhere."""
    entry = mount_of(mount_id(root))
    return None if entry is None else OwnMount(entry, syscalls.unique_mount_id(root))


def standing(own: OwnMount) -> MountEntry | None:
    """The mount as the table has it now, perhaps with another path; None if it is gone. A later mount may pass for it."""
    found = mount_of(own.entry.identity)
    return found if found is not None and replace(found, path=own.entry.path) == own.entry else None


def unmount(own: OwnMount) -> bool:
    """Unmount it if nobody uses it. Returns whether it is gone, which it may have been before.

    A descriptor of the mount would keep it busy, so its last component is looked up again, in the directory that was opened. That
    component is a mount point, which the kernel lets nobody rename in this mount namespace.
    """
    return _take_away(own, _unmount_name)


def detach(own: OwnMount) -> bool:
    """Take it out of sight, also if it is used, and fail what its server has not answered. Returns whether it is gone.

    The server may have ended with a thread in the kernel that waits for a caller's lookup, which nobody answers any more: unless the
    connection is aborted, the thread keeps it open, and neither ends, nor can be killed.
    """
    return _take_away(own, _detach_name)


def abort(entry: MountEntry) -> None:
    """Fail what was asked of a FUSE mount that stands, and all that will be; without effect if /sys has no fusectl, or it is another's."""
    with contextlib.suppress(OSError):
        Path("/sys/fs/fuse/connections", entry.device.partition(":")[2], "abort").write_text("1")


def detach_root(root: int) -> None:
    """Take the mount away whose root is the O_PATH descriptor *root*. Raises OSError."""
    syscalls.unmount(f"/proc/self/fd/{root}", syscalls.MNT_DETACH)


def _take_away(own: OwnMount, call: Callable[[OwnMount, int, str], None]) -> bool:
    found = standing(own)
    if found is None:
        return True
    directory, name = os.path.split(found.path)
    try:
        with closing(open_unlinked(directory)) as parent:
            call(own, parent, name)
    except OSError:  # busy, covered, moved, not permitted, or gone meanwhile
        return standing(own) is None
    return True


def _unmount_name(own: OwnMount, parent: int, name: str) -> None:
    with _root_of(own, parent, name):
        pass
    syscalls.unmount(f"/proc/self/fd/{parent}/{name}", syscalls.UMOUNT_NOFOLLOW)


def _detach_name(own: OwnMount, parent: int, name: str) -> None:
    with _root_of(own, parent, name) as root:
        with contextlib.suppress(
            PermissionError
        ):  # where a user namespace made it that is not this one
            syscalls.unmount(f"/proc/self/fd/{root}", syscalls.MNT_DETACH | syscalls.MNT_FORCE)
            return
        detach_root(root)


@contextmanager
def _root_of(own: OwnMount, parent: int, name: str) -> Iterator[int]:
    """The root of the mount, opened; raises OSError if *name* is something else, such as a mount that covers it."""
    with closing(open_component(parent, name)) as root:
        if mount_id(root) != own.entry.identity or syscalls.unique_mount_id(root) != own.unique_id:
            raise _OtherMountError
        yield root
