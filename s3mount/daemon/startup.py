"""From a Config to an exit status: checks, fork, privileges, log, and then the life of the mount.

The order is the point. What can fail at once fails before the fork. No thread exists before the
last fork. The helper process is forked while this one still has privileges. They are dropped
before the credentials are looked for, before the log is opened, and before the metrics' socket is.
"""

import contextlib
import dataclasses
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

import trio

from s3mount.config import Config, MountConfig
from s3mount.daemon import privileges, signals, syscalls
from s3mount.daemon.background import Foreground, ReadinessListener, in_background
from s3mount.daemon.control_socket import ControlSocket
from s3mount.daemon.interfaces import Serve
from s3mount.daemon.lifecycle import MountLifecycle, source
from s3mount.daemon.logging_setup import import_log_libraries, log_suppressed, set_up_log
from s3mount.daemon.metrics_endpoint import MetricsEndpoint, TextFormat
from s3mount.daemon.mounting.fusermount_mounter import FusermountMounter
from s3mount.daemon.mounting.helper_process import HelperMounter
from s3mount.daemon.mounting.kernel_mounter import KernelMounter
from s3mount.daemon.mounting.mount_point import (
    MountPoint,
    check_allow_other,
    checked_mountpoint,
    living_mount,
)
from s3mount.daemon.mounting.mounter import Mounter
from s3mount.daemon.mounting.options import MountRequest, is_same_source, mount_request
from s3mount.daemon.mounting.passed_descriptor import (
    PassedDescriptor,
    descriptor_of,
    is_passed_descriptor,
)
from s3mount.daemon.privileges import Account
from s3mount.daemon.sd_notify import Notifier
from s3mount.deferred_imports import deferred_imports
from s3mount.errors import S3MountError, SetupError

_E = TypeVar("_E", bound=Exception)

_SELINUX: Final = Path("/sys/fs/selinux/enforce")  # there while SELinux is on, enforcing or not

log = logging.getLogger(__name__)


def run(config: Config, serve: Serve | None = None) -> int:
    """Mount. Return the exit status: in the foreground after the mount's end, else once it answers.

    Raises SetupError, or UsageError, if the mount cannot begin.
    """
    syscalls.forbid_dumps()
    config, mount_point = _checked(config)
    user = _server(config.mount)
    if config.foreground:
        return _live(config, serve, user, mount_point, Foreground())
    return in_background(
        lambda listener: _live(config, serve, user, mount_point, listener),
        (_descriptor(config, mount_point),),
    )


def is_mounted(config: Config) -> bool:
    """Whether *config*'s bucket and prefix are mounted at its mount point already, and served.

    Raises SetupError if the mount point cannot be reached.
    """
    if is_passed_descriptor(config.mount.mountpoint):
        return False
    entry = living_mount(config.mount)
    request = _request(config)
    return (
        entry is not None
        and entry.fstype == request.fstype
        and is_same_source(request, entry.source)
    )


def _server(mount: MountConfig) -> Account | None:
    """Return the user who serves; None for the present one."""
    if mount.run_as is None:
        return None
    user = privileges.account(mount.run_as)
    if os.geteuid() == 0:
        return user
    if user.uid != os.geteuid() or not _may_mount():
        raise SetupError(
            "--run-as needs root, who mounts before another user serves; "
            "leave it out to mount as yourself"
        )
    return None


def _may_mount() -> bool:
    return syscalls.has_capability(syscalls.CAP_SYS_ADMIN)


def _checked(config: Config) -> tuple[Config, MountPoint | None]:
    """Open the mount point, and put its path as the mount table has it into the Config.

    The mount point is None if a parent has mounted.
    """
    if is_passed_descriptor(config.mount.mountpoint):
        return config, None
    check_allow_other(config.mount)
    mount_point = checked_mountpoint(config.mount)
    mount = dataclasses.replace(config.mount, mountpoint=mount_point.path)
    if config.disk is not None:
        from s3mount.daemon.cache_folder import check_place  # noqa: PLC0415 - few have one

        check_place(config.disk, mount.mountpoint)
    return dataclasses.replace(config, mount=mount), mount_point


def _composition_root(user: Account | None) -> Serve:
    """Import late: what serves takes time, and --help and a mistyped option do not need it.

    Nothing is imported later than this if *user* may not read Python's library.
    """
    try:
        with deferred_imports():
            from s3mount.daemon.wiring import import_late_libraries, serve  # noqa: PLC0415

        if not _may_read_library(user.uid if user else os.geteuid()):
            import_late_libraries()
    except ModuleNotFoundError:
        raise
    except ImportError as exc:
        raise SetupError(
            f"FUSE's library cannot be loaded ({exc}); install it: apt install fuse3"
        ) from exc
    return serve


def _may_read_library(uid: int) -> bool:
    """Whether *uid* may read Python's modules, ours and those of others without privileges.

    As their owner, or as all may: False for a group that may.
    """
    return all(_may_read(Path(str(file)), uid) for file in (os.__file__, __file__, trio.__file__))


