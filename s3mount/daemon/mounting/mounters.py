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
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from s3mount.daemon import syscalls
from s3mount.daemon.mounting import unmounting
from s3mount.daemon.mounting.mount_point import MountPoint, is_dead
from s3mount.daemon.mounting.mount_table import MountEntry, current_mounts, mount_at, mount_id
from s3mount.daemon.mounting.options import MountRequest
from s3mount.daemon.mounting.path_resolution import closing, open_unlinked
from s3mount.daemon.mounting.unmounting import OwnMount
from s3mount.errors import SetupError

READ_AHEAD_KIB: Final = (
    1024  # the kernel's own 128 costs a third of the throughput, see docs/performance.md
)
_DEVICE: Final = "/dev/fuse"
_DEVICE_NUMBER: Final = os.makedev(10, 229)  # Documentation/admin-guide/devices.txt
_FUSERMOUNT_WITHIN: Final = (
    20.0  # seconds for fusermount3, which may wait for a lock of the kernel's
)
_PATH: Final = (
    "/usr/bin:/bin:/usr/sbin:/sbin"  # where fusermount3 is looked for when PATH does not tell
)
_WITHOUT_DEVICE: Final = (
    f"FUSE is not available: {_DEVICE} is missing; load it (as root: modprobe fuse), "
    f"or give it to the container (--device {_DEVICE})"
)
_WITHOUT_PERMISSION: Final = (
    "mounting is not permitted here; in a container, FUSE needs --device /dev/fuse --cap-add SYS_ADMIN "
    "(and perhaps --security-opt apparmor=unconfined)"
)


@dataclass(frozen=True, slots=True)
class AttachedMount:
    """A FUSE mount to be served over *fuse_fd*.

    *root_fd* is an O_PATH descriptor of its root, to ask the mount whether it answers; it keeps the mount busy until it is closed.
    *read_ahead_fd*, where it could be opened, takes the kernel's read-ahead in KiB: it is opened while that is permitted,
    and written after FUSE's first exchange, which would set it back.
    """

    fuse_fd: int
    root_fd: int | None = None
    read_ahead_fd: int | None = None

    def widen_read_ahead(self) -> None:
        """To be called once the mount answers; where it is refused, reading is slower and nothing else."""
        if self.read_ahead_fd is not None:
            with contextlib.suppress(OSError):
                os.write(self.read_ahead_fd, b"%d" % READ_AHEAD_KIB)


class Mounter(Protocol):
    """One mount at one place, through its life."""

    def mount(self) -> AttachedMount:
        """Raises SetupError."""
        ...

    def unmount(self) -> bool:
        """Whether it is gone now, or has been before; False where files are open, or it may not be done."""
        ...

    def detach(self) -> None:
        """Take the mount out of sight, whoever still uses it; without effect where it is gone. Never raises."""
        ...


class KernelMounter:
    """Mounts on the descriptor of a mount point, if CAP_SYS_ADMIN is held; *uid* and *gid* are to own the mount.

    State: *_is_used* from the first `mount` on, since there is never a second one. *_own* is what was mounted, until it is known to
    be gone; nothing else is ever unmounted, wherever its path leads by then.
    """

    def __init__(self, request: MountRequest, place: MountPoint, uid: int, gid: int) -> None:
        self._request = request
        self._place = place
        self._uid = uid
        self._gid = gid
        self._is_used = False
        self._own: OwnMount | None = None

    @property
    def path(self) -> str:
        return self._place.path

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Those that are to be open when it mounts."""
        return (self._place.descriptor,)

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it stands any more, as far as `unmount` and `detach` have seen."""
        return self._own is None

    def mount(self) -> AttachedMount:
        if self._is_used:
            raise SetupError(f"{self._place.path} was mounted once, and is not mounted again")
        self._is_used = True
        _check_free(self._place)
        fuse_fd, mount_fd = self._new_mount()
        try:
            self._attach(mount_fd)
        except BaseException:
            os.close(mount_fd)
            os.close(fuse_fd)
            raise
        return AttachedMount(fuse_fd, mount_fd, _open_read_ahead(self._own))

    def unmount(self) -> bool:
        return self._unmount(unmounting.unmount)

    def detach(self) -> None:
        self._unmount(unmounting.detach)

    def _new_mount(self) -> tuple[int, int]:
        """Descriptors of the FUSE connection, and of a mount of it that stands nowhere."""
        request = self._request
        fuse_fd = None
        try:
            fuse_fd = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
            options = request.kernel_options(fuse_fd=fuse_fd, uid=self._uid, gid=self._gid)
            return fuse_fd, syscalls.new_mount("fuse", options, request.flags)
        except OSError as exc:
            if fuse_fd is not None:
                os.close(fuse_fd)
            raise _refusal(self._place.path, exc) from exc

    def _attach(self, mount_fd: int) -> None:
        """Have the mount stand on the mount point; raises SetupError, with the mount undone, if that is elsewhere by now."""
        try:
            syscalls.move_mount(mount_fd, self._place.descriptor)
        except OSError as exc:
            _check_in_place(self._place)
            raise _refusal(self._place.path, exc) from exc
        try:
            self._own = self._look_at(mount_fd)
        except BaseException:
            with contextlib.suppress(OSError):  # EINVAL: it is gone already
                unmounting.detach_root(mount_fd)
            raise

    def _look_at(self, mount_fd: int) -> OwnMount:
        """What was mounted; raises SetupError if it stands elsewhere, or if that cannot be told."""
        try:
            own = unmounting.own_mount(mount_fd)
        except OSError as exc:  # no descriptors or memory left, to read the mount table
            raise _refusal(self._place.path, exc) from exc
        if own is None or own.entry.path != self._place.path:
            raise _moved(self._place)
        return own

    def _unmount(self, take_away: Callable[[OwnMount], bool]) -> bool:
        if self._own is None or take_away(self._own):
            self._own = None
        return self.is_gone


