"""Loads: how missing bytes become blocks, one GET each, and how readers wait for them.

Everything but a load itself and the waiting for it is synchronous, therefore atomic. A load is sent at once where it finds memory
and a place among the requests, and needs no task unless the store fails it; every other one is a task in the nursery handed in.
Knows no readahead: others say what to fetch and whether somebody waits for it.

What always holds:

1. A load is settled exactly once, however it ends: its buffer is kept with the block or given back, its share of readahead is free,
   and those who wait are woken. Nothing of that raises: the nursery, or the event loop, would end the mount.
2. A load that no reader will want is cancelled at that moment: when the last reader of its version closes, or when the last who
   waits for it is cancelled after that. Its bytes may be asked for anew at once.
3. A cancelled load keeps its buffer, and its share of readahead, until nobody writes to the buffer.
4. A failure is told to each who waits as an exception of its own. If nobody waits it is logged, a bug always and with its traceback.
"""

import logging
from collections.abc import Iterable
from functools import partial
from typing import Final

import trio

from s3mount import unawaited
from s3mount.cache.block import Block, BlockFetch, VersionBlocks
from s3mount.cache.buffer_pool import BufferPool
from s3mount.cache.ranges import split
from s3mount.errors import S3MountError, StoreError
from s3mount.s3.model import ByteRange
from s3mount.s3.object_store import ObjectStore, Priority, StartedRead

log = logging.getLogger(__name__)

_AHEAD_FLIGHTS: Final = 64  # more would only queue in the store; the next read asks again


