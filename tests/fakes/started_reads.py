"""Reads that are started, and reads that are awaited: each as the other."""

from collections.abc import Awaitable, Callable

import trio

from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_store import ObjectStore, OnReadEnd, Priority
from s3mount.s3.scheduling.cancel_token import RequestCancelledError


async def read_range(
    store: ObjectStore,
    version: ObjectVersion,
    byte_range: ByteRange,
    into: memoryview,
    priority: Priority = Priority.DEMAND,
) -> ObjectVersion:
    """Await a read; a cancellation waits until nobody writes to *into*."""
    ended = trio.Event()
    told: list[tuple[ObjectVersion, BaseException | None]] = []

    def on_end(version: ObjectVersion, error: BaseException | None) -> None:
        told.append((version, error))
        ended.set()

    read = store.start_read(version, byte_range, into, on_end, priority)
    try:
        await ended.wait()
    except trio.Cancelled:
        read.cancel()
        with trio.CancelScope(shield=True):
            await ended.wait()
        raise
    [(known, error)] = told
    if error is not None:
        try:
            raise error
        finally:
            told.clear()
            del error
    return known


class TaskRead:
    """`StartedRead` of a fake whose reads are coroutines: *run* fills the buffer, or raises."""

    def __init__(
        self, version: ObjectVersion, run: Callable[[], Awaitable[None]], on_end: OnReadEnd
    ) -> None:
        self._version = version
        self._on_end = on_end
        self._scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._run, run)

    def promote(self) -> None: ...

    def cancel(self) -> None:
        self._scope.cancel()

    async def _run(self, run: Callable[[], Awaitable[None]]) -> None:
        error: Exception | None = RequestCancelledError()
        try:
            with self._scope:
                await run()
                error = None
        except Exception as exc:  # noqa: BLE001 - the reader is told
            error = exc
        self._on_end(self._version, error)
