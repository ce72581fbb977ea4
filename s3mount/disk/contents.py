"""Contents of a cache directory, for people: its objects, and those that they choose."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from s3mount.disk.checksum import ABSENT, unpack
from s3mount.disk.object_name import EXTENT, ObjectName
from s3mount.disk.segment import SegmentClass

_PAGE = 256


class Selection(NamedTuple):
    """Objects to work on; None and "" choose all.

    *path* is a key, or what keys begin with before a slash.
    """

    namespace: str | None = None
    bucket: str | None = None
    path: str = ""

    @property
    def where(self) -> tuple[str, tuple[bytes, ...]]:
        """A condition on `objects`, and its parameters."""
        conditions, parameters = ["1"], []
        if self.namespace is not None:
            conditions.append("namespace = (SELECT id FROM namespaces WHERE text = ?)")
            parameters.append(_encoded(self.namespace))
        if self.bucket is not None:
            conditions.append("bucket = ?")
            parameters.append(_encoded(self.bucket))
        if self.path:
            key = _encoded(self.path).rstrip(b"/")
            conditions.append("(key = ? OR (key >= ? AND key < ?))")  # "0" follows "/"
            parameters += [key, key + b"/", key + b"0"]
        return " AND ".join(conditions), tuple(parameters)


@dataclass(frozen=True, slots=True)
class CachedObject:
    """An object of the cache: *present* bytes are there, *size_on_disk* they take.

    *accessed_ms* is when it was read last, in milliseconds since 1970.
    """

    name: ObjectName
    present: int
    size_on_disk: int
    accessed_ms: int
    is_pinned: bool
    is_replaced: bool


def cached_objects(connection: sqlite3.Connection, selection: Selection) -> Iterator[CachedObject]:
    """All objects that have bytes, in the order in which they came."""
    where, parameters = selection.where
    last = 0
    while rows := connection.execute(
        "SELECT id, (SELECT text FROM namespaces WHERE id = namespace), bucket, key, etag, size,"
        f" is_pinned FROM objects WHERE id > ? AND {where} ORDER BY id LIMIT ?",
        (last, *parameters, _PAGE),
    ).fetchall():
        for row in rows:
            yield from _cached_object(connection, row)
        last = rows[-1][0]


def _cached_object(
    connection: sqlite3.Connection, row: tuple[int, bytes, bytes, bytes, bytes, int, int]
) -> Iterator[CachedObject]:
    object_id, namespace, bucket, key, etag, size, is_pinned = row
    name = ObjectName(_decoded(namespace), _decoded(bucket), _decoded(key), _decoded(etag), size)
    segments = connection.execute(
        "SELECT number, class, accessed, bytes, checksums FROM segments"
        " WHERE object = ? AND class != ?",
        (object_id, SegmentClass.EVICTING),
    ).fetchall()
    present = sum(_present(name, number, unpack(packed)) for number, *_, packed in segments)
    if present or (segments and not size):
        yield CachedObject(
            name,
            present,
            sum(segment[3] for segment in segments),
            max(segment[2] for segment in segments),
            is_pinned=bool(is_pinned),
            is_replaced=all(segment[1] == SegmentClass.REPLACED for segment in segments),
        )


def segments_of(connection: sqlite3.Connection, name: ObjectName) -> list[int]:
    """The numbers of the segments that are there of *name*."""
    rows = connection.execute(
        "SELECT number FROM segments JOIN objects ON id = object"
        " WHERE digest = ? AND class != ? ORDER BY number",
        (name.digest, SegmentClass.EVICTING),
    )
    return [number for (number,) in rows]


def mark_selected(connection: sqlite3.Connection, selection: Selection) -> int:
    """Mark what is selected for eviction; how many segments."""
    where, parameters = selection.where
    return connection.execute(
        f"UPDATE segments SET class = ? WHERE object IN (SELECT id FROM objects WHERE {where})",  # noqa: S608
        (SegmentClass.EVICTING, *parameters),
    ).rowcount


def pin_selected(connection: sqlite3.Connection, selection: Selection, *, is_pinned: bool) -> int:
    """Pin what is selected, or let it be evicted again; how many objects."""
    where, parameters = selection.where
    count = connection.execute(
        f"UPDATE objects SET is_pinned = ? WHERE {where}",  # noqa: S608
        (int(is_pinned), *parameters),
    ).rowcount
    former = SegmentClass.KEPT if is_pinned else SegmentClass.PINNED
    condition = "class <= ?" if is_pinned else "class = ?"
    connection.execute(
        f"UPDATE segments SET class = ? WHERE {condition}"  # noqa: S608
        f" AND object IN (SELECT id FROM objects WHERE {where})",
        (SegmentClass.PINNED if is_pinned else SegmentClass.KEPT, former, *parameters),
    )
    return count


def selected_bytes(connection: sqlite3.Connection, selection: Selection) -> int:
    """The bytes on the disk of what is selected."""
    where, parameters = selection.where
    row = connection.execute(
        f"SELECT sum(bytes) FROM segments WHERE object IN (SELECT id FROM objects WHERE {where})",  # noqa: S608
        parameters,
    ).fetchone()
    return int(row[0] or 0)


def _present(name: ObjectName, number: int, checksums: tuple[int, ...]) -> int:
    start, stop = name.segment_range(number)
    return sum(
        min(EXTENT, stop - start - index * EXTENT)
        for index, value in enumerate(checksums)
        if value != ABSENT
    )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _decoded(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
