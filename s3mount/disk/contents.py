"""Contents of a cache directory, for people: its objects, and those that they choose."""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from s3mount.disk.checksum import RESERVED, unpack
from s3mount.disk.damage import checked_bytes, checked_integer
from s3mount.disk.object_name import NUMBER_MAX, SIZE_MAX, ObjectName, encode
from s3mount.disk.segment import SegmentClass
from s3mount.frozen_dataclass import dataclass

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
            parameters.append(encode(self.namespace))
        if self.bucket is not None:
            conditions.append("bucket = ?")
            parameters.append(encode(self.bucket))
        if self.path:
            key = encode(self.path).rstrip(b"/")
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
        "SELECT id, (SELECT text FROM namespaces WHERE id = namespace), bucket, key, etag, size,"  # noqa: S608
        f" is_pinned FROM objects WHERE id > ? AND {where} ORDER BY id LIMIT ?",
        (last, *parameters, _PAGE),
    ).fetchall():
        for row in rows:
            yield from _cached_object(connection, row)
        last = rows[-1][0]


def _cached_object(
    connection: sqlite3.Connection, row: tuple[object, ...]
) -> Iterator[CachedObject]:
    object_id, *texts, size, is_pinned = row
    namespace, bucket, key, etag = map(_decoded, texts)
    name = ObjectName(namespace, bucket, key, etag, checked_integer(size, SIZE_MAX))
    segments = connection.execute(
        "SELECT number, class, accessed, bytes, checksums FROM segments"
        " WHERE object = ? AND class != ?",
        (object_id, SegmentClass.EVICTING),
    ).fetchall()
    present = sum(_present(name, number, packed) for number, *_, packed in segments)
    if present:
        yield CachedObject(
            name,
            present,
            sum(checked_integer(segment[3], SIZE_MAX) for segment in segments),
            max(checked_integer(segment[2], SIZE_MAX) for segment in segments),
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
    return [checked_integer(number, NUMBER_MAX) for (number,) in rows]


def mark_selected(connection: sqlite3.Connection, selection: Selection) -> int:
    """Mark what is selected for eviction; how many segments."""
    where, parameters = selection.where
    return connection.execute(
        f"UPDATE segments SET class = ? WHERE object IN (SELECT id FROM objects WHERE {where})",  # noqa: S608
        (SegmentClass.EVICTING, *parameters),
    ).rowcount


def _present(name: ObjectName, number: object, packed: object) -> int:
    """The bytes of a segment that are there."""
    segment = checked_integer(number, SIZE_MAX)
    checksums = unpack(packed, name.extent_count(segment))
    there = (
        name.extent_range(segment, extent)
        for extent, value in enumerate(checksums)
        if value > RESERVED
    )
    return sum(stop - start for start, stop in there)


def _decoded(content: object) -> str:
    return checked_bytes(content).decode("utf-8", "surrogateescape")
