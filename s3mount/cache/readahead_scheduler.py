"""Readahead scheduler: which streams of the mount read ahead, and how much memory each may use.

Joins the readahead policy, which knows one version, with the fetch planner, which knows none of it.
Streams are in contention if more of them move than fill the link, or than there are connections:
what their readers wait for keeps it busy. Then nothing is fetched ahead. It would come no sooner,
and would be in vain if a reader stops. The streams of another reader are one, since it may have
left all but the latest: a reader of records at random is in contention with itself only.
Already half as many are a crowd: nothing is fetched ahead either, and each fetch is as long as its
share of all memory allows, if as many came as are no contention. So a file takes few requests.
Beside several streams, one that begins with a long read fetches as much at once.

A reader that has read a version whole is expected to go on to the following one, if that is known:
it begins there with a window. If it does, the window of its stream there goes on into the versions
that follow, within its share. What is fetched in vain is at most that window.

What strides have ahead is expected as well. Each plans what fits into its share of half of the
memory for prefetches. The streams that the first elements of one have left behind do not move.
Synchronous throughout.
"""

from collections import Counter
from typing import Final

from s3mount.cache.block import VersionBlocks
from s3mount.cache.block_loader import BlockLoader
from s3mount.cache.fetch_planner import FetchPlanner
from s3mount.cache.forward_steps import ForwardSteps
from s3mount.cache.readahead_shares import ReadaheadShares
from s3mount.cache.sequential_stream import SequentialStream
from s3mount.s3.model import ByteRange, Reason

# A stream is idle if it did not move while so many reads went elsewhere: in its own version (32 MiB
# or more: its reader has gone off with a seek), or in others (a player that pauses).
_IDLE_AFTER: Final = 256
_ALL_IDLE_AFTER: Final = 4096
_FILL_LINK: Final = 32  # streams; some more than the parts of a window, which fill it alone
_CROWD: Final = _FILL_LINK // 2  # streams; one fetch of each keeps the link busy
_SEVERAL: Final = 4  # streams, beside which one more is likely to go on like them
_CONTENDED_WITHIN: Final = 4  # reads for each stream, within which those that move have read
_STRIDES_MAX: Final = 32  # that have elements ahead at once; one more waits until one is idle
_COUNT_PER_READ: Final = 8  # streams to look at for each read, to find those that move or are idle


