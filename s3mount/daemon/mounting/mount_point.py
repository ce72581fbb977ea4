"""The mount point: what stands there before anything is mounted, and a descriptor of it from then on.

Invariant: a mount point is opened once, when it is checked. What is mounted later is mounted on that descriptor, so a user who may
rename it, or a directory above it, cannot choose another place meanwhile. See docs/decisions/run-as.md.
Asks the kernel's mount table first: a dead mount answers nothing else. Knows nothing of how to mount.
"""

import errno
import os
import re
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from s3mount.config import MountConfig
from s3mount.daemon import syscalls
from s3mount.daemon.mounting.mount_table import MountEntry, mount_id, mount_of
from s3mount.daemon.mounting.path_resolution import UntrustedLinkError, open_path, path_of
from s3mount.errors import SetupError

PASSED_DESCRIPTOR: Final = re.compile(
    r"/dev/fd/[0-9]{1,9}"
)  # mounted by a parent: libfuse's convention, see mount.fuse3(8)
_ANSWER_WITHIN: Final = 2.0  # seconds
_FUSE_CONFIGS: Final = (Path("/etc/fuse.conf"), Path("/usr/local/etc/fuse.conf"))


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A directory that was checked: *path* as the mount table has it, and an O_PATH *descriptor* of the directory itself."""

    path: str
    descriptor: int

    @property
    def is_in_place(self) -> bool:
        """Whether the directory still has its path: neither it nor a directory above was renamed, removed or replaced."""
        try:
            return path_of(self.descriptor) == self.path
        except OSError:  # it was moved to where its path is longer than a page
            return False


def mount_on(descriptor: int) -> MountEntry | None:
    """The mount whose root *descriptor* is; None if it is a directory inside a mount. Raises OSError as `path_of` does."""
    entry = mount_of(mount_id(descriptor))
    return entry if entry is not None and entry.path == path_of(descriptor) else None


def is_passed_descriptor(mountpoint: str) -> bool:
    return bool(PASSED_DESCRIPTOR.fullmatch(mountpoint))


def checked_mountpoint(config: MountConfig) -> MountPoint:
    """The mount point, opened, with symbolic links resolved. Raises SetupError if nothing can be mounted there."""
    descriptor = _opened(config.mountpoint)
    try:
        place = MountPoint(_path_of(config.mountpoint, descriptor), descriptor)
        _refuse_fuse_mount(place)
        _check_is_directory(place)
    except BaseException:
        os.close(descriptor)
        raise
    return place


def check_allow_other(config: MountConfig) -> None:
    """Raise SetupError where fusermount3 would not let a user open the mount to others."""
    is_wanted = config.allow_other or config.allow_root
    if not is_wanted or os.geteuid() == 0 or syscalls.has_capability(syscalls.CAP_SYS_ADMIN):
        return
    if not any(_has_user_allow_other(path) for path in _FUSE_CONFIGS):
        name = "--allow-other" if config.allow_other else "--allow-root"
        raise SetupError(
            f"{name} is not permitted to users here; as root, add the line user_allow_other to {_FUSE_CONFIGS[0]}, "
            "or mount as root"
        )


def may_link(owner: int) -> bool:
    """Whether a symbolic link of *owner* may lead to the mount point: root's own, or any if nobody mounts with root's rights."""
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
            f"the way to the mount point {path} is a symbolic link {exc.whose}, which root does not follow; "
            "name the directory itself"
        ) from exc
    except OSError as exc:
        raise SetupError(f"the mount point {path} cannot be reached: {exc.strerror}") from exc


def _path_of(path: str, descriptor: int) -> str:
    try:
        return path_of(descriptor)
    except OSError as exc:
        raise SetupError(f"the mount point {path} cannot be reached: {exc.strerror}") from exc


def _check_is_directory(place: MountPoint) -> None:
    try:
        is_directory = stat.S_ISDIR(os.fstat(place.descriptor).st_mode)
    except OSError as exc:
        raise SetupError(f"the mount point {place.path} cannot be reached: {exc.strerror}") from exc
    if not is_directory:
        raise SetupError(
            f"the mount point {place.path} is not a directory; name an empty directory"
        )
    if place.path == "/":
        raise SetupError("the mount point / is the root directory; name an empty directory")


def _refuse_fuse_mount(place: MountPoint) -> None:
    """Other file systems may be covered: a volume of a container, or autofs that waits for this very mount."""
    entry = mount_on(place.descriptor)
    if entry is None or not entry.fstype.startswith("fuse"):
        return
    path = place.path
    if is_dead(place.descriptor):
        raise SetupError(
            f"{path} is a dead mount (Transport endpoint is not connected); clear it first: "
            f"fusermount3 -u {path} (or, as root: umount -l {path})"
        )
    raise SetupError(
        f"{path} is already mounted ({entry.fstype}); unmount it first: fusermount3 -u {path}"
    )


def is_dead(descriptor: int) -> bool:
    """Whether the FUSE mount of *descriptor* has no server. One that hangs is not dead: it is asked in a thread.

    The thread may hang with the mount; the process that asks goes no further.
    """
    answers: list[int | None] = []

    def ask() -> None:
        try:
            os.fstatvfs(descriptor)
        except OSError as exc:
            answers.append(exc.errno)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_ANSWER_WITHIN)
    return bool({errno.ENOTCONN, errno.ECONNABORTED}.intersection(answers))


def _has_user_allow_other(path: Path) -> bool:
    try:
        return any(
            line.strip() == "user_allow_other"
            for line in path.read_text(errors="replace").split("\n")
        )
    except OSError:
        return False
