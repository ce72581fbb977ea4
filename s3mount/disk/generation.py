"""Generation of a cache directory: an index, the data files that it tells of, and their writer.

It lasts until its index is found to be damaged, and another generation begins.
"""

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final, TypeVar

from s3mount.disk import eviction, records, segment_rows
from s3mount.disk.data_files import DataFiles
from s3mount.disk.index import Index
from s3mount.disk.notes import Notes, now_ms
from s3mount.disk.pack_position import PackPosition
from s3mount.disk.reservation import Kept, Reservation, Written, missing_parts
from s3mount.disk.segment import PACK_SIZE_MAX, Location, Segment, SegmentClass
from s3mount.disk.segment_rows import Reserver
from s3mount.disk.usage import DiskLimits, DiskUsage, read_usage, recount, used_bytes
from s3mount.disk.write_locks import WriteLocks

log = logging.getLogger(__name__)

T = TypeVar("T")
Plan = tuple[int, Callable[[], T]]
"""Bytes on the disk that a change needs, and the change."""

_ROUNDS_MAX: Final = 64  # transactions that make room for one write
_FLOOR_STEP: Final = 64 << 20  # bytes that are freed at once for others on the file system
_PACKS: Final = 16  # packs that a directory has room for, at the least
_INDEX_GROWTH: Final = 256 << 10  # bytes that a change adds to the index and its log, but records
_RECORD_OVERHEAD: Final = 128  # bytes


