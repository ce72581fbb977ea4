"""Forward steps: a reader that leaves gaps, and whether they are to be fetched as if it read them.

Such a reader is *sparse*. What lies between its reads costs bytes, and saves a round trip for each
read. Short steps cost less than that on any link. Whether long ones do is measured: how long the
reader waits in each step while single blocks are fetched, and afterwards. Pure but for a clock,
which is read for reads that wait in long steps only. Invariants:

1. A reader is sparse after `STEPS` steps in a row, or `LONG_STEPS` if they are long. Their mean
   length is at most `StepLimit.longest`. Long steps lead from one block or less to the next.
2. Fetched ahead is at most `FACTOR` times what the steps have covered, with the gaps; `LONG_FACTOR`
   times for long steps.
3. Once the reader has waited longer in long steps than for single blocks, by the time of `CREDIT`
   of these, it is sparse no more. Steps of that length are not tried for `RETRY_AFTER` seconds, in
   any version. What passes between its reads is its own time.
"""

import time
from collections.abc import Callable
from typing import Final

from s3mount.cache.ranges import FetchSizes

STEPS: Final = 4  # that make a reader sparse
SHORT_STEP: Final = 4  # blocks: how long short steps are on average
WITHIN: Final = 4  # reads of the version within which the next step comes
FACTOR: Final = 2
LONG_STEPS: Final = 5
LONG_STEP: Final = 16  # blocks: what a round trip of 20 ms takes at 90 MB/s, and a little more
LONG_FACTOR: Final = 1
CREDIT: Final = 6  # single blocks
RETRY_AFTER: Final = 300.0  # seconds: a link may have become faster


class StepLimit:
    """The mean length of the long steps that may be tried on the link of the mount, in blocks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._longest = LONG_STEP
        self._lowered_at = 0.0

    @property
    def longest(self) -> int:
        if self._longest < LONG_STEP and self.clock() - self._lowered_at >= RETRY_AFTER:
            self._longest = LONG_STEP
        return self._longest

    def lower(self, blocks: int) -> None:
        """Steps of *blocks* took longer than single blocks."""
        self._longest = max(SHORT_STEP, min(self._longest, blocks * 3 // 4))
        self._lowered_at = self.clock()


class ForwardSteps:
    """The latest steps of one reader in one version, in a row.

    *covered* are the bytes from the first step on, with the gaps; *is_sparse*: the gaps are to be
    fetched too; *is_long*: what the steps are on average. *_mean* is their length, *_skipped* what
    is left of their gaps.
    *_measured* are the seconds of each long step that waited for a single block, in order, and
    *_usual* is their median. *_credit* are the seconds by which the others may yet be slower.
    *_waited* are the seconds that reads have waited since the latest step.
    """

    __slots__ = (
        "_block",
        "_count",
        "_credit",
        "_limit",
        "_mean",
        "_measured",
        "_skipped",
        "_usual",
        "_waited",
        "covered",
        "is_long",
        "is_sparse",
    )

    def __init__(self, sizes: FetchSizes, limit: StepLimit) -> None:
        self._block = sizes.block
        self._limit = limit
        self._count = self._mean = self._skipped = self.covered = 0
        self._measured: tuple[float, ...] = ()
        self._waited = self._usual = self._credit = 0.0
        self.is_long = self.is_sparse = False

    @property
    def evidence(self) -> int:
        """How many bytes may be fetched ahead because of the steps."""
        if not self.is_sparse:
            return 0
        return self.covered * (LONG_FACTOR if self.is_long else FACTOR)

    @property
    def reads_through_long(self) -> bool:
        """Whether long gaps are fetched."""
        return self.is_sparse and self.is_long

    @property
    def clock(self) -> Callable[[], float]:
        """The clock of the waits."""
        return self._limit.clock

    def record_wait(self, seconds: float) -> None:
        """Account for a read that has waited for *seconds*, if `is_long`."""
        self._waited += seconds

    def record_return(self, distance: int, length: int) -> bool:
        """Count a read of *length* bytes *distance* back; False if it ends the steps.

        It does so before the first of them, or if most of what they skipped is read by now.
        """
        self._skipped -= length
        return distance <= self.covered <= 2 * self._skipped

    def record_step(self, gap: int, read: int, element: int) -> bool:
        """Count a step over *gap* bytes to a read of *read* bytes; False if it ends the steps.

        *element* are the bytes read in a row before it.
        """
        length = gap + read
        self._skipped += gap
        self._mean = (3 * self._mean + length) // 4 if self._count else length
        self._count += 1
        self.covered += length
        if self._mean > SHORT_STEP * self._block:
            return self._record_long(element)
        self.is_long = False
        self.is_sparse |= self._count >= STEPS
        return True

    def _record_long(self, element: int) -> bool:
        if element > self._block or self._mean > self._limit.longest * self._block:
            return False
        seconds, self._waited = self._waited, 0.0
        if not self.is_long:  # the time before it was that of a short step
            self.is_long = True
            self.is_sparse = self.is_sparse and len(self._measured) >= LONG_STEPS
        elif self.is_sparse:
            self._credit = min(self._credit + self._usual - seconds, CREDIT * self._usual)
            if self._credit < 0:
                self._limit.lower(self._mean // self._block)
                return False
        elif seconds:
            self._measure(seconds)
        return True

    def _measure(self, seconds: float) -> None:
        """Account for a step with a single block."""
        self._measured = tuple(sorted((*self._measured, seconds)))
        if len(self._measured) >= LONG_STEPS:
            self._usual = self._measured[LONG_STEPS // 2]
            self.is_sparse = True
            self._credit = CREDIT * self._usual
