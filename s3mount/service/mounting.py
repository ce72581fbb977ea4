"""Mounting and unmounting, three ways: mount(2) where the kernel lets us, fusermount3 where it does not, and not at all
where a parent has done it.

Knows nothing of what is served. The file system is then served over the descriptor, whoever mounted it; so no part of the
service needs to know which way it was.
"""

import contextlib
import errno
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from s3mount.errors import SetupError
from s3mount.service import syscalls
from s3mount.service.fuse_options import MountRequest
from s3mount.service.mount_table import MountEntry, mount_at

READ_AHEAD_KIB: Final = 1024  # the kernel's own 128 costs a third of the throughput, see docs/performance.md
_DEVICE: Final = "/dev/fuse"
_PATH: Final = "/usr/bin:/bin:/usr/sbin:/sbin"  # where fusermount3 is looked for when PATH does not tell
_WITHOUT_DEVICE: Final = (
    f"FUSE is not available: {_DEVICE} is missing; load it (as root: modprobe fuse), "
    f"or give it to the container (--device {_DEVICE})"
)
_WITHOUT_PERMISSION: Final = (
    "mounting is not permitted here; in a container, FUSE needs --device /dev/fuse --cap-add SYS_ADMIN "
    "(and perhaps --security-opt apparmor=unconfined)"
)


@dataclass(frozen=True, slots=True)
class Mounted:
    """A FUSE mount to be served over *fuse_fd*.

    *read_ahead_fd*, where it could be opened, takes the kernel's read-ahead in KiB: it is opened while that is permitted,
    and written after FUSE's first exchange, which would set it back.
    """

    fuse_fd: int
    read_ahead_fd: int | None = None

    def widen_read_ahead(self) -> None:
        """To be called once the mount answers; where it is refused, reading is slower and nothing else."""
        if self.read_ahead_fd is not None:
            with contextlib.suppress(OSError):
                os.write(self.read_ahead_fd, b"%d" % READ_AHEAD_KIB)


class Mounter(Protocol):
    """One mount at one place, through its life."""

    def mount(self) -> Mounted:
        """Raises SetupError."""
        ...

    def unmount(self) -> bool:
        """Whether it is gone now, or has been before; False where files are open, or it may not be done."""
        ...

    def detach(self) -> None:
        """Take the mount out of sight, whoever still uses it; without effect where it is gone. Never raises."""
        ...


class KernelMounter:
    """Mounts with mount(2), for who has CAP_SYS_ADMIN; *uid* and *gid* are to own the mount.

    State: *_entry* is what was mounted, until it is known to be gone; nothing else is ever unmounted.
    """

    def __init__(self, request: MountRequest, uid: int, gid: int) -> None:
        self._request = request
        self._uid = uid
        self._gid = gid
        self._entry: MountEntry | None = None

    def mount(self) -> Mounted:
        request = self._request
        try:
            fuse_fd = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
            data = request.kernel_data(fuse_fd=fuse_fd, uid=self._uid, gid=self._gid)
            syscalls.mount(request.source, request.mountpoint, request.fstype, request.flags, data)
        except OSError as exc:
            raise _refusal(request.mountpoint, exc) from exc
        self._entry = mount_at(request.mountpoint)
        return Mounted(fuse_fd, _open_read_ahead(self._entry))

    def unmount(self) -> bool:
        return self._unmount(0)

    def detach(self) -> None:
        self._unmount(syscalls.MNT_DETACH)

    def _unmount(self, flags: int) -> bool:
        """Only what is on top at the path, and is what was mounted."""
        path = self._request.mountpoint
        if self._entry is None or mount_at(path) != self._entry:
            return True
        try:
            syscalls.unmount(path, flags | syscalls.UMOUNT_NOFOLLOW)
        except OSError as exc:
            return exc.errno in (errno.EINVAL, errno.ENOENT)  # somebody else was faster
        self._entry = None
        return True


