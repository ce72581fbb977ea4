"""Buffer pool: the memory of the mount in one budget, reused buffers, and the order of eviction.

An evictable block may be evicted whenever the event loop runs something else. A block that is being
fetched, or that has waiters, is not evictable. A buffer that a source holds is in use until it is
let go, whatever becomes of its block.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

import trio
from cachetools import LRUCache

from s3mount.cache.block import Block
from s3mount.cache.buffer_holds import BufferHolds
from s3mount.cache.idle_buffers import IdleBuffers, allocate

_CANDIDATES: Final = 32  # blocks that are looked at for one that nobody wants
_LEAST_COST: Final = 2048  # bytes; a block of a few bytes still has its objects


class _PendingAllocation:
    """A demand fetch in the queue for memory."""

    __slots__ = ("buffer", "granted", "length")

    def __init__(self, length: int) -> None:
        self.length = length
        self.buffer: memoryview | None = None
        self.granted = trio.Event()


class BufferPool:
    """Lends buffers of at most *limit* bytes in all.

    *on_evict*, set by the owner of the blocks, takes the buffer from a block that is evicted.
    """

    def __init__(self, limit: int, on_evict: Callable[[Block], memoryview] | None = None) -> None:
        self.limit = limit
        self.on_evict = on_evict
        self.holds = BufferHolds(self._on_let_go, block_cost)
        # `used` counts every buffer: lent or in `_idle`. An evictable block is in `_lru` if it was
        # read or demoted, in `_warmed` if a warm-up fetched it and nothing has read it, in
        # `_prefetched` if a stream is expected to read it. `_finished` are those of `_lru` that go
        # first. A pending allocation is served before any new one.
        self.used = 0
        self._idle = IdleBuffers()
        self._lru: LRUCache[Block, Block] = LRUCache(math.inf, getsizeof=_cost)
        self._finished: dict[Block, None] = {}
        self._warmed: dict[Block, None] = {}
        self._warmed_bytes = 0
        self._prefetched: dict[Block, None] = {}
        self._last_accessed: Block | None = None
        self._pending: deque[_PendingAllocation] = deque()

    def acquire_nowait(
        self,
        length: int,
        *,
        spares_warmed: bool = False,
        spares_wanted: bool = False,
        may_queue: bool = False,
    ) -> memoryview | None:
        """A buffer at the cost of blocks that were read, but the last; None if that is too little.

        Warmed blocks may be evicted too, unless it *spares_warmed*. If it *spares_wanted*, the
        first to go must be one whose bytes nobody wants. If it *may_queue*, `acquire` follows, and
        nothing is evicted in place of a finished block that was read last. The buffer may be
        written to at once, while the reply to the reader of that last block is still being sent.
        """
        if spares_wanted and self.free < block_cost(length) and not self._has_unwanted:
            return None
        evictable = self._evictable + (0 if spares_warmed else self._warmed_bytes)
        evictable -= self.holds.lent_bytes
        used = self.used - self._idle.octets + block_cost(length)
        if may_queue and self._last_accessed in self._finished:
            evictable = 0  # `acquire` evicts that block first
        is_too_little = used - evictable > self.limit
        return None if self._pending or is_too_little else self._find_buffer(length)

    async def acquire(self, length: int) -> memoryview:
        """A buffer for a demand fetch, at the cost of any block; queues while all memory is in use.

        A checkpoint only if it queues. *length* is at most the limit.
        """
        if self._last_accessed in self._finished:
            self._last_accessed = None  # its reply was sent: its reader ran in another task
        if not self._pending and (buffer := self._find_buffer(length)) is not None:
            return buffer
        allocation = _PendingAllocation(length)
        self._pending.append(allocation)
        try:
            await allocation.granted.wait()
        except BaseException:  # raised again; its place, or a buffer granted meanwhile, is not lost
            self._withdraw(allocation)
            raise
        assert allocation.buffer is not None
        return allocation.buffer

    def release(self, buffer: memoryview) -> None:
        """Take *buffer* back, into which nothing points any more."""
        self._put_idle(buffer)
        self._serve_pending()

    def mark_evictable(self, block: Block, *, is_expected: bool) -> None:
        """Let *block*, which is ready, be evicted; later if a stream *is_expected* there."""
        if block.is_warmed and not block.was_accessed:
            self._warmed[block] = None
            self._warmed_bytes += _cost(block)
        elif block.was_accessed or not is_expected:
            self._lru[block] = block
        else:
            self._prefetched[block] = None
        self._serve_pending()

    def touch(self, block: Block) -> None:
        """Account for a read of *block*: it becomes the last of its kind to be evicted."""
        block.was_accessed = True
        self._last_accessed = block
        self._finished.pop(block, None)
        if block in self._prefetched:
            del self._prefetched[block]
            self._lru[block] = block
        elif block in self._lru:
            self._lru[block]  # the lookup makes it the latest
        elif block in self._warmed:
            self._unmark_warmed(block)
            self._lru[block] = block

    def demote(self, block: Block) -> None:
        """Let *block* be evicted before prefetched ones: no stream is expected to read it."""
        if block in self._prefetched:
            del self._prefetched[block]
            self._lru[block] = block

    def finish(self, block: Block) -> None:
        """Let *block* be evicted before others: its only reader has read all of it, in order.

        If it was read last, it makes way for a demand fetch that waits, and for no other.
        """
        if block in self._lru:
            self._finished[block] = None

    def unmark(self, block: Block) -> None:
        """Let *block* not be evicted: its buffer is the caller's again."""
        self._finished.pop(block, None)
        self._prefetched.pop(block, None)
        self._lru.pop(block, None)
        if block in self._warmed:
            self._unmark_warmed(block)

    @property
    def free(self) -> int:
        """Bytes that can be lent without evicting a block."""
        return 0 if self._pending else self.limit - self.used + self._idle.octets

    def unused_blocks(self) -> list[Block]:
        """The evictable blocks that were read, and whose readers have all closed."""
        return [block for block in self._lru if self.is_unused(block)]

    def is_unused(self, block: Block) -> bool:
        """Whether *block* is one of `unused_blocks`."""
        if block.version_blocks.readers or not block.was_accessed or block not in self._lru:
            return False
        return block.buffer is None or not self.holds.has(block.buffer)

    def evict_unused(self, block: Block) -> None:
        """Evict *block*, one of `unused_blocks`."""
        self._forget_block(self._lru.pop(block))

    def evict_warmed(self, octets: int) -> None:
        """Evict the oldest warmed blocks, until they cost *octets* or more, or none is left.

        What they had is kept by a source.
        """
        while octets > 0 and self._warmed:
            block = next(iter(self._warmed))
            block.was_accessed = True  # not wasted
            octets -= _cost(block)
            self._unmark_warmed(block)
            self._forget_block(block)

    def evict(self, block: Block) -> None:
        """Evict *block*, which is ready and has no waiters, whatever it is kept for.

        Not to be called on behalf of a reader whose reply may be being sent.
        """
        self.unmark(block)
        self._forget_block(block)
        self._serve_pending()

    @property
    def _evictable(self) -> float:
        """Bytes of blocks that were read, without the last of them."""
        last = self._last_accessed
        return self._lru.currsize - (_cost(last) if last is not None and last in self._lru else 0)

    def _find_buffer(self, length: int) -> memoryview | None:
        while True:
            if (idle := self._idle.take(length)) is not None:
                return idle
            if self.used + block_cost(length) <= self.limit:
                buffer = allocate(length)
                self.used += block_cost(length)
                return buffer
            if not (self._drop_idle() or self._evict()):
                return None

    def _evict(self) -> bool:
        """Evict a finished block, else the one read longest ago, else a warmed one, else the last.

        The block that was read last goes after the warmed ones: its reply may be being sent. Of the
        blocks read long ago, one goes first whose bytes nobody wants to keep.
        """
        first = self._oldest_unwanted(self._finished)
        if first is not None:
            block = self._lru.pop(first)
        elif len(self._lru) > self._move_last_accessed_to_end():
            first = self._oldest_unwanted(self._lru) if self.holds.is_used else None
            block = self._lru.popitem()[0] if first is None else self._lru.pop(first)
        elif self._warmed:
            block = next(reversed(self._warmed))  # the last, so that the first files stay whole
            self._unmark_warmed(block)
        elif self._lru:
            block, _ = self._lru.popitem()
        elif self._prefetched:
            block, _ = self._prefetched.popitem()
        else:
            return False
        self._forget_block(block)
        return True

    @property
    def _has_unwanted(self) -> bool:
        """Whether the next block to be evicted is one whose bytes nobody wants to keep."""
        return (
            not self.holds.is_used
            or self._oldest_unwanted(self._finished) is not None
            or self._oldest_unwanted(self._lru) is not None
        )

    def _oldest_unwanted(self, blocks: Iterable[Block]) -> Block | None:
        """One of those of *blocks* that came first, whose bytes nobody wants, if there is one.

        Not the block that was read last.
        """
        for block in islice(blocks, _CANDIDATES):
            buffer = block.buffer
            is_last = block is self._last_accessed
            if buffer is not None and not is_last and not self.holds.is_wanted(buffer):
                return block
        return None

    def _move_last_accessed_to_end(self) -> bool:
        """Make the block that was read last the latest, after those demoted since; if it is one."""
        last = self._last_accessed
        if last is None or last not in self._lru:
            return False
        self._lru[last]  # the lookup makes it the latest
        return True

    def _forget_block(self, block: Block) -> None:
        if block is self._last_accessed:
            self._last_accessed = None
        self._finished.pop(block, None)
        assert self.on_evict is not None
        self._put_idle(self.on_evict(block))

    def _on_let_go(self, buffer: memoryview | None) -> None:
        """A buffer is held no longer, which its block has returned, or has still (None)."""
        if buffer is not None:
            self._put_idle(buffer)
        self._serve_pending()

    def _unmark_warmed(self, block: Block) -> None:
        del self._warmed[block]
        self._warmed_bytes -= _cost(block)

    def _put_idle(self, buffer: memoryview) -> None:
        if self.holds.is_used and self.holds.keep(buffer):
            return
        if not self._idle.put(buffer):
            self.used -= block_cost(len(buffer))

    def _drop_idle(self) -> bool:
        dropped = self._idle.drop()
        self.used -= dropped
        return dropped > 0

    def _serve_pending(self) -> None:
        while self._pending and (buffer := self._find_buffer(self._pending[0].length)) is not None:
            allocation = self._pending.popleft()
            allocation.buffer = buffer
            allocation.granted.set()

    def _withdraw(self, allocation: _PendingAllocation) -> None:
        if allocation.buffer is None:
            self._pending.remove(allocation)
            self._serve_pending()
        else:
            self.release(allocation.buffer)


def block_cost(length: int) -> int:
    """What a block of *length* bytes takes of the limit."""
    return max(length, _LEAST_COST)


def _cost(block: Block) -> int:
    return block_cost(len(block))
