"""Invalidations of names, kept apart from the directories, which may be evicted.

Pure. Invariant: nothing that was requested before a name's invalidation is used for that name,
whatever cache has it. Invalidations are few, and not needed once all older dentries have expired;
if there are too many nevertheless, all older dentries are invalidated instead.
"""

import math
from collections.abc import Callable

INVALIDATIONS_MAX = 10_000

DirectoryKey = tuple[str, str]  # bucket and prefix


class Invalidations:
    """Times by directory and name. *on_overflow* gets a time before which nothing is to be used."""

    def __init__(self, on_overflow: Callable[[float], None]) -> None:
        self._times: dict[tuple[DirectoryKey, bytes], float] = {}
        self._newest: dict[DirectoryKey, float] = {}
        self._on_overflow = on_overflow

    def add(self, key: DirectoryKey, name: bytes, time: float) -> None:
        """Invalidate what was requested of *name* before *time*."""
        if len(self._times) >= INVALIDATIONS_MAX:
            self.clear()
            self._on_overflow(time)
        self._times[key, name] = self._newest[key] = time

    def last(self, key: DirectoryKey, name: bytes) -> float:
        """The time of the last invalidation of *name*; -inf if there was none."""
        return self._times.get((key, name), -math.inf) if self._times else -math.inf

    def newest(self, bucket: str, prefix: str) -> float:
        """The time of the last invalidation of any name in a directory; -inf if there was none."""
        return self._newest.get((bucket, prefix), -math.inf) if self._newest else -math.inf

    def clear(self) -> None:
        self._times.clear()
        self._newest.clear()
