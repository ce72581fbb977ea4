"""The memory of the mount: one budget, buffers that are used again, and who loses theirs first.

Buffers are writable views, each its own anonymous mapping from 64 KiB up: a fresh 8 MiB buffer page-faults 2048 times, so
it is kept for the next load of its length; and what is dropped goes back to the kernel at once, which a heap with holes
would not do, so the limit holds for resident memory too.

A block kept here may be evicted at any moment in which the event loop runs something else; one in flight, or waited for, is
not kept here.
"""

import math
import mmap
from collections import deque
from collections.abc import Callable
from typing import Final

import trio
from cachetools import LRUCache

from s3mount.cache.block import Block

_MAPPED_FROM: Final = 1 << 16
_LEAST_COST: Final = (
    2048  # bytes; a block of a few bytes still has a shelf, a view and a place in the books
)


class _PendingAllocation:
    """A demanded load in the queue for memory."""

    __slots__ = ("buffer", "granted", "length")

    def __init__(self, length: int) -> None:
        self.length = length
        self.buffer: memoryview | None = None
        self.granted = trio.Event()


class BufferPool:
    """Lends buffers of at most *limit* bytes in all; *on_evict* takes the buffer from a block that must go."""

    def __init__(self, limit: int, on_evict: Callable[[Block], memoryview]) -> None:
        self.limit = limit
        self._on_evict = on_evict
        # `used` counts every buffer: lent or in `_idle`. A landed block that nobody waits for is in `_lru` if it was read
        # or orphaned, in `_prefetched` if a stream will come by. A claim is served before anyone else.
        self.used = 0
        self._idle: dict[int, list[memoryview]] = {}
        self._idle_bytes = 0
        self._lru: LRUCache[Block, Block] = LRUCache(math.inf, getsizeof=_cost)
        self._prefetched: dict[Block, None] = {}
        self._last_accessed: Block | None = None
        self._claims: deque[_PendingAllocation] = deque()

    def acquire_nowait(self, length: int) -> memoryview | None:
        """A buffer at the cost of blocks already read, but for the last of them; None where there is no room for it.

        It may be written to at once: the reply to whoever reads that last block may still be on its way.
        """
        needed = self.used - self._idle_bytes - self._evictable + max(length, _LEAST_COST)
        return None if self._claims or needed > self.limit else self._find_buffer(length)

    async def acquire(self, length: int) -> memoryview:
        """A buffer for a demanded load, at the cost of any block; queues while all memory is in use.

        A checkpoint only if it queues. *length* is at most the limit.
        """
        if not self._claims and (buffer := self._find_buffer(length)) is not None:
            return buffer
        claim = _PendingAllocation(length)
        self._claims.append(claim)
        try:
            await claim.granted.wait()
        except (
            BaseException
        ):  # cancelled: neither its place nor a buffer that has been granted meanwhile may be lost
            self._withdraw(claim)
            raise
        assert claim.buffer is not None
        return claim.buffer

    def release(self, buffer: memoryview) -> None:
        """Nobody points into *buffer* any more."""
        self._put_idle(buffer)
        self._serve_claims()

    def mark_evictable(self, block: Block, *, is_expected: bool) -> None:
        """*block* has landed and nobody waits for it: it may be evicted from now on, later if a stream *is_expected* there."""
        if block.was_accessed or not is_expected:
            self._lru[block] = block
        else:
            self._prefetched[block] = None
        self._serve_claims()

    def touch(self, block: Block) -> None:
        """*block* was read: it becomes the last of its kind to go."""
        block.was_accessed = True
        self._last_accessed = block
        if block in self._prefetched:
            del self._prefetched[block]
            self._lru[block] = block
        elif block in self._lru:
            self._lru[block]  # asking is what refreshes it

    def demote(self, block: Block) -> None:
        """No stream will come by *block*: it may go before those that are waited for."""
        if block in self._prefetched:
            del self._prefetched[block]
            self._lru[block] = block

    def unmark(self, block: Block) -> None:
        """*block* is not to be evicted: its buffer is the caller's again."""
        self._prefetched.pop(block, None)
        self._lru.pop(block, None)

    @property
    def _evictable(self) -> float:
        """Bytes of blocks already read, without the last of them."""
        last = self._last_accessed
        return self._lru.currsize - (_cost(last) if last is not None and last in self._lru else 0)

    def _find_buffer(self, length: int) -> memoryview | None:
        while True:
            if idle := self._idle.get(length):
                self._idle_bytes -= length
                return idle.pop()
            if self.used + max(length, _LEAST_COST) <= self.limit:
                buffer = _allocate(length)
                self.used += max(length, _LEAST_COST)
                return buffer
            if not (self._drop_idle() or self._evict()):
                return None

    def _evict(self) -> bool:
        """The block read longest ago gives up its buffer; with none, the unread one that a stream reaches last."""
        if self._lru:
            block, _ = self._lru.popitem()
        elif self._prefetched:
            block, _ = self._prefetched.popitem()
        else:
            return False
        if block is self._last_accessed:
            self._last_accessed = None
        self._put_idle(self._on_evict(block))
        return True

    def _put_idle(self, buffer: memoryview) -> None:
        length = len(buffer)
        if length < _MAPPED_FROM:
            self.used -= max(length, _LEAST_COST)
            return
        self._idle.setdefault(length, []).append(buffer)
        self._idle_bytes += length

    def _drop_idle(self) -> bool:
        for length, idle in list(self._idle.items()):
            if idle:
                idle.pop()
                self.used -= length
                self._idle_bytes -= length
                return True
            del self._idle[length]
        return False

    def _serve_claims(self) -> None:
        while self._claims and (buffer := self._find_buffer(self._claims[0].length)) is not None:
            claim = self._claims.popleft()
            claim.buffer = buffer
            claim.granted.set()

    def _withdraw(self, claim: _PendingAllocation) -> None:
        if claim.buffer is None:
            self._claims.remove(claim)
            self._serve_claims()
        else:
            self.release(claim.buffer)


def _cost(block: Block) -> int:
    return max(len(block), _LEAST_COST)


def _allocate(length: int) -> memoryview:
    if length < _MAPPED_FROM:
        return memoryview(bytearray(length))
    return memoryview(mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
