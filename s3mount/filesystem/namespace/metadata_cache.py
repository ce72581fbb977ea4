"""Metadata cache of one bucket: directories, and scans that bring more of them.

Knows directories and their pages, and never requests a single name. Several lookups that miss in
one directory are a pattern: its listing is fetched, a few pages for each of them, so that no lookup
pays for a whole huge directory.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

import trio

from s3mount.config import Prefetch
from s3mount.errors import S3MountError
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry
from s3mount.filesystem.listing.listing_scan import PAGES_AHEAD, ListingScan
from s3mount.filesystem.listing.order_evidence import OrderEvidence
from s3mount.filesystem.listing.page_fetcher import PageFetcher, PageTarget
from s3mount.filesystem.names import PLAIN_NAMES, ViewNames
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.directory_lru import DirectoryLru
from s3mount.filesystem.namespace.invalidations import DirectoryKey, Invalidations
from s3mount.filesystem.namespace.time_slice import run_in_slices
from s3mount.filesystem.namespace.ttl_policy import StrictClock, TtlPolicy
from s3mount.s3.model import ListPage
from s3mount.s3.object_store import ObjectStore

log = logging.getLogger(__name__)

PAGES_PER_MISS = 4  # listing pages that each missed lookup adds to what is fetched
PAGES_WAITED = 8  # pages that one lookup waits for before its name is requested alone
WAIT_TIMEOUT = 1.0  # seconds that it waits for them: no lookup hangs with a listing
SLOW_FOR = 10.0  # seconds in which no lookup waits after one has timed out
LOGGED_MAX = 10_000  # directories with hidden keys that are remembered, to log each once


class MetadataRecorder(Protocol):
    """Recorder of what the cache learns, for other mounts and after the cache has dropped it."""

    def keep_listing(self, listing: DirectoryListing) -> None:
        """Keep *listing*, which is complete."""
        ...

    def keep_dentry(self, directory: DirectoryKey, name: bytes, dentry: CachedDentry) -> None:
        """Keep a dentry that a lookup has found."""
        ...

    def forget_name(self, directory: DirectoryKey, name: bytes, time: float) -> None:
        """Drop what was requested before *time* of *name*, and of its directory."""
        ...

    def forget_subtree(self, directory: DirectoryKey, time: float) -> None:
        """Drop what was requested before *time* of a directory and all below."""
        ...


class MetadataCache:
    """Directories of *bucket*, kept in *directories* (of all buckets) and listed from *source*."""

    def __init__(
        self,
        bucket: str,
        source: ObjectStore,
        nursery: trio.Nursery,
        directories: DirectoryLru,
        invalidations: Invalidations,
        *,
        ttl: TtlPolicy,
        clock: StrictClock,
        no_prefetch: frozenset[Prefetch],
        names: ViewNames = PLAIN_NAMES,
    ) -> None:
        self.bucket = bucket
        self.directories = directories
        self.invalidations = invalidations
        self.ttl = ttl
        self.clock = clock
        # S3's directory buckets are known by their names not to list in order
        self.order = OrderEvidence(is_unordered=bucket.endswith("--x-s3"))
        self.names = names
        self.recorder: MetadataRecorder | None = None
        self._source = source
        self._nursery = nursery
        self.fetches_listings = Prefetch.LISTINGS not in no_prefetch  # for lookups; pages ahead
        self._is_parallel = Prefetch.PARALLEL_LISTING not in no_prefetch
        self._logged: set[str] = set()  # directories with hidden keys
        # statistics: readers of a listing that was there, or had been started, and the others; the
        # pages that readers went through
        self.listing_hits = 0
        self.listing_misses = 0
        self.pages_read = 0

    def directory(self, prefix: str) -> DirectoryState:
        """The state of the directory *prefix*, new if need be."""
        return self.directories.get_or_add((self.bucket, prefix))

    def find_directory(self, prefix: str) -> DirectoryState | None:
        """The state of the directory *prefix*, if there is one."""
        return self.directories.get((self.bucket, prefix))

    def is_fresh(self, directory: DirectoryState) -> bool:
        """Whether its listing, as far as it has come, is whole and has not expired."""
        return directory.is_fresh(self.clock.now(), self.ttl)

    def scan(self, directory: DirectoryState) -> ListingScan:
        """The scan of a directory, started now if there is none that is fresh."""
        scan = directory.scan
        if scan is None or scan.is_stuck or not self.is_fresh(directory):
            scan = self._start_scan(directory, self.clock.tick())
        return scan

    def scan_for_reader(self, directory: DirectoryState) -> ListingScan:
        """`scan`, counted as a hit or a miss."""
        former, scan = directory.scan, self.scan(directory)
        if scan is former:
            self.listing_hits += 1
        else:
            self.listing_misses += 1
        return scan

    def put_first_pages(self, prefix: str, pages: Sequence[ListPage], requested_at: float) -> None:
        """Start the scan of *prefix* with the pages that a lookup has brought, if they are news."""
        directory = self.directory(prefix)
        if self._is_news(prefix, directory, requested_at):
            scan = self._start_scan(directory, requested_at)
            for page in pages:
                scan.add(page, requested_at)

    def put_complete(
        self, prefix: str, entries: list[Entry], hidden_count: int, requested_at: float
    ) -> DirectoryState | None:
        """Put all entries of a directory, derived from another listing; None if not news."""
        if not self._is_news(prefix, self.find_directory(prefix), requested_at):
            return None
        listing = DirectoryListing(self.bucket, prefix, requested_at, self.order, names=self.names)
        listing.fill(entries, hidden_count)
        if self.recorder is not None:
            self.recorder.keep_listing(listing)
        return self._put_listing(listing)

    def put_kept(self, listing: DirectoryListing, *, replaces_growing: bool) -> bool:
        """Put a complete *listing* that was kept elsewhere, unless one that is fresh is cached.

        *replaces_growing*: a fresh one that has not come to its end is none.
        """
        directory = self.find_directory(listing.prefix)
        former = None if directory is None else directory.listing
        is_fresh = directory is not None and self.is_fresh(directory)
        if former is not None and is_fresh and (former.is_complete or not replaces_growing):
            return False
        self._put_listing(listing)
        return True

    def _put_listing(self, listing: DirectoryListing) -> DirectoryState:
        self._log_hidden(listing)
        return self.directories.put_scan((self.bucket, listing.prefix), ListingScan(listing, None))

    async def wait_final(self, directory: DirectoryState, name: bytes) -> bool:
        """Whether the listing is final on *name*, after some pages more with each missed lookup."""
        if not self.ttl.positive or not self.fetches_listings:
            return False
        misses = directory.lookups.count_miss(self.clock.now(), self.ttl.positive)
        if misses == 1:
            if directory.scan is not None:  # of more than one page: the next is wanted soon
                directory.scan.request_pages(2)
            return False
        if directory.listing is not None and directory.listing.is_derived:  # which denies nothing
            self._start_scan(directory, self.clock.tick())
        scan = None if directory.lookups.is_too_large else self.scan(directory)
        # which may have found that it is too large: one name costs less than a useless listing
        if scan is None or directory.lookups.is_too_large:
            return False
        is_large = scan.has_received  # its first page is here, and does not have the name
        scan.request_pages(PAGES_PER_MISS * misses)
        if directory.lookups.is_slow(self.clock.now()):
            return False
        pages = PAGES_WAITED if misses > 2 else int(not is_large)
        return await self._wait_final(directory, scan, name, pages)

    async def _wait_final(
        self, directory: DirectoryState, scan: ListingScan, name: bytes, pages: int
    ) -> bool:
        """`scan.wait_final`; False on timeout and failure, as the name may be had alone."""
        try:
            with trio.move_on_after(WAIT_TIMEOUT):
                return await scan.wait_final(name, pages)
        except S3MountError as exc:
            log.debug("listing of %r did not answer a lookup: %s", directory.prefix, exc)
        directory.lookups.note_slow(self.clock.now() + SLOW_FOR)
        return False

    def resume(self, listing: DirectoryListing, number: int, index: int) -> ListingScan:
        """A scan for one reader from entry *index* of the trimmed page *number* of *listing* on."""
        resumed = listing.resume_at(number, index, self.clock.tick(), self._on_page)
        return self._new_scan(resumed)

    def new_fetcher(self, target: PageTarget, *, is_eager: bool = True) -> PageFetcher:
        return PageFetcher(
            target,
            self._source,
            self._nursery,
            self.clock.tick,
            is_eager=is_eager,
            is_parallel=is_eager and self._is_parallel,
        )

    def has_scans(self, prefix: str) -> bool:
        """Whether the source lists all that is below *prefix* at once, without a delimiter."""
        return self._source.has_scans(prefix)

    def invalidate(self, prefix: str, name: bytes) -> None:
        """Expire what was requested before now of *name* in the directory *prefix*."""
        now = self.clock.tick()
        self.invalidations.add((self.bucket, prefix), name, now)
        if self.recorder is not None:
            self.recorder.forget_name((self.bucket, prefix), name, now)

    def invalidate_all(self) -> None:
        """Expire all that was requested before now."""
        now = self.clock.tick()
        self.ttl.invalidate_before(now)
        self._nursery.start_soon(run_in_slices, self.directories.clear(now))
        self.invalidations.clear()
        if self.recorder is not None:
            self.recorder.forget_subtree((self.bucket, ""), now)

    def invalidate_subtree(self, prefix: str) -> int:
        """Expire all that was requested before now in *prefix* and below; how many names it was."""
        now = self.clock.tick()
        self.invalidations.add_subtree((self.bucket, prefix), now)
        if self.recorder is not None:
            self.recorder.forget_subtree((self.bucket, prefix), now)
        count, dropping = self.directories.forget_below(prefix, now)
        self._nursery.start_soon(run_in_slices, dropping)
        return count

    def _start_scan(self, directory: DirectoryState, requested_at: float) -> ListingScan:
        former = directory.listing
        if former is not None and not former.is_ordered:
            directory.is_unordered = True
        listing = DirectoryListing(
            self.bucket,
            directory.prefix,
            requested_at,
            self.order,
            self._on_page if self.recorder is None else self._on_recorded_page,
            names=self.names,
            holds_all=directory.is_unordered or self.names.is_unlisted(directory.prefix),
        )
        scan = self._new_scan(listing)
        self.directories.replace_scan(directory, scan)
        return scan

    def _new_scan(self, listing: DirectoryListing) -> ListingScan:
        pages_ahead = PAGES_AHEAD if self.fetches_listings else 1
        return ListingScan(listing, self.new_fetcher(listing), pages_ahead)

    def _is_news(self, prefix: str, directory: DirectoryState | None, requested_at: float) -> bool:
        """Whether a listing of that moment is fresh, and newer than what is cached."""
        if self.ttl.remaining(requested_at, self.clock.now()) <= 0:
            return False
        if requested_at < self.invalidations.last_subtree(self.bucket, prefix):
            return False
        listing = None if directory is None else directory.listing
        if directory is None or listing is None:
            return True
        return not self.is_fresh(directory) and listing.newest_requested_at <= requested_at

    def _on_page(self, listing: DirectoryListing) -> None:
        self.directories.update_listing_weight(listing)
        self._log_hidden(listing)

    def _on_recorded_page(self, listing: DirectoryListing) -> None:
        self._on_page(listing)
        if listing.is_complete and self.recorder is not None:
            self.recorder.keep_listing(listing)

    def _log_hidden(self, listing: DirectoryListing) -> None:
        if listing.hidden_count and listing.prefix not in self._logged:
            if len(self._logged) >= LOGGED_MAX:
                self._logged.clear()
            self._logged.add(listing.prefix)
            log.info("keys below %r that no file name can spell are hidden", listing.prefix)
