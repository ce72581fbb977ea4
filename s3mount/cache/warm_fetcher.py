"""Warm fetcher: objects that a user wants in memory before anything reads them.

Knows versions and memory, never names. Invariants:

1. Only gaps are fetched, at prefetch priority: no byte that a block holds or will hold.
2. No block is evicted but those that were read, and whose readers have all closed (*unused*).
3. No block is evicted for an object that does not fit then. What open objects will take counts.
4. A quarter of the memory is left to readers. What it fetched is evicted for what readers read or
   are expected to read next (readahead), after all that they have read but the last block, and for
   no other prefetch.
5. If the source keeps what it reads (a disk cache), the memory bounds nothing: what was fetched
   and is kept is evicted for what is fetched next, the oldest first.
6. An object that is being fetched has a reader. When the last one closes, fetches in flight that
   nothing waits for are cancelled, as for any other reader.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import trio

from s3mount.cache.block import Block, BlockFetch, VersionBlocks
from s3mount.cache.block_loader import BlockLoader
from s3mount.cache.block_source import BlockSource
from s3mount.cache.buffer_pool import block_cost
from s3mount.cache.ranges import FetchSizes, split
from s3mount.cache.readahead.forward_steps import StepLimit
from s3mount.s3.model import ByteRange, ObjectVersion, Reason

PAUSE: Final = 0.02  # seconds between two looks for a free connection


class Missing(NamedTuple):
    """Part of an object that no block holds: its bytes, requests for it, and memory it takes."""

    octets: int
    requests: int
    memory: int


NOTHING: Final = Missing(0, 0, 0)


class WarmFetcher:
    """Fetches whole objects; one caller at a time takes memory by it.

    *find* returns the blocks of a version, if there are any, *blocks_of* makes them.
    """

    def __init__(
        self,
        find: Callable[[ObjectVersion], VersionBlocks | None],
        blocks_of: Callable[[ObjectVersion], VersionBlocks],
        source: BlockSource,
        loader: BlockLoader,
        sizes: FetchSizes,
    ) -> None:
        self._find = find
        self._blocks_of = blocks_of
        self._source = source
        self._loader = loader
        self._sizes = sizes
        # as of `find_room`, the first to be evicted first, and what they cost at most
        self._unused: deque[Block] = deque()
        self._unused_bytes = 0
        self._unallocated = 0  # bytes that pieces of open objects will take

    def missing(self, version: ObjectVersion) -> Missing:
        """What no block of *version* holds or will hold."""
        if not version.size:
            return NOTHING
        blocks = self._find(version)
        if self._is_kept(version):
            return NOTHING
        if blocks is None and version.size <= self._sizes.part // 2:  # mostly
            return Missing(version.size, 1, block_cost(version.size))
        if (
            version.size > self._loader.memory.limit and not self._source.capacity()
        ):  # never to be fetched, in whatever pieces
            gaps = [] if blocks is None else blocks.gaps(ByteRange(0, version.size))
            return Missing(sum(map(len, gaps)) or version.size, 0, version.size)
        if blocks is None:
            blocks = VersionBlocks(version, self._sizes, StepLimit())
        pieces = self._pieces(blocks)
        lengths = [len(piece) for piece in pieces]
        if lengths and lengths[0] < version.size and not self._source.has_ranges():
            # all that precedes a piece would come with it: never to be fetched, either
            return Missing(sum(lengths), 0, self._loader.memory.limit + 1)
        return Missing(sum(lengths), len(lengths), sum(map(block_cost, lengths)))

    def find_room(self) -> int:
        """Return the bytes of memory that no reader needs, as of now; or what the source keeps."""
        memory = self._loader.memory
        self._unused = deque(sorted(memory.unused_blocks(), key=_last_read))
        self._unused_bytes = sum(map(_cost, self._unused))
        return max(0, memory.free + self._unused_bytes - self._reserve, self._source.capacity())

    def make_room(self, length: int) -> bool:
        """Evict unused blocks until *length* bytes are free, beside what open objects will take.

        False, with no block evicted, if that is impossible. True if each piece will find room.
        """
        return self._source.capacity() > 0 or self._make_room(length + self._unallocated)

    def _make_room(self, length: int) -> bool:
        memory = self._loader.memory
        lacking = length + self._reserve - memory.free
        for block in self._take_unused(lacking):
            memory.evict_unused(block)
        return memory.free >= length + self._reserve

    def _take_unused(self, octets: int) -> list[Block]:
        """Take unused blocks that cost *octets* or more; none if there are too few."""
        taken: list[Block] = []
        if octets > self._unused_bytes:
            return taken
        while octets > 0 and self._unused:
            block = self._unused.popleft()
            self._unused_bytes -= _cost(block)
            if self._loader.memory.is_unused(block):
                taken.append(block)
                octets -= _cost(block)
        if octets <= 0:
            return taken
        self._unused.extend(taken)
        self._unused_bytes = sum(map(_cost, taken))
        return []

    def forget_room(self) -> None:
        """Drop what `find_room` has found."""
        self._unused.clear()
        self._unused_bytes = 0

    def add_unallocated(self, length: int) -> None:
        """Add *length* to the bytes that pieces of open objects will take."""
        self._unallocated += length

    def open(self, version: ObjectVersion) -> "WarmObject":
        """An object to be fetched, and to be closed."""
        return WarmObject(self._blocks_of(version), self)

    async def wait_capacity(self, length: int) -> None:
        """Wait until a request for *length* bytes would be sent at once, behind no reader's."""
        await trio.lowlevel.checkpoint()
        source, prefetches = self._source, self._loader.prefetches
        # the limiter tells nobody of a permit that is free
        while not (source.has_capacity() and prefetches.has_warm_room(length)):  # noqa: ASYNC110
            await trio.sleep(PAUSE)

    async def fetch(self, blocks: VersionBlocks, piece: ByteRange) -> int | None:
        """Fetch what is missing of *piece* at once, after `wait_capacity`; see `WarmObject`."""
        if len(piece) < blocks.version.size and not self._source.has_ranges():
            return None  # all that precedes the piece would come with it
        if self._source.capacity():
            await self._evict_kept(block_cost(len(piece)))
        fetches, is_full = self._start(blocks, piece)
        for fetch in fetches:
            await fetch.ended.wait()
        for fetch in fetches:
            if fetch.error is not None:
                raise fetch.error.detached()
        return None if is_full else sum(len(fetch.block) for fetch in fetches)

    def release(self, blocks: VersionBlocks) -> None:
        """Cancel the fetches of an object without readers that nothing waits for."""
        self._loader.release(blocks.reset_readahead(), may_cancel=True)

    def pieces(self, blocks: VersionBlocks) -> Sequence[ByteRange]:
        return self._pieces(blocks)

    def _is_kept(self, version: ObjectVersion) -> bool:
        """Whether the source is known to have all of *version*."""
        if not self._source.capacity():
            return False
        return self._source.has(version, ByteRange(0, version.size))

    async def _evict_kept(self, length: int) -> None:
        """Make room for *length* bytes by evicting what was fetched before, once that is kept."""
        if self._make_room(length):
            return
        await self._source.wait_kept()
        memory = self._loader.memory
        memory.evict_warmed(length + self._reserve - memory.free)

    def _pieces(self, blocks: VersionBlocks) -> list[ByteRange]:
        whole = ByteRange(0, blocks.version.size)
        part = blocks.sizes.part if self._source.has_ranges() else max(1, len(whole))
        return [piece for gap in blocks.gaps(whole) for piece in split(gap, part)]

    @property
    def _reserve(self) -> int:
        return self._loader.memory.limit - self._loader.prefetches.limit

    def _start(self, blocks: VersionBlocks, piece: ByteRange) -> tuple[list[BlockFetch], bool]:
        """Start to fetch the gaps of *piece*; the fetches, and whether memory was too little."""
        fetches: list[BlockFetch] = []
        for gap in blocks.gaps(piece):
            has_room = self._make_room(block_cost(len(gap)))
            if not has_room or not self._loader.start_prefetch(blocks, gap, Reason.WARM):
                return fetches, True
            block = blocks.find(gap.start)
            if block is not None and block.fetch is not None:
                fetches.append(block.fetch)
        return fetches, False


