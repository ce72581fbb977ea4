"""How long knowledge holds: the one place that knows the options' arithmetic, and the order of clock.

Pure. Knowledge is as old as the request that brought it, so a moment is taken when a request is sent. What always holds:

1. No two clock are equal: which of two requests, invalidations or refreshes came first is always known.
2. Knowledge that was asked for before the last refresh (`forget`) does not hold, whenever it arrives and whoever kept it.
"""

import math
from collections.abc import Callable

from s3mount.config import TreeConfig

CLOCK_LEAD = 1e-6  # seconds that stamps may be ahead of the clock that they are taken from, so that all of them differ


class StrictClock:
    """Clock seconds whose stamps all differ: `next` is later than all that were told before, and never ahead of a later `now`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = -math.inf

    def now(self) -> float:
        """The present, not earlier than any stamp."""
        now = self._clock()
        return max(self._last, now)

    def tick(self) -> float:
        """A stamp of its own for a request, a doubt or a refresh."""
        now = self._clock()
        self._last = now if now > self._last else math.nextafter(self._last, math.inf)
        return self._last


class TtlPolicy:
    """Seconds for which entries, and the lack of them, are believed; *grace* more while they are renewed.

    *valid_since* is the moment of the last refresh.
    """

    __slots__ = ("grace", "negative", "positive", "valid_since")

    def __init__(self, positive: float, negative: float, grace: float = 0.0) -> None:
        self.positive = positive
        self.negative = negative
        self.grace = grace
        self.valid_since = -math.inf

    @classmethod
    def from_config(cls, config: TreeConfig) -> "TtlPolicy":
        negative = config.metadata_ttl if config.negative_ttl is None else config.negative_ttl
        return cls(config.metadata_ttl, negative, config.stale_while_revalidate)

    def remaining(self, requested_at: float, now: float, *, exists: bool = True) -> float:
        """How long knowledge as of then holds still; not positive if it has expired, endlessly negative if a refresh came since."""
        if requested_at < self.valid_since:
            return -math.inf
        left = requested_at + (self.positive if exists else self.negative) - now
        return left if left > CLOCK_LEAD else min(left, 0.0)

    def is_recent(self, requested_at: float, now: float, least: float) -> bool:
        """Whether knowledge of what exists holds still, or is younger than *least* seconds and was asked for since the last refresh."""
        return (
            requested_at >= self.valid_since
            and requested_at + max(self.positive, least) - now > CLOCK_LEAD
        )

    def invalidate_before(self, moment: float) -> None:
        """Let nothing hold that was asked for before *moment*."""
        self.valid_since = moment
