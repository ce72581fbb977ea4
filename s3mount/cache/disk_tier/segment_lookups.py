"""Lookups of small objects on the disk before they are read: many in one query, in a thread.

What is found is known in the event loop from then on, and on its way into the kernel's memory: no
read of it needs a thread, and none needs a buffer before it comes. Invariants:

1. Each object that is added is found, or *on_absent* is called once, later and in the event loop.
2. A lookup waits for others for DELAY at most, and for BATCH of them, and for the query before it:
   the kernel reads ahead for one at a time, so that the queue of the disk has room for readers.
3. A disk that is late or fails is as if it had nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

import outcome
import trio

from s3mount import unawaited
from s3mount.cache.disk_tier.names import NamedVersion
from s3mount.cache.disk_tier.protocol import Disk
from s3mount.cache.disk_tier.readers import BypassedError, DiskJob
from s3mount.cache.disk_tier.tier import DiskTier
from s3mount.disk.segment import Segment
from s3mount.s3.object_store import Priority

BATCH: Final = 32  # objects
DELAY: Final = 0.005  # seconds


class Lookup(NamedTuple):
    """An object to be found, and what is called if the disk does not have all of it."""

    named: NamedVersion
    on_absent: Callable[[], object]


class _Batch:
    """Lookups of one query, by digest, and the generation of the presence table before it."""

    def __init__(self, lookups: dict[bytes, Lookup], generation: int) -> None:
        self.lookups = lookups
        self.generation = generation
        self.has_ended = False


class SegmentLookups:
    """Lookups on the disk of *tier*."""

    def __init__(self, tier: DiskTier) -> None:
        self._tier = tier
        # by digest: those that wait, and whether a task is to start them; those that are looked up
        self._waiting: dict[bytes, Lookup] = {}
        self._is_due = False
        self._running: dict[bytes, Lookup] = {}

    def add(self, named: NamedVersion, on_absent: Callable[[], object]) -> None:
        """Look *named* up soon, unless that is about to be done."""
        if named.digest in self._waiting or named.digest in self._running:
            return
        self._waiting[named.digest] = Lookup(named, on_absent)
        if len(self._waiting) >= BATCH:
            self._start()
        elif not self._is_due:
            self._is_due = True
            trio.lowlevel.spawn_system_task(self._start_later)

    async def _start_later(self) -> None:
        try:
            await trio.sleep(DELAY)
        finally:
            self._is_due = False
        unawaited.call("lookups in the disk cache", self._start)

    def _start(self) -> None:
        if self._running or not self._waiting:
            return
        if not self._tier.health.is_usable:
            waiting, self._waiting = self._waiting, {}
            _tell_absent(waiting.values())
            return
        lookups = self._running = dict(islice(self._waiting.items(), BATCH))
        for digest in lookups:
            del self._waiting[digest]
        batch = _Batch(lookups, self._tier.presence.generation)
        names = [each.named for each in lookups.values()]
        job = DiskJob(
            partial(_find_and_read_ahead, self._tier.disk, names),
            0,
            Priority.PREFETCH,
            lambda _, result: self._on_end(batch, result),
            lambda: self._end(batch, {}),
        )
        self._tier.readers.submit(job)

    def _on_end(self, batch: _Batch, result: outcome.Outcome[Sequence[Segment]]) -> None:
        if isinstance(result, outcome.Error):
            if not isinstance(result.error, BypassedError):
                self._tier.health.record_failure(result.error)
            self._end(batch, {})
            return
        found = {segment.digest: segment for segment in result.unwrap()}
        if not batch.has_ended:
            for digest in batch.lookups:
                segment = found.get(digest)
                self._tier.presence.put(digest, 0, segment, batch.generation)
        self._end(batch, found)

    def _end(self, batch: _Batch, found: dict[bytes, Segment]) -> None:
        if batch.has_ended:
            return
        batch.has_ended = True
        self._running = {}
        _tell_absent(
            lookup for digest, lookup in batch.lookups.items() if not _is_whole(found.get(digest))
        )
        if len(self._waiting) >= BATCH or not self._is_due:
            self._start()


def _is_whole(segment: Segment | None) -> bool:
    return segment is not None and segment.has(segment.start, segment.stop)


def _tell_absent(lookups: Iterable[Lookup]) -> None:
    for each in lookups:
        unawaited.call("a prefetch past the disk cache", each.on_absent)


def _find_and_read_ahead(disk: Disk, names: Sequence[NamedVersion]) -> Sequence[Segment]:
    """The segments of the small objects *names*, which the kernel then reads ahead."""
    found = disk.find_many(names, range(1))
    disk.read_ahead(found)
    return found
