"""The place of the mount: what stands there, before anything is mounted.

Asks the kernel's mount table first: a dead mount answers nothing else. Knows nothing of how to mount.
"""

import errno
import os
import re
import stat
import threading
from pathlib import Path
from typing import Final

from s3mount.config import MountConfig
from s3mount.errors import SetupError
from s3mount.service import syscalls
from s3mount.service.mount_table import mount_at

PASSED_DESCRIPTOR: Final = re.compile(r"/dev/fd/\d+")  # mounted by a parent: libfuse's convention, see mount.fuse3(8)
_ANSWER_WITHIN: Final = 2.0  # seconds
_FUSE_CONFIGS: Final = (Path("/etc/fuse.conf"), Path("/usr/local/etc/fuse.conf"))


def is_passed_descriptor(mountpoint: str) -> bool:
    return bool(PASSED_DESCRIPTOR.fullmatch(mountpoint))


def checked_mountpoint(config: MountConfig) -> str:
    """The mount point with symbolic links resolved; raises SetupError where nothing can be mounted there."""
    path = _resolved(config.mountpoint)
    _refuse_fuse_mount(path)
    try:
        is_directory = stat.S_ISDIR(Path(path).stat().st_mode)
    except FileNotFoundError:
        raise SetupError(f"the mount point {path} does not exist; create it: mkdir -p {path}") from None
    except OSError as exc:
        raise SetupError(f"the mount point {path} cannot be reached: {exc.strerror}") from exc
    if not is_directory:
        raise SetupError(f"the mount point {path} is not a directory; name an empty directory")
    return path


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


def _resolved(path: str) -> str:
    """Symbolic links followed as far as they can be: the end of a path may be a dead mount, which answers nothing."""
    return os.path.realpath(path)


def _refuse_fuse_mount(path: str) -> None:
    """Other file systems may be covered: a volume of a container, or autofs that waits for this very mount."""
    entry = mount_at(path)
    if entry is None or not entry.fstype.startswith("fuse"):
        return
    if is_dead(path):
        raise SetupError(
            f"{path} is a dead mount (Transport endpoint is not connected); clear it first: "
            f"fusermount3 -u {path} (or, as root: umount -l {path})"
        )
    raise SetupError(f"{path} is already mounted ({entry.fstype}); unmount it first: fusermount3 -u {path}")


def is_dead(path: str) -> bool:
    """A mount that hangs is not dead: it is asked in a thread, which may hang with it, since this process goes no further."""
    answers: list[int | None] = []

    def ask() -> None:
        try:
            os.statvfs(path)
        except OSError as exc:
            answers.append(exc.errno)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_ANSWER_WITHIN)
    return bool({errno.ENOTCONN, errno.ECONNABORTED}.intersection(answers))


def _has_user_allow_other(path: Path) -> bool:
    try:
        return any(line.strip() == "user_allow_other" for line in path.read_text(errors="replace").splitlines())
    except OSError:
        return False
