"""Recorder of metadata: writes what the metadata cache learns into a store of records.

Runs in the background, and delays no caller. Invariants:

1. Records are written in the order of the calls. So what was forgotten is dropped after it was
   kept, and what is kept after that is newer. Times since which others are void depend on no
   order, and are written with the next batch, until the store of records has them for certain.
2. The header of a listing is written after its pages, all of one generation: a set of records that
   is not whole is no listing.
3. A listing that the cache drops before it is written is not kept: waiting to be written holds no
   memory beside the cache. At most PENDING_MAX dentries and LISTINGS_MAX listings wait; more are
   not kept. Instead of more names to forget, all that was requested before is void.
4. What was invalidated, trimmed, or withdrawn meanwhile, or is partial, is not written.
"""

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final
from weakref import ref

import trio

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.namespace.directory import CachedDentry
from s3mount.filesystem.namespace.invalidations import DirectoryKey
from s3mount.filesystem.namespace.metadata_cache import MetadataCache
from s3mount.filesystem.persistence.record_fields import UnwritableField
from s3mount.filesystem.persistence.record_format import (
    GENERATION_SIZE,
    PAGES_MAX,
    ListingHeader,
    MetadataRecords,
)
from s3mount.filesystem.persistence.record_store import RecordStore

PENDING_MAX: Final = 10_000
LISTINGS_MAX: Final = 50_000  # of 400 bytes each
BATCH: Final = 1 << 20  # bytes of records that are written at once, or a little more

_Job = ref[DirectoryListing] | CachedDentry | None


