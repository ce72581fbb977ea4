"""What is known of the directories of one bucket, and the listings under way that tell more.

Knows directories and their pages, and never asks for a single name. Several lookups that miss in one directory are a pattern: its listing
is fetched, a few pages for each of them, so that no lookup ever pays for a whole huge directory.
"""

import logging
from collections.abc import Callable, Sequence

import trio

from s3mount.errors import S3MountError
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.listing.order_evidence import OrderEvidence
from s3mount.filesystem.listing.page_fetcher import PageFetcher, PageTarget
from s3mount.filesystem.namespace.directory import DirectoryLru, DirectoryState
from s3mount.filesystem.namespace.invalidations import Invalidations
from s3mount.filesystem.namespace.ttl_policy import StrictClock, TtlPolicy
from s3mount.s3.model import ListPage
from s3mount.s3.object_store import ObjectStore

log = logging.getLogger(__name__)

PAGES_A_MISS = 4  # listing pages that each lookup without an answer entitles its directory to
PAGES_WAITED = 8  # pages that one lookup waits for before it asks for its name alone
PATIENCE = (
    1.0  # seconds that it waits for them: a listing that hangs keeps no name from being looked up
)
SLOW_FOR = 10.0  # seconds for which none waits after one has waited in vain
LOGGED_MAX = 10_000  # directories with hidden keys that are remembered, so that each is logged once


