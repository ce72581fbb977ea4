"""Unmounting one mount of this process, identified by its mount ids and never by a path alone.

Invariant: before a mount is removed, an open descriptor was found to be in it. Its path is read
from the mount table each time: the owner of a directory above may rename it, or replace it by a
symbolic link, at any moment.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from s3mount.daemon import syscalls
from s3mount.daemon.mounting.mount_table import MountEntry, mount_id, mount_of
from s3mount.frozen_dataclass import dataclass
from s3mount.path_resolution import closing, open_component, open_unlinked


@dataclass(frozen=True, slots=True)
class OwnMount:
    """A mount as the table showed it when it was made.

    *unique_id* tells it from a later mount with the same ids; None if the kernel has no such id.
    """

    entry: MountEntry
    unique_id: int | None


class _OtherMountError(OSError):
    """Another mount is at the path."""


class _LaterMountError(OSError):
    """A later mount has the ids of this one, which is gone: the kernel reuses them at once."""


def own_mount(root: int) -> OwnMount | None:
    """Return the mount of the descriptor *root*; None if the mount table does not have it."""
    entry = mount_of(mount_id(root))
    return None if entry is None else OwnMount(entry, syscalls.unique_mount_id(root))


def standing(own: OwnMount) -> MountEntry | None:
    """Return the mount as the table has it now, perhaps at another path; None if it is gone.

    A later mount with the same ids cannot be told from it here.
    """
    found = mount_of(own.entry.identity)
    return found if found is not None and replace(found, path=own.entry.path) == own.entry else None


def unmount(own: OwnMount) -> bool:
    """Unmount it if it is not in use. Returns whether it is gone, perhaps since before.

    An open descriptor of the mount would keep it busy. So its last component is looked up again,
    in the directory that was opened. The kernel lets no user of this mount namespace rename a
    mount point.
    """
    return _remove(own, _unmount_name)


def detach(own: OwnMount) -> bool:
    """Detach it, even if it is in use, and abort its requests. Returns whether it is gone.

    A server may have ended with a thread in the kernel that waits for a lookup in its own mount.
    Unless the connection is aborted, that thread keeps it open, neither ends nor can be killed.
    """
    return _remove(own, _detach_name)


def abort(entry: MountEntry) -> None:
    """Abort the FUSE connection of a mount: its requests fail, now and later.

    Without effect if fusectl is not mounted in /sys, or if the mount belongs to another user.
    """
    with contextlib.suppress(OSError):
        Path("/sys/fs/fuse/connections", entry.device.partition(":")[2], "abort").write_text("1")


def detach_root(root: int) -> None:
    """Detach the mount whose root is the O_PATH descriptor *root*. Raises OSError."""
    syscalls.unmount(f"/proc/self/fd/{root}", syscalls.MNT_DETACH)


def _remove(own: OwnMount, call: Callable[[OwnMount, int, str], None]) -> bool:
    found = standing(own)
    if found is None:
        return True
    directory, name = os.path.split(found.path)
    try:
        with closing(open_unlinked(directory)) as parent:
            call(own, parent, name)
    except _LaterMountError:
        return True
    except OSError:  # busy, covered, moved, not permitted, or gone meanwhile
        return standing(own) is None
    return True


def _unmount_name(own: OwnMount, parent: int, name: str) -> None:
    with _root_of(own, parent, name):
        pass
    syscalls.unmount(f"/proc/self/fd/{parent}/{name}", syscalls.UMOUNT_NOFOLLOW)


def _detach_name(own: OwnMount, parent: int, name: str) -> None:
    with _root_of(own, parent, name) as root:
        # not permitted if the mount was made in another user namespace
        with contextlib.suppress(PermissionError):
            syscalls.unmount(f"/proc/self/fd/{root}", syscalls.MNT_DETACH | syscalls.MNT_FORCE)
            return
        detach_root(root)


@contextmanager
def _root_of(own: OwnMount, parent: int, name: str) -> Iterator[int]:
    """Open the root of the mount. Raises OSError if *name* is another mount, or a later one."""
    with closing(open_component(parent, name)) as root:
        if mount_id(root) != own.entry.identity:
            raise _OtherMountError
        if syscalls.unique_mount_id(root) != own.unique_id:
            raise _LaterMountError
        yield root
