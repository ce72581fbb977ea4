"""Queries of the index for segments that can be read: one, or many at once."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from s3mount.disk.damage import DamagedIndexError, checked_integer
from s3mount.disk.object_name import NUMBER_MAX, ObjectName
from s3mount.disk.segment import Segment, SegmentClass
from s3mount.disk.segment_rows import segment_of

NAMES_MAX: Final = 500  # of one query: SQLite allows 999 parameters in every build, see limits.html
RECENT_MAX: Final = 1024  # segments of a class
RECENT_AT_ONCE: Final = 8  # a disk that is late is asked for so much more than it has time for

_FIND: Final = (
    "SELECT object, pack, offset, class, checksums FROM segments JOIN objects ON id = object"
    " WHERE digest = ? AND number = ? AND class != 4"
)
# One row: for each, the interpreter's lock is given up and taken again, which the event loop wants.
_FIND_MANY: Final = (
    "SELECT group_concat(hex(digest) || ' ' || number || ' ' || object || ' ' || pack || ' '"
    " || offset || ' ' || class || ' ' || hex(checksums), ',')"
    " FROM objects JOIN segments ON object = id"
    " WHERE digest IN ({}) AND number >= ? AND number < ? AND class != 4"
)

_LOAD_RECENT: Final = (  # all pages of the rows, and of the index of digests; how many rows
    "SELECT count(*), max(substr(checksums, -1)),"
    " count((SELECT id FROM objects AS named WHERE named.digest = objects.digest))"
    " FROM (SELECT object, number FROM segments"
    " WHERE class = ? ORDER BY accessed DESC LIMIT ? OFFSET ?)"
    " JOIN segments USING (object, number) JOIN objects ON id = object"
)


def find_one(
    connection: sqlite3.Connection, name: ObjectName, digest: bytes, number: int
) -> Segment | None:
    """Segment *number* of *name*, which *digest* stands for."""
    row = connection.execute(_FIND, (digest, number)).fetchone()
    return None if row is None else segment_of(name, digest, number, row)


def find_many(
    connection: sqlite3.Connection, names: Sequence[tuple[ObjectName, bytes]], numbers: range
) -> list[Segment]:
    """The segments of *names*, each with its digest, whose numbers are in *numbers*."""
    found = []
    for start in range(0, len(names), NAMES_MAX):
        by_digest = {digest: name for name, digest in names[start : start + NAMES_MAX]}
        query = _FIND_MANY.format(",".join("?" * len(by_digest)))
        [rows] = connection.execute(query, (*by_digest, numbers.start, numbers.stop)).fetchone()
        if rows is not None:
            found += [_segment_in(row, by_digest) for row in rows.split(",")]
    return found


def load_recent(connection: sqlite3.Connection, is_due: Callable[[], bool]) -> None:
    """Have the kernel read what is told of the segments accessed last, until it *is_due* to end."""
    for segment_class in (SegmentClass.PINNED, SegmentClass.KEPT, SegmentClass.COLD):
        for offset in range(0, RECENT_MAX, RECENT_AT_ONCE):
            if is_due():
                return
            parameters = segment_class, RECENT_AT_ONCE, offset
            if not connection.execute(_LOAD_RECENT, parameters).fetchone()[0]:
                break


def _segment_in(row: str, by_digest: Mapping[bytes, ObjectName]) -> Segment:
    """The segment in *row* of `_FIND_MANY`. Raises DamagedIndexError."""
    try:
        digest, *numbers, checksums = row.split(" ")
        number, object_id, pack, offset, segment_class = map(int, numbers)
        found, packed = bytes.fromhex(digest), bytes.fromhex(checksums)
        name = by_digest[found]
    except (KeyError, ValueError) as exc:
        raise DamagedIndexError("the index has a column of another type") from exc
    location = object_id, pack, offset
    checked = checked_integer(number, NUMBER_MAX)
    return segment_of(name, found, checked, (*location, segment_class, packed))
