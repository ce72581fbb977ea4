"""Reservations: what is missing of the bytes to keep, segment by segment, and where it goes."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from s3mount.disk import checksum
from s3mount.disk.damage import checked_bytes
from s3mount.disk.joined_writes import aligned
from s3mount.disk.object_name import EXTENT, SEGMENT, ObjectName, extent_count
from s3mount.disk.segment import Location, Segment, SegmentClass
from s3mount.frozen_dataclass import dataclass


class Kept(NamedTuple):
    """Bytes to keep: *content* is what *name* has from *start* on."""

    name: ObjectName
    start: int
    content: memoryview


class Written(NamedTuple):
    """Result of a write: how many bytes, and segments as they are then: those that are certain."""

    octets: int
    segments: Sequence[Segment] = ()


class FoundRow(NamedTuple):
    """Row of a segment in the index; fields are None if it lacks the object or the segment."""

    object_id: int | None
    is_pinned: int | None
    pack: int | None
    offset: int | None
    segment_class: int | None
    checksums: bytes | None


_FIND: Final = (
    "SELECT id, is_pinned, pack, offset, class, checksums FROM objects"
    " LEFT JOIN segments ON object = id AND number = ? WHERE digest = ?"
)
_NOTHING: Final = FoundRow(None, None, None, None, None, None)


def find_row(connection: sqlite3.Connection, digest: bytes, number: int) -> FoundRow:
    """What the index has of segment *number* of the object of *digest*."""
    row = connection.execute(_FIND, (number, digest)).fetchone()
    return _NOTHING if row is None else FoundRow(*row)


@dataclass(frozen=True, slots=True)
class Part:
    """The extents *missing*, by number, of one segment, which are in *kept*."""

    kept: Kept
    digest: bytes
    number: int
    missing: Sequence[int]  # which rise
    size: int  # bytes on the disk that are to be counted for them
    row: FoundRow  # as it was in the same transaction, before anything was reserved

    def room_in(self, found: Sequence[int]) -> int:
        """The bytes on the disk to count in a row that has the checksums *found*."""
        without_room = [extent for extent in self.missing if found[extent] == checksum.ABSENT]
        return _room(self.kept.name, self.number, without_room, is_new=False)

    @property
    def length(self) -> int:
        """How many bytes are missing."""
        return self.kept.name.extent_bytes(self.number, self.missing)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A part that has room, and where its bytes go."""

    part: Part
    location: Location
    segment_class: int
    reserved: bytes  # the checksums as they are in the row, of which those of the part are reserved
    unused: tuple[Location, ...] = ()  # files that no row told of before

    def with_checksums(self, found: Sequence[int]) -> bytes:
        """`reserved` with the checksums *found* of the part."""
        return with_checksums(self.part, self.reserved, found)

    def checksums(self) -> list[int]:
        """The checksums of the missing extents."""
        digest = self.part.digest
        found: list[int] = []
        for start, content in self.runs():
            found += checksum.checksums_of(content, digest, start // EXTENT, EXTENT)
        return found

    def runs(self) -> Iterator[tuple[int, memoryview]]:
        """Where in the object missing bytes begin, and what they are, joined where they touch."""
        kept, number = self.part.kept, self.part.number
        for run in _runs(self.part.missing):
            start, _ = kept.name.extent_range(number, run.start)
            stop = start + kept.name.extent_bytes(number, run)
            yield start, kept.content[start - kept.start : stop - kept.start]


def with_checksums(part: Part, packed: object, new: Sequence[int]) -> bytes:
    """The checksums *packed* of a segment, with *new* ones of its *part*. DamagedIndexError."""
    content = checked_bytes(packed, checksum.LENGTH * part.kept.name.extent_count(part.number))
    pieces, done = [], 0
    for run in _runs(part.missing):
        pieces.append(content[done * checksum.LENGTH : run.start * checksum.LENGTH])
        pieces.append(checksum.pack(new[: len(run)]))
        new, done = new[len(run) :], run.stop
    return b"".join((*pieces, content[done * checksum.LENGTH :]))


def _runs(extents: Sequence[int]) -> Iterator[range]:
    """*extents*, which rise, joined where one follows another."""
    start = 0
    while start < len(extents):
        # mostly, all of them do
        stop = len(extents)
        if extents[-1] - extents[start] != stop - 1 - start:
            stop = start + 1
            while stop < len(extents) and extents[stop] == extents[stop - 1] + 1:
                stop += 1
        yield range(extents[start], extents[stop - 1] + 1)
        start = stop


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
    name, row = kept.name, find_row(connection, digest, number)
    if row.segment_class == SegmentClass.EVICTING:
        return None  # its bytes are about to be freed
    stop, is_new = kept.start + len(kept.content), row.checksums is None
    missing = without_room = _whole_extents(name, number, kept.start, stop)
    if not is_new:
        found = checksum.unpack(row.checksums, name.extent_count(number))
        missing = [extent for extent in missing if found[extent] <= checksum.RESERVED]
        without_room = [extent for extent in missing if found[extent] == checksum.ABSENT]
    if not missing:
        return None
    room = _room(name, number, without_room, is_new=is_new)
    return Part(kept, digest, number, missing, room, row)


def _whole_extents(name: ObjectName, number: int, start: int, stop: int) -> Sequence[int]:
    """The extents of a segment that lie within [*start*, *stop*)."""
    first, end = name.segment_range(number)
    count = extent_count(end - first) if stop >= end else max(0, stop - first) // EXTENT
    return range(max(0, -(-(start - first) // EXTENT)), count)


def _room(name: ObjectName, number: int, extents: Sequence[int], *, is_new: bool) -> int:
    """The bytes that *extents* take: all of a small object at once, when it is new."""
    if name.is_small:
        return aligned(name.size) if is_new else 0
    return aligned(name.extent_bytes(number, extents))
