"""Presence table: which segments the disk has, as far as is known in the event loop.

A guess that saves asking a thread. Invariants:

1. What it says is never the only evidence for a byte: a segment that is gone reads as a gap.
2. That a segment, or an extent of it, is absent is believed for ABSENCE_TTL: another mount may have
   kept it since. That it is there is believed until it is forgotten.
3. What was found before `forget_object` is not believed after it.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final, Literal, NamedTuple

from cachetools import LRUCache

from s3mount.disk.checksum import LENGTH
from s3mount.disk.segment import Segment

MEMORY_MAX: Final = 4 << 20  # bytes of the segments that are remembered
_SEGMENT_COST: Final = 640  # bytes, without the checksums
ABSENCE_TTL: Final = 1.0  # seconds


class Presence(Enum):
    """State of a segment that is not there, or of which nothing is known."""

    ABSENT = "absent"
    UNKNOWN = "unknown"


class _Known(NamedTuple):
    """A segment as it was found at the time *at*; None: absent."""

    segment: Segment | None
    at: float


class PresenceTable:
    """The segments that were found last, by the digest of their object and their number."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: LRUCache[tuple[bytes, int], _Known] = LRUCache(MEMORY_MAX, getsizeof=_cost)
        self.generation = 0  # a later one than that of a find: an object was forgotten since

    def find(
        self, digest: bytes, number: int, start: int, stop: int
    ) -> Segment | Literal[Presence.ABSENT, Presence.UNKNOWN]:
        """What is known of the segment that has the bytes [*start*, *stop*)."""
        known = self._known.get((digest, number))
        if known is None:
            return Presence.UNKNOWN
        segment, at = known
        is_whole = segment is not None and segment.has(start, stop)
        if not is_whole and self._clock() - at > ABSENCE_TTL:
            return Presence.UNKNOWN
        return Presence.ABSENT if segment is None else segment

    def find_whole(self, digest: bytes, number: int, start: int, stop: int) -> Segment | None:
        """The segment that has the bytes [*start*, *stop*), if all of them are there."""
        try:
            segment = self._known[digest, number].segment
        except KeyError:
            return None
        return segment if segment is not None and segment.has(start, stop) else None

    def has(self, digest: bytes, number: int, start: int, stop: int) -> bool:
        """Whether all of [*start*, *stop*) is there."""
        return self.find_whole(digest, number, start, stop) is not None

    def put(self, digest: bytes, number: int, segment: Segment | None, generation: int) -> None:
        """Note *segment* as it was found, None if it was not, since the table had *generation*."""
        if generation == self.generation:
            self._known[digest, number] = _Known(segment, self._clock())

    def put_unknown(self, segment: Segment, generation: int) -> None:
        """`put` of what was found by the way: what is known of the segment is as good or better."""
        if (segment.digest, segment.number) not in self._known:
            self.put(segment.digest, segment.number, segment, generation)

    def forget(self, digest: bytes, number: int) -> None:
        """Know nothing of a segment any more: a read of it has failed."""
        self._known.pop((digest, number), None)

    def forget_object(self, digest: bytes) -> None:
        """Know nothing of an object any more, nor what is being found of it."""
        self.generation += 1
        for key in [key for key in self._known if key[0] == digest]:
            del self._known[key]


def _cost(known: _Known) -> int:
    checksums = () if known.segment is None else known.segment.checksums
    return _SEGMENT_COST + LENGTH * len(checksums)
