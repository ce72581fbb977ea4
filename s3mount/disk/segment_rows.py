"""Rows of segments: reserved before their bytes are written, and published after it.

The steps of keeping bytes, of which each is one transaction or none:
1. *reserve*: what is missing of the bytes is counted as used, and its checksums are `RESERVED`.
2. The bytes are written, outside of any transaction.
3. *publish*: the rows get the checksums, and the bytes are there. A row that was evicted meanwhile
   gets none.

Invariants:

1. The bytes of a row are the room of its extents that are not `ABSENT`, each counted once, however
   many processes write it and wherever they are killed. Of a small object they are all its room.
2. An extent that is `RESERVED` may be written by any process, and is read by none.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

from s3mount.disk import checksum, pinning
from s3mount.disk.damage import DamagedIndexError, checked_integer
from s3mount.disk.object_name import ObjectName, encode
from s3mount.disk.pack_position import PackPosition
from s3mount.disk.reservation import FoundRow, Part, Reservation, find_row, with_checksums
from s3mount.disk.segment import Location, Segment, SegmentClass, location_of, new_id

_PUBLISH: Final = (  # unless the row was changed since it was reserved, or its eviction has begun
    "UPDATE segments SET checksums = ? WHERE object = ? AND number = ? AND checksums = ?"
    " AND class != 4"
)


class Reserver:
    """Reserves the room of parts, all in the transaction of *connection* that has found them."""

    def __init__(
        self, connection: sqlite3.Connection, packs: PackPosition, *, now: int, limit: int
    ) -> None:
        self._connection = connection
        self._packs = packs
        self._now = now
        self._limit = limit
        # the segments that rows were reserved of, and the objects that were added; whether rows of
        # others may have changed; the ids of namespaces
        self._reserved: set[tuple[bytes, int]] = set()
        self._added: set[bytes] = set()
        self._has_replaced = False
        self._namespaces: dict[str, int] = {}
        packs.begin(connection)

    def reserve(self, part: Part) -> Reservation:
        """Count the bytes of *part* as used, from this transaction on."""
        row, segment = part.row, (part.digest, part.number)
        if self._has_replaced or part.digest in self._added or segment in self._reserved:
            row = find_row(self._connection, *segment)
        self._reserved.add(segment)
        object_id, is_pinned = row.object_id, bool(row.is_pinned)
        if object_id is None:
            object_id, is_pinned = self._add_object(part)
        may_pin = is_pinned and pinning.has_room(self._connection, part.size, self._limit)
        if row.checksums is None:
            return self._add_row(part, object_id, is_new=row.object_id is None, is_pinned=may_pin)
        return self._update_row(part, object_id, row, may_pin=may_pin)

    def _add_row(self, part: Part, object_id: int, *, is_new: bool, is_pinned: bool) -> Reservation:
        name, location = part.kept.name, location_of(object_id, 0, 0)
        unused = [location] if is_new else []
        segment_class = SegmentClass.KEPT if name.is_small else SegmentClass.COLD
        if is_pinned:
            segment_class = SegmentClass.PINNED
        if name.is_small:
            pack, offset = self._packs.take(self._connection, name.size)
            location = Location(object_id, pack, offset)
            unused += [] if offset else [location]
        checksums = _reserved(part, bytes(checksum.LENGTH * name.extent_count(part.number)))
        row = (
            object_id,
            part.number,
            segment_class,
            self._now,
            location.pack,
            location.offset,
            part.size,
            checksums,
        )
        self._connection.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        return Reservation(part, location, segment_class, checksums, tuple(unused))

    def _update_row(
        self, part: Part, object_id: int, row: FoundRow, *, may_pin: bool
    ) -> Reservation:
        location = location_of(object_id, row.pack, row.offset)
        segment_class = checked_integer(row.segment_class, SegmentClass.EVICTING)
        if segment_class == SegmentClass.PINNED and not may_pin:
            segment_class = SegmentClass.KEPT
        # the row may have come with another part of the same transaction
        size = part.room_in(_unpacked(part, row.checksums))
        checksums = _reserved(part, row.checksums)
        self._connection.execute(
            "UPDATE segments SET bytes = bytes + ?, accessed = ?, class = ?, checksums = ?"
            " WHERE object = ? AND number = ?",
            (size, self._now, segment_class, checksums, object_id, part.number),
        )
        return Reservation(part, location, segment_class, checksums)

    def _add_object(self, part: Part) -> tuple[int, bool]:
        """Add the row of an object; its id, and whether it is pinned.

        With a new version, the others of its object are replaced: it is pinned if one of them is,
        and these may be evicted.
        """
        name, path = part.kept.name, part.kept.name.path_digest
        self._added.add(part.digest)
        is_first = not self._connection.execute(
            "SELECT 1 FROM objects WHERE path = ?", (path,)
        ).fetchone()
        self._has_replaced = self._has_replaced or not is_first
        is_pinned = not is_first and _replace_others(self._connection, path)
        fields = (encode(name.bucket), encode(name.key), encode(name.etag), name.size, is_pinned)
        cursor = self._connection.execute(
            "INSERT INTO objects (digest, path, namespace, bucket, key, etag, size, is_pinned)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (part.digest, path, self._namespace_id(name.namespace), *fields),
        )
        return new_id(cursor), is_pinned

    def _namespace_id(self, text: str) -> int:
        if text not in self._namespaces:
            self._namespaces[text] = _namespace_id(self._connection, text)
        return self._namespaces[text]


def _reserved(part: Part, packed: object) -> bytes:
    """The checksums *packed*, with those of *part* reserved."""
    return with_checksums(part, packed, [checksum.RESERVED] * len(part.missing))


def _unpacked(part: Part, packed: object) -> Sequence[int]:
    """The checksums *packed* of the segment of *part*."""
    return checksum.unpack(packed, part.kept.name.extent_count(part.number))


def _replace_others(connection: sqlite3.Connection, path_digest: int) -> bool:
    """Let all versions of an object be evicted before others; whether one of them is pinned."""
    connection.execute(
        "UPDATE segments SET class = ? WHERE class < ? AND object IN"
        " (SELECT id FROM objects WHERE path = ?)",
        (SegmentClass.REPLACED, SegmentClass.EVICTING, path_digest),
    )
    pinned = connection.execute(
        "SELECT 1 FROM objects WHERE path = ? AND is_pinned = 1", (path_digest,)
    )
    return pinned.fetchone() is not None


def _namespace_id(connection: sqlite3.Connection, text: str) -> int:
    encoded = encode(text)
    connection.execute("INSERT OR IGNORE INTO namespaces (text) VALUES (?)", (encoded,))
    row = connection.execute("SELECT id FROM namespaces WHERE text = ?", (encoded,)).fetchone()
    return int(row[0])


def publish_all(
    connection: sqlite3.Connection, reserved: Sequence[tuple[Reservation, list[int]]]
) -> list[Segment]:
    """Tell the checksums of the extents of *reserved*, which have been written.

    Returns the segments as they are then, without those that another write has changed meanwhile.
    """
    rows = [
        (whole, each.location.object_id, each.part.number, each.reserved)
        for each, found in reserved
        for whole in (each.with_checksums(found),)
    ]
    changed = connection.executemany(_PUBLISH, rows).rowcount
    if changed == len(rows):
        return [_published(each, row[0]) for (each, _), row in zip(reserved, rows, strict=True)]
    for each, found in reserved:
        _publish(connection, each, found)
    return []


def _published(reservation: Reservation, packed: bytes) -> Segment:
    part, location = reservation.part, reservation.location
    row = (*_fields(location), reservation.segment_class, packed)
    return segment_of(part.kept.name, part.digest, part.number, row)


def _fields(location: Location) -> tuple[int, int, int]:
    return location.object_id, location.pack, location.offset


def _publish(
    connection: sqlite3.Connection, reservation: Reservation, found: Sequence[int]
) -> None:
    """Tell the checksums *found* beside those that other writes have told since."""
    part, object_id = reservation.part, reservation.location.object_id
    row = connection.execute(
        "SELECT checksums FROM segments WHERE object = ? AND number = ? AND class != ?",
        (object_id, part.number, SegmentClass.EVICTING),
    ).fetchone()
    if row is not None:
        connection.execute(
            "UPDATE segments SET checksums = ? WHERE object = ? AND number = ?",
            (with_checksums(part, row[0], found), object_id, part.number),
        )


def cancel(connection: sqlite3.Connection, reservation: Reservation) -> None:
    """Have the room of *reservation*, which was not written, freed if nothing else is there.

    Otherwise it stays counted, as some of its bytes may be on the disk, until it is kept again or
    evicted.
    """
    part, object_id = reservation.part, reservation.location.object_id
    where = (object_id, part.number)
    row = connection.execute(
        "SELECT checksums FROM segments WHERE object = ? AND number = ?", where
    ).fetchone()
    if row and max(_unpacked(part, row[0])) <= checksum.RESERVED:
        connection.execute(
            "UPDATE segments SET class = ? WHERE object = ? AND number = ?",
            (SegmentClass.EVICTING, *where),
        )


def segment_of(name: ObjectName, digest: bytes, number: int, row: tuple[object, ...]) -> Segment:
    """The segment in *row*: object, pack, offset, class, checksums. Raises DamagedIndexError."""
    object_id, pack, offset, segment_class, packed = row
    start, stop = name.segment_range(number)
    location = location_of(object_id, pack, offset)
    if (location.pack != 0) is not name.is_small:
        raise DamagedIndexError("the index has an object in a file of the other kind")
    return Segment(
        name,
        digest,
        number,
        start,
        stop,
        location,
        checksum.unpack(packed, name.extent_count(number)),
        SegmentClass(checked_integer(segment_class, SegmentClass.EVICTING)),
    )
