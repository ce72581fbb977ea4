"""Mounting by the kernel's own system calls, with CAP_SYS_ADMIN."""

import contextlib
import errno
import os
from collections.abc import Callable

from s3mount.daemon import syscalls
from s3mount.daemon.mounting import mounter, unmounting
from s3mount.daemon.mounting.mount_point import MountPoint
from s3mount.daemon.mounting.mounter import AttachedMount
from s3mount.daemon.mounting.options import MountRequest
from s3mount.daemon.mounting.unmounting import OwnMount
from s3mount.errors import SetupError


class KernelMounter:
    """Mounts on the descriptor of a mount point; *uid* and *gid* own the mount.

    State: *_is_used* is set by the first `mount`, and there is never a second one. *_own* is the
    mount until it is gone. Nothing else is ever unmounted, wherever its path leads by then.
    """

    def __init__(self, request: MountRequest, mount_point: MountPoint, uid: int, gid: int) -> None:
        self._request = request
        self._mount_point = mount_point
        self._uid = uid
        self._gid = gid
        self._is_used = False
        self._own: OwnMount | None = None

    @property
    def path(self) -> str:
        return self._mount_point.path

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The descriptors that must be open when it mounts."""
        return (self._mount_point.descriptor,)

    @property
    def is_gone(self) -> bool:
        """Whether the mount is gone, as far as `unmount` and `detach` have seen."""
        return self._own is None

    def mount(self) -> AttachedMount:
        if self._is_used:
            raise SetupError(f"{self._mount_point.path} was mounted once, and is not mounted again")
        self._is_used = True
        mounter.check_mountable(self._mount_point)
        fuse_fd, mount_fd = self._create_mount()
        try:
            self._attach(mount_fd)
        except BaseException:  # raised again
            os.close(mount_fd)
            os.close(fuse_fd)
            raise
        return AttachedMount(fuse_fd, mount_fd, mounter.open_read_ahead(self._own))

    def unmount(self) -> bool:
        return self._remove(unmounting.unmount)

    def detach(self) -> None:
        self._remove(unmounting.detach)

    def _create_mount(self) -> tuple[int, int]:
        """Return descriptors of a FUSE connection, and of a mount of it that has no place yet."""
        request = self._request
        fuse_fd = None
        try:
            fuse_fd = os.open(mounter.FUSE_DEVICE, os.O_RDWR | os.O_CLOEXEC)
            options = request.kernel_options(fuse_fd=fuse_fd, uid=self._uid, gid=self._gid)
            return fuse_fd, syscalls.new_mount("fuse", options, request.flags)
        except OSError as exc:
            if fuse_fd is not None:
                os.close(fuse_fd)
            raise _refusal(self._mount_point.path, exc) from exc

    def _attach(self, mount_fd: int) -> None:
        """Attach the mount to the mount point. Raises SetupError, with the mount undone."""
        try:
            syscalls.move_mount(mount_fd, self._mount_point.descriptor)
        except OSError as exc:
            mounter.check_in_place(self._mount_point)
            raise _refusal(self._mount_point.path, exc) from exc
        try:
            self._own = self._verified(mount_fd)
        except BaseException:  # raised again
            with contextlib.suppress(OSError):  # EINVAL: it is gone already
                unmounting.detach_root(mount_fd)
            raise

    def _verified(self, mount_fd: int) -> OwnMount:
        """Return the mount as the table has it. Raises SetupError if it is at another path."""
        try:
            own = unmounting.own_mount(mount_fd)
        except OSError as exc:  # no descriptors or memory left, to read the mount table
            raise _refusal(self._mount_point.path, exc) from exc
        if own is None or own.entry.path != self._mount_point.path:
            raise mounter.moved(self._mount_point)
        return own

    def _remove(self, remove: Callable[[OwnMount], bool]) -> bool:
        if self._own is None or remove(self._own):
            self._own = None
        return self.is_gone


def _refusal(mountpoint: str, exc: OSError) -> SetupError:
    match exc.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return SetupError(mounter.DEVICE_MISSING)
        case errno.EPERM | errno.EACCES:
            return SetupError(mounter.MOUNTING_NOT_PERMITTED)
        case errno.EINVAL:
            return SetupError(f"the kernel refused the mount options at {mountpoint}; check -o")
        case errno.ENOSYS:
            return SetupError(
                "mounting as root needs Linux 5.4 or newer; mount as a user, by fusermount3"
            )
        case _:
            return SetupError(f"cannot mount at {mountpoint}: {exc.strerror}")
