"""Readahead scheduler: which streams of the mount read ahead, and how much memory each may use.

Joins the readahead policy, which knows one version, with the fetch planner, which knows none of it.
Synchronous throughout.
"""

from typing import Final

from s3mount.cache.block import VersionBlocks
from s3mount.cache.block_loader import BlockLoader
from s3mount.cache.fetch_planner import FetchPlanner
from s3mount.cache.readahead import SequentialStream
from s3mount.s3.model import ByteRange

# A stream is idle if it did not move while so many reads went elsewhere: in its own version (32 MiB
# or more: its reader has gone off with a seek), or in others (a player that pauses).
_IDLE_AFTER: Final = 256
_ALL_IDLE_AFTER: Final = 4096


class ReadaheadScheduler:
    """The streams that read ahead, over all versions; they share the memory for prefetches."""

    def __init__(self, planner: FetchPlanner, loader: BlockLoader, prefetch_limit: int) -> None:
        self._planner = planner
        self._loader = loader
        self._prefetch_limit = prefetch_limit  # bytes for all streams together; 0: no readahead
        # `_share` is what each of `_streams` may have ahead, in bytes. `reads` counts all reads,
        # and is the only clock here.
        self._streams: dict[SequentialStream, VersionBlocks] = {}
        self._share = prefetch_limit
        self.reads = 0
        self.reads_that_waited = 0
        # how many readers each version has that has any; a warm-up is none
        self.open_versions: dict[VersionBlocks, int] = {}
        self.bytes_served = 0

    def __len__(self) -> int:
        return len(self._streams)

    def add_reader(self, version_blocks: VersionBlocks) -> None:
        """A reader was opened; `release` follows."""
        readers = self.open_versions.get(version_blocks, 0)
        self.open_versions[version_blocks] = readers + 1

    def record_served(self, version_blocks: VersionBlocks, count: int) -> None:
        """Count *count* bytes of a reply."""
        version_blocks.served += count
        self.bytes_served += count

    def on_hit(self, owner: object, version_blocks: VersionBlocks, offset: int, stop: int) -> None:
        """*owner* read [*offset*, *stop*), which was ready: fetch what should be ahead now."""
        stream = self._record_read(owner, version_blocks, offset, stop)
        if ranges := version_blocks.readahead.ahead(stream, self._share):
            self._fetch(version_blocks, stream, ranges, stop, stop)

    def record_hit(
        self, owner: object, version_blocks: VersionBlocks, offset: int, stop: int
    ) -> None:
        """`on_hit`, of an object of which nothing is to be fetched ahead."""
        self._record_read(owner, version_blocks, offset, stop)

    def on_miss(self, owner: object, version_blocks: VersionBlocks, offset: int, stop: int) -> None:
        """*owner* reads [*offset*, *stop*), which is not all in one ready block.

        Fetches what is missing of it, and what should be ahead of it.
        """
        stream = self._record_read(owner, version_blocks, offset, stop)
        readahead = version_blocks.readahead
        lacks = version_blocks.has_gap(offset, stop)
        waits_to = max(
            (block.stop for block in version_blocks.overlapping(offset, stop) if block.fetch),
            default=0,
        )
        if lacks or waits_to:
            self.reads_that_waited += 1
            readahead.grow_window(stream, max(stop, waits_to))
        if lacks:
            ranges = readahead.demand(stream, offset, stop, self._share)
        else:
            ranges = readahead.ahead(stream, self._share)
        self._fetch(version_blocks, stream, ranges, offset, stop)

    def release(self, owner: object, version_blocks: VersionBlocks) -> None:
        """*owner* reads no more: nothing is fetched, or kept before other blocks, for its sake."""
        for stream in [
            stream
            for stream, at in self._streams.items()
            if at is version_blocks and stream.owner is owner
        ]:
            self._stop(stream)
        self.open_versions[version_blocks] -= 1
        if not self.open_versions[version_blocks]:
            del self.open_versions[version_blocks]

    def _record_read(
        self, owner: object, version_blocks: VersionBlocks, offset: int, stop: int
    ) -> SequentialStream:
        self.reads += 1
        version_blocks.last_read = self.reads
        stream = version_blocks.readahead.record_read(offset, stop)
        stream.owner = owner
        if stream.position >= version_blocks.version.size and stream in self._streams:
            self._stop(stream)
        return stream

    def _fetch(
        self,
        version_blocks: VersionBlocks,
        stream: SequentialStream,
        ranges: tuple[ByteRange, ...],
        offset: int,
        stop: int,
    ) -> None:
        """Fetch *ranges*: what overlaps [*offset*, *stop*) in any case, the rest if it fits."""
        if (
            stream.is_stream
            and stream not in self._streams
            and any(version_blocks.has_gap(each.start, each.stop) for each in ranges)
        ):  # a reader that trails behind another one takes no share of memory
            self._streams[stream] = version_blocks
            self._divide()
        for idle in [each for each in self._streams if self._is_idle(each)]:
            self._stop(idle)
        for byte_range in ranges:
            if not self._planner.fetch(version_blocks, byte_range, offset, stop):
                stream.rewind(byte_range.start)
                return

    def _is_idle(self, stream: SequentialStream) -> bool:
        version_blocks = self._streams[stream]
        reads_here = version_blocks.readahead.reads - stream.last_read
        reads_in_all = self.reads - version_blocks.last_read
        if reads_here <= _IDLE_AFTER and reads_in_all <= _ALL_IDLE_AFTER:
            return False
        # with the block of its last read: a stream whose reader waits is not idle
        start, stop = max(0, stream.position - 1), max(stream.position, stream.frontier)
        return not any(block.waiters for block in version_blocks.overlapping(start, stop))

    def _stop(self, stream: SequentialStream) -> None:
        """Fetch no further for *stream*; what it had ahead may go, unless others want it."""
        version_blocks = self._streams.pop(stream)
        self._divide()
        start, stop = stream.rest()
        if start < stop:
            unwanted = [
                block
                for block in version_blocks.overlapping(start, stop)
                if not version_blocks.readahead.is_expected(block.start, block.stop)
            ]
            self._loader.release(unwanted, may_cancel=version_blocks.readers == 1)

    def _divide(self) -> None:
        self._share = self._prefetch_limit // max(1, len(self._streams))
