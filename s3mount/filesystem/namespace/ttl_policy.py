"""TTL policy and clock: when cached metadata expires. The one place with the options' arithmetic.

Pure. Metadata is as old as the request that brought it: its timestamp is taken when the request is
sent. Invariants:

1. No two timestamps are equal: of any two requests, invalidations or refreshes the order is known.
2. What was requested before the last refresh (`invalidate_before`) has expired, whenever it arrives
   and whatever cache has it.
"""

import math
from collections.abc import Callable

from s3mount.config import TreeConfig

# seconds that timestamps may run ahead of the clock that they are taken from, to be different
CLOCK_LEAD = 1e-6


class StrictClock:
    """Strictly monotonic clock over *clock*, in seconds: no two ticks are equal."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = -math.inf

    def now(self) -> float:
        """The present, not before the last tick."""
        now = self._clock()
        return max(self._last, now)

    def tick(self) -> float:
        """A timestamp after all others, for a request, an invalidation or a refresh."""
        now = self._clock()
        self._last = now if now > self._last else math.nextafter(self._last, math.inf)
        return self._last


class TtlPolicy:
    """Seconds until dentries expire, *grace* more while renewed; *valid_since*: last refresh."""

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
        """Seconds until expiry, not positive if expired; -inf if a refresh came since."""
        if requested_at < self.valid_since:
            return -math.inf
        left = requested_at + (self.positive if exists else self.negative) - now
        return left if left > CLOCK_LEAD else min(left, 0.0)

    # seconds for which the kernel may use what it is given now
    remaining_for_kernel = remaining

    def is_recent(self, requested_at: float, now: float, least: float) -> bool:
        """Whether a positive dentry is fresh, or younger than *least*, and newer than a refresh."""
        expires_at = requested_at + max(self.positive, least)
        return requested_at >= self.valid_since and expires_at - now > CLOCK_LEAD

    def recent_since(self, now: float, least: float) -> float:
        """The time since which a request has to have been sent for its response to `is_recent`."""
        return max(self.valid_since, now - max(self.positive, least) + CLOCK_LEAD)

    def usable_for(self, least: float) -> float:
        """Seconds after which metadata, whatever it is, neither is used nor `is_recent`."""
        return max(self.positive, self.negative, least) + self.grace + CLOCK_LEAD

    def invalidate_before(self, time: float) -> None:
        """Expire all that was requested before *time*."""
        self.valid_since = time
