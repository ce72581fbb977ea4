"""Reservations: rows and room for bytes that are about to be written.

The steps of keeping bytes, of which each is one transaction or none:
1. *reserve*: what is missing of the bytes is counted as used, in rows that tell no checksum yet.
2. The bytes are written, outside of any transaction.
3. *publish*: the rows get the checksums, and the bytes are there. A row that was evicted meanwhile
   gets none.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from s3mount.disk import checksum
from s3mount.disk.data_files import ALIGNMENT
from s3mount.disk.object_name import EXTENT, SEGMENT, ObjectName, extent_count
from s3mount.disk.segment import Location, Segment, SegmentClass

PINNED_SHARE: Final = 0.75  # of the directory that pinned segments may fill


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
    size: int  # bytes that they take on the disk


@dataclass(frozen=True, slots=True)
class Reservation:
    """A part that has room, and where its bytes go."""

    part: Part
    location: Location

    def content(self, extent: int) -> memoryview:
        """The bytes of an extent."""
        kept = self.part.kept
        start, stop = _extent_range(kept.name, self.part.number, extent)
        return kept.content[start - kept.start : stop - kept.start]

    def runs(self) -> Iterator[tuple[int, memoryview]]:
        """Where in the object missing bytes begin, and what they are, joined where they touch."""
        kept, number = self.part.kept, self.part.number
        start = stop = _extent_range(kept.name, number, self.part.missing[0])[0]
        for extent in self.part.missing:
            low, high = _extent_range(kept.name, number, extent)
            if low != stop:
                yield start, kept.content[start - kept.start : stop - kept.start]
                start = low
            stop = high
        yield start, kept.content[start - kept.start : stop - kept.start]


def missing_parts(connection: sqlite3.Connection, kept: Kept) -> list[Part]:
    """What is to be written of *kept*, segment by segment: its whole extents that are absent."""
    name, digest = kept.name, kept.name.digest
    stop = kept.start + len(kept.content)
    parts = []
    last = 0 if name.is_small else (stop - 1) // SEGMENT
    for number in range(0 if name.is_small else kept.start // SEGMENT, last + 1):
        row = connection.execute(
            "SELECT class, checksums FROM segments JOIN objects ON id = object"
            " WHERE digest = ? AND number = ?",
            (digest, number),
        ).fetchone()
        if row is not None and row[0] == SegmentClass.EVICTING:
            continue
        checksums = None if row is None else checksum.unpack(row[1])
        missing = tuple(
            extent
            for extent in _whole_extents(name, number, kept.start, stop)
            if checksums is None or checksums[extent] == checksum.ABSENT
        )
        if missing:
            size = room(name, number, missing, is_new=row is None)
            parts.append(Part(kept, digest, number, missing, size))
    return parts


def _whole_extents(name: ObjectName, number: int, start: int, stop: int) -> list[int]:
    """The extents of a segment that lie within [*start*, *stop*)."""
    first, end = name.segment_range(number)
    numbers = range(max(0, -(-(start - first) // EXTENT)), extent_count(min(stop, end) - first))
    return [each for each in numbers if _extent_range(name, number, each)[1] <= stop]


def _extent_range(name: ObjectName, number: int, extent: int) -> tuple[int, int]:
    first, end = name.segment_range(number)
    return first + extent * EXTENT, min(first + (extent + 1) * EXTENT, end)


def room(name: ObjectName, number: int, extents: Sequence[int], *, is_new: bool) -> int:
    """The bytes that *extents* take: all of a small object at once, when it is new."""
    if name.is_small:
        return _aligned(name.size) if is_new else 0
    ranges = (_extent_range(name, number, extent) for extent in extents)
    return sum(_aligned(stop - start) for start, stop in ranges)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


class PackPosition:
    """Where this process puts the next small object; *pack* is 0 before there is one."""

    def __init__(self, pack_size: int) -> None:
        self._pack_size = pack_size
        self.pack = 0
        self._end = 0

    def take(self, connection: sqlite3.Connection, size: int) -> Location:
        """Room for *size* bytes, in a new pack if need be."""
        exists = (
            self.pack
            and connection.execute("SELECT 1 FROM packs WHERE id = ?", (self.pack,)).fetchone()
        )
        if not exists or self._end + size > self._pack_size:
            self.pack = int(connection.execute("INSERT INTO packs DEFAULT VALUES").lastrowid or 0)
            self._end = 0
        offset, self._end = self._end, self._end + _aligned(size)
        return Location(0, self.pack, offset)


def reserve(
    connection: sqlite3.Connection, part: Part, packs: PackPosition, *, now: int, limit: int
) -> Reservation:
    """Count the bytes of *part* as used, from this transaction on."""
    name = part.kept.name
    object_id, is_pinned = _object_row(connection, name, part.digest)
    row = connection.execute(
        "SELECT pack, offset FROM segments WHERE object = ? AND number = ?",
        (object_id, part.number),
    ).fetchone()
    if row is not None:
        connection.execute(
            "UPDATE segments SET bytes = bytes + ?, accessed = ? WHERE object = ? AND number = ?",
            (part.size, now, object_id, part.number),
        )
        return Reservation(part, Location(object_id, *row))
    location = packs.take(connection, name.size) if name.is_small else Location(object_id, 0, 0)
    start, stop = name.segment_range(part.number)
    segment_class = _first_class(connection, name, limit, is_pinned=is_pinned)
    connection.execute(
        "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            object_id,
            part.number,
            segment_class,
            now,
            location.pack,
            location.offset,
            part.size,
            bytes(checksum.LENGTH * extent_count(stop - start)),
        ),
    )
    return Reservation(part, Location(object_id, location.pack, location.offset))


def _first_class(
    connection: sqlite3.Connection, name: ObjectName, limit: int, *, is_pinned: bool
) -> SegmentClass:
    if is_pinned:
        (pinned,) = connection.execute(
            "SELECT bytes FROM totals WHERE class = ?", (SegmentClass.PINNED,)
        ).fetchone()
        if pinned < limit * PINNED_SHARE:
            return SegmentClass.PINNED
    return SegmentClass.KEPT if name.is_small else SegmentClass.COLD


def _object_row(
    connection: sqlite3.Connection, name: ObjectName, digest: bytes
) -> tuple[int, bool]:
    """The id of the object, new if need be, and whether it is pinned.

    With a new version, the others of its object are replaced.
    """
    row = connection.execute(
        "SELECT id, is_pinned FROM objects WHERE digest = ?", (digest,)
    ).fetchone()
    if row is not None:
        return int(row[0]), bool(row[1])
    connection.execute(
        "UPDATE segments SET class = ? WHERE class < ? AND object IN"
        " (SELECT id FROM objects WHERE path = ?)",
        (SegmentClass.REPLACED, SegmentClass.PINNED, name.path_digest),
    )
    fields = (_encoded(name.bucket), _encoded(name.key), _encoded(name.etag), name.size)
    cursor = connection.execute(
        "INSERT INTO objects (digest, path, namespace, bucket, key, etag, size)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (digest, name.path_digest, _namespace_id(connection, name.namespace), *fields),
    )
    return int(cursor.lastrowid or 0), False


def _namespace_id(connection: sqlite3.Connection, text: str) -> int:
    encoded = _encoded(text)
    connection.execute("INSERT OR IGNORE INTO namespaces (text) VALUES (?)", (encoded,))
    row = connection.execute("SELECT id FROM namespaces WHERE text = ?", (encoded,)).fetchone()
    return int(row[0])


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def publish(connection: sqlite3.Connection, reservation: Reservation, found: list[int]) -> None:
    """Tell the checksums *found* of the extents of *reservation*, which have been written."""
    part, object_id = reservation.part, reservation.location.object_id
    row = connection.execute(
        "SELECT checksums FROM segments WHERE object = ? AND number = ? AND class != ?",
        (object_id, part.number, SegmentClass.EVICTING),
    ).fetchone()
    if row is None:
        return
    checksums = list(checksum.unpack(row[0]))
    twice = []  # by two processes: counted twice
    for extent, value in zip(part.missing, found, strict=True):
        if checksums[extent] != checksum.ABSENT:
            twice.append(extent)
        checksums[extent] = value
    surplus = room(part.kept.name, part.number, twice, is_new=False)
    connection.execute(
        "UPDATE segments SET checksums = ?, bytes = bytes - ? WHERE object = ? AND number = ?",
        (checksum.pack(checksums), surplus, object_id, part.number),
    )


def cancel(connection: sqlite3.Connection, reservation: Reservation) -> None:
    """Count the bytes of *reservation* as free: they were not written."""
    part = reservation.part
    if not part.kept.name.is_small:
        connection.execute(
            "UPDATE segments SET bytes = max(0, bytes - ?) WHERE object = ? AND number = ?",
            (part.size, reservation.location.object_id, part.number),
        )


def segment_of(name: ObjectName, digest: bytes, number: int, row: tuple[object, ...]) -> Segment:
    """The segment in *row*: object, pack, offset, class, checksums. ValueError if it is damaged."""
    object_id, pack, offset, segment_class, packed = row
    start, stop = name.segment_range(number)
    if (
        not isinstance(object_id, int)
        or not isinstance(pack, int)
        or not isinstance(offset, int)
        or not isinstance(segment_class, int)
        or not isinstance(packed, bytes)
        or len(packed) != checksum.LENGTH * extent_count(stop - start)
        or min(object_id, pack, offset) < 0
        or (pack == 0) is name.is_small
    ):
        raise ValueError("a row of the index is damaged")
    location = Location(object_id, pack, offset)
    checksums = checksum.unpack(packed)
    return Segment(
        name, digest, number, start, stop, location, checksums, SegmentClass(segment_class)
    )
