"""The life of one mount, in trio: attached, answering, told to end, gone.

Knows signals, the launcher and the service manager; not what is served.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from typing import Final

import trio

from s3mount.config import Config, StoreConfig
from s3mount.daemon import signals
from s3mount.daemon.background import ReadinessListener
from s3mount.daemon.interfaces import Serve, Served
from s3mount.daemon.logging_setup import log_suppressed, register_log_metrics
from s3mount.daemon.mounting.mounters import AttachedMount, Mounter
from s3mount.daemon.sd_notify import Notifier
from s3mount.errors import SetupError
from s3mount.metrics import Metrics
from s3mount.printable import LINE_LIMIT, printable

ANSWER_WITHIN: Final = (
    30.0  # seconds for the mount's first answer, once the store has given its own
)
LEAVE_WITHIN: Final = (
    5.0  # seconds for unmounting and the end of the session, before it is taken away
)

log = logging.getLogger(__name__)


class MountLifecycle:
    """One mount, from the start of *serve* to its end.

    State: *_mounted* since `attach`; *_served* since the mount answered, which is when the launcher is told; *_serving* is what
    ends everything when it is cancelled.
    """

    def __init__(
        self,
        config: Config,
        serve: Serve,
        mounter: Mounter,
        launcher: ReadinessListener,
        notifier: Notifier,
    ) -> None:
        self._config = config
        self._serve = serve
        self._mounter = mounter
        self._launcher = launcher
        self._notifier = notifier
        self.metrics = Metrics()
        self._mounted: AttachedMount | None = None
        self._ready: Served | None = (
            None  # what answers the kernel, perhaps before this process has seen it do so
        )
        self._served: Served | None = None
        self._serving = trio.CancelScope()
        self._nursery: trio.Nursery

    @property
    def has_answered(self) -> bool:
        return self._served is not None

    async def live(self) -> None:
        """Return when the mount has ended, whoever ended it. Raises what *serve* raises, in groups."""
        with signals.receiver() as arriving:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(signals.dispatch, arriving, self)
                self._nursery.start_soon(self._follow_launcher)
                with self._serving:
                    await self._serve(self._config, self)
                self._notifier.stopping("unmounted")
                self._nursery.cancel_scope.cancel()

    # Host

    def attach(self) -> str:
        self._mounted = self._mounter.mount()
        return f"/dev/fd/{self._mounted.fuse_fd}"

    def ready(self, served: Served) -> None:
        self._ready = served
        register_log_metrics(self.metrics)
        self._nursery.start_soon(self._announce, served)

    # Heeding

    def end(self) -> None:
        self._notifier.stopping("unmounting")
        self._nursery.start_soon(self._leave)

    def end_at_once(self) -> None:
        """Not even the loop is waited for: it may be what hangs."""
        self._mounter.detach()
        os._exit(0)

    def invalidate(self) -> None:
        if self._served is None:
            if self._ready is not None:  # somebody may have asked it already
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

    # its own tasks

    async def _announce(self, served: Served) -> None:
        with trio.move_on_after(ANSWER_WITHIN) as patience:
            await self._wait_answer()
        if patience.cancelled_caught:
            raise SetupError(
                f"{self._place} was mounted but does not answer; run it with --log-level debug"
            )
        if self._mounted is not None:
            self._mounted.widen_read_ahead()
        self._served = served
        log.info("mounted %s at %s", self._source, self._place)
        self._launcher.ready()
        self._notifier.ready(self._status)
        await self._notifier.feed_watchdog()

    async def _wait_answer(self) -> None:
        """Ask the mount that was made, whatever its path leads to by now. Not in this thread, which has to answer."""
        root = self._mounted.root_fd if self._mounted is not None else None
        if root is None:
            return
        try:
            await trio.to_thread.run_sync(_ask_and_close, root, abandon_on_cancel=True)
        except OSError as exc:
            raise SetupError(f"{self._place} was mounted but answers: {exc.strerror}") from exc

    async def _follow_launcher(self) -> None:
        await self._launcher.wait_gone()
        if not self.has_answered:
            self._serving.cancel()

    async def _leave(self) -> None:
        """As fusermount3 -u would; what is open then keeps nobody from leaving, nor does a limit on threads."""
        with trio.move_on_after(LEAVE_WITHIN), contextlib.suppress(RuntimeError):
            if self._mounted is not None and await _in_thread(self._mounter.unmount):
                await (
                    trio.sleep_forever()
                )  # until the session ends by itself, and this task with it
        self._mounter.detach()
        self._serving.cancel()

    # words

    @property
    def _source(self) -> str:
        return source(self._config.store)

    @property
    def _place(self) -> str:
        return self._config.mount.mountpoint

    @property
    def _status(self) -> str:
        return printable(f"serving {self._source} at {self._place}", LINE_LIMIT)


def source(store: StoreConfig) -> str:
    """What is mounted, as users write it and `df` shows it."""
    return f"s3://{store.bucket}/{store.prefix}".rstrip("/")


def _ask_and_close(root: int) -> None:
    """Closed at once, since a mount with an open descriptor is busy, and nobody could unmount it."""
    try:
        os.fstatvfs(root)
    finally:
        os.close(root)


async def _in_thread(ask: Callable[[], bool]) -> bool:
    """Unmounting may block for as long as somebody else holds a lock of the kernel's."""
    return await trio.to_thread.run_sync(ask, abandon_on_cancel=True)


def _shown(statistics: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in statistics.items())
