"""Notes for the index: accesses, and extents found bad, which the next transaction tells it.

For any thread. A reader only notes, so that no reader waits for a transaction that writes. If none
comes, because the disk cannot be written, at most NOTES_MAX of each kind are remembered.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable
from typing import Final

from s3mount.disk import checksum
from s3mount.disk.segment import Segment, SegmentClass

NOTES_MAX: Final = 1 << 14


class Notes:
    """Accesses and bad extents that were noted since the last `write_to`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accessed: dict[tuple[int, int], int] = {}
        self._bad: dict[tuple[int, int, int], Segment] = {}  # by object, number and extent

    def __bool__(self) -> bool:
        return bool(self._accessed or self._bad)

    def add_accesses(self, segments: Iterable[Segment]) -> None:
        now = now_ms()
        with self._lock:
            for segment in segments:
                key = segment.location.object_id, segment.number
                if key in self._accessed or len(self._accessed) < NOTES_MAX:
                    self._accessed[key] = now

    def add_bad(self, segment: Segment, extents: Iterable[int]) -> None:
        with self._lock:
            for extent in extents:
                if len(self._bad) < NOTES_MAX:
                    self._bad[segment.location.object_id, segment.number, extent] = segment

    def write_to(self, connection: sqlite3.Connection) -> None:
        """Tell the index, in a transaction."""
        with self._lock:
            accessed, self._accessed = self._accessed, {}
            bad, self._bad = self._bad, {}
        # what is read again is no longer cold, nor of a version that no reader wants
        connection.executemany(
            "UPDATE segments SET accessed = ?, class = max(class, ?)"
            " WHERE object = ? AND number = ? AND class != ?",
            (
                (now, SegmentClass.KEPT, *segment, SegmentClass.EVICTING)
                for segment, now in accessed.items()
            ),
        )
        for (_, _, extent), segment in bad.items():
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