class ReadaheadScheduler:
    """The streams that read ahead, over all versions; they share the memory for prefetches."""

    def __init__(
        self, planner: FetchPlanner, loader: BlockLoader, prefetch_limit: int, connections: float
    ) -> None:
        self._planner = planner
        self._loader = loader
        self._prefetch_limit = prefetch_limit  # bytes for all streams together; 0: no readahead
        self._uncontended = min(connections, _FILL_LINK)
        # `_share` is what the latest of `_streams` may have ahead, in bytes. `reads` counts all
        # reads, and is the only clock here.
        self._streams: dict[SequentialStream, VersionBlocks] = {}
        self._share = prefetch_limit
        self._shares = ReadaheadShares(prefetch_limit)
        # the versions in which a stride goes on; what they have ahead shares a half
        self._strided: dict[VersionBlocks, None] = {}
        self._stride_share = prefetch_limit // 2
        self.reads = 0
        # how many streams of each reader moved when they were last counted, and when to count again
        self._moving: Counter[object] = Counter()
        self._recount_at = 0
        self._stop_idle_at = 0
        self.reads_that_waited = 0
        # how many readers each version has that has any; a warm-up is none
        self.open_versions: dict[VersionBlocks, int] = {}
        self.bytes_served = 0
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
        strided = self._record_stride(version_blocks, offset, stop)
        if ranges := version_blocks.readahead.ahead(stream, self._share):
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
        strided = self._record_stride(version_blocks, offset, stop)
        readahead = version_blocks.readahead
        lacks = version_blocks.has_gap(offset, stop)
        waits_to = max(
            (block.stop for block in version_blocks.overlapping(offset, stop) if block.fetch),
            default=0,
        )
        moving = self._count_beside(owner)
        if lacks or waits_to:
            self.reads_that_waited += 1
            if moving > self._uncontended:
                readahead.shrink_window(stream)
            elif not self._is_crowd(moving):
                readahead.grow_window(stream, max(stop, waits_to))
        if lacks:
            ranges = self._demand(version_blocks, stream, ByteRange(offset, stop), moving)
        else:
            ranges = readahead.ahead(stream, self._share)
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
        moving: int,
    ) -> tuple[ByteRange, ...]:
        """What to fetch for a read of *wanted*, which lacks bytes, while *moving* streams move."""
        readahead = version_blocks.readahead
        joins_others = len(self._streams) >= _SEVERAL and stream.is_beginning
        is_alone = self._is_crowd(moving) or (joins_others and self._has_room_for_all)
        if not is_alone or not self._prefetch_limit:
            return readahead.demand(stream, wanted.start, wanted.stop, self._share)
        self._finish_before(version_blocks, stream, wanted.start)
        share = self._loader.memory.limit // _FILL_LINK  # so that it fits however many will come
        return (readahead.demand_alone(stream, wanted.start, wanted.stop, share),)

    def release(self, owner: object, version_blocks: VersionBlocks) -> None:
        """*owner* reads no more: nothing is fetched, or kept before other blocks, for its sake."""
        for stream in [
            stream
            for stream, at in self._streams.items()
            if at is version_blocks and stream.owner is owner
        ]:
            self._stop(stream)
        del self._moving[owner]
        self._shares.forget_reader(owner)
        self.open_versions[version_blocks] -= 1
        if not self.open_versions[version_blocks]:
            del self.open_versions[version_blocks]
            if version_blocks in self._strided:
                self._leave_stride(version_blocks)
            self._release_following(version_blocks)

    def _record_read(
        self, owner: object, version_blocks: VersionBlocks, offset: int, stop: int
    ) -> SequentialStream:
        self.reads += 1
        version_blocks.last_read = self.reads
        stream = version_blocks.readahead.record_read(offset, stop)
        stream.owner = owner
        if stream in self._streams and self._shares.record_read(stream):
            self._divide()
        self._share = self._shares.share(stream)
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
        if stream in self._streams:
            self._stop(stream)

    def _fetch_following(self, version_blocks: VersionBlocks, stream: SequentialStream) -> None:
        """Fetch of the versions that follow what is left of the window.

        Only if the reader has gone on from version to version before.
        """
        if not stream.links or not version_blocks.readahead.has_read_whole(stream):
            return
        room = min(self._share, stream.window) - (version_blocks.version.size - stream.position)
        for following in version_blocks.following:
            if room <= 0 or stream.frontier < version_blocks.version.size:
                return
            successor = following.readahead.successor(stream)
            if successor is None:
                return
            following.last_read = self.reads
            if ranges := following.readahead.ahead(successor, self._share, room):
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
            self._streams[stream] = version_blocks
            self._divide()
        self._stop_idle()
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

    def _record_stride(
        self, version_blocks: VersionBlocks, offset: int, stop: int
    ) -> tuple[ByteRange, ...]:
        """What a stride has next after a read of [*offset*, *stop*); leaves one that it breaks."""
        strides = version_blocks.strides
        elements = strides.record_read(offset, stop, self._stride_share)
        if not strides.length and version_blocks in self._strided:
            self._leave_stride(version_blocks)
        return elements

    def _fetch_strided(
        self, version_blocks: VersionBlocks, elements: tuple[ByteRange, ...]
    ) -> None:
        """Fetch *elements* that come next in a stride, if they fit without contention.

        What is not fetched is planned again.
        """
        may_fetch = self._prefetch_limit and not self._is_busy(None)
        if not may_fetch or not self._share_strided(version_blocks):
            version_blocks.strides.rewind(len(elements))
            return
        for done, element in enumerate(elements):
            if not self._planner.prefetch(version_blocks, element, Reason.READAHEAD):
                version_blocks.strides.rewind(len(elements) - done)
                return

    def _share_strided(self, version_blocks: VersionBlocks) -> bool:
        """Give a share of the memory to the elements ahead in *version_blocks*, if it is free."""
        if version_blocks not in self._strided and len(self._strided) >= _STRIDES_MAX:
            self._leave_idle_strides()
            if len(self._strided) >= _STRIDES_MAX:
                return False
        self._strided[version_blocks] = None
        self._stride_share = self._prefetch_limit // 2 // len(self._strided)
        return True

    def _leave_idle_strides(self) -> None:
        """Leave the strides that did not move while many reads went elsewhere."""
        idle = [each for each in self._strided if self.reads - each.last_read > _ALL_IDLE_AFTER]
        for version_blocks in idle:
            self._leave_stride(version_blocks)

    def _leave_stride(self, version_blocks: VersionBlocks) -> None:
        """Expect no reader at what the stride in *version_blocks* has, or had, ahead."""
        del self._strided[version_blocks]
        self._stride_share = self._prefetch_limit // 2 // max(1, len(self._strided))
        for element in version_blocks.strides.take_left():
            self._release_unexpected(version_blocks, element.start, element.stop, may_cancel=False)

    def _release_following(self, version_blocks: VersionBlocks) -> None:
        """The last reader closes *version_blocks* before its end: it does not go on."""
        expected, version_blocks.following = version_blocks.following, ()
        for following in expected:
            if following.readers:
                return
            for stream in [each for each, at in self._streams.items() if at is following]:
                self._stop(stream)

    def _is_busy(self, owner: object | None) -> bool:
        """Whether what readers wait for keeps the link busy, as *owner* sees it."""
        moving = self._count_beside(owner)
        return moving > self._uncontended or self._is_crowd(moving)

    def _is_crowd(self, moving: int) -> bool:
        """Whether *moving* streams are a crowd, and will be no contention."""
        return _CROWD <= moving <= self._uncontended and self._has_room_for_all

    @property
    def _has_room_for_all(self) -> bool:
        """Whether the memory has room for long fetches of all open versions, if all are read."""
        return len(self.open_versions) <= self._uncontended

    def _count_beside(self, owner: object | None) -> int:
        """How many streams move, as *owner* sees it; 0 if they are too few to keep the link busy.

        The streams of any other reader count as one. Paused readers do not count, nor does what no
        reader has read yet.
        """
        if len(self._streams) < min(_CROWD, self._uncontended + 1):
            self._moving.clear()
            self._recount_at = 0
            return 0
        if self.reads >= self._recount_at:
            self._count_moving()
        others = len(self._moving) - (owner in self._moving)
        return self._moving[owner] + others

    def _count_moving(self) -> None:
        """Count the streams that move; seldom, if there are many."""
        count = len(self._streams)
        recent = count * _CONTENDED_WITHIN
        self._moving = Counter(
            each.owner
            for each, at in self._streams.items()
            if each.owner is not None
            and not at.strides.holds(each.run)
            and self._has_moved(each, recent, recent)
        )
        self._recount_at = self.reads + count // _COUNT_PER_READ

    def _has_moved(self, stream: SequentialStream, here: int, in_all: int) -> bool:
        """Whether *stream* is among the last reads: *here*, of its version, and *in_all*."""
        version_blocks = self._streams[stream]
        reads_here = version_blocks.readahead.reads - stream.last_read
        return reads_here <= here and self.reads - version_blocks.last_read <= in_all

    def _is_idle(self, stream: SequentialStream) -> bool:
        version_blocks = self._streams[stream]
        in_all = _ALL_IDLE_AFTER if version_blocks.readers else _IDLE_AFTER
        if self._has_moved(stream, _IDLE_AFTER, in_all):
            return False
        # with the block of its last read: a stream whose reader waits is not idle
        start, stop = max(0, stream.position - 1), max(stream.position, stream.frontier)
        return not any(block.waiters for block in version_blocks.overlapping(start, stop))

    def _stop_idle(self) -> None:
        """Stop the streams that are idle, and leave such strides; seldom, if streams are many."""
        if self.reads < self._stop_idle_at:
            return
        for idle in [each for each in self._streams if self._is_idle(each)]:
            self._stop(idle)
        self._leave_idle_strides()
        self._stop_idle_at = self.reads + len(self._streams) // _COUNT_PER_READ

    def _stop(self, stream: SequentialStream) -> None:
        """Fetch no further for *stream*; what it had ahead may go, unless others want it."""
        version_blocks = self._streams.pop(stream)
        self._shares.forget(stream)
        self._divide()
        start, stop = stream.rest()
        if start < stop:
            is_alone = version_blocks.readers <= 1
            self._release_unexpected(version_blocks, start, stop, may_cancel=is_alone)

    def _release_unexpected(
        self, version_blocks: VersionBlocks, start: int, stop: int, *, may_cancel: bool
    ) -> None:
        """Release the blocks in [*start*, *stop*) that nobody is expected to read."""
        unwanted = [
            block
            for block in version_blocks.overlapping(start, stop)
            if not version_blocks.is_expected(block.start, block.stop)
        ]
        self._loader.release(unwanted, may_cancel=may_cancel)

    def _divide(self) -> None:
        # others belong to one of these
        self._shares.divide(each for each, at in self._streams.items() if at.readers)