class MetadataCache:
    """Directories by prefix, which weigh *limit* bytes over all; what goes beyond that is told to *dropped* (see `DirectoryLru`)."""

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        bucket: str,
        ttl: TtlPolicy,
        *,
        clock: StrictClock,
        limit: int,
        dropped: Callable[[int, Sequence[EntryPage]], None],
        replaced: Callable[[Sequence[EntryPage]], None],
    ) -> None:
        self.bucket = bucket
        self.ttl = ttl
        self.clock = clock
        self.invalidations = Invalidations(ttl.invalidate_before)
        self.directories = DirectoryLru(limit, self.invalidations, dropped, replaced)
        # S3's directory buckets are known by their names not to list in order
        self.order = OrderEvidence(is_unordered=bucket.endswith("--x-s3"))
        self._store = store
        self._nursery = nursery
        self._logged: set[str] = set()  # directories with hidden keys that the log has named

    def directory(self, prefix: str) -> DirectoryState:
        """What is known of *prefix*."""
        return self.directories.get_or_add(prefix)

    def is_fresh(self, directory: DirectoryState) -> bool:
        """Whether its listing, as far as it has come, is whole and holds still."""
        return directory.is_fresh(self.clock.now(), self.ttl)

    def scan(self, directory: DirectoryState) -> ListingScan:
        """The listing of a directory that holds still, begun now if there is none."""
        scan = directory.scan
        if scan is None or scan.is_stuck or not self.is_fresh(directory):
            scan = self._start_scan(directory, self.clock.tick())
        return scan

    def put_first_pages(self, prefix: str, pages: Sequence[ListPage], requested_at: float) -> None:
        """A lookup has brought the first pages of *prefix*: its listing begins with them, unless one is here that holds still."""
        directory = self.directory(prefix)
        if self._is_newer(directory, requested_at):
            scan = self._start_scan(directory, requested_at)
            for page in pages:
                scan.add(page, requested_at)

    def put_complete(
        self, prefix: str, rows: list[Entry], hidden: int, requested_at: float
    ) -> DirectoryState | None:
        """Make a directory known whole, as another listing has told it; None if that is no news."""
        if not self._is_newer(self.directories.get(prefix), requested_at):
            return None
        listing = DirectoryListing(self.bucket, prefix, requested_at, self.order)
        listing.fill(rows, hidden)
        self._log_hidden(listing)
        return self.directories.put_scan(prefix, ListingScan(listing, None))

    async def wait_final(self, directory: DirectoryState, name: bytes) -> bool:
        """Whether the listing decides *name*, which a lookup has missed, after as many pages as all such misses have earned."""
        misses = self._count_miss(directory)
        if not self.ttl.positive:
            return False
        if misses == 1:
            if (
                directory.scan is not None
            ):  # it is larger than its first page: the next one may be wanted soon
                directory.scan.request_pages(2)
            return False
        if directory.scan is not None and directory.scan.listing.is_derived:  # which denies nothing
            self._start_scan(directory, self.clock.tick())
        scan = None if directory.is_too_large else self.scan(directory)
        if (
            scan is None or directory.is_too_large
        ):  # the name alone costs less than a listing that cannot be kept
            return False
        is_large = scan.has_received  # its first page is here, and did not tell
        scan.request_pages(PAGES_A_MISS * misses)
        if directory.slow_until > self.clock.now():
            return False
        return await self._wait_final(
            directory, scan, name, PAGES_WAITED if misses > 2 else int(not is_large)
        )

    async def _wait_final(
        self, directory: DirectoryState, scan: ListingScan, name: bytes, pages: int
    ) -> bool:
        """Whether *scan* decides *name* after at most so many pages more, and soon: else the name alone may be answered still."""
        try:
            with trio.move_on_after(PATIENCE):
                return await scan.wait_final(name, pages)
        except S3MountError as exc:
            log.debug("listing of %r did not tell a name: %s", directory.prefix, exc)
        directory.slow_until = self.clock.now() + SLOW_FOR
        return False

    def resume(self, listing: DirectoryListing, number: int, index: int) -> ListingScan:
        """A scan that goes on for one reader where entry *index* of the trimmed page *number* of *listing* stood."""
        resumed = listing.resume_at(number, index, self.clock.tick(), self._on_page)
        return ListingScan(resumed, self.new_fetcher(resumed))

    def new_fetcher(self, target: PageTarget, *, is_eager: bool = True) -> PageFetcher:
        """What brings the pages of *target*."""
        return PageFetcher(target, self._store, self._nursery, self.clock.tick, is_eager=is_eager)

    def invalidate_all(self) -> None:
        """Believe nothing that was asked for before now."""
        self.ttl.invalidate_before(self.clock.tick())
        self.directories.clear()
        self.invalidations.clear()

    def _start_scan(self, directory: DirectoryState, requested_at: float) -> ListingScan:
        former = directory.scan
        directory.is_unordered = directory.is_unordered or (
            former is not None and not former.listing.is_ordered
        )
        listing = DirectoryListing(
            self.bucket,
            directory.prefix,
            requested_at,
            self.order,
            self._on_page,
            holds_all=directory.is_unordered,
        )
        scan = ListingScan(listing, self.new_fetcher(listing))
        self.directories.replace_scan(directory, scan)
        return scan

    def _is_newer(self, directory: DirectoryState | None, requested_at: float) -> bool:
        """Whether a listing as of then holds still, and none does that is newer."""
        if self.ttl.remaining(requested_at, self.clock.now()) <= 0:
            return False
        if directory is None or directory.scan is None:
            return True
        return (
            not self.is_fresh(directory)
            and directory.scan.listing.newest_requested_at <= requested_at
        )

    def _on_page(self, listing: DirectoryListing) -> None:
        """More of *listing* has come."""
        self.directories.update_listing_weight(listing)
        self._log_hidden(listing)

    def _log_hidden(self, listing: DirectoryListing) -> None:
        if listing.hidden_count and listing.prefix not in self._logged:
            if len(self._logged) >= LOGGED_MAX:
                self._logged.clear()
            self._logged.add(listing.prefix)
            log.info("keys below %r that no file name can spell are hidden", listing.prefix)

    def _count_miss(self, directory: DirectoryState) -> int:
        now = self.clock.now()
        if directory.misses_since + self.ttl.positive < now:
            directory.misses, directory.misses_since, directory.is_too_large = 0, now, False
        directory.misses += 1
        return directory.misses
