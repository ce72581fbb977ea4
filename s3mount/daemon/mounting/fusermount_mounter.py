"""Mounting as a user, by fusermount3: the set-user-id program of the package fuse3."""

import os
import shutil
import socket
import subprocess
from collections.abc import Collection
from pathlib import Path
from typing import Final

from s3mount.daemon.mounting import mounter, unmounting
from s3mount.daemon.mounting.mount_point import MountPoint, is_dead
from s3mount.daemon.mounting.mount_table import MountEntry, current_mounts, mount_at, mount_id
from s3mount.daemon.mounting.mounter import AttachedMount
from s3mount.daemon.mounting.options import MountRequest
from s3mount.daemon.mounting.unmounting import OwnMount
from s3mount.errors import SetupError
from s3mount.path_resolution import closing, open_unlinked

_TIMEOUT: Final = 20.0  # seconds; fusermount3 may wait for a lock of the kernel
_DEFAULT_PATH: Final = "/usr/bin:/bin:/usr/sbin:/sbin"  # searched after PATH


class FusermountMounter:
    """Mounts with fusermount3.

    State: *_own* is the mount until it is gone. With auto_unmount, *_channel* and *_process* stay:
    fusermount3 unmounts when the channel closes, for whatever reason.
    """

    def __init__(self, request: MountRequest, mount_point: MountPoint) -> None:
        self._request = request
        self._mount_point = mount_point
        self._program = find_program()
        self._own: OwnMount | None = None
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def mount(self) -> AttachedMount:
        mounter.check_mountable(self._mount_point)
        if self._request.contexts:
            raise SetupError(
                f"-o {self._request.contexts[0][0]}: fusermount3 takes no context of SELinux; "
                "mount as root"
            )
        check_fuse(self._program)
        check_writable(self._mount_point.path)
        before = set(self._mounts())
        fuse_fd = self._receive_descriptor()
        # fusermount3 mounts by path, though only where its user may write: verified afterwards
        root = _open_root(mount_at(self._mount_point.path))
        self._own = self._verified(root, before)
        if self._own is None:
            for each in (fuse_fd, root):
                if each is not None:
                    os.close(each)
            self._undo(before)
            raise mounter.moved(self._mount_point)
        return AttachedMount(fuse_fd, root, mounter.open_read_ahead(self._own))

    def unmount(self) -> bool:
        return self._unmount()

    def detach(self) -> None:
        if self._own is not None and (found := unmounting.standing(self._own)) is not None:
            unmounting.abort(found)
        self._unmount("-z")

    def _mounts(self) -> list[MountEntry]:
        return [entry for entry in current_mounts() if entry.fstype == self._request.fstype]

    def _verified(self, root: int | None, before: Collection[MountEntry]) -> OwnMount | None:
        """Return the mount of *root*; None if it is not a new mount of ours at the mount point."""
        if root is None or not self._mount_point.is_in_place:
            return None
        own = unmounting.own_mount(root)
        if own is None or own.entry.fstype != self._request.fstype or own.entry in before:
            return None
        return own

    def _undo(self, before: Collection[MountEntry]) -> None:
        """Detach dead mounts newer than *before*: ours is one, its descriptor is closed."""
        for entry in self._mounts():
            root = None if entry in before else _open_root(entry)
            if root is None:
                continue
            with closing(root):
                self._own = unmounting.own_mount(root) if is_dead(root) else None
            self.detach()

    def _receive_descriptor(self) -> int:
        """Run fusermount3; it sends the descriptor over the socket of _FUSE_COMMFD (libfuse)."""
        self._channel, theirs = socket.socketpair()
        self._process = self._start(theirs)
        self._channel.settimeout(_TIMEOUT)
        try:
            _, descriptors, _, _ = socket.recv_fds(self._channel, 1, 1)
        except TimeoutError:
            self._process.kill()
            raise SetupError(
                f"cannot mount at {self._mount_point.path}: fusermount3 does not answer"
            ) from None
        if descriptors:
            if not self._request.is_auto_unmounted:
                self._process.communicate()
            os.set_inheritable(descriptors[0], False)
            return descriptors[0]
        _, stderr = self._process.communicate()
        mounter.check_in_place(self._mount_point)
        raise SetupError(_refusal(self._mount_point.path, stderr.decode(errors="replace")))

    def _start(self, theirs: socket.socket) -> "subprocess.Popen[bytes]":
        request = self._request
        with theirs:
            return subprocess.Popen(  # noqa: S603 - no shell, and the options are checked
                [self._program, "-o", request.fusermount_options(), "--", self._mount_point.path],
                env=os.environ | {"_FUSE_COMMFD": str(theirs.fileno())},
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )

    def _unmount(self, *flags: str) -> bool:
        """Unmount by path, as fusermount3 wants it. It refuses what another user mounted."""
        found = unmounting.standing(self._own) if self._own is not None else None
        if found is None:
            self._own = None
            return True
        if mount_at(found.path) != found:  # covered
            return False
        command = [self._program, "-u", "-q", *flags, "--", found.path]
        try:
            done = subprocess.run(  # noqa: S603 - the program was found on PATH, by its name
                command, check=False, capture_output=True, timeout=_TIMEOUT
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


def _open_root(entry: MountEntry | None) -> int | None:
    """Open the root of a mount; None if it cannot be opened, or is another mount by now."""
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


def find_program() -> str:
    """Return the path of fusermount3; an empty text if there is none."""
    return shutil.which("fusermount3") or shutil.which("fusermount3", path=_DEFAULT_PATH) or ""


def check_fuse(program: str) -> None:
    """Raise SetupError, with what to do, if *program* is missing, or FUSE's device is unusable."""
    if not Path(mounter.FUSE_DEVICE).exists():
        raise SetupError(mounter.DEVICE_MISSING)
    if not program:
        raise SetupError(
            "FUSE is not installed: fusermount3 is missing; install it: apt install fuse3"
        )
    if not os.access(mounter.FUSE_DEVICE, os.R_OK | os.W_OK):
        raise SetupError(
            f"FUSE is not permitted to you: {mounter.FUSE_DEVICE} cannot be opened; "
            f"as root: chmod 666 {mounter.FUSE_DEVICE}"
        )


def check_writable(mountpoint: str) -> None:
    """Raise SetupError if fusermount3 would refuse *mountpoint*: its user may not write there."""
    if not os.access(mountpoint, os.W_OK):
        raise SetupError(
            f"cannot mount at {mountpoint}: you may not write there; "
            f"as root: chown {os.getuid()} {mountpoint}"
        )


def _refusal(mountpoint: str, stderr: str) -> str:
    """Return fusermount3's own words, which follow its name."""
    line = (stderr.strip().split("\n") or ["fusermount3 failed"])[-1].partition(": ")[2]
    return f"cannot mount at {mountpoint}: {line or stderr}; {mounter.MOUNTING_NOT_PERMITTED}"
