"""Readahead scheduler: what is fetched for each read of the mount, and ahead of it.

Joins the readahead policy, which knows one version, with the fetch planner, which knows none of it.
Nothing is fetched ahead in contention, nor in a crowd: there each fetch is as long as its share of
all memory allows, if as many came as are no contention. So a file takes few requests. Beside
several streams, one that begins with a long read fetches as much at once.

A reader that has read a version whole is expected to go on to the following one, if that is known:
it begins there with a window. If it does, the window of its stream there goes on into the versions
that follow, within its share. What is fetched in vain is at most that window.

What strides have ahead is expected as well. Each plans what fits into its share of half of the
memory for prefetches. The streams that the first elements of one have left behind do not move.
Synchronous throughout.
"""

from typing import Final

from s3mount.cache.active_patterns import ActiveStreams, ActiveStrides
from s3mount.cache.block import VersionBlocks
from s3mount.cache.block_loader import BlockLoader
from s3mount.cache.contention import FILL_LINK, Concurrency, Contention
from s3mount.cache.fetch_planner import FetchPlanner
from s3mount.cache.readahead.forward_steps import ForwardSteps
from s3mount.cache.readahead.sequential_stream import SequentialStream
from s3mount.s3.model import ByteRange, Reason

_SEVERAL: Final = 4  # streams, beside which one more is likely to go on like them
_IDLE_PER_READ: Final = 8  # streams to look at for each read, to find those that are idle


