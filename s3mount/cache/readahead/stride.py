"""Stride detector: reads that begin equally far apart, as of rows of a raster or of records.

Knows offsets only. Invariants:

1. Nothing is planned before three steps of the same length, forward or backward.
2. What is planned ahead is at most twice as many elements as steps were seen, at most 16, and as
   many as fit into a share of the memory.
3. An element is planned once while the stride goes on, and lies in the object; again if it is said
   not to be fetched.
4. A short stride forward is left to readahead, which fetches what lies between the reads too.
5. What was planned is expected until it is read, or is in `left`. An element that has become too
   long for a stride ends it.
"""

from typing import Final

from s3mount.cache.ranges import FetchSizes, align
from s3mount.cache.readahead.forward_steps import SHORT_STEP
from s3mount.s3.model import ByteRange

STEPS: Final = 3  # of the same length, that prove a stride
MOST_AHEAD: Final = 16  # elements: their round trips take less than one and a half of a single one


class StrideDetector:
    """Plans what comes next in a stride, for the reads of one object version.

    The latest element is [*_start*, *_stop*), the reads since the last jump. *_steps* steps of
    *_stride* bytes led to it, and *_ahead* elements that follow are planned. They and the latest
    are expected to be *length* bytes; 0 if none is planned. *left* is what a stride had planned
    that was broken, for the caller to take.
    """

    __slots__ = (
        "_ahead",
        "_size",
        "_sizes",
        "_start",
        "_steps",
        "_stop",
        "_stride",
        "left",
        "length",
    )

    def __init__(self, size: int, sizes: FetchSizes) -> None:
        self._size = size
        self._sizes = sizes
        self._start = self._stop = 0
        self._stride = self._steps = self._ahead = self.length = 0
        self.left: tuple[ByteRange, ...] = ()

    def holds(self, run: int) -> bool:
        """Whether *run* bytes that are read in order are within an element of a stride."""
        return 0 < self.length >= run

    def record_read(self, offset: int, stop: int, share: int) -> tuple[ByteRange, ...]:
        """What to fetch ahead after a read of [*offset*, *stop*); empty for nearly all reads.

        *share* is how many bytes of memory the elements ahead may take.
        """
        if offset == self._stop:
            self._stop = stop
            if self.length and stop - self._start > self._sizes.small:  # it goes on in order
                self._break()
            return ()
        stride, length = offset - self._start, max(self._stop - self._start, stop - offset)
        self._steps = self._steps + 1 if stride == self._stride else 1
        is_short = 0 <= stride <= SHORT_STEP * self._sizes.block
        if self._steps < STEPS or is_short or not length <= min(abs(stride), self._sizes.small):
            self._break()
            self._start, self._stop, self._stride = offset, stop, stride
            return ()
        self._start, self._stop, self.length = offset, stop, length
        self._ahead = max(0, self._ahead - 1)
        return self._plan(share)

    def is_expected(self, start: int, stop: int) -> bool:
        """Whether part of [*start*, *stop*) is planned, and yet to be read."""
        if not self._ahead:
            return False
        return any(
            each.start < stop and start < each.stop for each in self._elements(1, self._ahead)
        )

    def take_planned(self) -> tuple[ByteRange, ...]:
        """Return what is planned and yet to be read, also by a stride that was broken; drop it."""
        left = self.left or self._elements(1, self._ahead)
        self.left, self._ahead = (), 0
        return left

    def rewind(self, count: int) -> None:
        """Plan the last *count* elements again: there was no room to fetch them."""
        self._ahead = max(0, self._ahead - count)

    def _break(self) -> None:
        """Leave the stride, with what it has planned."""
        if self._ahead:
            self.left, self._ahead = self._elements(1, self._ahead), 0
        self.length = 0

    def _plan(self, share: int) -> tuple[ByteRange, ...]:
        room = share // (self.length + 2 * self._sizes.block)  # with what aligns it
        first, last = self._ahead + 1, min(2 * self._steps, MOST_AHEAD, room)
        elements = self._elements(first, last)
        self._ahead += len(elements)  # not those beyond the object
        return elements

    def _elements(self, first: int, last: int) -> tuple[ByteRange, ...]:
        """The elements from the *first* to the *last* behind the latest one, in the object."""
        starts = [self._start + n * self._stride for n in range(first, last + 1)]
        return tuple(
            align(start, min(start + self.length, self._size), self._size, self._sizes)
            for start in starts
            if 0 <= start < self._size
        )
