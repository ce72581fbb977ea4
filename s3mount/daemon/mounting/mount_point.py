"""Checks of the mount point before mounting, and its descriptor from then on.

Invariant: a mount point is opened once, when it is checked, and the mount is attached to that
descriptor. So a user who may rename it, or a directory above it, cannot choose another one
meanwhile. See docs/decisions/mount-point.md. The kernel's mount table is read first: a dead mount
answers nothing else.
"""

import errno
import os
import stat
import threading
from pathlib import Path
from typing import Final

from s3mount.config import MountConfig
from s3mount.daemon import syscalls
from s3mount.daemon.mounting.mount_table import MountEntry, mount_id, mount_of
from s3mount.errors import SetupError
from s3mount.frozen_dataclass import dataclass
from s3mount.path_resolution import (
    UntrustedLinkError,
    closing,
    open_path,
    path_of,
)
from s3mount.printable import printable

_ANSWER_TIMEOUT: Final = 2.0  # seconds
_CONF_LINE_MAX: Final = 255  # bytes of a line of fuse.conf, with its newline; fusermount.c
_FUSE_CONFIGS: Final = (Path("/etc/fuse.conf"), Path("/usr/local/etc/fuse.conf"))


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A checked directory: its *path* as in the mount table, and an O_PATH *descriptor*."""

    path: str
    descriptor: int

    @property
    def is_in_place(self) -> bool:
        """Whether the directory still has its path: it was not renamed, removed or replaced."""
        try:
            return path_of(self.descriptor) == self.path
        except OSError:  # it was moved to where its path is longer than a page
            return False


def mount_on(descriptor: int) -> MountEntry | None:
    """Return the mount whose root *descriptor* is; None for a directory inside a mount.

    Raises OSError as `path_of` does.
    """
    entry = mount_of(mount_id(descriptor))
    return entry if entry is not None and entry.path == path_of(descriptor) else None


def living_mount(config: MountConfig) -> MountEntry | None:
    """Return the FUSE mount at the mount point if it has a server; None if there is none.

    Raises SetupError if the mount point cannot be reached.
    """
    with closing(_opened(config.mountpoint)) as descriptor:
        try:
            entry = mount_on(descriptor)
        except OSError:  # its path is too long; mounting will say so
            return None
        is_living = entry is not None and entry.fstype.startswith("fuse")
        return entry if is_living and not is_dead(descriptor) else None


def checked_mountpoint(config: MountConfig) -> MountPoint:
    """Open the mount point, with links resolved. Raises SetupError if it cannot be mounted on."""
    descriptor = _opened(config.mountpoint)
    try:
        mount_point = MountPoint(_path_of(config.mountpoint, descriptor), descriptor)
        _refuse_fuse_mount(mount_point)
        _check_is_directory(mount_point)
    except BaseException:  # raised again
        os.close(descriptor)
        raise
    return mount_point


def check_allow_other(config: MountConfig) -> None:
    """Raise SetupError if fusermount3 would not let this user open the mount to others."""
    is_wanted = config.allow_other or config.allow_root
    if not is_wanted or os.geteuid() == 0 or syscalls.has_capability(syscalls.CAP_SYS_ADMIN):
        return
    if not is_allow_other_permitted():
        name = "--allow-other" if config.allow_other else "--allow-root"
        raise SetupError(
            f"{name} is not permitted to users here; as root, add the line user_allow_other "
            f"to {_FUSE_CONFIGS[0]} (the last line ends with a newline, too), or mount as root"
        )


def is_allow_other_permitted() -> bool:
    """Whether fuse.conf lets every user open mounts to others."""
    return any(_has_user_allow_other(path) for path in _FUSE_CONFIGS)


def may_link(owner: int) -> bool:
    """Whether a symbolic link of *owner* may lead to the mount point.

    Any user's may if this process mounts without root's rights; else only root's.
    """
    return owner == 0 or not (os.geteuid() == 0 or syscalls.has_capability(syscalls.CAP_SYS_ADMIN))


def _opened(path: str) -> int:
    try:
        return open_path(path, is_trusted=may_link)
    except FileNotFoundError:
        raise SetupError(
            f"the mount point {path} does not exist; create it: mkdir -p {path}"
        ) from None
    except UntrustedLinkError as exc:
        raise SetupError(
            f"the path of the mount point {path} has a symbolic link {exc.whose}, "
            "which root does not follow; name the directory itself"
        ) from exc
    except OSError as exc:
        raise SetupError(f"the mount point {path} cannot be reached: {exc.strerror}") from exc


def _path_of(path: str, descriptor: int) -> str:
    try:
        return path_of(descriptor)
    except OSError as exc:
        raise SetupError(f"the mount point {path} cannot be reached: {exc.strerror}") from exc


def _check_is_directory(mount_point: MountPoint) -> None:
    try:
        is_directory = stat.S_ISDIR(os.fstat(mount_point.descriptor).st_mode)
    except OSError as exc:
        raise SetupError(
            f"the mount point {mount_point.path} cannot be reached: {exc.strerror}"
        ) from exc
    if not is_directory:
        raise SetupError(
            f"the mount point {mount_point.path} is not a directory; name an empty directory"
        )
    if mount_point.path == "/":
        raise SetupError("the mount point / is the root directory; name an empty directory")


def _refuse_fuse_mount(mount_point: MountPoint) -> None:
    """Raise SetupError if a FUSE mount is there.

    Other file systems may be covered: a volume of a container, or an autofs that waits for this
    mount.
    """
    entry = mount_on(mount_point.descriptor)
    if entry is None or not entry.fstype.startswith("fuse"):
        return
    path = mount_point.path
    if is_dead(mount_point.descriptor):
        raise SetupError(
            f"{path} is a dead mount (Transport endpoint is not connected); "
            f"clear it first: fusermount3 -u {path} (or, as root: umount -l {path})"
        )
    raise SetupError(
        f"{path} is already mounted ({printable(entry.source)}, {entry.fstype}); "
        f"unmount it first: fusermount3 -u {path}"
    )


def is_dead(descriptor: int) -> bool:
    """Whether the FUSE mount of *descriptor* has no server. A mount that hangs is not dead.

    statvfs is called in a thread, which may hang with the mount.
    """
    failures: list[int | None] = []

    def call() -> None:
        try:
            os.fstatvfs(descriptor)
        except OSError as exc:
            failures.append(exc.errno)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(_ANSWER_TIMEOUT)
    return bool({errno.ENOTCONN, errno.ECONNABORTED}.intersection(failures))


def _has_user_allow_other(path: Path) -> bool:
    try:
        return has_user_allow_other(path.read_bytes())
    except OSError:
        return False


def has_user_allow_other(text: bytes) -> bool:
    """Whether fusermount3 reads user_allow_other in *text*, of fuse.conf.

    As read_conf of libfuse's util/fusermount.c does: a comment begins anywhere, white space around
    does not count, and a line is ignored if it is too long or has no newline.
    """
    *lines, _ = text.split(b"\n")
    return any(
        len(line) < _CONF_LINE_MAX and line.partition(b"#")[0].strip() == b"user_allow_other"
        for line in lines
    )
