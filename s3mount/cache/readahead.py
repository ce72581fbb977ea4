"""Readahead policy: what to fetch for a read, and what to fetch before it is asked for.

Knows offsets and the order in which they come, never bytes, tasks or clocks. One `Readahead` watches all reads of one
object version, through whatever handles they come: the kernel shares pages between handles, so that ten readers of a
file look like one that changes its descriptor.

A sequence of reads becomes a *stream* with its second read. Its window doubles whenever a read had to wait for a load,
so a slow reader keeps a small one and a fast reader soon fills the link; it is held to a multiple of what was really read,
less what was skipped, so strides and near misses of a random reader open none. Loads begin small and double as well
(the reader waits for a short one while the longer ones travel) until they are whole parts.
"""

from dataclasses import dataclass
from typing import Final

from s3mount.cache.ranges import FetchSizes, align, align_stop
from s3mount.s3.model import ByteRange

OPENING_PIECES: Final = 8  # the first window, in first pieces: 2 MiB
TRUST: Final = 32  # window bytes for each byte read in sequence
WINDOW_PARTS: Final = 24  # what fills a link of 90 MB/s connections, 20 ms away; see docs/decisions
PARTS_IN_SHARE: Final = 1.5  # loads shrink until so many fit into a stream's share of memory
REORDER: Final = (
    12  # reads that the kernel has on the way at once (FUSE's max_background), in any order
)
SEQUENCES: Final = 32  # remembered for each version: a thread each, for a busy parquet reader


@dataclass(slots=True, eq=False)
class SequentialStream:
    """Reads that follow one another in one object version.

    *position* is where the next read is expected, *skipped* the bytes below it that may yet come late, and *run* the bytes read
    less those skipped. Everything from *origin* to *frontier* was asked for; the next load ends at *next_stop*. *window* is how
    far ahead of the position to fetch (0: not a stream yet); it last grew for a read that waited for what ends at *stalled_to*.
    *last_read* is the number of the version's reads by then; *owner*, whose read that was, is for `streams` to know.
    """

    origin: int
    position: int
    run: int
    frontier: int
    next_stop: int
    last_read: int
    skipped: int = 0
    window: int = 0
    stalled_to: int = 0
    owner: object = None

    @property
    def is_stream(self) -> bool:
        return self.window > 0 and self.run > 0

    def rest(self) -> tuple[int, int]:
        """Read no further ahead until there is new evidence; what was asked for, and not read yet."""
        ahead = min(self.position, self.frontier), self.frontier
        self.window = self.run = 0
        self.frontier = self.next_stop = self.position
        return ahead

    def rewind(self, start: int) -> None:
        """There was no room to fetch what was planned from *start* on: plan it again."""
        self.frontier = self.next_stop = min(start, self.frontier)