class BlockLoader:
    """All loads of the mount, and what they brought."""

    def __init__(self, store: ObjectStore, nursery: trio.Nursery, memory_limit: int) -> None:
        self._store = store
        self._nursery = nursery
        self.memory = BufferPool(memory_limit, self._surrender)
        # so that a demanded load finds room without waiting for speculative ones
        self.ahead_limit = memory_limit * 3 // 4
        # `_flights` are the loads under way; the two counts are of the speculative ones among them.
        self._flights: dict[BlockFetch, Block] = {}
        self._ahead_flights = 0
        self._ahead_bytes = 0
        self.started = 0
        self.failed = 0
        self.cancelled = 0
        self.bytes_fetched = 0
        self.bytes_wasted = 0

    @property
    def under_way(self) -> int:
        return len(self._flights)

    def fetch(self, shelf: VersionBlocks, wanted: ByteRange, demanded: ByteRange) -> bool:
        """Load what is missing of *wanted*; the loads that bring bytes of *demanded* are sent in any case.

        False if there was no room for one of the others.
        """
        for gap in list(shelf.gaps(wanted)):
            for span in split(gap, shelf.geometry.part):
                if span.start < demanded.stop and demanded.start < span.stop:
                    self._launch(Block(shelf, span), BlockFetch(Priority.DEMANDED))
                elif not self._launch_ahead(shelf, span):
                    return False
        return True

    def fetch_ahead(self, shelf: VersionBlocks, wanted: ByteRange) -> bool:
        """Load what is missing of *wanted*, for which nobody waits yet; False if there was no room for all of it."""
        return all(
            self._launch_ahead(shelf, span)
            for gap in list(shelf.gaps(wanted))
            for span in split(gap, shelf.geometry.part)
        )

    @property
    def may_fetch_ahead(self) -> bool:
        """Whether what nobody waits for would be asked for at once."""
        return self._store.has_place()

    def adopt(self, shelf: VersionBlocks, span: ByteRange, content: bytes) -> None:
        """Keep the bytes of *span* that came by another way, if there is room."""
        buffer = self.memory.take_nowait(len(span))
        if buffer is not None:
            buffer[:] = content
            block = Block(shelf, span, buffer)
            shelf.add(block)
            self._keep(block)

    async def wait_landed(self, block: Block) -> memoryview:
        """The bytes of *block*, which is in flight; good until the next checkpoint.

        A checkpoint. Raises what the load failed with, as an exception of the caller's own.
        """
        flight = block.flight
        assert flight is not None
        block.waiters += 1
        block.was_read = True
        flight.demand.rise()
        try:
            await (
                flight.ended.wait()
                if flight.begun is None
                else flight.begun.see_through(flight.ended)
            )
        finally:
            block.waiters -= 1
            buffer = block.buffer  # before `_keep`, which may evict it at once
            if not block.waiters:
                self._left(block, flight)
        if flight.error is not None:
            raise flight.error.detached()
        assert buffer is not None
        return buffer

    def orphan(self, blocks: Iterable[Block], *, may_cancel: bool) -> None:
        """No reader is about to come by *blocks*; if also *may_cancel*, none will, and those nobody waits for are cancelled."""
        for block in blocks:
            if block.flight is None:
                self.memory.orphan(block)
            elif may_cancel and not block.waiters:
                self._cancel(block, block.flight)

    def cancel_all(self) -> None:
        """Cancel every load; whoever waits for one is told so."""
        for flight in list(self._flights):
            flight.give_up()

    def _left(self, block: Block, flight: BlockFetch) -> None:
        """Nobody waits for *block* any more."""
        if block.is_landed:
            self._keep(block)
        elif not (block.shelf.readers or flight.ended.is_set() or flight.is_given_up):
            self._cancel(block, flight)

    @staticmethod
    def _cancel(block: Block, flight: BlockFetch) -> None:
        block.shelf.remove(block)
        flight.give_up()

    def _launch_ahead(self, shelf: VersionBlocks, span: ByteRange) -> bool:
        if (
            self._ahead_flights >= _AHEAD_FLIGHTS
            or self._ahead_bytes + len(span) > self.ahead_limit
        ):
            return False
        buffer = self.memory.take_nowait(len(span))
        if buffer is None:
            return False
        self._ahead_flights += 1
        self._ahead_bytes += len(span)
        self._launch(Block(shelf, span, buffer), BlockFetch(Priority.AHEAD))
        return True

    def _launch(self, block: Block, flight: BlockFetch) -> None:
        block.flight = flight
        block.shelf.add(block)
        self._flights[flight] = block
        self.started += 1
        try:
            flight.begun = self._begin(block, flight)
            if flight.begun is None:
                self._start_task(block, flight)
        except BaseException:  # raised again: the caller is told, and nobody waits yet
            self._settle(block, flight)
            raise

    def _begin(self, block: Block, flight: BlockFetch) -> StartedRead | None:
        """Ask for it at once, if nothing has to be waited for."""
        if block.buffer is None:
            block.buffer = self.memory.take_nowait(len(block))
        if block.buffer is None:
            return None
        attempted = partial(self._attempted, block, flight)
        return self._store.begin_range(
            block.shelf.version, block.span, block.buffer, flight.demand, attempted
        )

    def _attempted(self, block: Block, flight: BlockFetch) -> None:
        """What was asked for at once has ended, with its bytes or without. Called by the event loop."""
        try:
            self._conclude(block, flight)
        except Exception as exc:  # noqa: BLE001 - whatever it is, a bug too, those who wait have to be told
            flight.error = _told(block, exc)
            self._settle(block, flight)

    def _conclude(self, block: Block, flight: BlockFetch) -> None:
        assert flight.begun is not None
        if flight.begun.is_done:
            self._land(block, flight)
        elif not flight.is_given_up:
            self._start_task(block, flight)
            return
        self._settle(block, flight)

    def _start_task(self, block: Block, flight: BlockFetch) -> None:
        flight.scope = trio.CancelScope()
        self._nursery.start_soon(self._load, block, flight, flight.scope)

    async def _load(self, block: Block, flight: BlockFetch, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self._bring(block, flight)
                self._land(block, flight)
        except Exception as exc:  # noqa: BLE001 - whatever it is, a bug too, those who wait have to be told
            flight.error = _told(block, exc)
        finally:
            self._settle(block, flight)

    async def _bring(self, block: Block, flight: BlockFetch) -> None:
        if flight.begun is not None:
            await flight.begun.finish()
            return
        if block.buffer is None:
            block.buffer = await self.memory.take(len(block))
        await self._store.get_range(block.shelf.version, block.span, block.buffer, flight.demand)

    def _land(self, block: Block, flight: BlockFetch) -> None:
        """The bytes are there; if nobody wants them any more, it stays in flight until `_settle` discards it."""
        self.bytes_fetched += len(block)
        if not flight.is_given_up:
            block.flight = None

    def _settle(self, block: Block, flight: BlockFetch) -> None:
        """Account for a load that ended in whatever way, and wake those who wait for it. Raises nothing."""
        try:
            self._account(block, flight)
        except Exception as exc:  # noqa: BLE001 - a bug here must not end the mount, nor leave a reader waiting
            flight.error = _told(block, exc)
            unawaited.call("the release of a block", self._abandon, block, flight)
        flight.ended.set()

    def _account(self, block: Block, flight: BlockFetch) -> None:
        del self._flights[flight]
        if flight.urgency is Priority.AHEAD:
            self._ahead_flights -= 1
            self._ahead_bytes -= len(block)
        if block.flight is not None:
            self._discard(block, flight)
        elif not block.waiters:
            self._keep(block)

    def _abandon(self, block: Block, flight: BlockFetch) -> None:
        """Forget a block of which nothing is sure any more."""
        block.flight = flight
        self.failed += 1
        if block.shelf.find(block.start) is block:
            block.shelf.remove(block)
        self.memory.disown(block)
        self._return_buffer(block)

    def _discard(self, block: Block, flight: BlockFetch) -> None:
        """Forget a block that will not land."""
        if block.shelf.find(block.start) is block:
            block.shelf.remove(block)
        if flight.error is None:
            flight.error = StoreError(
                "the load was given up",
                bucket=block.shelf.version.bucket,
                key=block.shelf.version.key,
            )
            self.cancelled += 1
        else:
            self.failed += 1
        self._return_buffer(block)

    def _return_buffer(self, block: Block) -> None:
        buffer, block.buffer = block.buffer, None
        if buffer is not None:
            self.memory.give_back(buffer)

    def _keep(self, block: Block) -> None:
        self.memory.keep(block, is_awaited=block.shelf.readahead.is_wanted(block.span))

    def _surrender(self, block: Block) -> memoryview:
        """The buffer of a landed block, which is forgotten."""
        buffer, block.buffer = block.buffer, None
        assert buffer is not None
        block.shelf.remove(block)
        if not block.was_read:
            self.bytes_wasted += len(block)
        return buffer


def _told(block: Block, exc: Exception) -> S3MountError:
    """What those who wait for *block* are told of *exc*; logged here if nobody does, or if it is a bug."""
    version = block.shelf.version
    if isinstance(exc, S3MountError):
        failure = exc.detached()
        if not block.waiters:
            log.debug("fetching ahead failed for %r: %s", version.key, exc)
    else:
        failure = StoreError("not loaded, because of a bug", bucket=version.bucket, key=version.key)
        log.error("bug in a load of %r", version.key, exc_info=exc)
    unawaited.drop_frames(exc)  # which refer to the buffer
    return failure
