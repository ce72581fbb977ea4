"""From a Config to an exit status: checks, the fork, privileges, the log, and then the life of the mount.

The order is the point. What can be told at once is told before the fork; no thread exists before the last fork; the keeper is forked
while there are privileges to keep; they are dropped before the store's credentials are looked for, and before the log is opened.
"""

import dataclasses
import logging
import os
from typing import TypeVar

import trio

from s3mount.config import Config, MountConfig
from s3mount.daemon import privileges, signals, syscalls
from s3mount.daemon.background import Foreground, ReadinessListener, in_background
from s3mount.daemon.interfaces import Serve
from s3mount.daemon.lifecycle import MountLifecycle, source
from s3mount.daemon.logging_setup import log_suppressed, set_up_log
from s3mount.daemon.mounting.helper_process import HelperMounter
from s3mount.daemon.mounting.mount_point import (
    MountPoint,
    check_allow_other,
    checked_mountpoint,
    is_passed_descriptor,
)
from s3mount.daemon.mounting.mounters import (
    FusermountMounter,
    KernelMounter,
    Mounter,
    PassedDescriptor,
)
from s3mount.daemon.mounting.options import mount_request
from s3mount.daemon.privileges import Account
from s3mount.daemon.sd_notify import Notifier
from s3mount.errors import S3MountError, SetupError

_E = TypeVar("_E", bound=Exception)

log = logging.getLogger(__name__)


def run(config: Config, serve: Serve | None = None) -> int:
    """Mount, and return the exit status: in the foreground when the mount has ended, else once it answers.

    Raises SetupError, or UsageError, where the mount cannot begin.
    """
    syscalls.forbid_dumps()
    config, place = _checked(config)
    user = _user(config.mount)
    if config.foreground:
        return _live(config, serve, user, place, Foreground())
    return in_background(
        lambda launcher: _live(config, serve, user, place, launcher), (_descriptor(config, place),)
    )


def _user(mount: MountConfig) -> Account | None:
    """Who is to serve; None if that is the user of this process, whom a service manager may have let mount."""
    if mount.run_as is None:
        return None
    user = privileges.account(mount.run_as)
    if os.geteuid() == 0:
        return user
    if user.uid != os.geteuid() or not _may_mount():
        raise SetupError(
            "--run-as needs root, who mounts before somebody else serves; leave it out to mount as yourself"
        )
    return None


def _may_mount() -> bool:
    return syscalls.has_capability(syscalls.CAP_SYS_ADMIN)


def _checked(config: Config) -> tuple[Config, MountPoint | None]:
    """With the mount point as the kernel's mount table will name it, and opened; None if a parent has mounted."""
    if is_passed_descriptor(config.mount.mountpoint):
        return config, None
    check_allow_other(config.mount)
    place = checked_mountpoint(config.mount)
    return dataclasses.replace(
        config, mount=dataclasses.replace(config.mount, mountpoint=place.path)
    ), place


def _composition_root() -> Serve:
    """Imported late: it brings boto3 and libfuse, which --help and a mistyped option need not wait for."""
    try:
        from s3mount.daemon.wiring import serve  # noqa: PLC0415
    except ModuleNotFoundError:
        raise
    except ImportError as exc:
        raise SetupError(
            f"FUSE's library cannot be loaded ({exc}); install it: apt install fuse3"
        ) from exc
    return serve


def _live(
    config: Config,
    serve: Serve | None,
    user: Account | None,
    place: MountPoint | None,
    launcher: ReadinessListener,
) -> int:
    """The exit status of the process that serves."""
    os.umask(
        0o077
    )  # what it, the keeper and a credential process write (caches of tokens) is for nobody else
    signals.block()
    try:
        mounter = _mounter(config, user, place)
        try:
            serve = (
                serve or _composition_root()
            )  # after the keeper's fork, which needs nothing of it
            _settle(config, user)
            return _serve(
                MountLifecycle(config, serve, mounter, launcher, Notifier(os.environ)), launcher
            )
        finally:
            mounter.detach()
    except S3MountError as exc:
        launcher.failed(str(exc))
        return 1


def _settle(config: Config, user: Account | None) -> None:
    if user is not None:
        privileges.become(user)
    elif _may_mount():
        privileges.give_up()
    set_up_log(config.log, foreground=config.foreground)


def _serve(life: MountLifecycle, launcher: ReadinessListener) -> int:
    """Live, and say once how it failed: to who waits, or to the log when nobody does any more."""
    failure: str | None = None
    try:
        trio.run(life.live)
    except* S3MountError as failures:
        failure = str(_first(failures))
        if life.has_answered:
            log.error("the mount ends: %s", failure)  # noqa: TRY400 - expected, so without a traceback
    except* (
        Exception
    ) as bugs:  # the last door: a bug is logged with its traceback, and is never a silent end
        failure = f"internal error: {_first(bugs)!r}; {_hint()}"
        log.exception("the mount ends: a bug")
    log_suppressed()
    if failure is not None and not life.has_answered:
        launcher.failed(failure)
    return 0 if failure is None else 1


def _hint() -> str:
    """Where to look for the cause of an internal error; an import that failed late looks like one."""
    if os.access(os.__file__, os.R_OK):
        return "the log has its traceback"
    return (
        f"the user who serves may not read Python's library ({os.__file__}); "
        "install s3mount where every user may read it: scripts/install"
    )


def _mounter(config: Config, user: Account | None, place: MountPoint | None) -> Mounter:
    """The way of mounting that is permitted here; forks the keeper where the kernel itself lets us mount."""
    if place is None:
        return PassedDescriptor(config.mount.mountpoint)
    request = mount_request(config.mount, source(config.store))
    if user is None and not _may_mount():
        return FusermountMounter(request, place)
    uid, gid = (user.uid, user.gid) if user else (os.geteuid(), os.getegid())
    return HelperMounter(KernelMounter(request, place, uid, gid))


def _descriptor(config: Config, place: MountPoint | None) -> int:
    """What goes along to the background: the mount point, or the mount that a parent made."""
    return (
        place.descriptor if place is not None else int(config.mount.mountpoint.rpartition("/")[2])
    )


def _first(group: ExceptionGroup[_E]) -> _E:
    """The first failure of what may be groups of groups."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
