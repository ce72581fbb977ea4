"""Reservations: what is missing of the bytes to keep, segment by segment, and where it goes."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from s3mount.disk import checksum
from s3mount.disk.data_files import aligned
from s3mount.disk.object_name import EXTENT, SEGMENT, ObjectName, extent_count
from s3mount.disk.segment import Location, SegmentClass
from s3mount.frozen_dataclass import dataclass


class Kept(NamedTuple):
    """Bytes to keep: *content* is what *name* has from *start* on."""

    name: ObjectName
    start: int
    content: memoryview


@dataclass(frozen=True, slots=True)
class Part:
    """The extents *missing*, by number, of one segment, which are in *kept*."""

    kept: Kept
    digest: bytes
    number: int
    missing: tuple[int, ...]
    size: int  # bytes on the disk that are to be counted for them

    def room_in(self, found: Sequence[int]) -> int:
        """The bytes on the disk to count in a row that has the checksums *found*."""
        without_room = [extent for extent in self.missing if found[extent] == checksum.ABSENT]
        return _room(self.kept.name, self.number, without_room, is_new=False)

    @property
    def length(self) -> int:
        """How many bytes are missing."""
        ranges = (self.kept.name.extent_range(self.number, each) for each in self.missing)
        return sum(stop - start for start, stop in ranges)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A part that has room, and where its bytes go."""

    part: Part
    location: Location
    unused: tuple[Location, ...] = ()  # files that no row told of before

    def content(self, extent: int) -> memoryview:
        """The bytes of an extent."""
        kept = self.part.kept
        start, stop = kept.name.extent_range(self.part.number, extent)
        return kept.content[start - kept.start : stop - kept.start]

    def runs(self) -> Iterator[tuple[int, memoryview]]:
        """Where in the object missing bytes begin, and what they are, joined where they touch."""
        kept, number = self.part.kept, self.part.number
        start = stop = kept.name.extent_range(number, self.part.missing[0])[0]
        for extent in self.part.missing:
            low, high = kept.name.extent_range(number, extent)
            if low != stop:
                yield start, kept.content[start - kept.start : stop - kept.start]
                start = low
            stop = high
        yield start, kept.content[start - kept.start : stop - kept.start]


def missing_parts(connection: sqlite3.Connection, kept: Kept) -> list[Part]:
    """What is to be written of *kept*, segment by segment: its whole extents that are absent."""
    name = kept.name
    stop = kept.start + len(kept.content)
    numbers = range(1) if name.is_small else range(kept.start // SEGMENT, -(-stop // SEGMENT))
    digest = name.digest
    parts = (_missing_part(connection, kept, digest, number) for number in numbers)
    return [each for each in parts if each is not None]


def _missing_part(
    connection: sqlite3.Connection, kept: Kept, digest: bytes, number: int
) -> Part | None:
    name = kept.name
    row = connection.execute(
        "SELECT class, checksums FROM segments JOIN objects ON id = object"
        " WHERE digest = ? AND number = ?",
        (digest, number),
    ).fetchone()
    if row is not None and row[0] == SegmentClass.EVICTING:
        return None  # its bytes are about to be freed
    count = name.extent_count(number)
    found = (checksum.ABSENT,) * count if row is None else checksum.unpack(row[1], count)
    whole = _whole_extents(name, number, kept.start, kept.start + len(kept.content))
    missing = tuple(extent for extent in whole if found[extent] <= checksum.RESERVED)
    if not missing:
        return None
    without_room = [extent for extent in missing if found[extent] == checksum.ABSENT]
    return Part(
        kept, digest, number, missing, _room(name, number, without_room, is_new=row is None)
    )


def _whole_extents(name: ObjectName, number: int, start: int, stop: int) -> list[int]:
    """The extents of a segment that lie within [*start*, *stop*)."""
    first, end = name.segment_range(number)
    numbers = range(max(0, -(-(start - first) // EXTENT)), extent_count(min(stop, end) - first))
    return [each for each in numbers if name.extent_range(number, each)[1] <= stop]


def _room(name: ObjectName, number: int, extents: Sequence[int], *, is_new: bool) -> int:
    """The bytes that *extents* take: all of a small object at once, when it is new."""
    if name.is_small:
        return aligned(name.size) if is_new else 0
    ranges = (name.extent_range(number, extent) for extent in extents)
    return sum(aligned(stop - start) for start, stop in ranges)
