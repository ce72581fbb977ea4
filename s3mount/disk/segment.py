"""Segment: what the index tells of 8 MiB of a large object, or of a whole small one.

Immutable: it is a look at the index at one moment. Another process may have evicted it since.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Final

from s3mount.disk.checksum import RESERVED
from s3mount.disk.damage import checked_integer
from s3mount.disk.object_name import EXTENT, ObjectName
from s3mount.frozen_dataclass import dataclass

PACK_SIZE_MAX: Final = 64 << 20  # bytes from which on a new pack begins, at the latest
_ID_MAX: Final = 1 << 40  # its locks have a place in a file: see `write_locks`


class SegmentClass(IntEnum):
    """Class of eviction: lower ones are evicted first.

    REPLACED: of a version that is current no longer. COLD: of a large object, and nothing has read
    it from here yet. KEPT: all else. PINNED: never evicted. EVICTING: nothing reads it any more,
    its bytes are about to be freed.
    """

    REPLACED = 0
    COLD = 1
    KEPT = 2
    PINNED = 3
    EVICTING = 4


@dataclass(frozen=True, slots=True)
class Location:
    """Location of the bytes of a segment: in the file of its object, or in a pack.

    *pack* is 0 for the file of *object_id*. *offset* is where the object's first byte would be.
    """

    object_id: int
    pack: int
    offset: int


def location_of(object_id: object, pack: object, offset: object) -> Location:
    """The location that a row of the index tells. Raises DamagedIndexError if none is such."""
    is_packed = checked_integer(pack, _ID_MAX) > 0
    return Location(
        checked_integer(object_id, _ID_MAX),
        checked_integer(pack, _ID_MAX),
        checked_integer(offset, PACK_SIZE_MAX if is_packed else 0),
    )


def new_id(cursor: sqlite3.Cursor) -> int:
    """The id of the row that *cursor* has inserted. Raises DamagedIndexError if it is none."""
    return checked_integer(cursor.lastrowid, _ID_MAX, least=1)


@dataclass(frozen=True, slots=True)
class Segment:
    """The bytes [*start*, *stop*) of the object *name*; *checksums* are those of its extents."""

    name: ObjectName
    digest: bytes
    number: int
    start: int
    stop: int
    location: Location
    checksums: Sequence[int]
    segment_class: SegmentClass

    def extents(self, start: int, stop: int) -> range:
        """The numbers, within the segment, of the extents with bytes of [*start*, *stop*)."""
        return range((start - self.start) // EXTENT, -(-(stop - self.start) // EXTENT))

    def extent_range(self, index: int) -> tuple[int, int]:
        """Where the extent *index* starts and stops in the object."""
        start = self.start + index * EXTENT
        return start, min(start + EXTENT, self.stop)

    def is_present(self, index: int) -> bool:
        return self.checksums[index] > RESERVED

    def has(self, start: int, stop: int) -> bool:
        """Whether all of [*start*, *stop*), within the segment, is there."""
        return all(map(self.is_present, self.extents(start, stop)))

    def gaps(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The parts of [*start*, *stop*), within the segment, that are not there, in order."""
        absent = (index for index in self.extents(start, stop) if not self.is_present(index))
        return clipped_runs(self, absent, start, stop)


def clipped_runs(
    segment: Segment, indices: Iterator[int], start: int, stop: int
) -> list[tuple[int, int]]:
    """The ranges of extents, which rise, joined where they touch, within [*start*, *stop*)."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        low, high = segment.extent_range(index)
        low, high = max(low, start), min(high, stop)
        if runs and runs[-1][1] == low:
            runs[-1] = runs[-1][0], high
        else:
            runs.append((low, high))
    return runs
