"""Invalidations of names and of subtrees, kept apart from the directories, which may be evicted.

Pure. Invariant: nothing that was requested before the invalidation of a name, or of a directory
above it, is used for that name, whatever cache has it. Invalidations are few, and not needed once
all older dentries have expired; if there are too many nevertheless, all older dentries are
invalidated instead.
"""

import math
from collections.abc import Callable, Iterator

INVALIDATIONS_MAX = 10_000
SUBTREES_MAX = 1000

DirectoryKey = tuple[str, str]  # bucket and prefix


class Invalidations:
    """Times by directory and name. *on_overflow* gets a time before which nothing is to be used."""

    def __init__(self, on_overflow: Callable[[float], None]) -> None:
        self._times: dict[tuple[DirectoryKey, bytes], float] = {}
        self._newest: dict[DirectoryKey, float] = {}
        self._subtrees: dict[DirectoryKey, float] = {}
        self._on_overflow = on_overflow

    def add(self, key: DirectoryKey, name: bytes, time: float) -> None:
        """Invalidate what was requested of *name* before *time*."""
        self._make_room(time)
        self._times[key, name] = self._newest[key] = time

    def add_subtree(self, key: DirectoryKey, time: float) -> None:
        """Invalidate what was requested before *time* of the directory *key*, and of all below."""
        self._make_room(time)
        self._subtrees[key] = time

    def last(self, key: DirectoryKey, name: bytes) -> float:
        """The time of the last invalidation of *name*; -inf if there was none."""
        named = self._times.get((key, name), -math.inf) if self._times else -math.inf
        return max(named, self.last_subtree(*key)) if self._subtrees else named

    def last_subtree(self, bucket: str, prefix: str) -> float:
        """The time of the last invalidation of a whole directory or of one above; -inf if none."""
        if not self._subtrees:
            return -math.inf
        return max(
            self._subtrees.get((bucket, above), -math.inf) for above in _directories_of(prefix)
        )

    def newest(self, bucket: str, prefix: str) -> float:
        """The time of the last invalidation of any name in a directory; -inf if there was none."""
        named = self._newest.get((bucket, prefix), -math.inf) if self._newest else -math.inf
        return max(named, self.last_subtree(bucket, prefix)) if self._subtrees else named

    def clear(self) -> None:
        self._times.clear()
        self._newest.clear()
        self._subtrees.clear()

    def _make_room(self, time: float) -> None:
        if len(self._times) >= INVALIDATIONS_MAX or len(self._subtrees) >= SUBTREES_MAX:
            self.clear()
            self._on_overflow(time)


def _directories_of(prefix: str) -> Iterator[str]:
    """The prefix "", each prefix above *prefix*, and *prefix* itself."""
    yield ""
    end = 0
    while end := prefix.find("/", end) + 1:
        yield prefix[:end]
