"""Cached state of one directory: its listing, and dentries that single lookups have put beside it.

Pure. Invariant: the newest knowledge of a name wins, by the moments at which it was requested, in
whatever order the responses come. What has expired, was invalidated, or was requested before the
last refresh is not used.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

from s3mount.filesystem import weights
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.invalidations import DirectoryKey, Invalidations
from s3mount.filesystem.namespace.ttl_policy import TtlPolicy

DENTRIES_MAX = 10_000  # put by lookups; beyond it the oldest go, as misses could fill the memory


class CachedDentry(NamedTuple):
    """An entry, as of the moment at which it was requested; without *page*, a negative dentry."""

    requested_at: float
    page: EntryPage | None
    at: int = 0

    @property
    def exists(self) -> bool:
        return self.page is not None

    @property
    def is_directory(self) -> bool:
        return self.page is not None and self.page.is_directory(self.at)

    def is_about(self, page: EntryPage, index: int) -> bool:
        """Whether it is just this entry."""
        return self.page is not None and self.page.is_same(self.at, page, index)

    @property
    def weight(self) -> int:
        return weights.DENTRY + (0 if self.page is None else self.page.weight)


def dentry_in(listing: DirectoryListing, name: bytes) -> CachedDentry | None:
    """The dentry of *name* as *listing* has it; None if it does not say."""
    if listing.is_withdrawn:
        return None
    if (found := listing.find(name)) is not None:
        # before a listing without order is complete, a directory may still come and shadow the file
        is_certain = listing.is_ordered or listing.is_complete or found[0].is_directory(found[1])
        return CachedDentry(found[0].requested_at, *found) if is_certain else None
    return CachedDentry(listing.requested_at, None) if listing.is_final(name) else None


class LookupHistory:
    """Lookups in one directory that missed its cache, and what listing it for them has shown."""

    __slots__ = ("_since", "_slow_until", "is_too_large", "misses")

    def __init__(self) -> None:
        # misses since a moment, and whether a listing was too large to be kept since then
        self._since = 0.0
        self.misses = 0
        self.is_too_large = False
        self._slow_until = -math.inf

    def count_miss(self, now: float, ttl: float) -> int:
        """The misses of the last *ttl* seconds or so, with this one."""
        if self._since + ttl < now:
            self._since, self.misses, self.is_too_large = now, 0, False
        self.misses += 1
        return self.misses

    def note_slow(self, until: float) -> None:
        """Record that a listing was late: no lookup is to wait for one before *until*."""
        self._slow_until = until

    def is_slow(self, now: float) -> bool:
        return self._slow_until > now


class DirectoryState:
    """The directory of one prefix ("" or ending with a slash); *key* is its bucket and prefix."""

    __slots__ = (
        "_dentries",
        "_dentries_weight",
        "_invalidations",
        "_lookups",
        "counted_entries",
        "counted_hidden",
        "counted_weight",
        "inode",
        "is_unordered",
        "key",
        "prefix",
        "scan",
        "used_at",
    )

    def __init__(self, key: DirectoryKey, invalidations: Invalidations) -> None:
        self.key = key
        self.prefix = key[1]
        self.inode = 0  # the number that the kernel last used for it; 0 if none
        self.scan: ListingScan | None = None  # the newest, complete or not; `DirectoryLru` sets it
        self.is_unordered = False  # a listing of it came out of order
        # of `DirectoryLru`: what it counted last, and when the last use was; 0: recently
        self.counted_entries = self.counted_hidden = self.counted_weight = 0
        self.used_at = 0
        # what lookups have put, oldest first, and its weight
        self._dentries: dict[bytes, CachedDentry] | None = None  # most directories have none
        self._dentries_weight = 0
        self._invalidations = invalidations
        self._lookups: LookupHistory | None = None  # most directories never need one

    @property
    def lookups(self) -> LookupHistory:
        if self._lookups is None:
            self._lookups = LookupHistory()
        return self._lookups

    def get_fresh(self, name: bytes, now: float, ttl: TtlPolicy) -> CachedDentry | None:
        """The newest dentry of *name*, if it has not expired."""
        known = self.get(name)
        if known is None or ttl.remaining(known.requested_at, now, exists=known.exists) <= 0:
            return None
        return known

    def get(self, name: bytes, seen: CachedDentry | None = None) -> CachedDentry | None:
        """The newest dentry of *name*, expired or not; *seen*, an old one, may spare a search."""
        scan = self.scan
        if scan is None:
            listed = None
        elif seen is not None and scan.listing.has_page(seen.page):
            listed = seen
        else:
            listed = dentry_in(scan.listing, name)
        put = None if self._dentries is None else self._dentries.get(name)
        is_newer = put is not None and (listed is None or put.requested_at > listed.requested_at)
        known = put if is_newer else listed
        return None if known is None or self.is_invalidated(name, known.requested_at) else known

    def is_invalidated(self, name: bytes, requested_at: float) -> bool:
        """Whether *name* was invalidated after it was requested."""
        return self._invalidations.last(self.key, name) > requested_at

    def put(self, name: bytes, dentry: CachedDentry) -> CachedDentry | None:
        """Keep a dentry that a lookup has found, if newest. Returns one that was dropped for it."""
        if self._dentries is None:
            self._dentries = {}
        before = self._dentries.get(name)
        if before is not None and before.requested_at > dentry.requested_at:
            return None
        if before is not None:
            self._drop(name)
        self._dentries[name] = dentry
        self._dentries_weight += dentry.weight
        is_full = len(self._dentries) > DENTRIES_MAX
        return self._drop(next(iter(self._dentries))) if is_full else None

    def known_pages(self) -> Iterator[EntryPage]:
        """All entries that are known, of the listing and of lookups, page by page."""
        listing = self.listing
        yield from () if listing is None else filter(None, listing.pages[:])
        yield from self.looked_up_pages

    @property
    def looked_up_pages(self) -> list[EntryPage]:
        """The entries that lookups have put."""
        dentries = () if self._dentries is None else self._dentries.values()
        return [dentry.page for dentry in dentries if dentry.page is not None]

    def clear(self) -> None:
        """Drop all that lookups have put."""
        self._dentries = None
        self._dentries_weight = 0
        if self._lookups is not None:
            self._lookups.misses = 0

    def is_fresh(self, now: float, ttl: TtlPolicy) -> bool:
        """Whether the listing, as far as it has come, is whole and has not expired."""
        listing = self.listing
        return (
            listing is not None
            and not listing.is_trimmed
            and not listing.is_withdrawn
            and ttl.remaining(listing.requested_at, now) > 0
            and listing.requested_at > self._invalidations.last_subtree(*self.key)
        )

    @property
    def listing(self) -> DirectoryListing | None:
        """The newest listing."""
        return None if self.scan is None else self.scan.listing

    @property
    def packable_listing(self) -> DirectoryListing | None:
        """Its listing, if it has nothing else, and does not fetch."""
        has_others = self._dentries or self._lookups is not None or self.is_unordered
        if has_others or self.scan is None or not self.scan.is_over:
            return None
        return self.scan.listing

    @property
    def entry_count(self) -> int:
        """How many names are cached."""
        listed = 0 if self.scan is None else self.scan.listing.entry_count
        return listed + (0 if self._dentries is None else len(self._dentries))

    @property
    def hidden_count(self) -> int:
        """How many keys and prefixes below it no file name can spell, as far as it is listed."""
        return 0 if self.scan is None else self.scan.listing.hidden_count

    @property
    def weight(self) -> int:
        """The cost in memory, in bytes."""
        listed = 0 if self.scan is None else self.scan.listing.weight
        return weights.DIRECTORY + len(self.prefix) + listed + self._dentries_weight

    def _drop(self, name: bytes) -> CachedDentry:
        assert self._dentries is not None
        dentry = self._dentries.pop(name)
        self._dentries_weight -= dentry.weight
        return dentry
