"""Readahead policy: what to fetch for a read, and what to prefetch.

Knows offsets and the order in which they come, never bytes, tasks or clocks. One `Readahead`
watches all reads of one object version, through any handle. The kernel shares pages between
handles, so ten readers of a file look like one that changes its descriptor.

A sequence of reads becomes a *stream* with its second read. Its window doubles whenever a read had
to wait for a fetch, so a slow reader keeps a small window, and a fast reader soon fills the link.
The window is limited to a multiple of the bytes that were read, less those skipped, so a reader
with near misses opens none. Fetches begin small and double too, until they are whole
parts: the reader waits for a short one while the longer ones are in flight.

A reader that goes forward in steps, as one that lists an archive, may be *sparse*: what lies
between its reads is fetched too, as for a sequential one (`forward_steps`). Its window is limited
to a multiple of what its steps have covered.

A reader that goes back from the end to just before it reads up to the end, as with the directory of
an archive or the footer of a table: that is a stream from its first read on.

Among a crowd of streams, each fetches only what its reader waits for, up to the end of a part, or a
half or quarter of one: as far as that is a small multiple of what was read. There a first read that
is long, of the beginning, counts as a sequence.

The reader of a version that goes on to another one waits there for what was not fetched before it
came. So the fetches begin short there as well, and grow with what comes before them: they are all
sent at once, and none arrives much later than the reader would.

After contention with many streams, the window begins below a fetch and grows by a quarter, and
fetches are at most twice as long as the window. So the last readers of many fetch little in vain.
"""

from typing import Final

from s3mount.cache.ranges import FetchSizes, align, align_stop
from s3mount.cache.readahead import forward_steps
from s3mount.cache.readahead.forward_steps import ForwardSteps, StepLimit
from s3mount.cache.readahead.sequential_stream import ALONE_FACTOR, SequentialStream
from s3mount.s3.model import ByteRange

OPENING_PIECES: Final = 8  # the first window, in first pieces: 2 MiB
CONTENDED_PIECES: Final = 4  # the first window after contention: less than a fetch
FETCH_IN_WINDOWS: Final = 2  # the largest fetch after contention, in windows
WINDOW_PARTS: Final = 24  # what fills a link of 90 MB/s connections, 20 ms away; see docs/decisions
PARTS_IN_SHARE: Final = 1.4  # fetches shrink until so many fit into a stream's share of memory
# Where a reader goes on to another version: how many fetches make a part at first, and how many
# times as much as a later one comes before it, so that 90 MB/s bring it before a reader of 1 GB/s.
FIRST_FETCHES: Final = 4
FETCH_GROWTH: Final = 12
UNPROVEN_PARTS: Final = 8  # the first window in a version whose reader comes from another one
REORDER: Final = 12  # reads that the kernel has in flight at once, in any order (max_background)
SEQUENCES: Final = 32  # remembered for each version: a thread each, for a busy parquet reader


