"""Interface of the ways to mount, and the checks and refusals that they share.

A mounted file system is served over a descriptor, whoever mounted it: what serves it does not know
which way was taken.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import Final, Protocol

from s3mount.daemon.mounting.mount_point import MountPoint
from s3mount.daemon.mounting.mount_table import mount_at, mount_id, mount_of
from s3mount.daemon.mounting.unmounting import OwnMount
from s3mount.errors import SetupError
from s3mount.frozen_dataclass import dataclass

FUSE_DEVICE: Final = "/dev/fuse"
_CONNECTION: Final = re.compile(rb"^fuse_connection:\s*(\d+)$", re.MULTILINE)  # since Linux 6.16
READ_AHEAD_KIB: Final = 1024  # the kernel's own 128 costs a third of the throughput
DEVICE_MISSING: Final = (
    f"FUSE is not available: {FUSE_DEVICE} is missing; load it (as root: modprobe fuse), "
    f"or give it to the container (--device {FUSE_DEVICE})"
)
MOUNTING_NOT_PERMITTED: Final = (
    "mounting is not permitted here; in a container, FUSE needs --device /dev/fuse "
    "--cap-add SYS_ADMIN (and perhaps --security-opt apparmor=unconfined)"
)


@dataclass(frozen=True, slots=True)
class AttachedMount:
    """A FUSE mount, to be served over *fuse_fd*.

    *root_fd* is an O_PATH descriptor of its root, for a first request. It keeps the mount busy
    until it is closed. *read_ahead_fd* takes the kernel's readahead in KiB; None if it may not be
    opened.
    """

    fuse_fd: int
    root_fd: int | None = None
    read_ahead_fd: int | None = None

    def widen_read_ahead(self) -> None:
        """Raise the kernel's readahead. To be called after FUSE's first exchange, which resets it.

        Without permission, reading is slower and nothing else.
        """
        if self.read_ahead_fd is not None:
            with contextlib.suppress(OSError):
                os.write(self.read_ahead_fd, b"%d" % READ_AHEAD_KIB)


class Mounter(Protocol):
    """One mount at one mount point, from `mount` to its end."""

    def mount(self) -> AttachedMount:
        """Mount. Raises SetupError."""
        ...

    def unmount(self) -> bool:
        """Return whether the mount is gone; False if files are open or it is not permitted."""
        ...

    def detach(self) -> None:
        """Detach the mount, even if it is in use; without effect if it is gone. Never raises."""
        ...


def connection_number(mount: AttachedMount) -> int | None:
    """Return the number of the FUSE connection: the minor number of the mount's device.

    It is in the mount table, and in /sys/fs/fuse/connections. None if the kernel does not tell it.
    """
    told = _CONNECTION.search(Path(f"/proc/self/fdinfo/{mount.fuse_fd}").read_bytes())
    if told is not None:
        return int(told[1])
    entry = mount_of(mount_id(mount.root_fd)) if mount.root_fd is not None else None
    return None if entry is None else int(entry.device.rpartition(":")[2])


def check_mountable(mount_point: MountPoint) -> None:
    """Raise SetupError if the mount point was moved, or if a FUSE mount covers it.

    It is checked again right before mounting, because checking the bucket took time: of two that
    were started at once, the later one would cover the other.
    """
    check_in_place(mount_point)
    covering = mount_at(mount_point.path)
    if covering is not None and covering.fstype.startswith("fuse"):
        raise SetupError(
            f"{mount_point.path} is already mounted ({covering.fstype}); "
            "something else was mounted meanwhile"
        )


def check_in_place(mount_point: MountPoint) -> None:
    """Raise SetupError if the mount point was moved or replaced."""
    if not mount_point.is_in_place:
        raise moved(mount_point)


def moved(mount_point: MountPoint) -> SetupError:
    return SetupError(
        f"the mount point {mount_point.path} was moved or replaced after it was checked, "
        "so nothing is mounted; mount where no other user may rename a directory"
    )


def open_read_ahead(own: OwnMount | None) -> int | None:
    """Open the readahead setting of a mount for writing; None if that is not possible.

    It is opened while it is permitted, and written later.
    """
    if own is None:
        return None
    try:
        return os.open(
            f"/sys/class/bdi/{own.entry.device}/read_ahead_kb", os.O_WRONLY | os.O_CLOEXEC
        )
    except OSError:
        return None