def _may_read(file: Path, uid: int) -> bool:
    """Whether *uid* may read *file* by this path, and where it leads."""
    return all(_is_permitted(path, uid) for path in (file.absolute(), file.resolve()))


def _is_permitted(file: Path, uid: int) -> bool:
    for path in (file, *file.parents):
        status = path.stat()
        wanted = stat.S_IROTH if path == file else stat.S_IXOTH
        if not status.st_mode & (wanted << 6 if status.st_uid == uid else wanted):
            return False
    return True


def _live(
    config: Config,
    serve: Serve | None,
    user: Account | None,
    mount_point: MountPoint | None,
    listener: ReadinessListener,
) -> int:
    """Return the exit status of the process that serves."""
    # files of this process, the helper and a credential process (token caches) are its user's alone
    os.umask(0o077)
    signals.block()
    try:
        mounter = _mounter(config, user, mount_point)
        try:
            serve = serve or _composition_root(user)  # after the fork of the helper
            text_format = _text_format(config)
            control = ControlSocket(os.environ, user, is_wanted=config.mount.has_control)
            import_log_libraries(config.log)
            _make_cache_folder(config, user)
            _drop_privileges(user)
            set_up_log(config.log, foreground=config.foreground)
            with _metrics_endpoint(config, text_format) as endpoint:
                life = MountLifecycle(
                    config,
                    serve,
                    mounter,
                    listener,
                    Notifier(os.environ),
                    control=control,
                    endpoint=endpoint,
                )
                return _run(life, listener)
        finally:
            mounter.detach()
    except S3MountError as exc:
        listener.failed(str(exc))
        return 1


def _make_cache_folder(config: Config, user: Account | None) -> None:
    if config.disk is not None and user is not None:
        from s3mount.daemon.cache_folder import make_for  # noqa: PLC0415 - few mounts have one

        make_for(config.disk, user)


def _text_format(config: Config) -> TextFormat | None:
    """Import late: prometheus-client takes time, and few mounts serve metrics."""
    if config.metrics is None:
        return None
    from s3mount.exposition.collector import text_format  # noqa: PLC0415

    return text_format


@contextlib.contextmanager
def _metrics_endpoint(
    config: Config, text_format: TextFormat | None
) -> Iterator[MetricsEndpoint | None]:
    """Listen where the metrics are served, as the user who serves. Raises SetupError."""
    if config.metrics is None or text_format is None:
        yield None
        return
    with contextlib.closing(MetricsEndpoint(config, config.metrics, text_format)) as endpoint:
        yield endpoint


def _drop_privileges(user: Account | None) -> None:
    if user is not None:
        privileges.become(user)
    elif _may_mount():
        privileges.give_up()


def _run(life: MountLifecycle, listener: ReadinessListener) -> int:
    """Run the event loop. Report a failure to the listener, or in the log if it has gone."""
    failure: str | None = None
    try:
        trio.run(life.live)
    except* S3MountError as failures:
        failure = str(_first(failures))
        if life.has_answered:
            log.error("the mount ends: %s", failure)  # noqa: TRY400 - expected: without traceback
    except* Exception as bugs:  # the outermost handler: a bug never ends the mount silently
        failure = f"internal error: {_first(bugs)!r}; {_hint()}"
        log.exception("the mount ends: a bug")
    log_suppressed()
    if failure is not None and not life.has_answered:
        listener.failed(failure)
    return 0 if failure is None else 1


def _hint() -> str:
    """Say where to look for the cause of a bug; an import that failed late looks like one."""
    if os.access(os.__file__, os.R_OK):
        return "the log has its traceback"
    return (
        f"the user who serves may not read Python's library ({os.__file__}); "
        "install s3mount where every user may read it: scripts/install"
    )


def _mounter(config: Config, user: Account | None, mount_point: MountPoint | None) -> Mounter:
    """Return the Mounter that is permitted here; with CAP_SYS_ADMIN, fork the helper process."""
    if mount_point is None:
        return PassedDescriptor(config.mount.mountpoint)
    request = _request(config)
    if user is None and not _may_mount():
        return FusermountMounter(request, mount_point)
    uid, gid = (user.uid, user.gid) if user else (os.geteuid(), os.getegid())
    return HelperMounter(KernelMounter(request, mount_point, uid, gid))


def _request(config: Config) -> MountRequest:
    source_shown = config.mount.source or source(config.store)
    return mount_request(config.mount, source_shown, has_selinux=_SELINUX.exists())


def _descriptor(config: Config, mount_point: MountPoint | None) -> int:
    """Return the descriptor that the child keeps: the mount point, or the mount of a parent."""
    return (
        mount_point.descriptor
        if mount_point is not None
        else descriptor_of(config.mount.mountpoint)
    )


def _first(group: ExceptionGroup[_E]) -> _E:
    """Return the first failure in groups of groups."""
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
