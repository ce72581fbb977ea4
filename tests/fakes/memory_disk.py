"""`DiskCache` in memory, which fails and rots when a test says so."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence

from s3mount.disk.object_name import EXTENT, SEGMENT, ObjectName, extent_count
from s3mount.disk.reservation import Kept, Written
from s3mount.disk.segment import Location, Segment, SegmentClass, clipped_runs
from s3mount.disk.usage import DiskCounts, DiskLimits, DiskUsage

GARBAGE = 0xEE
_PRESENT = 1 << 32  # a checksum that is one


class MemoryDisk:
    """A disk that has room for all.

    *fails*: every call raises. *waits*: nothing is read with *nowait*. *bad*: the extents, as
    (digest, number of the segment, index), whose bytes are damaged.
    """

    def __init__(self) -> None:
        self.counts = DiskCounts()
        self.limits = DiskLimits(1 << 40)
        self.fails = False
        self.waits = False
        self.bad: set[tuple[bytes, int, int]] = set()
        self.replaced: list[ObjectName] = []
        self.accessed: list[int] = []
        self.read_aheads: list[str] = []
        self.recent_loads = 0
        self.flushed = 0
        self.held = 0  # bytes, as `usage` tells
        self.is_closed = False
        self._extents: dict[bytes, dict[int, dict[int, bytes]]] = {}

    def find(self, name: ObjectName, number: int, digest: bytes | None = None) -> Segment | None:
        self._check()
        digest = digest or name.digest
        extents = self._extents.get(digest, {}).get(number)
        if not extents:
            return None
        start, stop = name.segment_range(number)
        checksums = tuple(
            _PRESENT * (each in extents) for each in range(extent_count(stop - start))
        )
        location = Location(1, 0, 0)
        return Segment(name, digest, number, start, stop, location, checksums, SegmentClass.KEPT)

    def read(
        self, segment: Segment, start: int, stop: int, into: memoryview, *, nowait: bool = False
    ) -> list[tuple[int, int]]:
        if nowait and self.waits:
            raise BlockingIOError
        self._check()
        extents = self._extents.get(segment.digest, {}).get(segment.number, {})
        lacking = []
        for index in segment.extents(start, stop):
            low, high = segment.extent_range(index)
            first, last = max(low, start), min(high, stop)
            where = into[first - start : last - start]
            is_bad = (segment.digest, segment.number, index) in self.bad
            if segment.is_present(index) and index in extents and not is_bad:
                where[:] = extents[index][first - low : last - low]
            else:
                if segment.is_present(index):
                    where[:] = bytes([GARBAGE]) * len(where)
                lacking.append(index)
        return clipped_runs(segment, iter(lacking), start, stop)

    def find_many(self, names: Sequence[tuple[ObjectName, bytes]], numbers: range) -> list[Segment]:
        found = [self.find(name, number, digest) for name, digest in names for number in numbers]
        return [segment for segment in found if segment is not None]

    def read_cached(
        self, segment: Segment, start: int, stop: int, scratch: memoryview
    ) -> memoryview | None:
        content = scratch[: stop - start]
        return None if self.read(segment, start, stop, content, nowait=True) else content

    @property
    def has_cached_reads(self) -> bool:
        return True

    def read_ahead(self, segments: Sequence[Segment]) -> None:
        self._check()
        self.read_aheads += [segment.name.key for segment in segments]

    def load_recent(self) -> None:
        self._check()
        self.recent_loads += 1

    def touch(self, segments: Iterable[Segment]) -> None:
        self.accessed += [segment.number for segment in segments]

    def flush(self) -> None:
        self._check()
        self.flushed += 1

    def keep_all(self, kept: Sequence[Kept]) -> Written:
        self._check()
        return Written(sum(self._keep(*each) for each in kept))

    def evict(self, name: ObjectName) -> None:
        self._check()
        self._extents.pop(name.digest, None)

    def mark_replaced(self, name: ObjectName) -> None:
        self._check()
        self.replaced.append(name)

    def usage(self) -> DiskUsage:
        self._check()
        return DiskUsage(0, self.held, *([0] * 11))

    def close(self) -> None:
        self.is_closed = True

    def extents(self, name: ObjectName) -> Iterator[tuple[int, bytes]]:
        """The extents of *name* that are there, each with where it starts."""
        for number, extents in self._extents.get(name.digest, {}).items():
            for index, content in extents.items():
                yield name.segment_range(number)[0] + index * EXTENT, content

    def _check(self) -> None:
        assert not self.is_closed
        if self.fails:
            raise sqlite3.OperationalError("disk I/O error")

    def _keep(self, name: ObjectName, start: int, content: memoryview) -> int:
        written, stop = 0, start + len(content)
        for position in range(-(-start // EXTENT) * EXTENT, stop, EXTENT):
            end = min(position + EXTENT, name.size)
            number = 0 if name.is_small else position // SEGMENT
            index = (position - name.segment_range(number)[0]) // EXTENT
            segments = self._extents.setdefault(name.digest, {})
            if end <= stop and index not in segments.setdefault(number, {}):
                segments[number][index] = bytes(content[position - start : end - start])
                self.bad.discard((name.digest, number, index))
                written += end - position
        return written