class WarmObject:
    """One version while it is fetched; *pieces* are the byte ranges to fetch, one request each."""

    def __init__(self, blocks: VersionBlocks, fetcher: WarmFetcher) -> None:
        self._blocks = blocks
        self._fetcher = fetcher
        self.pieces = fetcher.pieces(blocks)
        self._unallocated = {piece: block_cost(len(piece)) for piece in self.pieces}
        fetcher.add_unallocated(sum(self._unallocated.values()))
        blocks.readers += 1

    async def fetch(self, piece: ByteRange) -> int | None:
        """Fetch what is missing of *piece*; its bytes, or None if there is no memory for it.

        A checkpoint. Raises what a fetch has failed with.
        """
        await self._fetcher.wait_capacity(len(piece))
        self._fetcher.add_unallocated(-self._unallocated.pop(piece, 0))
        return await self._fetcher.fetch(self._blocks, piece)

    def close(self) -> None:
        """End its fetches in flight, unless a reader has the version open."""
        self._fetcher.add_unallocated(-sum(self._unallocated.values()))
        self._unallocated.clear()
        self._blocks.readers -= 1
        if not self._blocks.readers:
            self._fetcher.release(self._blocks)


def _cost(block: Block) -> int:
    return block_cost(len(block))


def _last_read(block: Block) -> int:
    return block.version_blocks.last_read
