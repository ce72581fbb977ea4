"""Generation of a cache directory: an index, the data files that it tells of, and their writer.

It lasts until its index is found to be damaged, and another generation begins.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from s3mount.disk import checksum, eviction
from s3mount.disk import reservation as reservations
from s3mount.disk.data_files import PACK_SIZE, DataFiles
from s3mount.disk.index import Index
from s3mount.disk.notes import Notes, now_ms
from s3mount.disk.object_name import EXTENT
from s3mount.disk.reservation import Kept, PackPosition, Reservation
from s3mount.disk.usage import DiskLimits, DiskUsage, read_usage, used_bytes

T = TypeVar("T")

_ROUNDS_MAX: Final = 64  # transactions that make room for one write
_FLOOR_STEP: Final = 64 << 20  # bytes that are freed at once for others on the file system
_PACKS: Final = 16  # packs that a directory has room for, at the least


class Generation:
    """One thread at a time may write to it; any may read *index* and *files*."""

    def __init__(self, index: Index, files: DataFiles, limits: DiskLimits) -> None:
        self.index = index
        self.files = files
        self.notes = Notes()
        self._limits = limits
        self._pack = PackPosition(min(PACK_SIZE, max(1 << 20, limits.size // _PACKS)))

    def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Make *change* in a transaction, which frees what is marked before."""
        with self.index.transaction() as connection:
            self._tend(connection)
            return change(connection)

    def flush(self) -> None:
        """Free what is marked, as far as one transaction does, and write the notes."""
        with self.index.transaction() as connection:
            self._tend(connection)

    def keep_all(self, kept: Sequence[Kept]) -> int:
        """Write the whole extents of *kept* that are absent; how many bytes on the disk."""
        reserved = self._reserve(kept)
        try:
            found = [self._write_part(each) for each in reserved]
        except BaseException:  # raised again
            with suppress(OSError, sqlite3.Error), self.index.transaction() as connection:
                for reservation in reserved:
                    reservations.cancel(connection, reservation)
            raise
        if reserved:
            with self.index.transaction() as connection:
                for reservation, checksums in zip(reserved, found, strict=True):
                    reservations.publish(connection, reservation, checksums)
        return sum(each.part.size for each in reserved)

    def usage(self) -> DiskUsage:
        """What is in the directory."""
        return read_usage(
            self.index.reader(),
            self._limits,
            index_bytes=self.index.size(),
            free_space=self.files.free_space(),
        )

    def close(self) -> None:
        self.index.close()
        self.files.close()

    def _tend(self, connection: sqlite3.Connection) -> None:
        eviction.free_marked(connection, self.files, self._pack.pack)
        self.notes.write_to(connection)

    def _reserve(self, kept: Sequence[Kept]) -> list[Reservation]:
        """Room for what is missing of *kept*, at the cost of others; [] if there is none."""
        limit = self._limits.size
        for _ in range(_ROUNDS_MAX):
            with self.index.transaction() as connection:
                self._tend(connection)
                parts = [
                    part for each in kept for part in reservations.missing_parts(connection, each)
                ]
                needed = sum(part.size for part in parts)
                shortage = self._shortage(connection, needed)
                if shortage <= 0:
                    now = now_ms()
                    return [
                        reservations.reserve(connection, part, self._pack, now=now, limit=limit)
                        for part in parts
                    ]
                if needed > limit // 2 or not self._mark(connection, shortage):
                    return []
        return []

    def _mark(self, connection: sqlite3.Connection, needed: int) -> int:
        can_punch = self.files.can_punch
        return eviction.mark_victims(connection, needed, self._limits.size, can_punch=can_punch)

    def _shortage(self, connection: sqlite3.Connection, needed: int) -> int:
        """How many bytes are to be freed before *needed* may be written."""
        used = used_bytes(connection) + self.index.size()
        floor = self._limits.free_space + needed - self.files.free_space()
        return max(used + needed - self._limits.size, min(floor, _FLOOR_STEP))

    def _write_part(self, reservation: Reservation) -> list[int]:
        """Write a part, and return the checksums of its extents."""
        part, location = reservation.part, reservation.location
        runs = list(reservation.runs())
        for position, content in runs:
            self.files.write(location, position, content)
        for position, content in runs:
            self.files.drop_pages(location, position, len(content))
        first = part.kept.name.segment_range(part.number)[0] // EXTENT
        return [
            checksum.checksum(reservation.content(extent), part.digest, first + extent)
            for extent in part.missing
        ]
