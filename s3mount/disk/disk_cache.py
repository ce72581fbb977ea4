"""Disk cache: keeps and reads the bytes of object versions in one directory.

For any thread; several processes may have the directory open at once. All calls may wait for the
disk, but `read` with *nowait*, and `read_cached`.

Invariants:

1. What `read` fills has the checksum that was taken when it was kept, seeded by its name and its
   place. All else is a gap.
2. A segment is readable only between `publish` and the mark of its eviction. Its bytes are freed
   later, and nothing takes their place: regions of packs and ids of objects are used again only if
   a loss of power undid the transactions that gave them away.
3. Room is counted before bytes are written, and freed before it is counted for others. So the
   directory has no more than its limit, whichever processes write, and wherever they are killed,
   but for folders and what damage has changed in the sums, until they are counted again.
4. A transaction that writes spans no read or write of an object's bytes; it may punch holes and
   remove files. A reader waits for no transaction.
5. A damaged index is replaced by an empty one. No call tells of it but by what is missing.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from s3mount.disk import contents, eviction, pinning, records, segment_queries
from s3mount.disk.cache_folder import CacheFolder
from s3mount.disk.contents import CachedObject, Selection
from s3mount.disk.current_generation import CurrentGeneration
from s3mount.disk.damage import INDEX_ERRORS, DamagedIndexError, is_damage
from s3mount.disk.extent_reader import read_cached_extents, read_extents, readahead_runs
from s3mount.disk.folder_check import failure_within
from s3mount.disk.generation import Generation
from s3mount.disk.object_name import EXTENT, SEGMENT, ObjectName
from s3mount.disk.reservation import Kept, Written
from s3mount.disk.segment import Segment, SegmentClass, clipped_runs
from s3mount.disk.usage import DiskCounts, DiskLimits, DiskUsage
from s3mount.errors import CacheDirectoryError, CacheDiskError

log = logging.getLogger(__name__)

T = TypeVar("T")

ALL: Final = Selection()
LOAD_TIME: Final = 0.25  # seconds


class DiskCache:
    """The cache directory *folder*, within *limits*, which exists and is private.

    Raises CacheDirectoryError. With *opens_late* the directory is made or checked, and opened, by
    `open` or by the first call that needs it.
    """

    def __init__(self, folder: Path, limits: DiskLimits, *, opens_late: bool = False) -> None:
        self.folder = folder
        self.limits = limits
        self.counts = DiskCounts()
        self._counting = threading.Lock()  # of `counts` and `_logged`
        self._logged: set[bytes] = set()  # digests of objects with bad extents
        self._current = CurrentGeneration(CacheFolder(folder, limits, is_prepared=opens_late))
        if not opens_late:
            self.open()

    def open(self) -> None:
        """Open the directory. Raises CacheDirectoryError; CacheDiskError if its disk fails."""
        try:
            self._current.open()
        except OSError as exc:
            raise failure_within(self.folder, exc) from exc
        except sqlite3.Error as exc:
            raise CacheDiskError(
                f"the cache directory {self.folder} cannot be used: its index: {exc}"
            ) from exc

    # ---- reading -------------------------------------------------------------------------------

    def find(self, name: ObjectName, number: int, digest: bytes | None = None) -> Segment | None:
        """Segment *number* of *name*, whose *digest* may be known; None if it is not there.

        OSError, sqlite3.Error.
        """
        digest = digest or name.digest
        return self._current.attempt(
            lambda now: segment_queries.find_one(now.index.reader(), name, digest, number), None
        )

    def find_many(self, names: Sequence[tuple[ObjectName, bytes]], numbers: range) -> list[Segment]:
        """The segments that are there of *names*, each with its digest, in *numbers*.

        OSError, sqlite3.Error.
        """
        return self._current.attempt(
            lambda now: segment_queries.find_many(now.index.reader(), names, numbers), []
        )

    def read(
        self, segment: Segment, start: int, stop: int, into: memoryview, *, nowait: bool = False
    ) -> list[tuple[int, int]]:
        """Fill *into* with the bytes [*start*, *stop*), which are within *segment*.

        Returns the parts that it could not fill, in order: those that are absent, evicted or bad.
        With *nowait*, BlockingIOError if the disk would have to be waited for. OSError,
        sqlite3.Error.
        """
        try:
            files = self._current.generation.files
            wrong = read_extents(files, segment, start, stop, into, nowait=nowait)
        except FileNotFoundError:
            wrong = [each for each in segment.extents(start, stop) if segment.is_present(each)]
        if wrong:
            if nowait:
                raise BlockingIOError
            self._note_wrong(segment, wrong)
        absent = set(wrong)
        indices = (
            each
            for each in segment.extents(start, stop)
            if each in absent or not segment.is_present(each)
        )
        gaps = clipped_runs(segment, indices, start, stop)
        with self._counting:
            self.counts.bytes_read += stop - start - sum(high - low for low, high in gaps)
        return gaps

    def read_cached(
        self, segment: Segment, start: int, stop: int, scratch: memoryview
    ) -> memoryview | None:
        """The bytes [*start*, *stop*) of *segment*, in *scratch*; None if `read` is to read them.

        Waits for nothing. BlockingIOError if the kernel reads them from the disk now. OSError,
        sqlite3.Error.
        """
        files = self._current.generation.files
        content = read_cached_extents(files, segment, start, stop, scratch)
        if content is not None:
            with self._counting:
                self.counts.bytes_read += stop - start
        return content

    @property
    def has_cached_reads(self) -> bool:
        """Whether `read_cached` may have any bytes, as far as is known."""
        return not self._current.is_open or self._current.generation.files.can_tell_cached

    def read_ahead(self, segments: Sequence[Segment]) -> None:
        """Have the kernel read *segments* into its memory, as it finds time. OSError."""
        files = self._current.generation.files
        for run in readahead_runs(segments):
            with suppress(FileNotFoundError):
                files.start_readahead(*run)

    def load_recent(self) -> None:
        """Have the kernel read what the index tells of what was accessed last.

        Takes LOAD_TIME, or a little longer. OSError, sqlite3.Error.
        """
        until = time.monotonic() + LOAD_TIME
        self._current.attempt(
            lambda now: segment_queries.load_recent(
                now.index.reader(), lambda: time.monotonic() > until
            ),
            None,
        )

    def touch(self, segments: Iterable[Segment]) -> None:
        """Note that *segments* are read; the next write, or `flush`, tells the index."""
        self._current.generation.notes.add_accesses(segments)

    # ---- writing -------------------------------------------------------------------------------

    def keep(self, name: ObjectName, start: int, content: memoryview) -> int:
        """Write what *content*, the bytes from *start* on, has of whole extents that are absent.

        Returns how many bytes that were: none if there is no room. OSError, sqlite3.Error.
        """
        return self.keep_all([Kept(name, start, content)]).octets

    def keep_all(self, kept: Sequence[Kept]) -> Written:
        """`keep` of several at once, which costs less."""
        whole = [each for each in kept if len(each.content)]
        written = self._current.write(lambda now: now.keep_all(whole), Written(0))
        with self._counting:
            self.counts.bytes_written += written.octets
        return written

    def flush(self) -> None:
        """Tell the index what was noted of accesses and bad extents. OSError, sqlite3.Error."""
        if self._current.generation.notes:
            self._current.write(Generation.flush, 0)

    def evict(self, name: ObjectName) -> None:
        """Drop all that is there of *name*."""
        self._change(lambda connection: eviction.mark_digest(connection, name.digest))
        self._current.write(Generation.flush, 0)

    def mark_replaced(self, name: ObjectName) -> None:
        """Let *name*, which is current no longer, be evicted before all others but pinned ones."""
        self._change(
            lambda connection: connection.execute(
                "UPDATE segments SET class = ? WHERE class < ? AND object IN"
                " (SELECT id FROM objects WHERE digest = ?)",
                (SegmentClass.REPLACED, SegmentClass.PINNED, name.digest),
            )
        )

    # ---- records -------------------------------------------------------------------------------

    def get_record(self, key: bytes) -> bytes | None:
        """The record of *key*; None if there is none, or it is damaged."""
        try:
            return self._current.attempt(lambda now: records.get(now.index.reader(), key), None)
        except records.DamagedRecordError:
            with self._counting:
                self.counts.damaged_records += 1
            with suppress(OSError, sqlite3.Error):
                self.drop_records((key,))
            return None

    def put_records(self, new: Mapping[bytes, bytes]) -> bool:
        """Keep *new*, all or none of them; whether they are kept. OSError, sqlite3.Error."""
        limit = self.limits.size // records.SHARE
        if sum(map(len, new.values())) > limit:
            return False
        return self._current.write(lambda now: now.put_records(new, limit), False)

    def drop_records(self, keys: Iterable[bytes]) -> None:
        """Forget the records of *keys*."""
        self._change(lambda connection: records.drop(connection, keys))

    # ---- the whole -----------------------------------------------------------------------------

    def usage(self, *, counts_objects: bool = False) -> DiskUsage:
        """What is in the directory; with *counts_objects*, how many objects, too.

        OSError, sqlite3.Error.
        """
        usage = self._current.attempt(lambda now: now.usage(counts_objects=counts_objects), None)
        return usage or self._current.generation.usage(counts_objects=counts_objects)

    def objects(self, selection: Selection = ALL) -> Iterator[CachedObject]:
        """The objects that are there.

        sqlite3.Error, also if the index is damaged, which is then replaced.
        """
        self._current.reopen_if_replaced()
        generation = self._current.generation
        try:
            yield from contents.cached_objects(generation.index.reader(), selection)
        except INDEX_ERRORS as exc:
            if not is_damage(exc):
                raise
            self._current.replace(generation)
            raise DamagedIndexError(f"its index was damaged, and begins anew: {exc}") from exc

    def verify(
        self, selection: Selection = ALL, on_bytes: Callable[[int], None] = lambda _: None
    ) -> int:
        """Read all that is there, and drop what is bad; how many extents that were.

        *on_bytes* is told how many bytes were read since it was called last.
        """
        before = self.counts.bad_extents
        buffer = memoryview(bytearray(SEGMENT))
        for each in self.objects(selection):
            for number in contents.segments_of(self._current.generation.index.reader(), each.name):
                segment = self.find(each.name, number)
                if segment is not None:
                    length = segment.stop - segment.start
                    gaps = self.read(segment, segment.start, segment.stop, buffer[:length])
                    on_bytes(length - sum(high - low for low, high in gaps))
            self.flush()
        self._current.write(Generation.recount, None)
        return self.counts.bad_extents - before

    def clear(self, selection: Selection = ALL) -> int:
        """Drop what is selected, and all records if that is all; how many segments.

        Other processes go on, without them.
        """
        count = self._change(lambda connection: contents.mark_selected(connection, selection))
        if selection == ALL:
            self._change(lambda connection: connection.execute("DELETE FROM records"))
        while self._current.write(Generation.flush, 0):
            pass
        self._current.write(lambda now: now.index.shrink(), None)
        return count or 0

    def pin(self, selection: Selection, *, is_pinned: bool) -> int:
        """Let what is there of *selection* never be evicted, or again; how many objects.

        CacheDirectoryError if that is too much.
        """
        if not is_pinned:
            return self._change(lambda connection: pinning.unpin(connection, selection)) or 0
        if not self._current.generation.files.can_punch:
            raise CacheDirectoryError(
                f"the file system of {self.folder} frees whole files only: nothing can be pinned"
            )
        return self._change(lambda connection: self._pin(connection, selection)) or 0

    def close(self) -> None:
        """Close the directory; no other call may follow."""
        if self._current.is_open:
            with suppress(OSError, sqlite3.Error):
                self.flush()
        self._current.close()

    # ---- within --------------------------------------------------------------------------------

    def _change(self, change: Callable[[sqlite3.Connection], T]) -> T | None:
        """Make *change* in a transaction. OSError, sqlite3.Error."""
        return self._current.write(lambda now: now.write(change), None)

    def _pin(self, connection: sqlite3.Connection, selection: Selection) -> int:
        pinning.check_room(pinning.bytes_if_pinned(connection, selection), self.limits.size)
        return pinning.pin(connection, selection)

    def _note_wrong(self, segment: Segment, wrong: list[int]) -> None:
        """Note which of the *wrong* extents are bad, rather than evicted since they were found."""
        if self._current.reopen_if_replaced():
            return
        # twice, so that the index is looked at after the bytes, too
        bad = self._still_wrong(segment, self._still_wrong(segment, wrong))
        if not bad:
            return
        self._current.generation.notes.add_bad(segment, bad)
        with self._counting:
            self.counts.bad_extents += len(bad)
            is_news = segment.digest not in self._logged
            self._logged.add(segment.digest)
        if is_news:
            log.warning(
                "the disk cache has damaged bytes of %r, which are fetched again",
                segment.name.key,
            )

    def _still_wrong(self, segment: Segment, wrong: list[int]) -> list[int]:
        """Those of *wrong* that the index tells of as *segment* does, and whose bytes are wrong.

        Another process may have evicted them, and kept them again, while they were read.
        """
        fresh = self.find(segment.name, segment.number, segment.digest) if wrong else None
        if fresh is None or fresh.location != segment.location:
            return []
        files, buffer = self._current.generation.files, memoryview(bytearray(EXTENT))
        found = []
        for extent in wrong:
            if fresh.checksums[extent] == segment.checksums[extent]:
                low, high = segment.extent_range(extent)
                with suppress(FileNotFoundError):
                    if not read_extents(
                        files, fresh, low, high, buffer[: high - low], nowait=False
                    ):
                        continue
                found.append(extent)
        return found