class FusermountMounter:
    """Mounts with the set-user-id program of the package fuse3, as a user.

    State: *_own* as in KernelMounter. *_channel* and *_process* stay, with auto_unmount: at the end of the channel, however that
    comes about, fusermount3 unmounts.
    """

    def __init__(self, request: MountRequest, place: MountPoint) -> None:
        self._request = request
        self._place = place
        self._program = shutil.which("fusermount3") or shutil.which("fusermount3", path=_PATH) or ""
        self._own: OwnMount | None = None
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def mount(self) -> AttachedMount:
        _check_free(self._place)
        _check_user_may_mount(self._program, self._place.path)
        before = set(self._mounts())
        self._channel, theirs = socket.socketpair()
        fuse_fd = self._receive(self._channel, theirs)
        # fusermount3 mounts by path, though only where its user may write: what it did is looked at afterwards
        root = _open_root(mount_at(self._place.path))
        self._own = (
            None if root is None or not self._place.is_in_place else unmounting.own_mount(root)
        )
        if (
            self._own is None
            or self._own.entry.fstype != self._request.fstype
            or self._own.entry in before
        ):
            for each in (fuse_fd, root):
                if each is not None:
                    os.close(each)
            self._undo(before)
            raise _moved(self._place)
        return AttachedMount(fuse_fd, root, _open_read_ahead(self._own))

    def unmount(self) -> bool:
        return self._unmount()

    def detach(self) -> None:
        if self._own is not None and (found := unmounting.standing(self._own)) is not None:
            unmounting.abort(found)
        self._unmount("-z")

    def _mounts(self) -> list[MountEntry]:
        return [entry for entry in current_mounts() if entry.fstype == self._request.fstype]

    def _undo(self, before: Collection[MountEntry]) -> None:
        """Take away what came since *before* and is dead, as the mount is whose descriptor was closed."""
        for entry in self._mounts():
            root = None if entry in before else _open_root(entry)
            if root is None:
                continue
            with closing(root):
                self._own = unmounting.own_mount(root) if is_dead(root) else None
            self.detach()

    def _receive(self, ours: socket.socket, theirs: socket.socket) -> int:
        """The protocol of libfuse: the descriptor arrives over the socket that _FUSE_COMMFD names."""
        self._process = self._start(theirs)
        ours.settimeout(_FUSERMOUNT_WITHIN)
        try:
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        except TimeoutError:
            self._process.kill()
            raise SetupError(
                f"cannot mount at {self._place.path}: fusermount3 does not answer"
            ) from None
        if descriptors:
            if not self._request.is_auto_unmounted:
                self._process.communicate()
            os.set_inheritable(descriptors[0], False)
            return descriptors[0]
        _, complaint = self._process.communicate()
        _check_in_place(self._place)
        raise SetupError(_fusermount_refusal(self._place.path, complaint.decode(errors="replace")))

    def _start(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        request = self._request
        with theirs:
            return subprocess.Popen(  # noqa: S603 - no shell, and the options are checked
                [self._program, "-o", request.fusermount_options(), "--", self._place.path],
                env=os.environ | {"_FUSE_COMMFD": str(theirs.fileno())},
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )

    def _unmount(self, *flags: str) -> bool:
        """By path, as fusermount3 wants it, which refuses what another user mounted."""
        found = unmounting.standing(self._own) if self._own is not None else None
        if found is None:
            self._own = None
            return True
        if mount_at(found.path) != found:  # covered
            return False
        command = [self._program, "-u", "-q", *flags, "--", found.path]
        try:
            done = subprocess.run(  # noqa: S603 - the program was found on PATH, by its name
                command, check=False, capture_output=True, timeout=_FUSERMOUNT_WITHIN
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


class PassedDescriptor:
    """A mount that a parent made, and unmounts: `/dev/fd/N`."""

    def __init__(self, mountpoint: str) -> None:
        self._fuse_fd = int(mountpoint.rpartition("/")[2])

    def mount(self) -> AttachedMount:
        try:
            is_fuse = os.fstat(self._fuse_fd).st_rdev == _DEVICE_NUMBER
            os.set_inheritable(self._fuse_fd, False)
        except OSError as exc:
            raise SetupError(
                f"/dev/fd/{self._fuse_fd} is no open descriptor: {exc.strerror}"
            ) from exc
        if not is_fuse:
            raise SetupError(
                f"/dev/fd/{self._fuse_fd} is no descriptor of {_DEVICE}; mount with one, and pass it on"
            )
        return AttachedMount(self._fuse_fd)

    def unmount(self) -> bool:
        return False

    def detach(self) -> None:
        """The parent's to do."""


def _check_free(place: MountPoint) -> None:
    """Again, since the store was asked meanwhile: of two that were started at once, the later one would cover the other."""
    _check_in_place(place)
    covering = mount_at(place.path)
    if covering is not None and covering.fstype.startswith("fuse"):
        raise SetupError(
            f"{place.path} is already mounted ({covering.fstype}); something else was mounted meanwhile"
        )


def _check_in_place(place: MountPoint) -> None:
    if not place.is_in_place:
        raise _moved(place)


def _moved(place: MountPoint) -> SetupError:
    return SetupError(
        f"the mount point {place.path} was moved or replaced after it was checked, so nothing is mounted; "
        "mount where no other user may rename a directory"
    )


def _open_root(entry: MountEntry | None) -> int | None:
    """None if it cannot be opened, or is another mount by now."""
    if entry is None:
        return None
    try:
        root = open_unlinked(entry.path)
    except OSError:
        return None
    if mount_id(root) == entry.identity:
        return root
    os.close(root)
    return None


def _open_read_ahead(own: OwnMount | None) -> int | None:
    if own is None:
        return None
    try:
        return os.open(
            f"/sys/class/bdi/{own.entry.device}/read_ahead_kb", os.O_WRONLY | os.O_CLOEXEC
        )
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
        case errno.ENOSYS:
            return SetupError(
                "mounting as root needs Linux 5.4 or newer; mount as a user, by fusermount3"
            )
        case _:
            return SetupError(f"cannot mount at {mountpoint}: {exc.strerror}")


def _check_user_may_mount(program: str, mountpoint: str) -> None:
    """What fusermount3 would refuse, and what then is to be done. Raises SetupError."""
    if not Path(_DEVICE).exists():
        raise SetupError(_WITHOUT_DEVICE)
    if not program:
        raise SetupError(
            "FUSE is not installed: fusermount3 is missing; install it: apt install fuse3"
        )
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        raise SetupError(
            f"FUSE is not permitted to you: {_DEVICE} cannot be opened; as root: chmod 666 {_DEVICE}"
        )
    if not os.access(mountpoint, os.W_OK):
        raise SetupError(
            f"cannot mount at {mountpoint}: you may not write there; as root: chown {os.getuid()} {mountpoint}"
        )


def _fusermount_refusal(mountpoint: str, complaint: str) -> str:
    """In fusermount3's own words, which come after its name."""
    said = (complaint.strip().split("\n") or ["fusermount3 failed"])[-1].partition(": ")[2]
    return f"cannot mount at {mountpoint}: {said or complaint}; {_WITHOUT_PERMISSION}"