class Generation:
    """One thread at a time may write to it; any may read *index* and *files*."""

    def __init__(
        self, index: Index, files: DataFiles, locks: WriteLocks, limits: DiskLimits
    ) -> None:
        self.index = index
        self.files = files
        self.notes = Notes()
        self._locks = locks
        self._limits = limits
        self._pack = PackPosition(min(PACK_SIZE_MAX, max(1 << 20, limits.size // _PACKS)))
        self._is_recounted = False
        self._lacks_space = False  # whether the log says that too little space is free

    def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Make *change* in a transaction, which frees what is marked before."""
        with self.index.transaction() as connection:
            self._tend(connection)
            return change(connection)

    def flush(self) -> int:
        """Free what is marked, as far as one transaction does, and write the notes.

        Returns how many segments were freed.
        """
        with self.index.transaction() as connection:
            return self._tend(connection)

    def keep_all(self, kept: Sequence[Kept]) -> Written:
        """Write the whole extents of *kept* that are absent."""
        try:
            reserved = self._in_room(lambda connection: self._plan(connection, kept)) or []
            segments = self._write_all(reserved)
        except BaseException:  # raised again
            self._pack.reset()
            raise
        finally:
            self._locks.unlock_all()
        return Written(sum(each.part.length for each in reserved), segments)

    def put_records(self, new: Mapping[bytes, bytes], limit: int) -> bool:
        """Keep *new*, of at most *limit* bytes with all other records; False without room."""

        def plan(connection: sqlite3.Connection) -> Plan[bool]:
            size = sum(map(len, new.values())) + _RECORD_OVERHEAD * len(new)

            def put() -> bool:
                records.put(connection, new, limit)
                return True

            return min(size, max(0, limit - records.total(connection))), put

        return bool(self._in_room(plan))

    def recount(self) -> None:
        """Count again what the index keeps sums of."""
        with self.index.transaction() as connection:
            recount(connection)

    def usage(self, *, counts_objects: bool = False) -> DiskUsage:
        """What is in the directory; with *counts_objects*, how many objects, too."""
        return read_usage(
            self.index.reader(),
            self._limits,
            index_bytes=self.index.size(self.index.reader()),
            free_space=self.files.free_space(),
            counts_objects=counts_objects,
        )

    def close(self) -> None:
        self.index.close()
        self.files.close()

    def _tend(self, connection: sqlite3.Connection) -> int:
        freed = eviction.free_marked(connection, self.files, self._locks)
        self.notes.write_to(connection)
        return freed

    def _plan(
        self, connection: sqlite3.Connection, kept: Sequence[Kept]
    ) -> Plan[list[Reservation]]:
        parts = [part for each in kept for part in missing_parts(connection, each)]

        def reserve() -> list[Reservation]:
            reserver = Reserver(connection, self._pack, now=now_ms(), limit=self._limits.size)
            reserved = [reserver.reserve(part) for part in parts]
            for unused in chain.from_iterable(each.unused for each in reserved):
                self.files.remove(unused)  # a loss of power may have left it
            self._locks.lock((each.location.object_id, each.part.number) for each in reserved)
            return reserved

        return sum(part.size for part in parts), reserve

    def _in_room(self, plan: Callable[[sqlite3.Connection], Plan[T]]) -> T | None:
        """Make a change once it has room, at the cost of others; None if it cannot have it."""
        budget: int | None = None  # bytes to mark at most, should the file system count late
        for _ in range(_ROUNDS_MAX):
            with self.index.transaction() as connection:
                freed = self._tend(connection)
                needed, change = plan(connection)
                shortage = self._shortage(connection, needed)
                if shortage <= 0:
                    self._note_space()
                    return change()
                if needed > self._limits.size // 2:
                    return None
                budget = 2 * shortage if budget is None else budget
                marked = self._mark(connection, min(shortage, _FLOOR_STEP, budget))
                budget -= marked
                if not marked and not freed and not self._recount_once(connection):
                    self._warn_of_space(needed)
                    return None
        return None

    def _note_space(self) -> None:
        """Note that space is free again, if it is: what was written may only have been small."""
        if self._lacks_space and self.files.free_space() >= self._limits.free_space + _FLOOR_STEP:
            self._lacks_space = False

    def _warn_of_space(self, needed: int) -> None:
        """Log, once, that nothing is kept because too little space is free."""
        free, floor = self.files.free_space(), self._limits.free_space
        if self._lacks_space or free >= floor + needed:
            return
        self._lacks_space = True
        log.warning(
            "the disk cache keeps nothing new: its file system has %d MiB free, and %d MiB are to "
            "stay free (--cache-free-space): make room, name another disk, or give less",
            free >> 20,
            floor >> 20,
        )

    def _mark(self, connection: sqlite3.Connection, shortage: int) -> int:
        """Mark segments of *shortage* bytes, with what is marked and not freed; how many more."""
        can_punch = self.files.can_punch
        if can_punch:  # otherwise what is still marked may stay so for long
            shortage -= eviction.class_bytes(connection, SegmentClass.EVICTING)
        return eviction.mark_victims(connection, shortage, self._limits.size, can_punch=can_punch)

    def _recount_once(self, connection: sqlite3.Connection) -> bool:
        """Count again, as nothing is left to evict; False if that was done before."""
        was_recounted, self._is_recounted = self._is_recounted, True
        if not was_recounted:
            recount(connection)
        return not was_recounted

    def _shortage(self, connection: sqlite3.Connection, needed: int) -> int:
        """How many bytes are to be freed before *needed* may be written."""
        if not needed:
            return 0
        used = used_bytes(connection) + self.index.size(connection) + _INDEX_GROWTH
        floor = self._limits.free_space + needed - self.files.free_space()
        return max(used + needed - self._limits.size, floor)

    def _write_all(self, reserved: Sequence[Reservation]) -> list[Segment]:
        """Write and publish what is *reserved*, or cancel it; the segments that are then there."""
        if not reserved:
            return []
        try:
            self._write_bytes(reserved)
            found = [(each, each.checksums()) for each in reserved]
        except BaseException:  # raised again
            with suppress(OSError, sqlite3.Error), self.index.transaction() as connection:
                for reservation in reserved:
                    segment_rows.cancel(connection, reservation)
            raise
        with self.index.transaction() as connection:
            return segment_rows.publish_all(connection, found)

    def _write_bytes(self, reserved: Sequence[Reservation]) -> None:
        """Write the bytes of *reserved*: those that lie beside each other in one call."""
        runs = [(each.location, *run) for each in reserved for run in each.runs()]
        self.files.write_all(sorted(runs, key=_place))


def _place(run: tuple[Location, int, memoryview]) -> tuple[int, int, int]:
    """Where *run* begins: in the pack, or in the file of the object."""
    location, position, _ = run
    return location.pack, location.pack or location.object_id, location.offset + position
