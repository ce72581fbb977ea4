"""Background reader: all bytes of an object in order, behind every other reader.

Knows versions and memory, never names. Invariants:

1. Bytes in memory are read from there. Only gaps are fetched, at prefetch priority, only while a
   prefetch would be sent at once, and within the budget of warm-ups.
2. What it holds at once, being fetched or ready, is at most an eighth of the memory, or one piece.
3. What it fetched, and no other reader has read, is evicted as soon as it is used. So it leaves the
   memory as it found it.
4. A block that it holds is neither evicted nor cancelled. It lets all of them go, however it ends.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import trio

from s3mount.cache.block import Block, BlockFetch, VersionBlocks
from s3mount.cache.block_loader import BlockLoader
from s3mount.cache.block_source import BlockSource
from s3mount.errors import StoreError
from s3mount.s3.model import ByteRange, ObjectVersion, Reason

PIECES_AHEAD: Final = 4
MEMORY_SHARE: Final = 8  # one of so many bytes of the memory
PAUSE: Final = 0.02  # seconds between two looks for a free connection
MEMORY_TIMEOUT: Final = 30.0  # seconds without memory for a single piece

Use = Callable[[memoryview], Awaitable[None]]
"""Use the next bytes, which are valid until it returns."""


class _Held(NamedTuple):
    """Block from *start* on, and its *fetch* if it was not ready when it was held."""

    block: Block
    start: int
    fetch: BlockFetch | None


class BackgroundReader:
    """Reader of one version, to be closed; one `read_all` at a time.

    *cached* are the bytes of the last `read_all` that were in memory before.
    """

    def __init__(self, blocks: VersionBlocks, source: BlockSource, loader: BlockLoader) -> None:
        self._blocks = blocks
        self._source = source
        self._loader = loader
        # the blocks from where bytes are used next, and where the first byte behind them is
        self._held: deque[_Held] = deque()
        self._frontier = 0
        self._started: set[Block] = set()  # of those held
        self.cached: list[ByteRange] = []
        blocks.readers += 1

    @property
    def version(self) -> ObjectVersion:
        """The version, with what is known of it by now."""
        return self._blocks.version

    async def read_all(self, use: Use, *, is_split: bool = False) -> None:
        """Have all bytes used, in order; *is_split*: no request is for the whole object.

        Raises what a fetch has failed with, or StoreError if there is no memory.
        """
        size = self.version.size
        piece = self._piece_size(is_split=is_split)
        self._frontier = 0
        self.cached = []
        try:
            while self._held or self._frontier < size:
                self._hold_ahead(piece)
                if not self._held:
                    await self._wait_room(piece)
                    continue
                await use(await self._next_bytes())
                self._let_go(self._held.popleft())
        finally:
            while self._held:
                self._let_go(self._held.popleft())

    async def drop(self) -> None:
        """Evict all that is ready of the version now, and so have it fetched again.

        A checkpoint only if a reader is about to get one of the blocks.
        """
        blocks = self._blocks.overlapping(0, self.version.size)
        while blocks := [block for block in blocks if block.is_ready]:
            for block in blocks:
                if not block.waiters:
                    self._loader.memory.evict(block)
            if any(block.waiters for block in blocks):
                await trio.lowlevel.checkpoint()
        self._source.evict(self.version)

    def close(self) -> None:
        """End its fetches in flight, unless a reader has the version open."""
        self._blocks.readers -= 1
        if not self._blocks.readers:
            self._loader.release(self._blocks.reset_readahead(), may_cancel=True)

    def _piece_size(self, *, is_split: bool) -> int:
        """The bytes of a request. From a store without ranges, all that precedes comes with it."""
        size, limit = self.version.size, self._loader.memory.limit
        if self._source.has_ranges():
            piece = self._blocks.sizes.part
        else:
            piece = size if size <= limit // 2 else limit // 4
        return max(1, min(piece, -(-size // 2)) if is_split else piece)

    def _hold_ahead(self, piece: int) -> None:
        """Hold the next blocks, and start to fetch those that are missing, as far as may be."""
        most = min(PIECES_AHEAD * piece, self._loader.memory.limit // MEMORY_SHARE)
        while self._frontier < self.version.size:
            held = sum(len(each.block) for each in self._held)
            if self._held and held + piece > most:
                return
            block = self._blocks.find(self._frontier) or self._start_fetch(piece)
            if block is None:
                return
            self._hold(block)

    def _hold(self, block: Block) -> None:
        if block.fetch is None:
            self.cached.append(ByteRange(self._frontier, block.stop))
        block.waiters += 1
        self._loader.memory.unmark(block)
        self._held.append(_Held(block, self._frontier, block.fetch))
        self._frontier = block.stop

    def _start_fetch(self, piece: int) -> Block | None:
        """The block of the next gap, up to a multiple of *piece*; None if it may not be fetched."""
        start = self._frontier
        stop = min(self.version.size, (start // piece + 1) * piece)
        gap = self._blocks.gaps(ByteRange(start, stop))[0]
        if not self._may_fetch(len(gap)):
            return None
        if not self._loader.start_prefetch(self._blocks, gap, Reason.VERIFY):
            return None
        block = self._blocks.find(start)
        if block is not None:
            self._started.add(block)
        return block

    def _may_fetch(self, length: int) -> bool:
        return self._source.has_capacity() and self._loader.prefetches.has_warm_room(length)

    async def _next_bytes(self) -> memoryview:
        """The bytes of the first block that is held. A checkpoint."""
        block, start, fetch = self._held[0]
        if fetch is None:
            await trio.lowlevel.checkpoint()
        else:
            await fetch.ended.wait()
            if fetch.error is not None:
                raise fetch.error.detached()
        assert block.buffer is not None
        return block.buffer[start - block.start :]

    def _let_go(self, held: _Held) -> None:
        block = held.block
        block.waiters -= 1
        is_own = block in self._started
        self._started.discard(block)
        if block.waiters or not block.is_ready:
            return  # who waits for it marks it, or its fetch when it ends
        if is_own and not block.was_accessed:
            block.was_accessed = True  # not wasted
            self._loader.memory.evict(block)
        else:
            self._loader.mark_evictable(block)

    async def _wait_room(self, piece: int) -> None:
        """Wait until a piece may be fetched, or has been, behind no reader's requests."""
        since = None
        while self._blocks.find(self._frontier) is None:
            await trio.sleep(PAUSE)
            if self._blocks.find(self._frontier) is not None:  # another reader's
                return
            # the limiter tells nobody of a permit that is free
            if not self._may_fetch(piece):
                since = None
            elif self._start_fetch(piece) is not None:
                return
            elif since is None:
                since = trio.current_time()
            elif trio.current_time() - since > MEMORY_TIMEOUT:
                version = self.version
                raise StoreError(
                    f"no memory was free for {MEMORY_TIMEOUT:.0f} s: end a warm-up, or mount with "
                    "a larger --memory-limit",
                    bucket=version.bucket,
                    key=version.key,
                )
