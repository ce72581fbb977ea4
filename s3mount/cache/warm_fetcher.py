"""Warm fetcher: objects that a user wants in memory before anything reads them.

Knows versions and memory, never names. Invariants:

1. Only gaps are fetched, at prefetch priority: no byte that a block holds or will hold.
2. No block is evicted but those that were read, and whose readers have all closed (*unused*).
3. A quarter of the memory is left to readers. What it fetched is evicted for what readers read or
   are expected to read next (readahead), after all that they have read but the last block, and for
   no other prefetch.
4. An object that is being fetched has a reader. When the last one closes, fetches in flight that
   nothing waits for are cancelled, as for any other reader.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import trio

from s3mount.cache.block import Block, BlockFetch, VersionBlocks
from s3mount.cache.block_loader import PREFETCHES_MAX, BlockLoader
from s3mount.cache.block_source import BlockSource
from s3mount.cache.buffer_pool import block_cost
from s3mount.cache.ranges import FetchSizes, split
from s3mount.s3.model import ByteRange, ObjectVersion, Reason

PAUSE: Final = 0.02  # seconds between two looks for a free connection
IN_FLIGHT_MAX: Final = PREFETCHES_MAX // 2  # the others are readahead's


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
        self._unused: deque[Block] = deque()  # as of `find_room`, the first to be evicted first

    def missing(self, version: ObjectVersion) -> Missing:
        """What no block of *version* holds or will hold."""
        if not version.size:
            return NOTHING
        blocks = self._find(version)
        if blocks is None and version.size <= self._sizes.part // 2:  # mostly
            return Missing(version.size, 1, block_cost(version.size))
        if version.size > self._loader.memory.limit:  # never to be fetched, in whatever pieces
            gaps = [] if blocks is None else blocks.gaps(ByteRange(0, version.size))
            return Missing(sum(map(len, gaps)) or version.size, 0, version.size)
        pieces = self._pieces(VersionBlocks(version, self._sizes) if blocks is None else blocks)
        lengths = [len(piece) for piece in pieces]
        return Missing(sum(lengths), len(lengths), sum(map(block_cost, lengths)))

    def find_room(self) -> int:
        """Return the bytes of memory that no reader needs, as of now."""
        memory = self._loader.memory
        self._unused = deque(sorted(memory.unused_blocks(), key=_last_read))
        unused = sum(block_cost(len(block)) for block in self._unused)
        return max(0, memory.free + unused - self._reserve)

    def make_room(self, length: int) -> bool:
        """Evict unused blocks until *length* bytes are free; whether they are."""
        memory, needed = self._loader.memory, length + self._reserve
        while memory.free < needed and self._unused:
            memory.evict_unused(self._unused.popleft())
        return memory.free >= needed

    def forget_room(self) -> None:
        """Drop what `find_room` has found."""
        self._unused.clear()

    def open(self, version: ObjectVersion) -> "WarmObject":
        """An object to be fetched, and to be closed."""
        return WarmObject(self._blocks_of(version), self)

    async def fetch(self, blocks: VersionBlocks, piece: ByteRange) -> int | None:
        """Fetch what is missing of *piece*; its bytes, or None if there is no memory for it.

        A checkpoint. Raises what a fetch has failed with.
        """
        await self._wait_capacity(len(piece))
        if len(piece) < blocks.version.size and not self._source.has_ranges():
            return None  # all that precedes the piece would come with it
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

    def _pieces(self, blocks: VersionBlocks) -> list[ByteRange]:
        whole = ByteRange(0, blocks.version.size)
        part = blocks.sizes.part if self._source.has_ranges() else max(1, len(whole))
        return [piece for gap in blocks.gaps(whole) for piece in split(gap, part)]

    @property
    def _reserve(self) -> int:
        return self._loader.memory.limit - self._loader.prefetch_limit

    async def _wait_capacity(self, length: int) -> None:
        """Wait until a request of prefetch priority would be sent at once, behind no reader's."""
        await trio.lowlevel.checkpoint()
        # the limiter tells nobody of a permit that is free
        while not (  # noqa: ASYNC110
            self._source.has_capacity()
            and self._loader.has_prefetch_room(length, most=IN_FLIGHT_MAX)
        ):
            await trio.sleep(PAUSE)

    def _start(self, blocks: VersionBlocks, piece: ByteRange) -> tuple[list[BlockFetch], bool]:
        """Start to fetch the gaps of *piece*; the fetches, and whether memory was too little."""
        fetches: list[BlockFetch] = []
        for gap in blocks.gaps(piece):
            has_room = self.make_room(block_cost(len(gap)))
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
        blocks.readers += 1

    async def fetch(self, piece: ByteRange) -> int | None:
        """`WarmFetcher.fetch`."""
        return await self._fetcher.fetch(self._blocks, piece)

    def close(self) -> None:
        """End its fetches in flight, unless a reader has the version open."""
        self._blocks.readers -= 1
        if not self._blocks.readers:
            self._fetcher.release(self._blocks)


def _last_read(block: Block) -> int:
    return block.version_blocks.last_read
