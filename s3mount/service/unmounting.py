"""Unmounting one mount, known by its id and never by a path alone.

Invariant: before anything is taken away, a descriptor was seen to be in the mount with that id. The path comes from the mount table
each time, since whoever owns a directory above may rename it, or put a symbolic link there, at any moment.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from s3mount.service import syscalls
from s3mount.service.mount_table import MountEntry, mount_id, mount_of
from s3mount.service.resolve import closing, open_component, open_unlinked


def standing(entry: MountEntry) -> MountEntry | None:
    """The mount *entry* as it stands now, perhaps with another path; None if it is gone."""
    found = mount_of(entry.identity)
    return found if found is not None and found.device == entry.device else None


def unmount(entry: MountEntry) -> bool:
    """Unmount *entry* if nobody uses it. Returns whether it is gone, which it may have been before.

    A descriptor of the mount would keep it busy, so its last component is looked up again, in the directory that was opened. That
    component is a mount point, which the kernel lets nobody rename in this mount namespace.
    """
    return _take_away(entry, _unmount_name)


def detach(entry: MountEntry) -> bool:
    """Take *entry* out of sight, also if it is used. Returns whether it is gone."""
    return _take_away(entry, _detach_name)


def detach_root(root: int) -> None:
    """Take the mount away whose root is the O_PATH descriptor *root*. Raises OSError."""
    syscalls.unmount(f"/proc/self/fd/{root}", syscalls.MNT_DETACH)


def _take_away(entry: MountEntry, call: Callable[[MountEntry, int, str], None]) -> bool:
    found = standing(entry)
    if found is None:
        return True
    directory, name = os.path.split(found.path)
    try:
        with closing(open_unlinked(directory)) as parent:
            call(found, parent, name)
    except OSError:  # busy, covered, moved, not permitted, or gone meanwhile
        return standing(entry) is None
    return True


def _unmount_name(entry: MountEntry, parent: int, name: str) -> None:
    with _root_of(entry, parent, name):
        pass
    syscalls.unmount(f"/proc/self/fd/{parent}/{name}", syscalls.UMOUNT_NOFOLLOW)


def _detach_name(entry: MountEntry, parent: int, name: str) -> None:
    with _root_of(entry, parent, name) as root:
        detach_root(root)


@contextmanager
def _root_of(entry: MountEntry, parent: int, name: str) -> Iterator[int]:
    """The root of *entry*, opened; raises OSError if *name* is something else, such as a mount that covers it."""
    with closing(open_component(parent, name)) as root:
        if mount_id(root) != entry.identity:
            raise FileNotFoundError(f"{entry.path} is another mount by now")
        yield root
