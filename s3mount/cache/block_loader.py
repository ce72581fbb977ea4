"""Block loader: fetches missing bytes as blocks, one GET each, and lets readers wait for them.

Everything but waiting is synchronous, therefore atomic. A fetch has no task, unless it has to wait
for memory: then it has one in the nursery that is handed in. Knows no readahead: its callers say
what to fetch, and whether a reader waits for it.

Invariants:

1. A fetch is finalized exactly once, however it ends: its buffer is kept with the block or given
   back, its share of prefetch is free, and its waiters are woken. None of that raises: it would end
   the nursery, or the event loop, and with them the mount.
2. A fetch that no reader will want is cancelled at once: when the last reader of its version
   closes, or with its last waiter after that. Its bytes may be fetched again at once.
3. A cancelled fetch keeps its buffer, and its share of prefetch, until nobody writes to the buffer.
4. A buffer that its source has lost is given back, and the fetch goes on with another one.
5. A failure is raised to each waiter as an exception of its own. If nobody waits it is logged; a
   bug is logged always, with its traceback.
"""

from collections.abc import Iterable
from typing import Final

import trio

from s3mount import unawaited
from s3mount.cache.block import Block, BlockFetch, VersionBlocks
from s3mount.cache.block_source import BlockSource, BufferLost
from s3mount.cache.buffer_pool import BufferPool
from s3mount.cache.link_load import LEAST_LENGTH
from s3mount.cache.prefetch_budget import PrefetchBudget
from s3mount.errors import StaleVersion, StoreError
from s3mount.s3.model import ByteRange, ObjectVersion, Reason
from s3mount.s3.object_store import Priority
from s3mount.unawaited import ExpectedError

# what a user has asked for, and no reader is expected at
_BACKGROUND: Final = frozenset((Reason.WARM, Reason.VERIFY))


