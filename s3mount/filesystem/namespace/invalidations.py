"""Names of which older knowledge was found wrong, and when; kept apart from the directories, which may be evicted.

Pure. What always holds: nothing that was asked for before a name's doubt is believed of that name, whoever kept it. Doubts are
few, and no longer needed when all knowledge before them has expired; if they are too many nevertheless, all older knowledge is let go.
"""

import math
from collections.abc import Callable

INVALIDATIONS_MAX = 10_000


class Invalidations:
    """Moments by directory and name. *overflow* is told of a moment before which nothing at all may be believed any more."""

    def __init__(self, overflow: Callable[[float], None]) -> None:
        self._times: dict[tuple[str, bytes], float] = {}
        self._newest: dict[str, float] = {}  # by directory
        self._overflow = overflow

    def add(self, prefix: str, name: bytes, moment: float) -> None:
        """Believe nothing of *name* that was asked for before *moment*."""
        if len(self._times) >= INVALIDATIONS_MAX:
            self.clear()
            self._overflow(moment)
        self._times[prefix, name] = self._newest[prefix] = moment

    def last(self, prefix: str, name: bytes) -> float:
        """The moment of the doubt, or one before all others."""
        return self._times.get((prefix, name), -math.inf) if self._times else -math.inf

    def newest(self, prefix: str) -> float:
        """The moment of the last doubt of any name in *prefix*, or one before all others."""
        return self._newest.get(prefix, -math.inf) if self._newest else -math.inf

    def clear(self) -> None:
        self._times.clear()
        self._newest.clear()