class MetadataRecorder:
    """Keeps what *cache* learns in *records*, but for the directories that *is_kept* denies.

    State: *_pending* are the jobs by what they are about, the oldest first. The value is a listing
    to keep, a dentry to keep, or None for a name to forget. *_times* are the records of times that
    are not known to be written.
    """

    def __init__(
        self,
        records: MetadataRecords,
        cache: MetadataCache,
        nursery: trio.Nursery,
        is_kept: Callable[[str], bool],
    ) -> None:
        self._store, self._keys, self._format = records
        self._cache = cache
        self._nursery = nursery
        self._is_kept = is_kept
        self._pending: dict[tuple[str, DirectoryKey, bytes], _Job] = {}
        self._times: dict[bytes, bytes] = {}
        self._idle: trio.Event | None = None  # set when the task that writes has ended
        self._breaks = 0  # of the order of undelimited listings, as far as they are recorded

    def keep_listing(self, listing: DirectoryListing) -> None:
        """Keep *listing*, which is complete, unless it is dropped before it is written."""
        if len(self._pending) < LISTINGS_MAX and self._is_kept(listing.prefix):
            self._add("listing", (listing.bucket, listing.prefix), b"", ref(listing))

    def keep_dentry(self, directory: DirectoryKey, name: bytes, dentry: CachedDentry) -> None:
        """Keep a dentry that a lookup has found."""
        if len(self._pending) < PENDING_MAX and self._is_kept(directory[1]):
            self._add("dentry", directory, name, dentry)

    def forget_name(self, directory: DirectoryKey, name: bytes, time: float) -> None:
        """Drop what is kept of *name*, and never use a listing of its directory before *time*."""
        if len(self._pending) >= LISTINGS_MAX:
            self.forget_subtree((self._cache.bucket, ""), time)
            return
        self._add("name", directory, name, None)
        self._add_time(self._keys.names(directory), time)

    def forget_subtree(self, directory: DirectoryKey, time: float) -> None:
        """Never use what was requested before *time* in a directory and below, in any mount."""
        self._add_time(self._keys.refresh(directory), time)

    @property
    def has_unwritten_times(self) -> bool:
        """Whether later mounts may use what was refreshed."""
        return bool(self._times)

    async def flush(self) -> None:
        """Wait until all is written that was to be kept before.

        Writes it itself if the task that writes was cancelled, or has failed to.
        """
        while self._idle is not None:
            await self._idle.wait()
        if self._pending or self._times:
            self._idle = trio.Event()
            await self._write_pending(self._idle)

    def _add(self, kind: str, directory: DirectoryKey, name: bytes, job: _Job) -> None:
        key = kind, directory, name
        self._pending.pop(key, None)
        self._pending[key] = job
        self._start()

    def _add_time(self, key: bytes, time: float) -> None:
        if len(self._times) >= PENDING_MAX:  # the disk fails: one for all
            self._times.clear()
            key = self._keys.refresh((self._cache.bucket, ""))
        self._times[key] = self._format.write_time(time)
        self._start()

    def _start(self) -> None:
        if self._idle is None:
            self._idle = trio.Event()
            self._nursery.start_soon(self._write_pending, self._idle)

    async def _write_pending(self, idle: trio.Event) -> None:
        try:
            is_written = True
            while self._pending or (self._times and is_written):
                batch = _Batch(self._store)
                while self._pending and batch.size < BATCH:
                    (kind, directory, name), job = next(iter(self._pending.items()))
                    del self._pending[kind, directory, name]
                    await self._write(batch, directory, name, job)
                    await trio.lowlevel.checkpoint()
                is_written = await self._write_batch(batch)
        finally:
            self._idle = None
            idle.set()

    async def _write_batch(self, batch: "_Batch") -> bool:
        """Write *batch* and the times; whether it is done."""
        times = dict(self._times)
        is_written = await batch.write(times)
        for key, content in times.items() if is_written else ():
            if self._times.get(key) is content:
                del self._times[key]
        return is_written

    async def _write(
        self, batch: "_Batch", directory: DirectoryKey, name: bytes, job: _Job
    ) -> None:
        match job:
            case CachedDentry():
                self._write_dentry(batch, directory, name, job)
            case ref():
                self._note_disorder()
                await self._write_listing(batch, directory, job)
            case None:
                batch.add(self._keys.header(directory), None)
                batch.add(self._keys.dentry(directory, name), None)

    def _write_dentry(
        self, batch: "_Batch", directory: DirectoryKey, name: bytes, dentry: CachedDentry
    ) -> None:
        time = dentry.requested_at
        is_expired = time < self._cache.ttl.valid_since
        if is_expired or self._cache.invalidations.last(directory, name) > time:
            return
        try:
            content = self._format.write_dentry(dentry.page, time)
        except UnwritableField:
            return
        batch.add(self._keys.dentry(directory, name), content)

    def _note_disorder(self) -> None:
        """Record that derived listings are void if the order has been broken since the last."""
        breaks = self._cache.order.subtree_breaks
        if breaks != self._breaks:
            self._breaks = breaks
            self._add_time(self._keys.disorder(self._cache.bucket), self._cache.clock.now())

    async def _write_listing(
        self, batch: "_Batch", directory: DirectoryKey, listing_ref: "ref[DirectoryListing]"
    ) -> None:
        generation, inline = os.urandom(GENERATION_SIZE), b""
        bounds: list[tuple[bytes, bytes]] = []
        while (listing := self._get_valid(listing_ref)) is not None:
            number, count = len(bounds), len(listing.pages)
            if number == count:
                header = ListingHeader(
                    generation,
                    None,
                    listing.is_derived,
                    listing.hidden_count,
                    tuple(bounds),
                    inline,
                )
                content = self._format.write_header(header, listing.requested_at)
                batch.add(self._keys.header(directory), content)
                return
            page = listing.pages[number]
            assert page is not None  # or it would be trimmed
            try:
                content = self._format.write_page(generation, page)
            except UnwritableField:
                return
            bounds.append((page.first_name, page.last_name))
            del listing, page  # the cache may drop them while this waits
            if count == 1:
                inline = content
            else:
                batch.add(self._keys.page(directory, number), content)
                await batch.write_if_full()

    def _get_valid(self, listing_ref: "ref[DirectoryListing]") -> DirectoryListing | None:
        """The listing if it still is as it has to be, to be kept."""
        listing = listing_ref()
        if listing is None or listing.is_trimmed or listing.is_withdrawn or listing.is_partial:
            return None
        cache = self._cache
        is_expired = listing.requested_at < cache.ttl.valid_since
        newest = cache.invalidations.newest(listing.bucket, listing.prefix)
        if is_expired or newest > listing.requested_at or len(listing.pages) > PAGES_MAX:
            return None
        return listing


class _Batch:
    """Records that are written at once."""

    def __init__(self, records: RecordStore) -> None:
        self._store = records
        self._records: dict[bytes, bytes | None] = {}
        self.size = 0

    def add(self, key: bytes, content: bytes | None) -> None:
        self._records[key] = content
        self.size += len(key) + len(content or b"")

    async def write_if_full(self) -> None:
        """Write what is there if it is enough. A checkpoint."""
        if self.size >= BATCH:
            await self.write()
        else:
            await trio.lowlevel.checkpoint()

    async def write(self, more: Mapping[bytes, bytes] = MappingProxyType({})) -> bool:
        """Write what is there, and *more*; whether it is done."""
        records, self._records, self.size = {**self._records, **more}, {}, 0
        return not records or await self._store.put(records)
