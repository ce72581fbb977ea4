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

from s3mount.disk import checksum, pinning
from s3mount.disk.damage import DamagedIndexError, checked_integer
from s3mount.disk.object_name import ObjectName, encode
from s3mount.disk.pack_position import PackPosition
from s3mount.disk.reservation import Part, Reservation
from s3mount.disk.segment import Location, Segment, SegmentClass, location_of


def reserve(
    connection: sqlite3.Connection, part: Part, packs: PackPosition, *, now: int, limit: int
) -> Reservation:
    """Count the bytes of *part* as used, from this transaction on."""
    object_id, is_pinned, is_new = _object_row(connection, part.kept.name, part.digest)
    row = connection.execute(
        "SELECT pack, offset, class, checksums FROM segments WHERE object = ? AND number = ?",
        (object_id, part.number),
    ).fetchone()
    may_pin = is_pinned and pinning.has_room(connection, part.size, limit)
    if row is None:
        location = _new_row(connection, part, object_id, packs, now=now, is_pinned=may_pin)
        unused = [Location(object_id, 0, 0)] if is_new else []
        if location.pack and not location.offset:
            unused.append(location)
        return Reservation(part, location, tuple(unused))
    pack, offset, segment_class, packed = row
    # the row may have come with another part of the same transaction
    size = part.room_in(_unpacked(part, packed))
    if segment_class == SegmentClass.PINNED and not may_pin:
        segment_class = SegmentClass.KEPT
    connection.execute(
        "UPDATE segments SET bytes = bytes + ?, accessed = ?, class = ?, checksums = ?"
        " WHERE object = ? AND number = ?",
        (size, now, segment_class, _reserved(part, packed), object_id, part.number),
    )
    return Reservation(part, location_of(object_id, pack, offset))


def _new_row(
    connection: sqlite3.Connection,
    part: Part,
    object_id: int,
    packs: PackPosition,
    *,
    now: int,
    is_pinned: bool,
) -> Location:
    name = part.kept.name
    location = packs.take(connection, name.size) if name.is_small else Location(object_id, 0, 0)
    segment_class = SegmentClass.KEPT if name.is_small else SegmentClass.COLD
    connection.execute(
        "INSERT INTO segments VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            object_id,
            part.number,
            SegmentClass.PINNED if is_pinned else segment_class,
            now,
            location.pack,
            location.offset,
            part.size,
            _reserved(part, bytes(checksum.LENGTH * name.extent_count(part.number))),
        ),
    )
    return Location(object_id, location.pack, location.offset)


def _reserved(part: Part, packed: object) -> bytes:
    """The checksums *packed*, with those of *part* reserved."""
    return _with_checksums(part, packed, [checksum.RESERVED] * len(part.missing))


def _with_checksums(part: Part, packed: object, new: Sequence[int]) -> bytes:
    checksums = list(_unpacked(part, packed))
    for extent, value in zip(part.missing, new, strict=True):
        checksums[extent] = value
    return checksum.pack(checksums)


def _unpacked(part: Part, packed: object) -> Sequence[int]:
    """The checksums *packed* of the segment of *part*."""
    return checksum.unpack(packed, part.kept.name.extent_count(part.number))


def _object_row(
    connection: sqlite3.Connection, name: ObjectName, digest: bytes
) -> tuple[int, bool, bool]:
    """The id of the object, whether it is pinned, and whether it is new.

    With a new version, the others of its object are replaced: it is pinned if one of them is, and
    these may be evicted.
    """
    row = connection.execute(
        "SELECT id, is_pinned FROM objects WHERE digest = ?", (digest,)
    ).fetchone()
    if row is not None:
        return int(row[0]), bool(row[1]), False
    is_pinned = _replace_others(connection, name.path_digest)
    fields = (encode(name.bucket), encode(name.key), encode(name.etag), name.size, is_pinned)
    cursor = connection.execute(
        "INSERT INTO objects (digest, path, namespace, bucket, key, etag, size, is_pinned)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (digest, name.path_digest, _namespace_id(connection, name.namespace), *fields),
    )
    return int(cursor.lastrowid or 0), is_pinned, True


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


def publish(connection: sqlite3.Connection, reservation: Reservation, found: list[int]) -> None:
    """Tell the checksums *found* of the extents of *reservation*, which have been written."""
    part, object_id = reservation.part, reservation.location.object_id
    row = connection.execute(
        "SELECT checksums FROM segments WHERE object = ? AND number = ? AND class != ?",
        (object_id, part.number, SegmentClass.EVICTING),
    ).fetchone()
    if row is not None:
        connection.execute(
            "UPDATE segments SET checksums = ? WHERE object = ? AND number = ?",
            (_with_checksums(part, row[0], found), object_id, part.number),
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
