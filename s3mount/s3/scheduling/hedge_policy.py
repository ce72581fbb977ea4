"""Hedge policy: when a read whose response is late may be sent a second time.

1. A read is hedged once. Hedges are at most one in fifty of all reads, and a few at once, so that
   a store or a network that has become slow altogether does not get everything twice.
2. No read is hedged while the limit of requests is reduced: the store was throttling lately.
3. No hedge waits for its permit.
4. A response is late after twice the 95th percentile of the latest times to the first byte. The
   first byte, not the last, makes reads of all lengths comparable.
"""

import math
from collections import deque
from operator import methodcaller
from typing import Protocol

from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.deadline_queue import DeadlineQueue
from s3mount.s3.scheduling.limiter import Limiter, Permit

SHARE = 0.02  # of a hedge, which each read earns
BURST = 8.0  # hedges that can be saved up

SAMPLES = 512  # the latest ones: the store as it is now
ROUND = 32  # samples between two computations; with fewer, the slowest twentieth are too few
QUANTILE = 0.95  # if one response in a hundred takes a second, the 99th percentile is a second
FACTOR = 2.0
LEAST = 0.2  # seconds; with less, a busy machine would be taken for a late store


class Latency:
    """The store's latest times to the first byte, in seconds. Pure.

    A response is late after *late_after* seconds: never, until enough samples are known.
    """

    def __init__(self) -> None:
        self.late_after = math.inf
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._count = 0

    def add(self, seconds: float) -> None:
        self._samples.append(seconds)
        self._count += 1
        if self._count % ROUND == 0:
            usual = sorted(self._samples)[int(QUANTILE * len(self._samples))]
            self.late_after = max(LEAST, FACTOR * usual)


class Hedgeable(Protocol):
    """A read that can be sent a second time."""

    def send_hedge(self) -> None: ...


class HedgePolicy:
    """Policy of the hedges of the mount, and when each is due; for one trio run."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._earned = BURST
        self._late: DeadlineQueue[Hedgeable] = DeadlineQueue(methodcaller("send_hedge"))
        self.latency = Latency()
        # statistics
        self.sent = 0
        self.won = 0

    def record_read(self) -> None:
        """Account for a new read, which earns a part of a hedge."""
        self._earned = min(BURST, self._earned + SHARE)

    def watch(self, request: Hedgeable, sent_at: float) -> None:
        """Have *request*, sent at *sent_at* of trio's clock, hedged once its response is late."""
        late_after = self.latency.late_after
        if late_after != math.inf:
            self._late.add(request, sent_at + late_after)

    def unwatch(self, request: Hedgeable) -> None:
        self._late.discard(request)

    def acquire_nowait(self) -> Permit | None:
        """A permit for a hedge; None if there may be no hedge now."""
        if self._earned < 1 or self._limiter.aimd.is_reduced:
            return None
        permit = self._limiter.acquire_nowait(Priority.DEMAND)
        if permit is not None:
            self._earned -= 1
            self.sent += 1
        return permit
