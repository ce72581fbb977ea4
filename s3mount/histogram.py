"""Histogram of durations in logarithmic buckets, with percentiles.

Pure, and not thread-safe. A bucket is 19 % wider than the one before, so a percentile is right to
within that: see HdrHistogram and OpenMetrics' exponential buckets for the same trade.
"""

import math
from collections.abc import Sequence
from typing import Final

from s3mount.frozen_dataclass import dataclass

LEAST: Final = 0.0001  # seconds: the upper bound of the first bucket
PER_DOUBLING: Final = 4  # buckets from one duration to its double
DOUBLINGS: Final = 20  # to 105 s, above every timeout of an attempt that is usual
_BUCKETS: Final = PER_DOUBLING * DOUBLINGS + 1
_TO_STEPS: Final = PER_DOUBLING / math.log(2)


@dataclass(frozen=True, slots=True)
class HistogramSample:
    """A histogram as Prometheus has it.

    *buckets* are upper bounds, the last one infinite, each with how many samples are not above it.
    """

    buckets: Sequence[tuple[float, int]]
    total: float

    @property
    def count(self) -> int:
        return self.buckets[-1][1]


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of *count* durations, in seconds; None if there are none."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None


class Histogram:
    """Durations in seconds, counted by size."""

    __slots__ = ("_counts", "total")

    def __init__(self) -> None:
        self._counts = [0] * (_BUCKETS + 1)  # the last one has no upper bound
        self.total = 0.0

    @property
    def count(self) -> int:
        return sum(self._counts)

    def add(self, seconds: float) -> None:
        self.total += seconds
        if seconds <= LEAST:
            self._counts[0] += 1
        else:
            step = math.ceil(math.log(seconds / LEAST) * _TO_STEPS)
            self._counts[min(step, _BUCKETS)] += 1

    def merge(self, other: "Histogram") -> None:
        """Add the samples of *other*."""
        for step, count in enumerate(other._counts):  # noqa: SLF001 - of its own class
            self._counts[step] += count
        self.total += other.total

    def quantile(self, share: float) -> float | None:
        """Return the duration that *share* of the samples do not exceed; None without samples."""
        rank, below = share * self.count, 0
        for step, count in enumerate(self._counts):
            if count and below + count >= rank:
                lower = bound(step - 1) if step else 0.0
                return lower + (bound(min(step, _BUCKETS - 1)) - lower) * (rank - below) / count
            below += count
        return None

    def percentiles(self) -> Percentiles:
        return Percentiles(self.count, self.quantile(0.5), self.quantile(0.9), self.quantile(0.99))

    def sample(self) -> HistogramSample:
        """Return the histogram with one bucket for each doubling."""
        buckets, below = [], 0
        for step, count in enumerate(self._counts[:_BUCKETS]):
            below += count
            if step % PER_DOUBLING == 0:
                buckets.append((bound(step), below))
        return HistogramSample((*buckets, (math.inf, self.count)), self.total)


def bound(step: int) -> float:
    """Return the upper bound of the bucket *step*, in seconds."""
    return LEAST * math.pow(2.0, step / PER_DOUBLING)
