"""Usage of a cache directory: what is in it, and what this process has done there."""

import sqlite3
from typing import Final

from s3mount.disk import records
from s3mount.disk.damage import DamagedIndexError, checked_integer
from s3mount.disk.object_name import SIZE_MAX
from s3mount.disk.segment import SegmentClass
from s3mount.frozen_dataclass import dataclass

COUNTERS: Final = ("record_bytes", "evictions", "bad_extents")


@dataclass(frozen=True, slots=True)
class DiskLimits:
    """*size* is what the directory may hold, *free_space* what stays free beside it, in bytes."""

    size: int
    free_space: int = 0


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """State of the directory, which all its processes share; sizes in bytes.

    *used* is all that counts against the limit *size*: objects, records, and the index itself.
    *objects* is None if they were not counted, which reads much of an index of many.
    *evictions* and *bad_extents* count since the directory was made.
    """

    size: int
    used: int
    objects: int | None
    segments: int
    object_bytes: int
    record_bytes: int
    index_bytes: int
    pinned_bytes: int
    cold_bytes: int
    replaced_bytes: int
    free_space: int
    evictions: int
    bad_extents: int


@dataclass(slots=True)
class DiskCounts:
    """Counts of one process: bytes and extents read, bytes written, extents found bad."""

    bytes_read: int = 0
    bytes_written: int = 0
    bad_extents: int = 0
    damaged_records: int = 0


def read_usage(
    connection: sqlite3.Connection,
    limits: DiskLimits,
    *,
    index_bytes: int,
    free_space: int,
    counts_objects: bool,
) -> DiskUsage:
    """The usage of the directory of *connection*'s index."""
    totals = {
        each: checked_integer(size, SIZE_MAX)
        for each, size in connection.execute("SELECT class, bytes FROM totals")
    }
    counters = {
        name: checked_integer(value, SIZE_MAX)
        for name, value in connection.execute("SELECT name, value FROM counters")
    }
    if not totals.keys() >= set(SegmentClass) or not counters.keys() >= set(COUNTERS):
        raise DamagedIndexError("the index has no sums")
    object_bytes = sum(totals.values())
    return DiskUsage(
        size=limits.size,
        used=object_bytes + index_bytes,
        objects=_objects(connection) if counts_objects else None,
        segments=_segments(connection),
        object_bytes=object_bytes,
        record_bytes=records.total(connection),
        index_bytes=index_bytes,
        pinned_bytes=totals[SegmentClass.PINNED],
        cold_bytes=totals[SegmentClass.COLD],
        replaced_bytes=totals[SegmentClass.REPLACED],
        free_space=free_space,
        evictions=counters["evictions"],
        bad_extents=counters["bad_extents"],
    )


def _objects(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM objects").fetchone()[0])


def _segments(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT sum(segments) FROM totals").fetchone()
    return checked_integer(count, SIZE_MAX)


def used_bytes(connection: sqlite3.Connection) -> int:
    """The bytes of all segments."""
    least, total = connection.execute("SELECT min(bytes), sum(bytes) FROM totals").fetchone()
    checked_integer(least, SIZE_MAX)
    return checked_integer(total, SIZE_MAX)


def recount(connection: sqlite3.Connection) -> None:
    """Count again what the index keeps sums of: damage may have changed them unseen."""
    for segment_class in SegmentClass:
        connection.execute(
            "UPDATE totals SET (bytes, segments) = (SELECT coalesce(sum(bytes), 0), count(*)"
            " FROM segments WHERE class = totals.class) WHERE class = ?",
            (segment_class,),
        )
    connection.execute(
        "UPDATE packs SET segments = coalesce(counted.number, 0) FROM packs AS each LEFT JOIN"
        " (SELECT pack, count(*) AS number FROM segments GROUP BY pack) AS counted"
        " ON counted.pack = each.id WHERE each.id = packs.id"
    )
    records.recount(connection)
