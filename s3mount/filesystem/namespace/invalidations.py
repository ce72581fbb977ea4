"""Invalidations of names and of subtrees, kept apart from the directories, which may be evicted.

Pure. Invariants:

1. Nothing that was requested before the invalidation of a name, or of a directory above it, is used
   for that name, whatever cache has it.
2. An invalidation is kept while anything that was requested before it may be used: the lifetime of
   metadata, and no longer. After that the lifetime alone denies what is older.
3. There are at most INVALIDATIONS_MAX and SUBTREES_MAX. Instead of one more, all older dentries are
   invalidated.
"""

import math
from collections.abc import Callable, Hashable, Iterator
from typing import TypeVar

INVALIDATIONS_MAX = 10_000
SUBTREES_MAX = 1000

Key = TypeVar("Key", bound=Hashable)
DirectoryKey = tuple[str, str]  # bucket and prefix


class Invalidations:
    """Times by directory and name, in seconds of *clock*, each later than the one before.

    *lifetime* is for how many seconds metadata may be used. *on_overflow* gets a time before which
    nothing is to be used.
    """

    def __init__(
        self, on_overflow: Callable[[float], None], clock: Callable[[], float], lifetime: float
    ) -> None:
        # by time each, the oldest first; the first one of all expires at `_expires_at`, or later
        self._times: dict[tuple[DirectoryKey, bytes], float] = {}
        self._newest: dict[DirectoryKey, float] = {}
        self._subtrees: dict[DirectoryKey, float] = {}
        self._expires_at = math.inf
        self._on_overflow = on_overflow
        self._clock = clock
        self._lifetime = lifetime

    def __len__(self) -> int:
        return len(self._times) + len(self._subtrees)

    def add(self, key: DirectoryKey, name: bytes, time: float) -> None:
        """Invalidate what was requested of *name* before *time*."""
        self._make_room(time)
        _put_last(self._times, (key, name), time)
        _put_last(self._newest, key, time)

    def add_subtree(self, key: DirectoryKey, time: float) -> None:
        """Invalidate what was requested before *time* of the directory *key*, and of all below."""
        self._make_room(time)
        _put_last(self._subtrees, key, time)

    def last(self, key: DirectoryKey, name: bytes) -> float:
        """The time of the last invalidation of *name*; -inf if there was none, or it expired."""
        if self._times or self._subtrees:
            self._drop_expired()
        named = self._times.get((key, name), -math.inf) if self._times else -math.inf
        return max(named, self._last_subtree(*key)) if self._subtrees else named

    def last_subtree(self, bucket: str, prefix: str) -> float:
        """`last`, of a whole directory or of one above."""
        if self._subtrees:
            self._drop_expired()
        return self._last_subtree(bucket, prefix) if self._subtrees else -math.inf

    def newest(self, bucket: str, prefix: str) -> float:
        """`last`, of any name in a directory."""
        if self._times or self._subtrees:
            self._drop_expired()
        named = self._newest.get((bucket, prefix), -math.inf) if self._newest else -math.inf
        return max(named, self._last_subtree(bucket, prefix)) if self._subtrees else named

    def clear(self) -> None:
        self._times.clear()
        self._newest.clear()
        self._subtrees.clear()
        self._expires_at = math.inf

    def _last_subtree(self, bucket: str, prefix: str) -> float:
        return max(
            self._subtrees.get((bucket, above), -math.inf) for above in directories_of(prefix)
        )

    def _make_room(self, time: float) -> None:
        self._drop_expired()
        if len(self._times) >= INVALIDATIONS_MAX or len(self._subtrees) >= SUBTREES_MAX:
            self.clear()
            self._on_overflow(time)
        self._expires_at = min(self._expires_at, time + self._lifetime)

    def _drop_expired(self) -> None:
        """Drop those that are *lifetime* old: all that was requested before them has expired."""
        now = self._clock()
        if now < self._expires_at:
            return
        until = now - self._lifetime
        _drop_until(self._newest, until)
        oldest = min(_drop_until(self._times, until), _drop_until(self._subtrees, until))
        self._expires_at = oldest + self._lifetime


def _put_last(times: dict[Key, float], key: Key, time: float) -> None:
    times.pop(key, None)
    times[key] = time


def _drop_until(times: dict[Key, float], until: float) -> float:
    """Drop what is not later than *until*; the first time that is left, or inf."""
    while times:
        key, time = next(iter(times.items()))
        if time > until:
            return time
        del times[key]
    return math.inf


def directories_of(prefix: str) -> Iterator[str]:
    """The prefix "", each prefix above *prefix*, and *prefix* itself."""
    yield ""
    end = 0
    while end := prefix.find("/", end) + 1:
        yield prefix[:end]