class FusermountMounter:
    """Mounts with the set-user-id program of the package fuse3, as a user.

    State: *_entry* as in KernelMounter. *_channel* and *_process* stay, with auto_unmount: at the end of the channel, however that
    comes about, fusermount3 unmounts.
    """

    def __init__(self, request: MountRequest) -> None:
        self._request = request
        self._program = shutil.which("fusermount3") or shutil.which("fusermount3", path=_PATH) or ""
        self._entry: MountEntry | None = None
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def mount(self) -> Mounted:
        _check_user_may_mount(self._program, self._request.mountpoint)
        self._channel, theirs = socket.socketpair()
        fuse_fd = self._receive(self._channel, theirs)
        self._entry = mount_at(self._request.mountpoint)
        return Mounted(fuse_fd, _open_read_ahead(self._entry))

    def unmount(self) -> bool:
        return self._unmount()

    def detach(self) -> None:
        self._unmount("-z")

    def _receive(self, ours: socket.socket, theirs: socket.socket) -> int:
        """The protocol of libfuse: the descriptor arrives over the socket that _FUSE_COMMFD names."""
        self._process = self._start(theirs)
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        if descriptors:
            if not self._request.is_auto_unmounted:
                self._process.communicate()
            os.set_inheritable(descriptors[0], False)
            return descriptors[0]
        _, complaint = self._process.communicate()
        raise SetupError(_fusermount_refusal(self._request.mountpoint, complaint.decode(errors="replace")))

    def _start(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        request = self._request
        with theirs:
            return subprocess.Popen(  # noqa: S603 - no shell, and the options are checked
                [self._program, "-o", request.fusermount_options(), "--", request.mountpoint],
                env=os.environ | {"_FUSE_COMMFD": str(theirs.fileno())},
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )

    def _unmount(self, *flags: str) -> bool:
        path = self._request.mountpoint
        if self._entry is None or mount_at(path) != self._entry:
            return True
        done = subprocess.run(  # noqa: S603
            [self._program, "-u", "-q", *flags, "--", path], check=False, capture_output=True
        )
        if done.returncode == 0:
            self._entry = None
        return self._entry is None


class PassedDescriptor:
    """A mount that a parent made, and unmounts: `/dev/fd/N`."""

    def __init__(self, mountpoint: str) -> None:
        self._fuse_fd = int(mountpoint.rpartition("/")[2])

    def mount(self) -> Mounted:
        try:
            os.set_inheritable(self._fuse_fd, False)
        except OSError as exc:
            raise SetupError(f"/dev/fd/{self._fuse_fd} is no open descriptor: {exc.strerror}") from exc
        return Mounted(self._fuse_fd)

    def unmount(self) -> bool:
        return False

    def detach(self) -> None:
        """The parent's to do."""


def _open_read_ahead(entry: MountEntry | None) -> int | None:
    if entry is None:
        return None
    try:
        return os.open(f"/sys/class/bdi/{entry.device}/read_ahead_kb", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _refusal(mountpoint: str, exc: OSError) -> SetupError:
    match exc.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return SetupError(_WITHOUT_DEVICE)
        case errno.EPERM | errno.EACCES:
            return SetupError(_WITHOUT_PERMISSION)
        case errno.EINVAL:
            return SetupError(f"the kernel refused the mount options at {mountpoint}; check -o")
        case _:
            return SetupError(f"cannot mount at {mountpoint}: {exc.strerror}")


def _check_user_may_mount(program: str, mountpoint: str) -> None:
    """What fusermount3 would refuse, and what then is to be done. Raises SetupError."""
    if not Path(_DEVICE).exists():
        raise SetupError(_WITHOUT_DEVICE)
    if not program:
        raise SetupError("FUSE is not installed: fusermount3 is missing; install it: apt install fuse3")
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        raise SetupError(f"FUSE is not permitted to you: {_DEVICE} cannot be opened; as root: chmod 666 {_DEVICE}")
    if not os.access(mountpoint, os.W_OK):
        raise SetupError(
            f"cannot mount at {mountpoint}: you may not write there; as root: chown {os.getuid()} {mountpoint}"
        )


def _fusermount_refusal(mountpoint: str, complaint: str) -> str:
    """In fusermount3's own words, which come after its name."""
    said = (complaint.strip().splitlines() or ["fusermount3 failed"])[-1].partition(": ")[2]
    return f"cannot mount at {mountpoint}: {said or complaint}; {_WITHOUT_PERMISSION}"
