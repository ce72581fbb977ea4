"""The life of one mount, in the event loop: attach, announce, handle signals, unmount.

Knows the signals, the readiness listener and the service manager, but not what is served.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import trio

from s3mount.config import Config, StoreConfig
from s3mount.daemon import signals
from s3mount.daemon.background import ReadinessListener
from s3mount.daemon.control_socket import ControlSocket
from s3mount.daemon.interfaces import Serve, Served
from s3mount.daemon.logging_setup import log_counts, log_suppressed, register_log_metrics
from s3mount.daemon.metrics_endpoint import MetricsEndpoint
from s3mount.daemon.mounting.mount_table import mount_of_device
from s3mount.daemon.mounting.mounter import AttachedMount, Mounter, connection_number
from s3mount.daemon.mounting.passed_descriptor import is_passed_descriptor
from s3mount.daemon.sd_notify import Notifier
from s3mount.errors import SetupError
from s3mount.metrics import Metrics

ANSWER_TIMEOUT: Final = 30.0  # seconds for the mount's first answer
UNMOUNT_TIMEOUT: Final = 5.0  # seconds for unmounting and the end of the session, before detaching

log = logging.getLogger(__name__)


class MountLifecycle:
    """`Host` and `SignalHandler` of one mount, from the start of *serve* to its end.

    State: *_mount* and *_connection*, if the kernel tells it, are set by `attach`; *_ready* by
    `ready`, perhaps after the kernel's first request; *_served* when the mount has answered and was
    announced. *_serving* is cancelled to end *serve*.
    """

    def __init__(
        self,
        config: Config,
        serve: Serve,
        mounter: Mounter,
        listener: ReadinessListener,
        notifier: Notifier,
        *,
        control: ControlSocket,
        endpoint: MetricsEndpoint | None = None,
    ) -> None:
        self._config = config
        self._serve = serve
        self._mounter = mounter
        self._listener = listener
        self._notifier = notifier
        self._control = control
        self._commands = trio.CancelScope()  # of the control socket
        self._endpoint = endpoint
        self.metrics = Metrics()
        self._mount: AttachedMount | None = None
        self._connection: int | None = None
        self._ready: Served | None = None
        self._served: Served | None = None
        self._serving = trio.CancelScope()
        self._nursery: trio.Nursery

    @property
    def has_answered(self) -> bool:
        return self._served is not None

    async def live(self) -> None:
        """Return when the mount has ended. Raises what *serve* raises, in groups."""
        self._notifier.starting(f"waiting for {self._source}", _start_limit(self._config.store))
        with contextlib.closing(self._control), signals.receiver() as received:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(signals.dispatch, received, self)
                self._nursery.start_soon(self._follow_listener)
                self._nursery.start_soon(log_counts)
                with self._serving:
                    await self._serve(self._config, self)
                if self.has_answered:
                    log.info("unmounted %s from %s", self._source, self._mountpoint)
                self._notifier.stopping("unmounted")
                self._nursery.cancel_scope.cancel()

    # Host

    def attach(self) -> str:
        self._mount = self._mounter.mount()
        self._connection = connection_number(self._mount)
        return f"/dev/fd/{self._mount.fuse_fd}"

    def ready(self, served: Served) -> None:
        self._ready = served
        register_log_metrics(self.metrics)
        register_process(self.metrics)
        self._open_control()  # before the first answer: who gets one finds the socket
        if self._endpoint is not None:
            self._nursery.start_soon(self._endpoint.serve, self.metrics)
        self._nursery.start_soon(self._announce, served)

    def ended(self) -> None:
        self._commands.cancel()

    # SignalHandler

    def end(self) -> None:
        self._notifier.stopping("unmounting")
        self._nursery.start_soon(self._unmount)

    def end_at_once(self) -> None:
        """Exit without the event loop, which may be what hangs."""
        self._control.close()
        if self._endpoint is not None:
            self._endpoint.close()
        self._mounter.detach()
        os._exit(0)

    def invalidate(self) -> None:
        if self._served is None:
            if self._ready is not None:  # a user may have read the mount before it was announced
                self._ready.invalidate_all()
            return
        self._notifier.reloading()
        self._served.invalidate_all()
        self._notifier.ready(self._status)
        log.info("invalidated the cached metadata of %s", self._source)

    def log_statistics(self) -> None:
        if self._served is not None:
            log_suppressed()
            statistics = self.metrics.read()
            log.info("statistics: %s", _shown(statistics), extra={"statistics": statistics})

    # tasks

    async def _announce(self, served: Served) -> None:
        with trio.move_on_after(ANSWER_TIMEOUT) as patience:
            await self._wait_answer()
        if patience.cancelled_caught:
            raise SetupError(
                f"{self._mountpoint} was mounted but does not answer; run it with --log-level debug"
            )
        if self._mount is not None:
            self._mount.widen_read_ahead()
        self._served = served
        log.info("mounted %s at %s", self._source, self._mountpoint)
        self._listener.ready()
        self._notifier.ready(self._status)
        served.answered()
        self._nursery.start_soon(self._serve_control, served)
        await self._notifier.feed_watchdog()

    async def _serve_control(self, served: Served) -> None:
        with self._commands:
            await self._control.serve(served)

    def _open_control(self) -> None:
        connection = self._connection
        path = self._mountpoint
        if is_passed_descriptor(path):
            entry = mount_of_device(connection) if connection is not None else None
            path = path if entry is None else entry.path
        self._control.open(self._source, path, connection)

    async def _wait_answer(self) -> None:
        """Wait for the mount's first answer, by descriptor: its path may lead elsewhere by now.

        In a thread, because the event loop has to answer.
        """
        root = self._mount.root_fd if self._mount is not None else None
        if root is None:
            return
        try:
            await trio.to_thread.run_sync(_statvfs_and_close, root, abandon_on_cancel=True)
        except OSError as exc:
            raise SetupError(f"{self._mountpoint} was mounted but fails: {exc.strerror}") from exc

    async def _follow_listener(self) -> None:
        await self._listener.wait_gone()
        if not self.has_answered:
            self._serving.cancel()

    async def _unmount(self) -> None:
        """Unmount as fusermount3 -u does; detach if files are open, or without a thread."""
        with trio.move_on_after(UNMOUNT_TIMEOUT), contextlib.suppress(RuntimeError):
            if self._mount is not None and await _in_thread(self._mounter.unmount):
                await trio.sleep_forever()  # the session ends by itself, and this task with it
        self._mounter.detach()
        self._serving.cancel()

    # texts

    @property
    def _source(self) -> str:
        return source(self._config.store)

    @property
    def _mountpoint(self) -> str:
        return self._config.mount.mountpoint

    @property
    def _status(self) -> str:
        return f"serving {self._source} at {self._mountpoint}"


def register_process(metrics: Metrics) -> None:
    """Register what the process takes."""
    metrics.gauge(
        "process_resident_bytes", "bytes", "Resident memory of the process.", _resident_bytes
    )


def source(store: StoreConfig) -> str:
    """Return the source of the mount, as users write it and `df` shows it."""
    if store.is_account:
        return "s3://"
    return f"s3://{store.bucket}/{store.prefix}".rstrip("/")


def _start_limit(store: StoreConfig) -> float:
    """Return the most seconds of a start: credentials, the first LIST, the mount's first answer."""
    return 2 * store.timeout + store.start_timeout + ANSWER_TIMEOUT


def _resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]  # proc(5)
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _statvfs_and_close(root: int) -> None:
    """Close *root* at once: an open descriptor keeps the mount busy."""
    try:
        os.fstatvfs(root)
    finally:
        os.close(root)


async def _in_thread(unmount: Callable[[], bool]) -> bool:
    """Unmounting may block for as long as another process holds a lock of the kernel."""
    return await trio.to_thread.run_sync(unmount, abandon_on_cancel=True)


def _shown(statistics: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in statistics.items())