class Readahead:
    """Turns the reads of one object version into spans to fetch, nearest first.

    *share*, wherever it is asked for, is how many bytes a stream may have ahead now.
    """

    def __init__(self, size: int, sizes: FetchSizes) -> None:
        self._size = size
        self._sizes = sizes
        self._widest = WINDOW_PARTS * sizes.part
        self._sequences: list[SequentialStream] = []  # the last one read comes first
        self.reads = 0

    def record_read(self, offset: int, stop: int) -> SequentialStream:
        """The sequence that a read of [*offset*, *stop*) belongs to, brought forward; the read is not empty."""
        self.reads += 1
        sequence = self._find(offset, stop)
        if sequence is None:
            return self._begin(offset, stop)
        sequence.last_read = self.reads
        if sequence.position == offset:
            sequence.run = min(sequence.run + stop - offset, self._widest)
            sequence.position = stop
        else:
            _jump(sequence, offset, stop)
        if not sequence.window:
            sequence.window = min(OPENING_PIECES * self._sizes.piece, self._widest)
        return sequence

    def grow_window(self, sequence: SequentialStream, stop: int) -> None:
        """A read had to wait for a load that ends at *stop*: the window was too small."""
        if stop > sequence.stalled_to:
            sequence.stalled_to = stop
            sequence.window = min(sequence.window * 2, self._widest)

    def ahead(self, sequence: SequentialStream, share: int) -> tuple[ByteRange, ...]:
        """What to fetch ahead of *sequence* now; empty most of the time."""
        target = self._target(sequence, share)
        if target < sequence.next_stop or sequence.frontier >= self._size:
            return ()
        if sequence.frontier < sequence.position:  # it skipped, over bytes that were held
            sequence.origin = sequence.frontier = sequence.position
        return self._extend(sequence, target, share)

    def demand(
        self, sequence: SequentialStream, offset: int, stop: int, share: int
    ) -> tuple[ByteRange, ...]:
        """What to fetch for a read of [*offset*, *stop*) that lacks bytes, and ahead of it.

        It is the first of a stream, or it skipped, or the bytes were evicted or never came.
        """
        wanted = align(offset, stop, self._size, self._sizes)
        target = self._target(sequence, share)
        if target < sequence.position + self._sizes.block:
            sequence.frontier = sequence.next_stop = max(sequence.frontier, wanted.stop)
            return (wanted,)
        if not wanted.start <= sequence.frontier <= offset:
            sequence.origin = sequence.frontier = wanted.start
        return self._extend(sequence, target, share, least=stop)

    def is_expected(self, start: int, stop: int) -> bool:
        """Whether a stream still has part of [*start*, *stop*) ahead of it."""
        return any(s.position < stop and start < s.frontier for s in self._sequences if s.is_stream)

    def _find(self, offset: int, stop: int) -> SequentialStream | None:
        """The sequence that expects this read, or else one that it may have overtaken reads of, or fallen behind in."""
        sequences = self._sequences
        if sequences and sequences[0].position == offset:
            return sequences[0]
        reach = REORDER * max(stop - offset, self._sizes.block)
        least, most = offset - reach, offset + reach
        near = [
            s for s in sequences if least <= s.position <= most
        ]  # mostly none, where reads are random
        found = next((s for s in near if s.position == offset), None)
        if found is None:
            found = next((s for s in near if _is_out_of_turn(s, offset, stop)), None)
        if found is not None:
            sequences.remove(found)
            sequences.insert(0, found)
        return found

    def _begin(self, offset: int, stop: int) -> SequentialStream:
        frontier = align_stop(stop, self._size, self._sizes)
        sequence = SequentialStream(offset, stop, stop - offset, frontier, frontier, self.reads)
        self._sequences.insert(0, sequence)
        del self._sequences[SEQUENCES:]
        return sequence

    def _target(self, sequence: SequentialStream, share: int) -> int:
        """How far to have fetched."""
        return min(
            sequence.position + min(sequence.window, sequence.run * TRUST, share), self._size
        )

    def _extend(
        self, sequence: SequentialStream, target: int, share: int, least: int = 0
    ) -> tuple[ByteRange, ...]:
        """Move the frontier on by whole loads that end by *target*, and by as many more as it takes to reach *least*."""
        part = self._load_size(share)
        spans = []
        stop = self._load_stop(sequence, part)
        while sequence.frontier < self._size and (stop <= target or sequence.frontier < least):
            spans.append(ByteRange(sequence.frontier, stop))
            sequence.frontier = stop
            stop = self._load_stop(sequence, part)
        sequence.next_stop = stop
        return tuple(spans)

    def _load_size(self, share: int) -> int:
        size = self._sizes.part
        while size * PARTS_IN_SHARE > share and size >= 2 * self._sizes.piece:
            size //= 2
        return size

    def _load_stop(self, sequence: SequentialStream, part: int) -> int:
        """Where a load from the frontier ends: as long as all before it, up to where a part begins."""
        frontier = sequence.frontier
        doubled = frontier + max(self._sizes.piece, frontier - sequence.origin)
        return min(doubled, (frontier // part + 1) * part, self._size)


def _is_out_of_turn(sequence: SequentialStream, offset: int, stop: int) -> bool:
    """Whether this read, near by, may belong to *sequence*, having overtaken others or been overtaken."""
    return offset >= sequence.position or stop - offset <= sequence.skipped


def _jump(sequence: SequentialStream, offset: int, stop: int) -> None:
    """Bring *sequence* forward by a read that came out of turn: bytes skipped count against it until they come."""
    skipped = offset - sequence.position
    sequence.run = max(0, sequence.run + stop - offset - max(0, skipped))
    sequence.skipped += skipped if skipped > 0 else offset - stop
    sequence.position = max(sequence.position, stop)
