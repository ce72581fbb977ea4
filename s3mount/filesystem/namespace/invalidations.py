"""Names of which older knowledge was found wrong, and when; kept apart from the directories, which may be evicted.

Pure. What always holds: nothing that was asked for before a name's doubt is believed of that name, whoever kept it. Doubts are
few, and no longer needed when all knowledge before them has expired; if they are too many nevertheless, all older knowledge is let go.
"""

import math
from collections.abc import Callable

DOUBTS_MAX = 10_000


class Invalidations:
    """Moments by directory and name. *overflow* is told of a moment before which nothing at all may be believed any more."""

    def __init__(self, overflow: Callable[[float], None]) -> None:
        self._moments: dict[tuple[str, bytes], float] = {}
        self._newest: dict[str, float] = {}  # by directory
        self._overflow = overflow

    def add(self, prefix: str, name: bytes, moment: float) -> None:
        """Believe nothing of *name* that was asked for before *moment*."""
        if len(self._moments) >= DOUBTS_MAX:
            self.clear()
            self._overflow(moment)
        self._moments[prefix, name] = self._newest[prefix] = moment

    def since(self, prefix: str, name: bytes) -> float:
        """The moment of the doubt, or one before all others."""
        return self._moments.get((prefix, name), -math.inf) if self._moments else -math.inf

    def newest(self, prefix: str) -> float:
        """The moment of the last doubt of any name in *prefix*, or one before all others."""
        return self._newest.get(prefix, -math.inf) if self._newest else -math.inf

    def clear(self) -> None:
        self._moments.clear()
        self._newest.clear()
