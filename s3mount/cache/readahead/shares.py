"""Shares of the memory for prefetches: how many bytes each stream may have ahead. Pure.

A reader of records at random leaves a stream behind at each of them, and comes back to none. So a
stream counts by itself only if its reader has come back to it, from others, RETURNS_MIN times.
All other streams of one reader count as one. Invariants:

1. A stream that counts by itself has the whole memory, divided by what counts.
2. Another one has as large a part of what its reader's count as, or the memory divided by all
   streams if that is more. So none has less than it would have if all counted.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from s3mount.cache.readahead.sequential_stream import SequentialStream

RETURNS_MIN: Final = 3  # the kernel may send a few reads of the last record late


class ReadaheadShares:
    """The shares of the streams in *limit* bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # `_latest` is the stream that each reader read last; `_returns` counts how often it came
        # back to one. Of the latest division: what counts, all streams, and those of each reader
        # that count as one.
        self._latest: dict[object, SequentialStream] = {}
        self._returns: Counter[SequentialStream] = Counter()
        self._counts = 1
        self._streams = 1
        self._joined: Counter[object] = Counter()

    def record_read(self, stream: SequentialStream) -> bool:
        """Account for a read of *stream*, by its owner; whether it counts by itself from now on."""
        former = self._latest.get(stream.owner)
        if former is stream:
            return False
        self._latest[stream.owner] = stream
        if former is None:
            return False
        self._returns[stream] += 1
        return self._returns[stream] == RETURNS_MIN

    def forget(self, stream: SequentialStream) -> None:
        """Account for the end of *stream*."""
        del self._returns[stream]
        if self._latest.get(stream.owner) is stream:
            del self._latest[stream.owner]

    def forget_reader(self, owner: object) -> None:
        """Account for the end of *owner*, which reads no more."""
        self._latest.pop(owner, None)

    def divide(self, streams: Iterable[SequentialStream]) -> None:
        """Divide the memory among *streams* anew."""
        self._streams, alone = 0, 0
        self._joined.clear()
        for stream in streams:
            self._streams += 1
            if self._returns[stream] >= RETURNS_MIN:
                alone += 1
            else:
                self._joined[stream.owner] += 1
        self._counts = alone + len(self._joined)

    def share(self, stream: SequentialStream) -> int:
        """Return how many bytes *stream* may have ahead."""
        whole = self._limit // max(1, self._counts)
        if self._returns[stream] >= RETURNS_MIN:
            return whole
        joined = max(1, self._joined[stream.owner])
        return max(whole // joined, self._limit // max(1, self._streams))
