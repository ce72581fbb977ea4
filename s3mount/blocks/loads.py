"""Loads: how missing bytes become blocks, one GET each, and how readers wait for them.

Everything but a load itself and the waiting for it is synchronous, therefore atomic. Each load is a task in the nursery handed
in. Knows no readahead: others say what to fetch and whether somebody waits for it.
"""

import logging
from collections.abc import Iterable
from typing import Final

import trio

from s3mount.blocks.block import Block, Flight, Shelf
from s3mount.blocks.memory import Memory
from s3mount.blocks.spans import chop
from s3mount.errors import S3MountError, StoreFailed
from s3mount.s3.store import ObjectStore, Urgency
from s3mount.s3.values import Span

log = logging.getLogger(__name__)

_AHEAD_FLIGHTS: Final = 64  # more would only queue in the store; the next read asks again


class Loads:
    """All loads of the mount, and what they brought."""

    def __init__(self, store: ObjectStore, nursery: trio.Nursery, memory_limit: int) -> None:
        self._store = store
        self._nursery = nursery
        self.memory = Memory(memory_limit, self._surrender)
        # so that a demanded load finds room without waiting for speculative ones
        self.ahead_limit = memory_limit * 3 // 4
        # `_flights` are the loads under way; the two counts are of the speculative ones among them.
        self._flights: dict[Flight, Block] = {}
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

    def fetch(self, shelf: Shelf, wanted: Span, demanded: Span) -> bool:
        """Load what is missing of *wanted*; the loads that bring bytes of *demanded* are sent in any case.

        False if there was no room for one of the others.
        """
        for gap in list(shelf.gaps(wanted)):
            for span in chop(gap, shelf.geometry.part):
                if span.start < demanded.stop and demanded.start < span.stop:
                    self._launch(Block(shelf, span), Flight(Urgency.DEMANDED))
                elif not self._launch_ahead(shelf, span):
                    return False
        return True

    def fetch_ahead(self, shelf: Shelf, wanted: Span) -> bool:
        """Load what is missing of *wanted*, for which nobody waits yet; False if there was no room for all of it."""
        return all(
            self._launch_ahead(shelf, span)
            for gap in list(shelf.gaps(wanted))
            for span in chop(gap, shelf.geometry.part)
        )

    def adopt(self, shelf: Shelf, span: Span, content: bytes) -> None:
        """Keep the bytes of *span* that came by another way, if there is room."""
        buffer = self.memory.take_nowait(len(span))
        if buffer is not None:
            buffer[:] = content
            block = Block(shelf, span, buffer)
            shelf.add(block)
            self._keep(block)

    async def wait_landed(self, block: Block) -> memoryview:
        """The bytes of *block*, which is in flight; good until the next checkpoint.

        A checkpoint. Raises what the load failed with.
        """
        flight = block.flight
        assert flight is not None
        block.waiters += 1
        block.was_read = True
        flight.demand.rise()
        try:
            await flight.ended.wait()
        finally:
            block.waiters -= 1
            buffer = block.buffer  # before `_keep`, which may evict it at once
            if block.is_landed and not block.waiters:
                self._keep(block)
        if flight.error is not None:
            raise flight.error.with_traceback(None)  # all who waited raise the same one; let none pile its frames on it
        assert buffer is not None
        return buffer

    def orphan(self, blocks: Iterable[Block], *, may_cancel: bool) -> None:
        """No reader is about to come by *blocks*; if also *may_cancel*, none will, and those nobody waits for are cancelled."""
        for block in blocks:
            if block.flight is None:
                self.memory.orphan(block)
            elif may_cancel and not block.waiters:
                block.shelf.remove(block)
                block.flight.scope.cancel()

    def cancel_all(self) -> None:
        """Cancel every load; whoever waits for one is told so."""
        for flight in list(self._flights):
            flight.scope.cancel()

    def _launch_ahead(self, shelf: Shelf, span: Span) -> bool:
        if self._ahead_flights >= _AHEAD_FLIGHTS or self._ahead_bytes + len(span) > self.ahead_limit:
            return False
        buffer = self.memory.take_nowait(len(span))
        if buffer is None:
            return False
        self._ahead_flights += 1
        self._ahead_bytes += len(span)
        self._launch(Block(shelf, span, buffer), Flight(Urgency.AHEAD))
        return True

    def _launch(self, block: Block, flight: Flight) -> None:
        block.flight = flight
        block.shelf.add(block)
        self._flights[flight] = block
        self.started += 1
        self._nursery.start_soon(self._load, block, flight)

    async def _load(self, block: Block, flight: Flight) -> None:
        try:
            with flight.scope:
                if block.buffer is None:
                    block.buffer = await self.memory.take(len(block))
                await self._store.get_range(block.shelf.version, block.span, block.buffer, flight.demand)
                self.bytes_fetched += len(block)
                if not flight.scope.cancel_called:
                    block.flight = None
        except Exception as exc:  # noqa: BLE001 - whatever it is, a bug too, those who wait have to be told
            flight.error = exc
            _report(block, exc)
        finally:
            self._settle(block, flight)

    def _settle(self, block: Block, flight: Flight) -> None:
        """Account for a load that ended in whatever way, and wake those who wait for it."""
        del self._flights[flight]
        if flight.urgency is Urgency.AHEAD:
            self._ahead_flights -= 1
            self._ahead_bytes -= len(block)
        if block.flight is not None:
            self._discard(block, flight)
        elif not block.waiters:
            self._keep(block)
        flight.ended.set()

    def _discard(self, block: Block, flight: Flight) -> None:
        """Forget a block that will not land."""
        if block.shelf.find(block.start) is block:
            block.shelf.remove(block)
        if flight.error is None:
            flight.error = StoreFailed(
                "the load was given up", bucket=block.shelf.version.bucket, key=block.shelf.version.key
            )
            self.cancelled += 1
        else:
            self.failed += 1
        if (buffer := block.buffer) is not None:
            block.buffer = None
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


def _report(block: Block, exc: Exception) -> None:
    key = block.shelf.version.key
    if not isinstance(exc, S3MountError):
        log.error("bug in a load of %r", key, exc_info=exc)
    elif not block.waiters:
        log.debug("fetching ahead failed for %r: %s", key, exc)
