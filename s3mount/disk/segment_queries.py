"""Queries of the index for segments that can be read: one, or many at once."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from s3mount.disk.object_name import ObjectName
from s3mount.disk.segment import Segment
from s3mount.disk.segment_rows import segment_of

NAMES_MAX: Final = 500  # of one query: SQLite allows 999 parameters in every build, see limits.html

_FIND: Final = (
    "SELECT object, pack, offset, class, checksums FROM segments JOIN objects ON id = object"
    " WHERE digest = ? AND number = ? AND class != 4"
)
_FIND_MANY: Final = (
    "SELECT digest, number, object, pack, offset, class, checksums"
    " FROM objects JOIN segments ON object = id"
    " WHERE digest IN ({}) AND number >= ? AND number < ? AND class != 4"
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
        for digest, number, *row in connection.execute(
            query, (*by_digest, numbers.start, numbers.stop)
        ):
            found.append(segment_of(by_digest[digest], digest, number, tuple(row)))
    return found
