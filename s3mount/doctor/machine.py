"""Checks of this machine: FUSE and its permissions, fuse.conf, the mount point, the user.

The checks and their messages are those that a mount makes before it mounts.
"""

import os
import platform
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from s3mount.config import DiskConfig, MountConfig
from s3mount.daemon import syscalls
from s3mount.daemon.mounting.fusermount_mounter import check_fuse, check_writable, find_program
from s3mount.daemon.mounting.mount_point import (
    check_allow_other,
    checked_mountpoint,
    is_allow_other_permitted,
)
from s3mount.daemon.mounting.mounter import (
    DEVICE_MISSING,
    FUSE_DEVICE,
    MOUNTING_NOT_PERMITTED,
)
from s3mount.daemon.privileges import account
from s3mount.doctor.cache_directory import check_cache_directory
from s3mount.doctor.check import Check
from s3mount.doctor.report import Finding, failure, ok, warning

KERNEL_MIN = (5, 4)


def machine_checks(
    mount: MountConfig, *, has_mountpoint: bool, disk: DiskConfig | None = None
) -> Iterator[Check]:
    """Yield the checks that need no bucket."""
    yield Check("fuse", check_fuse_works)
    yield Check("fuse.conf", lambda: check_fuse_conf(mount))
    if has_mountpoint:
        yield Check("mount point", lambda: check_mount_point(mount))
    if mount.run_as is not None:
        yield Check("user", lambda: check_user(mount.run_as or ""))
    if disk is not None:
        yield Check("cache dir", lambda: check_cache_directory(disk, mount.run_as))


def check_fuse_works() -> Finding:
    """Check device, program, permission and kernel, as the mounter of this user needs them."""
    release = platform.release()
    if _is_privileged():
        found = check_device(Path(FUSE_DEVICE)) or ok("mounting as root")
    elif os.geteuid() == 0:
        return failure("root has no CAP_SYS_ADMIN here", MOUNTING_NOT_PERMITTED)
    else:
        found = check_program(find_program())
    if found.outcome == "failure":
        return found
    if _kernel_version(release) < KERNEL_MIN:
        return failure(f"Linux {release} is too old", "s3mount needs Linux 5.4 or newer")
    return replace(found, text=f"{FUSE_DEVICE} can be opened, {found.text}, Linux {release}")


def check_device(device: Path) -> Finding | None:
    """Return why *device* cannot be opened, or None. Opening it mounts nothing."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return failure(DEVICE_MISSING)
    except OSError as exc:  # the device is listed, and its module or a container's rule is missing
        return failure(f"{device} cannot be opened: {exc.strerror}", MOUNTING_NOT_PERMITTED)
    return None


def check_program(program: str) -> Finding:
    """Check fusermount3 for a user without privileges. Raises SetupError."""
    check_fuse(program)
    if (problem := check_device(Path(FUSE_DEVICE))) is not None:
        return problem
    status = Path(program).stat()
    if not (status.st_uid == 0 and status.st_mode & stat.S_ISUID):
        return failure(
            f"{program} is not set-user-id root, so it may not mount",
            f"as root: chown root {program} && chmod 4755 {program}",
        )
    if os.statvfs(program).f_flag & os.ST_NOSUID or not syscalls.has_new_privileges():
        return failure(
            f"{program} gains no privileges here (nosuid, or no_new_privs of a container)",
            "mount outside of this sandbox, or as root",
        )
    return ok(f"{program} is set-user-id root")


def check_fuse_conf(mount: MountConfig) -> Finding:
    """Check whether --allow-other, or --allow-root, would be permitted. Raises SetupError."""
    check_allow_other(mount)
    if _is_privileged():
        return ok("root may open mounts to other users (--allow-other), whatever it says")
    if is_allow_other_permitted():
        return ok("user_allow_other is set: users may open their mounts to others (--allow-other)")
    return ok("user_allow_other is not set: only the user who mounts sees the files")


def check_mount_point(mount: MountConfig) -> Finding:
    """Check the directory. Raises SetupError if it cannot be mounted on."""
    mount_point = checked_mountpoint(mount)
    try:
        if not _is_privileged():
            check_writable(mount_point.path)
        is_empty = not any(Path(f"/proc/self/fd/{mount_point.descriptor}").iterdir())
    except PermissionError:
        is_empty = True  # nobody here sees its files now either
    finally:
        os.close(mount_point.descriptor)
    if not is_empty:
        return warning(
            f"{mount_point.path} is not empty: a mount hides its files", "name an empty directory"
        )
    return ok(f"{mount_point.path} is an empty directory")


def check_user(name: str) -> Finding:
    """Check that what follows is seen as the user who will serve sees it. Raises SetupError."""
    user = account(name)
    if user.uid == os.geteuid():
        return ok(f"{name} serves, and looks at this")
    return warning(
        f"{name} will serve, but another user looks at this: credentials may differ",
        f"run it as that user: runuser -u {name} -- s3mountctl doctor …",
    )


def _is_privileged() -> bool:
    return syscalls.has_capability(syscalls.CAP_SYS_ADMIN)


def _kernel_version(release: str) -> tuple[int, int]:
    """Return major and minor number; zeros if *release* has none."""
    numbers = release.partition("-")[0].split(".")[:2]
    if len(numbers) < 2 or not all(each.isdigit() for each in numbers):
        return (0, 0)
    return int(numbers[0]), int(numbers[1])
