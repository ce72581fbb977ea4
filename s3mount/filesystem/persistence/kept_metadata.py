"""Kept metadata: reads listings and dentries from a store of records into the metadata cache.

What is read is as old as it was, and the cache treats it so: within the lifetime it answers, beyond
it a name is revalidated by the version that is known. Invariants:

1. Nothing is read that was requested before a refresh or an invalidation, of this mount or, as far
   as it was recorded, of another one.
2. A listing is put whole or not at all, and takes no more than a share of the memory limit.
3. A record that is malformed, or of another generation than its header, is absent.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

import trio

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.names import decode
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.invalidations import DirectoryKey, directories_of
from s3mount.filesystem.namespace.metadata_cache import MetadataCache
from s3mount.filesystem.persistence.record_fields import MalformedRecord
from s3mount.filesystem.persistence.record_format import (
    ListingHeader,
    MetadataRecords,
    PageRecord,
)

PAGES_AT_ONCE: Final = 16  # that are read from the store of records together
LOOKUP_PAGES: Final = 8  # of a listing that one lookup reads whole; of a larger one, its page
LIMIT_SHARE: Final = 2  # a listing of more than such a part of the memory limit is not read

T = TypeVar("T")


class _Kept(NamedTuple):
    """Kept records of a directory, and of one name in it."""

    header: ListingHeader | None
    dentry: CachedDentry | None


class KeptMetadata:
    """Reads what *records* have into *cache*."""

    def __init__(self, records: MetadataRecords, cache: MetadataCache) -> None:
        self._store, self._keys, self._format = records
        self._cache = cache
        # statistics: listings and dentries that were read from records
        self.listings = 0
        self.dentries = 0

    async def load_listing(
        self,
        directory: DirectoryState,
        *,
        replaces_growing: bool = False,
        is_served: Callable[[float], bool] | None = None,
    ) -> bool:
        """Put the kept listing of *directory* if it is within the lifetime; whether it was put.

        *replaces_growing*: also in place of one that has not come to its end. *is_served* decides
        by the time at which it was requested, in place of the lifetime.
        """
        header = (await self._get(directory, None)).header
        if header is None or header.requested_at is None:
            return False
        if not (self._is_fresh(header) if is_served is None else is_served(header.requested_at)):
            return False
        return await self._put_listing(directory, header, replaces_growing=replaces_growing)

    async def load_name(
        self, directory: DirectoryState, name: bytes, *, replaces_growing: bool = False
    ) -> None:
        """Put what is kept of *name*: fresh, or the version that a revalidation can tell.

        *replaces_growing*: also the listing, in place of one that has not come to its end.
        """
        header, dentry = await self._get(directory, name)
        if dentry is not None:
            self._put_dentry(directory, name, dentry)
        if header is None or self._is_listed(directory):
            return
        is_fresh = self._is_fresh(header)
        if is_fresh and len(header.bounds) <= LOOKUP_PAGES:
            await self._put_listing(directory, header, replaces_growing=replaces_growing)
        elif is_fresh or directory.get(name) is None:
            await self._put_listed(directory, name, header, is_fresh=is_fresh)

    def _is_listed(self, directory: DirectoryState) -> bool:
        """Whether the listing in memory is fresh, and has come to its end."""
        listing = directory.listing
        return listing is not None and listing.is_complete and self._cache.is_fresh(directory)

    async def _get(self, directory: DirectoryState, name: bytes | None) -> _Kept:
        """What is kept, and still valid. One read of the store of records."""
        bucket, prefix = directory.key
        path = prefix if name is None else f"{prefix}{decode(name)}/"
        times = [
            self._keys.disorder(bucket),
            self._keys.names(directory.key),
            *(self._keys.refresh((bucket, above)) for above in directories_of(path)),
        ]
        keys = [self._keys.header(directory.key)]
        if name is not None:
            keys.append(self._keys.dentry(directory.key, name))
        # the times last: what was refreshed since the others were read is void
        found = await self._store.get([*keys, *times])
        header = self._read(self._format.read_header, found[0])
        dentry = None if name is None else self._read(self._format.read_dentry, found[1])
        disorder, names, *above = await self._read_times(times, found[len(keys) :])
        refresh = max(above)
        if header is not None:
            since = max(refresh, names, disorder if header.is_derived else -math.inf)
            is_valid = self._is_valid(directory, header.requested_at, since)
            header = header if is_valid and not self._is_withdrawn(header) else None
        if dentry is None or name is None or not self._is_valid(directory, dentry[0], refresh):
            return _Kept(header, None)
        return _Kept(header, self._dentry(directory, name, *dentry))

    async def _read_times(
        self, keys: Sequence[bytes], contents: Sequence[bytes | None]
    ) -> list[float]:
        """The times of *contents*, -inf without one; what is of no known age is now, and kept so.

        Of another boot whose clock was ahead, say: nothing that is void then may become valid.
        """
        times = [
            -math.inf if content is None else self._read(self._format.read_time, content)
            for content in contents
        ]
        if None not in times:
            return [time for time in times if time is not None]
        now = self._cache.clock.tick()
        unknown = [key for key, time in zip(keys, times, strict=True) if time is None]
        await self._store.put(dict.fromkeys(unknown, self._format.write_time(now)))
        return [now if time is None else time for time in times]

    @staticmethod
    def _read(read: Callable[[bytes], T], content: bytes | None) -> T | None:
        try:
            return None if content is None else read(content)
        except MalformedRecord:
            return None

    def _is_valid(self, directory: DirectoryState, time: float | None, since: float) -> bool:
        """Whether what was requested at *time* was not refreshed; *since* is what records say."""
        if time is None or time <= since or time < self._cache.ttl.valid_since:
            return False
        return time > self._cache.invalidations.last_subtree(*directory.key)

    def _is_withdrawn(self, header: ListingHeader) -> bool:
        """Whether it was derived by an order that the store may have broken since."""
        return header.is_derived and self._cache.order.subtree_breaks > 0

    def _is_fresh(self, header: ListingHeader) -> bool:
        time = header.requested_at
        return time is not None and self._cache.ttl.remaining(time, self._cache.clock.now()) > 0

    def _dentry(
        self, directory: DirectoryState, name: bytes, time: float | None, entry: Entry | None
    ) -> CachedDentry | None:
        assert time is not None  # or it would not be valid
        if entry is None:
            return CachedDentry(time, None)
        if entry.name != name:
            return None
        return CachedDentry(time, EntryPage(*directory.key, [entry], time, is_looked_up=True))

    def _put_dentry(self, directory: DirectoryState, name: bytes, dentry: CachedDentry) -> None:
        """Put *dentry* if it is news."""
        known = directory.get(name)
        if known is not None and known.requested_at >= dentry.requested_at:
            return
        self.dentries += 1
        self._cache.directories.put_dentry(directory, name, dentry)

    async def _put_listed(
        self, directory: DirectoryState, name: bytes, header: ListingHeader, *, is_fresh: bool
    ) -> None:
        """Put the dentry of *name* as the listing of *header* has it, without the others."""
        for number, (first, last) in enumerate(header.bounds):
            if not first <= name <= last:
                continue
            pages = await self._read_pages(directory, header, range(number, number + 1))
            if pages is None:
                return
            for page in pages:
                if (index := page.find(name)) is not None:
                    dentry = CachedDentry(page.requested_at, page.subset([index]))
                    self._put_dentry(directory, name, dentry)
                    return
        denies = is_fresh and not header.is_derived and name not in self._cache.names.unlisted
        if denies and header.requested_at is not None:
            self._put_dentry(directory, name, CachedDentry(header.requested_at, None))

    async def _put_listing(
        self, directory: DirectoryState, header: ListingHeader, *, replaces_growing: bool
    ) -> bool:
        pages: list[EntryPage] = []
        room = self._cache.directories.limit // LIMIT_SHARE
        for numbers in _slices(len(header.bounds)):
            some = await self._read_pages(directory, header, numbers)
            if some is None:
                return False
            pages += some
            if sum(page.weight for page in pages) > room:
                return False
        if header.requested_at is None or not _are_distinct(pages):
            return False
        time = min([header.requested_at, *(page.requested_at for page in pages)])
        if not self._is_valid(directory, time, -math.inf):  # by now
            return False
        listing = DirectoryListing(*directory.key, time, self._cache.order, names=self._cache.names)
        listing.restore(pages, header.hidden_count, is_derived=header.is_derived)
        is_put = self._cache.put_kept(listing, replaces_growing=replaces_growing)
        self.listings += is_put
        return is_put

    async def _read_pages(
        self, directory: DirectoryState, header: ListingHeader, numbers: range
    ) -> list[EntryPage] | None:
        """Some pages of a listing; None if one is absent."""
        contents: Sequence[bytes | None] = [header.inline]
        if not header.inline:
            keys = [self._keys.page(directory.key, number) for number in numbers]
            contents = await self._store.get(keys)
        pages = []
        for number, content in zip(numbers, contents, strict=True):
            record = self._read(self._format.read_page, content)
            page = None if record is None else self._page(directory, record, header, number)
            if page is None:
                return None
            pages.append(page)
            await trio.lowlevel.checkpoint()
        return pages

    def _page(
        self, directory: DirectoryState, record: PageRecord, header: ListingHeader, number: int
    ) -> EntryPage | None:
        """The page of *record* if it is page *number* of the listing of *header*."""
        time, entries = record.requested_at, record.entries
        if record.generation != header.generation or time is None or not entries:
            return None
        if (entries[0].name, entries[-1].name) != header.bounds[number]:
            return None
        return EntryPage(*directory.key, entries, time)


async def was_listed(records: MetadataRecords, directory: DirectoryKey, since: float) -> bool:
    """Whether *directory* was requested after *since*, and is not refreshed since then."""
    store, keys, form = records
    bucket, prefix = directory
    times = [keys.refresh((bucket, above)) for above in directories_of(prefix)]
    found = await store.get([keys.header(directory), keys.names(directory), *times])
    if found[0] is None:
        return False
    try:
        listed_at = form.read_header(found[0]).requested_at
        void_until = [form.read_time(content) for content in found[1:] if content is not None]
    except MalformedRecord:
        return False
    known = [time for time in void_until if time is not None]
    if listed_at is None or len(known) < len(void_until):
        return False
    return listed_at > max([since, *known])


def _slices(count: int) -> Iterator[range]:
    for start in range(0, count, PAGES_AT_ONCE):
        yield range(start, min(start + PAGES_AT_ONCE, count))


def _are_distinct(pages: Sequence[EntryPage]) -> bool:
    """Whether no name is in two of *pages*."""
    if len(pages) < 2:
        return True
    names = {page.name(index) for page in pages for index in range(len(page))}
    return len(names) == sum(map(len, pages))