class Readahead:
    """Turns the reads of one object version into byte ranges to fetch, nearest first.

    *share* is how many bytes a stream may have ahead now.
    """

    def __init__(self, size: int, sizes: FetchSizes, step_limit: StepLimit) -> None:
        self._size = size
        self._sizes = sizes
        self._step_limit = step_limit
        self._widest = WINDOW_PARTS * sizes.part
        self._opening = min(OPENING_PIECES * sizes.piece, self._widest)
        self._sequences: list[SequentialStream] = []  # the last one read comes first
        self._has_read_end = False  # of the last block
        self.reads = 0

    @property
    def latest(self) -> SequentialStream | None:
        """The stream that was read last; None if there was no read."""
        return self._sequences[0] if self._sequences else None

    def record_read(self, offset: int, stop: int) -> SequentialStream:
        """The stream that a read of [*offset*, *stop*) belongs to, moved forward by it.

        The read is not empty.
        """
        self.reads += 1
        stream = self._find(offset, stop)
        if stream is None:
            return self._begin(offset, stop)
        is_late = self.reads - stream.last_read > forward_steps.WITHIN
        stream.last_read = self.reads
        if stream.position == offset:
            stream.run = min(stream.run + stop - offset, self._widest)
            if stream.steps is not None:
                stream.steps.covered += stop - offset
            stream.position = stop
        else:
            self._record_step(stream, offset, stop, is_late=is_late)
            stream.jump(offset, stop)
        if not stream.window:
            stream.window = self._opening
        return stream

    def grow_window(self, stream: SequentialStream, stop: int) -> None:
        """Widen the window: a read had to wait for a fetch that ends at *stop*."""
        if stop > stream.stalled_to:
            stream.stalled_to = stop
            growth = stream.window // 4 if stream.was_contended else stream.window
            stream.window = min(stream.window + growth, self._widest)

    def shrink_window(self, stream: SequentialStream) -> None:
        """Begin with a small window again, and widen it slowly: *stream* is in contention."""
        stream.was_contended = True
        stream.window = min(stream.window, self._sizes.piece * CONTENDED_PIECES)

    def is_due(self, stream: SequentialStream) -> bool:
        """Whether `ahead` may be more than empty, if the share is large enough."""
        return (
            stream.position + stream.window >= stream.next_stop
            and stream.frontier < self._size
            and stream.position + stream.evidence >= stream.next_stop
        )

    def ahead(
        self, stream: SequentialStream, share: int, room: int | None = None
    ) -> tuple[ByteRange, ...]:
        """What to fetch ahead of *stream* now; empty most of the time.

        *room* is what is left of *share* if other versions have some of it.
        """
        target = self._target(stream, share if room is None else room)
        if target < stream.next_stop or stream.frontier >= self._size:
            return ()
        if stream.frontier < stream.position:  # it skipped, over bytes that are ready
            # from the end of a block on, as after a fetch: what is fetched after a remount is what
            # was fetched before it, in whole extents of a disk cache
            stream.origin = stream.frontier = align_stop(stream.position, self._size, self._sizes)
        return self._extend(stream, target, share)

    def demand(
        self, stream: SequentialStream, offset: int, stop: int, share: int
    ) -> tuple[ByteRange, ...]:
        """What to fetch for a read of [*offset*, *stop*) that lacks bytes, and ahead of it.

        It is the first of a stream, or it skipped, or the bytes were evicted or their fetch failed.
        """
        wanted = align(offset, stop, self._size, self._sizes)
        target = self._target(stream, share)
        if target < stream.position + self._sizes.block:
            if wanted.start > stream.frontier:
                stream.origin = wanted.start
            stream.frontier = stream.next_stop = max(stream.frontier, wanted.stop)
            return (wanted,)
        if stream.frontier != wanted.start:
            stream.origin = stream.frontier = wanted.start
        return self._extend(stream, target, share, least=stop)

    def demand_alone(
        self, stream: SequentialStream, offset: int, stop: int, share: int
    ) -> ByteRange:
        """`demand`, by a single fetch, if nothing is fetched before a reader waits for it."""
        wanted = align(offset, stop, self._size, self._sizes)
        if stream.is_stream or stream.begins_long:
            most = min(share, stream.evidence_by(ALONE_FACTOR))
            part = self._halved_part(self._after_contention(stream, most))
            end = min((wanted.start // part + 1) * part, self._size)
            wanted = ByteRange(wanted.start, max(wanted.stop, end))
        if not wanted.start <= stream.frontier <= offset:
            stream.origin = wanted.start
        stream.frontier = stream.next_stop = wanted.stop
        return wanted

    def successor(self, stream: SequentialStream) -> SequentialStream | None:
        """The stream here that goes on with *stream* of another version, from the beginning on.

        None if other reads have come. It has the window of *stream*: UNPROVEN_PARTS at most, if
        that has not gone on before. Whole parts are fetched once it has gone on far enough.
        """
        if not self._sequences:
            first = self._sizes.part // (1 if stream.links else FIRST_FETCHES)
            new = SequentialStream(-first, 0, 0, 0, 0, self.reads, links=stream.links + 1)
            new.lead = stream.lead + stream.frontier if stream.links else 0
            self._sequences.append(new)
        found = self._sequences[0]
        if self.reads or found.links <= stream.links:
            return None
        most = self._widest if stream.links else UNPROVEN_PARTS * self._sizes.part
        found.window, found.run = min(stream.window, most), stream.run
        return found

    def has_read_whole(self, stream: SequentialStream) -> bool:
        """Whether the reader of *stream* has read all up to its position, in order."""
        return not stream.skipped and stream.run >= min(stream.position, self._widest)

    def is_expected(self, start: int, stop: int) -> bool:
        """Whether a stream still has part of [*start*, *stop*) ahead of it."""
        return any(s.position < stop and start < s.frontier for s in self._sequences if s.is_stream)

    def _find(self, offset: int, stop: int) -> SequentialStream | None:
        """The stream that expects this read, or else one whose reads it may have overtaken."""
        sequences = self._sequences
        if sequences and sequences[0].position == offset:
            return sequences[0]
        reach = REORDER * max(stop - offset, self._sizes.block)
        least, most = offset - reach, offset + reach
        # none, for most random reads
        near = [s for s in sequences if least <= s.position <= most]
        found = next((s for s in near if s.position == offset), None)
        if found is None:
            found = self._find_stepping(offset)
        if found is None:
            found = next((s for s in near if s.is_out_of_order(offset, stop)), None)
        if found is not None:
            sequences.remove(found)
            sequences.insert(0, found)
        return found

    def _find_stepping(self, offset: int) -> SequentialStream | None:
        """The stream that has come by steps to where a further one leads to *offset*."""
        farthest = self._step_limit.longest * self._sizes.block * 5 // 4
        for stream in self._sequences[: forward_steps.WITHIN]:
            if stream.steps is not None and 0 < offset - stream.position <= farthest:
                return stream
        return None

    def _record_step(
        self, stream: SequentialStream, offset: int, stop: int, *, is_late: bool
    ) -> None:
        """Count a read of *stream* that is out of order."""
        steps = stream.steps
        if is_late:
            stream.steps = None
        elif offset >= stream.position:
            steps = steps or ForwardSteps(self._sizes, self._step_limit)
            was_sparse = steps.is_sparse
            goes_on = steps.record_step(offset - stream.position, stop - offset, stream.run)
            stream.steps = steps if goes_on else None
            if steps.reads_through_long and not was_sparse:
                stream.window = self._opening  # what it has to wait for widens it
        elif steps is not None and not steps.record_return(stream.position - offset, stop - offset):
            stream.steps = None

    def _begin(self, offset: int, stop: int) -> SequentialStream:
        # where `align` begins, so that the fetches that follow end at blocks, too
        origin = offset // self._sizes.block * self._sizes.block
        frontier = align_stop(stop, self._size, self._sizes)
        stream = SequentialStream(origin, stop, stop - offset, frontier, frontier, self.reads)
        stream.begins_long = offset == 0 and self._sizes.small <= stop < self._size
        if stop > self._size - self._sizes.block:
            self._has_read_end = True
        elif self._has_read_end and self._size - offset <= self._sizes.small:
            stream.window, stream.run = self._opening, self._size - offset  # as if it had read it
        self._sequences.insert(0, stream)
        del self._sequences[SEQUENCES:]
        return stream

    def _target(self, stream: SequentialStream, share: int) -> int:
        """The offset up to which to have fetched."""
        ahead = min(stream.window, stream.evidence, share)
        return min(stream.position + ahead, self._size)

    def _extend(
        self, stream: SequentialStream, target: int, share: int, least: int = 0
    ) -> tuple[ByteRange, ...]:
        """Move the frontier by whole fetches up to *target*, and as far as *least* in any case."""
        ranges = []
        stop = self._fetch_stop(stream, share)
        while stream.frontier < self._size and (stop <= target or stream.frontier < least):
            ranges.append(ByteRange(stream.frontier, stop))
            stream.frontier = stop
            stop = self._fetch_stop(stream, share)
        stream.next_stop = stop
        return tuple(ranges)

    def _fetch_size(self, stream: SequentialStream, share: int) -> int:
        most = self._after_contention(stream, share / PARTS_IN_SHARE)
        if stream.steps is not None and stream.steps.reads_through_long:
            most = min(most, stream.window / 4, stream.evidence / 4)  # soon the reader is behind it
        if stream.links:
            least = self._sizes.part / FIRST_FETCHES
            most = min(most, max(least, (stream.lead + stream.frontier) / FETCH_GROWTH))
        return self._halved_part(most)

    @staticmethod
    def _after_contention(stream: SequentialStream, most: float) -> float:
        """At most *most*: less after contention, when the kernel is to read ahead little, too."""
        return min(most, stream.window * FETCH_IN_WINDOWS) if stream.was_contended else most

    def _halved_part(self, most: float) -> int:
        """A part, or the largest fraction of it by halves that is at most *most*, or a piece.

        Of a fraction only the whole blocks.
        """
        size, block = self._sizes.part, self._sizes.block
        while size > most and size >= 2 * self._sizes.piece:
            size //= 2
        return max(block, size // block * block)

    def _fetch_stop(self, stream: SequentialStream, share: int) -> int:
        """Where a fetch from the frontier ends: as long as all before it, up to a part's start."""
        frontier, part = stream.frontier, self._fetch_size(stream, share)
        doubled = frontier + max(self._sizes.piece, frontier - stream.origin)
        return min(doubled, (frontier // part + 1) * part, self._size)
