"""A FUSE mount in the kernel's table, which nobody serves: each access to it hangs."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from s3mount.daemon.mounting.mount_table import mount_at

_LIBC = ctypes.CDLL(None, use_errno=True)
_MS_RDONLY_NOSUID_NODEV = 1 | 2 | 4
_MNT_DETACH = 2


@dataclass
class UnansweredMount:
    """The mount at *path*; *connection* is its number, *device* the descriptor of its server."""

    path: Path
    connection: int
    device: int | None

    def die(self) -> None:
        """Close the server's descriptor, as the kernel does for a process that ends."""
        if self.device is not None:
            os.close(self.device)
            self.device = None


@contextmanager
def unanswered_mount(path: Path, source: str = "photos/2024") -> Iterator[UnansweredMount]:
    """Mount at the new directory *path*. Needs root."""
    path.mkdir()
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    arguments = (source.encode(), bytes(path), b"fuse.s3mount")
    if _LIBC.mount(*arguments, _MS_RDONLY_NOSUID_NODEV, options.encode()):
        os.close(device)
        raise OSError(ctypes.get_errno(), "mount")
    entry = mount_at(str(path))
    assert entry is not None
    mount = UnansweredMount(path, int(entry.device.partition(":")[2]), device)
    try:
        yield mount
    finally:
        mount.die()
        _LIBC.umount2(bytes(path), _MNT_DETACH)
