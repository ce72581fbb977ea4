"""How long the store takes to begin an answer, of late; and from when on an answer is late. Pure.

Until the first byte, not the last, so that reads of all lengths can be compared.
"""

import math
from collections import deque

SAMPLES = 512  # the latest, which are what the store is like now
ROUND = 32  # samples between two looks at them; with fewer, the slowest twentieth are too few
QUANTILE = 0.95  # not 0.99: where one answer in a hundred takes a second, that is a second, and nothing would be late
FACTOR = 2.0
LEAST = 0.2  # seconds; sooner, a busy machine would be taken for a late store


class Latency:
    """The store's latest times to the first byte, in seconds. *late_after* so many seconds an answer is late: never, until it is known."""

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
