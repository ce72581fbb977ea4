"""Stride detector: reads that begin equally far apart, as of rows of a raster or of records.

Knows offsets only. Invariants:

1. Nothing is planned before three steps of the same length, forward or backward.
2. What is planned ahead is at most twice as many elements as steps were seen, and at most 16.
3. An element is planned once while the stride goes on, and lies in the object.
4. A short stride forward is left to readahead, which fetches what lies between the reads too.
"""

from typing import Final

from s3mount.cache.forward_steps import SHORT_STEP
from s3mount.cache.ranges import FetchSizes, align
from s3mount.s3.model import ByteRange

STEPS: Final = 3  # of the same length, that prove a stride
MOST_AHEAD: Final = 16  # elements: their round trips take less than one and a half of a single one


class StrideDetector:
    """Plans what comes next in a stride, for the reads of one object version.

    The latest element is [*_start*, *_stop*), the reads since the last jump. *_steps* steps of
    *_stride* bytes led to it, and *_ahead* elements that follow are planned. They and the latest
    are expected to be *length* bytes; 0 if none is planned.
    """

    __slots__ = ("_ahead", "_size", "_sizes", "_start", "_steps", "_stop", "_stride", "length")

    def __init__(self, size: int, sizes: FetchSizes) -> None:
        self._size = size
        self._sizes = sizes
        self._start = self._stop = 0
        self._stride = self._steps = self._ahead = self.length = 0

    def record_read(self, offset: int, stop: int) -> tuple[ByteRange, ...]:
        """What to fetch ahead after a read of [*offset*, *stop*); empty for nearly all reads."""
        if offset == self._stop:
            self._stop = stop
            return ()
        stride, length = offset - self._start, max(self._stop - self._start, stop - offset)
        self._start, self._stop, self.length = offset, stop, 0
        if stride != self._stride:
            self._stride, self._steps, self._ahead = stride, 1, 0
            return ()
        self._steps += 1
        self._ahead = max(0, self._ahead - 1)
        is_short = 0 <= stride <= SHORT_STEP * self._sizes.block
        if self._steps < STEPS or is_short or not length <= min(abs(stride), self._sizes.small):
            return ()
        return self._plan(length)

    def _plan(self, length: int) -> tuple[ByteRange, ...]:
        self.length = length
        most = min(2 * self._steps, MOST_AHEAD)
        starts = [self._start + n * self._stride for n in range(self._ahead + 1, most + 1)]
        self._ahead = most
        return tuple(
            align(start, min(start + length, self._size), self._size, self._sizes)
            for start in starts
            if 0 <= start < self._size
        )
