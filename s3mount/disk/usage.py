"""Usage of a cache directory: what is in it, and what this process has done there."""

import sqlite3
from dataclasses import dataclass

from s3mount.disk import records
from s3mount.disk.segment import SegmentClass


@dataclass(frozen=True, slots=True)
class DiskLimits:
    """*size* is what the directory may hold, *free_space* what stays free beside it, in bytes."""

    size: int
    free_space: int = 0


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """State of the directory, which all its processes share; sizes in bytes.

    *used* is all that counts against the limit *size*: objects, records, and the index itself.
    *evictions* and *bad_extents* count since the directory was made.
    """

    size: int
    used: int
    objects: int
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
    """What one process has done: bytes and extents read, bytes written, extents found bad."""

    bytes_read: int = 0
    bytes_written: int = 0
    bad_extents: int = 0
    damaged_records: int = 0


def read_usage(
    connection: sqlite3.Connection, limits: DiskLimits, *, index_bytes: int, free_space: int
) -> DiskUsage:
    """The usage of the directory of *connection*'s index."""
    totals = {
        segment_class: (size, count)
        for segment_class, size, count in connection.execute("SELECT * FROM totals")
    }
    counters = dict(connection.execute("SELECT name, value FROM counters"))
    object_bytes = sum(size for size, _ in totals.values())
    return DiskUsage(
        size=limits.size,
        used=object_bytes + index_bytes,
        objects=int(connection.execute("SELECT count(*) FROM objects").fetchone()[0]),
        segments=sum(count for _, count in totals.values()),
        object_bytes=object_bytes,
        record_bytes=records.total(connection),
        index_bytes=index_bytes,
        pinned_bytes=totals[SegmentClass.PINNED][0],
        cold_bytes=totals[SegmentClass.COLD][0],
        replaced_bytes=totals[SegmentClass.REPLACED][0],
        free_space=free_space,
        evictions=counters["evictions"],
        bad_extents=counters["bad_extents"],
    )


def used_bytes(connection: sqlite3.Connection) -> int:
    """The bytes of all segments."""
    return int(connection.execute("SELECT sum(bytes) FROM totals").fetchone()[0])
