"""Prefetch budget: how many prefetches may be in flight, and how much memory they may fill.

Pure. Invariants:

1. Readers' prefetches fill at most three quarters of the memory. Those of warm-ups take nothing of
   that, in number or in bytes.
2. Warm-ups fill an eighth of the memory beside, so that a demand fetch finds memory without waiting
   for prefetches. They may fill more by a single fetch: that is taken from all prefetches alike.
3. A warm-up fetches nothing more while the readers' prefetches are many.
4. Those beyond half of the memory, and beyond what fills the link, leave the rest to bytes that the
   disk cache has yet to write.
"""

from typing import Final

from s3mount.cache.link_load import LinkLoad

PREFETCHES_MAX: Final = 96  # more would only queue in the store; the next read asks again
WARM_MAX: Final = 32  # in flight, readers' included, with one by a warm-up
_MARGIN: Final = 1.25  # above what fills the link, which is an estimate


class PrefetchBudget:
    """Budget of prefetches in a memory of *memory_limit* bytes, of which readers have *limit*."""

    def __init__(self, memory_limit: int) -> None:
        self.limit = memory_limit * 3 // 4
        self._displacing_limit = memory_limit // 2
        self._warm_limit = memory_limit // 8
        self.link = LinkLoad()
        self.readers = _InFlight()
        self.warm = _InFlight()

    def has_room(self, length: int) -> bool:
        """Whether there is room for one more for a reader, of *length* bytes."""
        excess = max(0, self.warm.octets - self._warm_limit)
        is_within = self.readers.octets + excess + length <= self.limit
        return is_within and self.readers.count < PREFETCHES_MAX

    def may_displace(self, length: int) -> bool:
        """Whether one of *length* bytes may take memory of bytes that a source is yet to keep."""
        limit = max(self._displacing_limit, self.link.filling * _MARGIN)
        return self.readers.octets + length <= limit

    def has_warm_room(self, length: int) -> bool:
        """Whether there is room for one more by a warm-up, of *length* bytes."""
        if self.readers.count + self.warm.count >= WARM_MAX:
            return False
        if self.warm.count and self.warm.octets + length > self._warm_limit:
            return False
        return self.readers.octets + self.warm.octets + length <= self.limit

    def acquire(self, length: int, *, is_warm: bool) -> None:
        """Count one more, of *length* bytes."""
        in_flight = self.warm if is_warm else self.readers
        in_flight.count += 1
        in_flight.octets += length

    def release(self, length: int, *, is_warm: bool) -> None:
        """Count one less, of *length* bytes."""
        in_flight = self.warm if is_warm else self.readers
        in_flight.count -= 1
        in_flight.octets -= length


class _InFlight:
    """Prefetches of one kind, and their bytes."""

    __slots__ = ("count", "octets")

    def __init__(self) -> None:
        self.count = 0
        self.octets = 0