class BlockLoader:
    """All fetches of the mount, and the memory that they fill."""

    def __init__(self, source: BlockSource, nursery: trio.Nursery, memory: BufferPool) -> None:
        self._source = source
        self._nursery = nursery
        self.memory = memory
        memory.on_evict = self._evict_buffer
        # the fetches in flight, of which `prefetches` counts those that no reader waited for
        self._fetches: dict[BlockFetch, None] = {}
        self.prefetches = PrefetchBudget(memory.limit)
        # statistics
        self.started = 0
        self.failed = 0
        self.cancelled = 0
        self.bytes_fetched = 0
        self.bytes_wasted = 0

    @property
    def in_flight(self) -> int:
        return len(self._fetches)

    def start_fetch(
        self,
        block: Block,
        byte_range: ByteRange,
        priority: Priority,
        reason: Reason = Reason.READ,
    ) -> None:
        """Fetch *block*: now, or in a task once there is memory."""
        fetch = block.fetch = BlockFetch(block, priority, reason, self._complete)
        block.version_blocks.add(block)
        self._fetches[fetch] = None
        self.started += 1
        try:
            if block.buffer is None:
                block.buffer = self.memory.acquire_nowait(len(block), may_queue=True)
            if block.buffer is None:
                self._start_waiting(fetch)
            else:
                if len(block) >= LEAST_LENGTH:
                    fetch.began = trio.current_time(), self.prefetches.readers.octets
                fetch.read = self._source.start_read(
                    block.version_blocks.version,
                    byte_range,
                    block.buffer,
                    fetch.end,
                    priority,
                    reason=reason,
                )
        except BaseException:  # raised again: the caller is told, and nobody waits yet
            self._finalize(fetch)
            raise

    def start_prefetch(
        self, version_blocks: VersionBlocks, byte_range: ByteRange, reason: Reason
    ) -> bool:
        """Fetch *byte_range* before a reader wants it; False if there is no memory for prefetch.

        Warm-ups and verifications, which may wait for their room among the prefetches, have made
        sure of it.
        """
        length, is_warm = len(byte_range), reason in _BACKGROUND
        if not is_warm and not self.prefetches.has_room(length):
            return False
        buffer = self.memory.acquire_nowait(
            length,
            spares_warmed=reason is not Reason.READAHEAD,
            spares_wanted=not self.prefetches.may_displace(length),
        )
        if buffer is None:
            return False
        self.prefetches.acquire(length, is_warm=is_warm)
        block = Block(version_blocks, byte_range, buffer)
        block.is_warmed = reason is Reason.WARM
        self.start_fetch(block, byte_range, Priority.PREFETCH, reason)
        return True

    def insert(self, version_blocks: VersionBlocks, wanted: ByteRange, content: bytes) -> None:
        """Keep *content*, the bytes of *wanted* that came by another way, if there is memory."""
        buffer = self.memory.acquire_nowait(len(wanted))
        if buffer is not None:
            buffer[:] = content
            block = Block(version_blocks, wanted, buffer)
            version_blocks.add(block)
            version_blocks.has_had_bytes = True
            self.mark_evictable(block)
            self._source.keep(version_blocks.version, wanted.start, content)

    async def wait_ready(self, block: Block) -> memoryview:
        """The bytes of *block*, which is being fetched; valid until the next checkpoint.

        A checkpoint. Raises what the fetch failed with, as an exception of the caller's own.
        """
        fetch = block.fetch
        assert fetch is not None
        block.waiters += 1
        block.was_accessed = True
        try:
            fetch.promote()
            await fetch.ended.wait()
        finally:
            block.waiters -= 1
            buffer = block.buffer  # before it is marked evictable, which may evict it at once
            if not block.waiters:
                self._on_last_waiter_gone(block, fetch)
        if fetch.error is not None:
            raise fetch.error.detached()
        assert buffer is not None
        return buffer

    def release(self, blocks: Iterable[Block], *, may_cancel: bool) -> None:
        """No reader is expected at *blocks*; if *may_cancel*, cancel fetches without waiters."""
        for block in blocks:
            if block.fetch is None:
                self.memory.demote(block)
            elif may_cancel and not block.waiters:
                self._cancel(block, block.fetch)

    def cancel_all(self) -> None:
        """Cancel every fetch; its waiters get an error."""
        for fetch in list(self._fetches):
            fetch.cancel()

    def _on_last_waiter_gone(self, block: Block, fetch: BlockFetch) -> None:
        if block.is_ready:
            self.mark_evictable(block)
        elif not (block.version_blocks.readers or fetch.ended.is_set() or fetch.is_cancelled):
            self._cancel(block, fetch)

    @staticmethod
    def _cancel(block: Block, fetch: BlockFetch) -> None:
        block.version_blocks.remove(block)
        fetch.cancel()

    def _start_waiting(self, fetch: BlockFetch) -> None:
        fetch.scope = trio.CancelScope()
        self._nursery.start_soon(self._wait_for_memory, fetch, fetch.scope)

    async def _wait_for_memory(self, fetch: BlockFetch, scope: trio.CancelScope) -> None:
        block = fetch.block
        try:
            with scope:
                block.buffer = await self.memory.acquire(len(block))
                if not fetch.is_cancelled:
                    self._start_read(fetch, block.buffer)
        except Exception as exc:  # noqa: BLE001 - whatever it is, a bug too, the waiters are told
            fetch.fail(exc)
        finally:
            if fetch.read is None:
                self._finalize(fetch)

    def _start_read(self, fetch: BlockFetch, buffer: memoryview) -> None:
        """Read the block of *fetch* some time after that has started."""
        block = fetch.block
        fetch.read = self._source.start_read(
            block.version_blocks.version,
            ByteRange(block.start, block.stop),
            buffer,
            fetch.end,
            Priority.DEMAND if block.waiters else fetch.priority,
            reason=fetch.reason,
        )

    def _complete(
        self, fetch: BlockFetch, version: ObjectVersion, error: BaseException | None
    ) -> None:
        """Account for the end of the read of *fetch*. Called by the event loop."""
        try:
            if error is None:
                self._on_success(fetch, version)
            elif self._read_by_version_id(fetch, version, error) or self._reread(fetch, error):
                return
            else:
                self._on_failure(fetch, error)
        except Exception as exc:  # noqa: BLE001 - a bug too: the waiters are told
            fetch.fail(exc)
        self._finalize(fetch)

    def _on_success(self, fetch: BlockFetch, version: ObjectVersion) -> None:
        """The bytes are here. A cancelled block stays in fetch until `_finalize` discards it."""
        block = fetch.block
        self.bytes_fetched += len(block)
        self._record_time(fetch)
        block.version_blocks.has_had_bytes = True
        if version.version_id is not None and not block.version_blocks.version.is_replaced:
            block.version_blocks.version = version
        if not fetch.is_cancelled:
            block.fetch = None

    def _record_time(self, fetch: BlockFetch) -> None:
        """Have the link know how long a large fetch took, unless a tier above the store had it."""
        if fetch.began is None:
            return
        block, (began_at, in_flight) = fetch.block, fetch.began
        version, byte_range = block.version_blocks.version, ByteRange(block.start, block.stop)
        if not self._source.has(version, byte_range):
            seconds = trio.current_time() - began_at
            self.prefetches.link.record(len(block), seconds, in_flight)

    def _read_by_version_id(
        self, fetch: BlockFetch, version: ObjectVersion, error: BaseException
    ) -> bool:
        """Read a replaced version again if its id was told since the read began; whether it is."""
        block, blocks = fetch.block, fetch.block.version_blocks
        if (
            not isinstance(error, StaleVersion)
            or version.version_id is not None  # the read has tried it
            or blocks.version.version_id is None
            or block.buffer is None
            or fetch.is_cancelled
        ):
            return False
        blocks.version = version.with_version_id(blocks.version.version_id, is_replaced=True)
        self._start_read(fetch, block.buffer)
        return True

    def _reread(self, fetch: BlockFetch, error: BaseException) -> bool:
        """Read into another buffer if the source holds the first one; whether it is so."""
        if fetch.is_cancelled or not isinstance(error, BufferLost):
            return False
        block, fetch.read = fetch.block, None
        self._return_buffer(block)
        block.buffer = self.memory.acquire_nowait(len(block), may_queue=True)
        if block.buffer is None:
            self._start_waiting(fetch)
        else:
            self._start_read(fetch, block.buffer)
        return True

    @staticmethod
    def _on_failure(fetch: BlockFetch, error: BaseException) -> None:
        if not isinstance(error, ExpectedError):  # that is a cancellation
            fetch.fail(error)

    def _finalize(self, fetch: BlockFetch) -> None:
        """Account for a fetch that ended in whatever way, and wake its waiters. Raises nothing."""
        fetch.read = None
        try:
            self._record_end(fetch)
        except Exception as exc:  # noqa: BLE001 - a bug must not end the mount, nor hold a reader
            fetch.fail(exc)
            unawaited.call("the release of a block", self._abandon, fetch)
        fetch.ended.set()

    def _record_end(self, fetch: BlockFetch) -> None:
        block = fetch.block
        del self._fetches[fetch]
        if fetch.priority is Priority.PREFETCH:
            self.prefetches.release(len(block), is_warm=fetch.reason in _BACKGROUND)
        if block.fetch is not None:
            self._discard(block, fetch)
        elif not block.waiters:
            self.mark_evictable(block)

    def _abandon(self, fetch: BlockFetch) -> None:
        """Forget a block about which nothing is certain any more."""
        block = fetch.block
        block.fetch = fetch
        self.failed += 1
        if block.version_blocks.find(block.start) is block:
            block.version_blocks.remove(block)
        self.memory.unmark(block)
        self._return_buffer(block)

    def _discard(self, block: Block, fetch: BlockFetch) -> None:
        """Forget a block that will not become ready."""
        if block.version_blocks.find(block.start) is block:
            block.version_blocks.remove(block)
        if fetch.error is None:
            version = block.version_blocks.version
            fetch.error = StoreError(
                "the read was cancelled", bucket=version.bucket, key=version.key
            )
            self.cancelled += 1
        else:
            self.failed += 1
        block.fetch = None  # a cycle, which would keep all of the version until the collector runs
        self._return_buffer(block)

    def _return_buffer(self, block: Block) -> None:
        buffer, block.buffer = block.buffer, None
        if buffer is not None:
            self.memory.release(buffer)

    def mark_evictable(self, block: Block) -> None:
        """Let *block*, which is ready and has no waiters, be evicted."""
        self.memory.mark_evictable(
            block, is_expected=block.version_blocks.is_expected(block.start, block.stop)
        )

    def _evict_buffer(self, block: Block) -> memoryview:
        """The buffer of a ready block, which is forgotten."""
        buffer, block.buffer = block.buffer, None
        assert buffer is not None
        block.version_blocks.remove(block)
        if not block.was_accessed:
            self.bytes_wasted += len(block)
        return buffer