class ReadaheadScheduler:
    """The streams that read ahead, over all versions; they share the memory for prefetches."""

    def __init__(
        self, planner: FetchPlanner, loader: BlockLoader, prefetch_limit: int, connections: float
    ) -> None:
        self._planner = planner
        self._loader = loader
        self._may_prefetch = prefetch_limit > 0
        # `reads` counts all reads, and is the only clock here
        self.reads = 0
        self._end_idle_at = 0
        self.reads_that_waited = 0
        self.bytes_served = 0
        # how many readers each version has that has any; a warm-up is none
        self.open_versions: dict[VersionBlocks, int] = {}
        self._streams = ActiveStreams(loader, prefetch_limit)
        self._strides = ActiveStrides(loader, prefetch_limit // 2)
        self._contention = Contention(self._streams, self.open_versions, connections)
        # that which the latest reader goes on to that has come to an end; for as long as it is kept
        self._latest_following: VersionBlocks | None = None

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
        strided = self._strides.record_read(version_blocks, offset, stop)
        if version_blocks.readahead.is_due(stream):
            ranges = version_blocks.readahead.ahead(stream, self._streams.share(stream))
            if ranges:
                self._fetch(version_blocks, stream, ranges, stop, stop)
        if strided:
            self._fetch_strided(version_blocks, strided)
        if version_blocks.following:
            self._fetch_following(version_blocks, stream)

    def record_hit(
        self, owner: object, version_blocks: VersionBlocks, offset: int, stop: int
    ) -> None:
        """`on_hit`, of an object of which nothing is to be fetched ahead."""
        self._record_read(owner, version_blocks, offset, stop)

    def on_miss(
        self, owner: object, version_blocks: VersionBlocks, offset: int, stop: int
    ) -> ForwardSteps | None:
        """*owner* reads [*offset*, *stop*), which is not all in one ready block.

        Fetches what is missing of it, and what should be ahead of it. Returns the steps that are to
        be told how long it waits, if any.
        """
        stream = self._record_read(owner, version_blocks, offset, stop)
        strided = self._strides.record_read(version_blocks, offset, stop)
        readahead = version_blocks.readahead
        lacks = version_blocks.has_gap(offset, stop)
        waits_to = max(
            (block.stop for block in version_blocks.overlapping(offset, stop) if block.fetch),
            default=0,
        )
        concurrency = self._contention.concurrency(owner, self.reads)
        if lacks or waits_to:
            self.reads_that_waited += 1
            if concurrency is Concurrency.CONTENTION:
                readahead.shrink_window(stream)
            elif concurrency is Concurrency.FEW:
                readahead.grow_window(stream, max(stop, waits_to))
        if lacks:
            ranges = self._demand(version_blocks, stream, ByteRange(offset, stop), concurrency)
        else:
            ranges = readahead.ahead(stream, self._streams.share(stream))
        self._fetch(version_blocks, stream, ranges, offset, stop)
        if strided:
            self._fetch_strided(version_blocks, strided)
        if version_blocks.following:
            self._fetch_following(version_blocks, stream)
        is_timed = (lacks or waits_to) and stream.steps is not None and stream.steps.is_long
        return stream.steps if is_timed else None

    def _demand(
        self,
        version_blocks: VersionBlocks,
        stream: SequentialStream,
        wanted: ByteRange,
        concurrency: Concurrency,
    ) -> tuple[ByteRange, ...]:
        """What to fetch for a read of *wanted*, which lacks bytes."""
        readahead = version_blocks.readahead
        joins_others = len(self._streams) >= _SEVERAL and stream.is_beginning
        is_alone = concurrency is Concurrency.CROWD or (
            joins_others and self._contention.has_room_for_all
        )
        if not is_alone or not self._may_prefetch:
            share = self._streams.share(stream)
            return readahead.demand(stream, wanted.start, wanted.stop, share)
        self._finish_before(version_blocks, stream, wanted.start)
        share = self._loader.memory.limit // FILL_LINK  # so that it fits however many will come
        return (readahead.demand_alone(stream, wanted.start, wanted.stop, share),)

    def release(self, owner: object, version_blocks: VersionBlocks) -> None:
        """*owner* reads no more: nothing is fetched, or kept before other blocks, for its sake."""
        self._streams.end_reader(owner, version_blocks)
        self._contention.forget_reader(owner)
        self.open_versions[version_blocks] -= 1
        if not self.open_versions[version_blocks]:
            del self.open_versions[version_blocks]
            self._strides.end_version(version_blocks)
            self._release_following(version_blocks)

    def _record_read(
        self, owner: object, version_blocks: VersionBlocks, offset: int, stop: int
    ) -> SequentialStream:
        self.reads += 1
        version_blocks.last_read = self.reads
        stream = version_blocks.readahead.record_read(offset, stop)
        stream.owner = owner
        self._streams.record_read(stream)
        if stream.position >= version_blocks.version.size:
            self._end(version_blocks, stream)
        return stream

    def _end(self, version_blocks: VersionBlocks, stream: SequentialStream) -> None:
        """End *stream*: its reader has come to the end, and may go on to the following version."""
        if version_blocks.following and version_blocks.readahead.has_read_whole(stream):
            following = version_blocks.following[0]
            following.readahead.successor(stream)
            following.last_read = self.reads
            self._latest_following = following
            version_blocks.following = ()
        self._streams.end(stream)

    def _fetch_following(self, version_blocks: VersionBlocks, stream: SequentialStream) -> None:
        """Fetch of the versions that follow what is left of the window.

        Only if the reader has gone on from version to version before.
        """
        if not stream.links or not version_blocks.readahead.has_read_whole(stream):
            return
        share = self._streams.share(stream)
        room = min(share, stream.window) - (version_blocks.version.size - stream.position)
        for following in version_blocks.following:
            if room <= 0 or stream.frontier < version_blocks.version.size:
                return
            successor = following.readahead.successor(stream)
            if successor is None:
                return
            following.last_read = self.reads
            if ranges := following.readahead.ahead(successor, share, room):
                self._fetch(following, successor, ranges, 0, 0)
            room -= following.version.size
            version_blocks, stream = following, successor

    def _fetch(
        self,
        version_blocks: VersionBlocks,
        stream: SequentialStream,
        ranges: tuple[ByteRange, ...],
        offset: int,
        stop: int,
    ) -> None:
        """Fetch *ranges*: what overlaps [*offset*, *stop*) in any case.

        The rest is fetched if it fits, unless the streams are in contention, or the reader is to
        leave for the next element of a stride.
        """
        leaves = version_blocks.strides.holds(stream.run)
        if (
            (stream.is_stream or stream.begins_long)
            and not leaves
            and stream not in self._streams
            and any(version_blocks.has_gap(each.start, each.stop) for each in ranges)
        ):  # a reader that trails behind another one takes no share of memory
            self._streams.add(stream, version_blocks)
        self._end_idle()
        is_demand_only = leaves or self._is_busy(stream.owner)
        for byte_range in ranges:
            is_ahead = byte_range.start >= stop
            if (is_ahead and is_demand_only) or not self._planner.fetch(
                version_blocks, byte_range, offset, stop
            ):
                stream.rewind(byte_range.start)
                return

    def _finish_before(
        self, version_blocks: VersionBlocks, stream: SequentialStream, offset: int
    ) -> None:
        """Let the block before *offset* go first if its only reader has read all of it in order.

        Else it goes after blocks of others that are yet to be read to their ends.
        """
        block = version_blocks.find(offset - 1) if offset else None
        if block is None or block.stop > offset or version_blocks.readers > 1:
            return
        if not stream.skipped and stream.position - stream.run <= block.start:
            self._loader.memory.finish(block)

    def _fetch_strided(
        self, version_blocks: VersionBlocks, elements: tuple[ByteRange, ...]
    ) -> None:
        """Fetch *elements* that come next in a stride, if they fit without contention.

        What is not fetched is planned again.
        """
        may_fetch = self._may_prefetch and not self._is_busy(None)
        if not may_fetch or not self._strides.admit(version_blocks, self.reads):
            version_blocks.strides.rewind(len(elements))
            return
        for done, element in enumerate(elements):
            if not self._planner.prefetch(version_blocks, element, Reason.READAHEAD):
                version_blocks.strides.rewind(len(elements) - done)
                return

    def _release_following(self, version_blocks: VersionBlocks) -> None:
        """The last reader closes *version_blocks* before its end: it does not go on."""
        expected, version_blocks.following = version_blocks.following, ()
        for following in expected:
            if following.readers:
                return
            self._streams.end_version(following)

    def _is_busy(self, owner: object | None) -> bool:
        """Whether what readers wait for keeps the link busy, as *owner* sees it."""
        return self._contention.concurrency(owner, self.reads) is not Concurrency.FEW

    def _end_idle(self) -> None:
        """End the streams and strides that are idle; seldom, if streams are many."""
        if self.reads >= self._end_idle_at:
            self._streams.end_idle(self.reads)
            self._strides.end_idle(self.reads)
            self._end_idle_at = self.reads + len(self._streams) // _IDLE_PER_READ
