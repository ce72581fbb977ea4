"""Fetch planner: which byte ranges are fetched, for a reader that waits or before one does.

Knows what is missing and how the store sends it; the block loader has the fetches. Synchronous
throughout. Invariants:

1. Only gaps are fetched: no byte that a block holds or will hold.
2. What a reader waits for is fetched in any case. All else is fetched only if there is memory, and
   not at all from a store without ranges, where all that precedes it would come with it.
3. A read of a few bytes, which belongs to no stream, fetches more than these only if that is a
   request to the store: then the bytes around them cost little.
"""

from s3mount.cache.block import Block, VersionBlocks
from s3mount.cache.block_loader import BlockLoader
from s3mount.cache.block_source import BlockSource
from s3mount.cache.ranges import split
from s3mount.s3.model import ByteRange, Reason
from s3mount.s3.object_store import Priority


class FetchPlanner:
    """The ranges that *loader* fetches from *source*, for all versions."""

    def __init__(self, source: BlockSource, loader: BlockLoader) -> None:
        self._source = source
        self._loader = loader

    @property
    def may_prefetch(self) -> bool:
        """Whether a prefetch would be sent at once."""
        return self._source.has_capacity()

    def fetch(
        self,
        version_blocks: VersionBlocks,
        wanted: ByteRange,
        start: int,
        stop: int,
        reason: Reason = Reason.READAHEAD,
    ) -> bool:
        """Fetch what is missing of *wanted*; what overlaps [*start*, *stop*) in any case.

        *reason* is why all else is fetched.
        From a store without ranges a reader gets the whole object by one request, if memory has
        room for it. False if there was no memory for one of the others.
        """
        if len(wanted) < version_blocks.version.size and not self._source.has_ranges():
            return self._fetch_without_ranges(version_blocks, wanted, start, stop)
        if self._source.extent and len(wanted) <= version_blocks.sizes.block:
            wanted = self._narrowed(version_blocks, wanted, start, stop)
        loader, part = self._loader, version_blocks.sizes.part
        for gap in version_blocks.gaps(wanted):
            for byte_range in split(gap, part):
                if byte_range.start < stop and start < byte_range.stop:
                    block = Block(version_blocks, byte_range)
                    loader.start_fetch(block, byte_range, Priority.DEMAND)
                elif not loader.start_prefetch(version_blocks, byte_range, reason):
                    return False
        return True

    def prefetch(self, version_blocks: VersionBlocks, wanted: ByteRange, reason: Reason) -> bool:
        """Fetch what is missing of *wanted*; False if there was no memory for all of it."""
        return self.fetch(version_blocks, wanted, wanted.stop, wanted.stop, reason)

    def _narrowed(
        self, version_blocks: VersionBlocks, wanted: ByteRange, start: int, stop: int
    ) -> ByteRange:
        """What to fetch of *wanted* if a read of less is no request: what the reader waits for."""
        if not wanted.start <= start < stop <= wanted.stop:
            return wanted
        extent = self._source.extent
        least = ByteRange(
            max(wanted.start, start // extent * extent),
            min(wanted.stop, -(-stop // extent) * extent),
        )
        return least if self._source.has(version_blocks.version, least) else wanted

    def _fetch_without_ranges(
        self, version_blocks: VersionBlocks, wanted: ByteRange, start: int, stop: int
    ) -> bool:
        """As `fetch`, if all that precedes a part comes with it: nothing is fetched before demand.

        What a reader waits for is fetched with all that is missing around it, if memory has room.
        """
        size, part = version_blocks.version.size, self._loader.memory.limit // 2
        if size <= part:
            wanted = ByteRange(0, size)
        else:  # in steps that are larger than those of other stores, since each begins anew
            least = version_blocks.sizes.block
            part = max(least, part // 2 // least * least)
            wanted = ByteRange(wanted.start, min(size, max(wanted.stop, wanted.start + part)))
        for gap in version_blocks.gaps(wanted):
            for byte_range in split(gap, part):
                if byte_range.start < stop and start < byte_range.stop and start < stop:
                    block = Block(version_blocks, byte_range)
                    self._loader.start_fetch(block, byte_range, Priority.DEMAND)
        return start < stop
