"""Link load: how many bytes in flight fill the link, from how long large fetches take.

Pure. By Little's law, the bytes in flight are the rate times how long they take. A fetch that takes
longer than the least one did has waited for others: fewer in flight would be as fast.

Invariant: fetches are compared with others of their length only, and the longest count.
"""

import math
from typing import Final

LEAST_LENGTH: Final = 1 << 20  # bytes; what is shorter takes mostly the time of a round trip
_DECAY: Final = 1 / 64  # of `filling` with each fetch: they come, and begin, in bursts
_GROWTH: Final = 1 / 256  # of the least time with each fetch, so that it is none of long ago


class LinkLoad:
    """Load of the link by the fetches that have ended."""

    def __init__(self) -> None:
        # the length of the fetches that count, and the least time that one took
        self._length = 0
        self._least = math.inf
        self.filling = 0.0  # bytes in flight that fill the link, as far as is known

    def record(self, length: int, seconds: float, in_flight: int) -> None:
        """A fetch of *length* bytes took *seconds*; *in_flight* bytes were, when it began."""
        if length < max(self._length, LEAST_LENGTH) or seconds <= 0:
            return
        if length > self._length:
            self._length, self._least, self.filling = length, math.inf, 0.0
        self._least = min(self._least * (1 + _GROWTH), seconds)
        self.filling = max(self.filling * (1 - _DECAY), in_flight * self._least / seconds)
