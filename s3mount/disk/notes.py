"""Notes for the index: accesses, and extents found bad, which the next transaction tells it.

For any thread. A reader only notes, so that no reader waits for a transaction that writes.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable

from s3mount.disk import checksum
from s3mount.disk.segment import Segment, SegmentClass


class Notes:
    """What was noted since the last `write_to`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accessed: dict[tuple[int, int], int] = {}
        self._bad: list[tuple[Segment, int]] = []

    def __bool__(self) -> bool:
        return bool(self._accessed or self._bad)

    def add_accesses(self, segments: Iterable[Segment]) -> None:
        now = now_ms()
        with self._lock:
            for segment in segments:
                self._accessed[segment.location.object_id, segment.number] = now

    def add_bad(self, segment: Segment, extents: Iterable[int]) -> None:
        with self._lock:
            self._bad += [(segment, extent) for extent in extents]

    def write_to(self, connection: sqlite3.Connection) -> None:
        """Tell the index, in a transaction."""
        with self._lock:
            accessed, self._accessed = self._accessed, {}
            bad, self._bad = self._bad, []
        # what is read again is no longer cold, nor of a version that no reader wants
        connection.executemany(
            "UPDATE segments SET accessed = ?, class = max(class, ?)"
            " WHERE object = ? AND number = ? AND class != ?",
            (
                (now, SegmentClass.KEPT, *segment, SegmentClass.EVICTING)
                for segment, now in accessed.items()
            ),
        )
        for segment, extent in bad:
            _drop_extent(connection, segment, extent)


def now_ms() -> int:
    """The time of an access, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _drop_extent(connection: sqlite3.Connection, segment: Segment, extent: int) -> None:
    """Let *extent* be unreadable, if it is as *segment* has it. Its room stays taken."""
    where = (segment.location.object_id, segment.number)
    row = connection.execute(
        "SELECT checksums FROM segments WHERE object = ? AND number = ?", where
    ).fetchone()
    if row is None:
        return
    checksums = list(checksum.unpack(row[0], len(segment.checksums)))
    if checksums[extent] == segment.checksums[extent]:
        checksums[extent] = checksum.RESERVED
        connection.execute(
            "UPDATE segments SET checksums = ? WHERE object = ? AND number = ?",
            (checksum.pack(checksums), *where),
        )
        connection.execute("UPDATE counters SET value = value + 1 WHERE name = 'bad_extents'")
