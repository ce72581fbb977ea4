"""Mount points of the form /dev/fd/N: a FUSE descriptor that the parent process has mounted.

libfuse's convention, see mount.fuse3(8).
"""

import os
import re
from typing import Final

from s3mount.daemon.mounting.mounter import FUSE_DEVICE, AttachedMount
from s3mount.errors import SetupError

_PATH: Final = re.compile(r"/dev/fd/[0-9]{1,9}")
_DEVICE_NUMBER: Final = os.makedev(10, 229)  # Documentation/admin-guide/devices.txt


def is_passed_descriptor(mountpoint: str) -> bool:
    return bool(_PATH.fullmatch(mountpoint))


def descriptor_of(mountpoint: str) -> int:
    return int(mountpoint.rpartition("/")[2])


class PassedDescriptor:
    """The Mounter of a mount that the parent made; unmounting it is the parent's task."""

    def __init__(self, mountpoint: str) -> None:
        self._fuse_fd = descriptor_of(mountpoint)

    def mount(self) -> AttachedMount:
        try:
            is_fuse = os.fstat(self._fuse_fd).st_rdev == _DEVICE_NUMBER
            os.set_inheritable(self._fuse_fd, False)
        except OSError as exc:
            raise SetupError(
                f"/dev/fd/{self._fuse_fd} is not an open descriptor: {exc.strerror}"
            ) from exc
        if not is_fuse:
            raise SetupError(
                f"/dev/fd/{self._fuse_fd} is not a descriptor of {FUSE_DEVICE}; "
                "mount with one, and pass it on"
            )
        return AttachedMount(self._fuse_fd)

    def unmount(self) -> bool:
        return False

    def detach(self) -> None:
        """Do nothing."""
