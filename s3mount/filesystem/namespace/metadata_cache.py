"""What is known of the directories of one bucket, and the listings under way that tell more.

Knows directories and their pages, and never asks for a single name. Several lookups that miss in one directory are a pattern: its listing
is fetched, a few pages for each of them, so that no lookup ever pays for a whole huge directory.
"""

import logging
from collections.abc import Callable, Sequence

import trio

from s3mount.config import Prefetch
from s3mount.errors import S3MountError
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.listing.listing_scan import AHEAD, ListingScan
from s3mount.filesystem.listing.order_evidence import OrderEvidence
from s3mount.filesystem.listing.page_fetcher import Paged, PageFetcher
from s3mount.filesystem.namespace.directory import DirectoryLru, DirectoryState
from s3mount.filesystem.namespace.invalidations import Invalidations
from s3mount.filesystem.namespace.ttl_policy import MonotonicStamps, TtlPolicy
from s3mount.s3.model import ListPage
from s3mount.s3.object_store import ObjectStore

log = logging.getLogger(__name__)

PAGES_A_MISS = 4  # listing pages that each lookup without an answer entitles its directory to
PAGES_WAITED = 8  # pages that one lookup waits for before it asks for its name alone
PATIENCE = (
    1.0  # seconds that it waits for them: a listing that hangs keeps no name from being looked up
)
SLOW_FOR = 10.0  # seconds for which none waits after one has waited in vain
TOLD_MAX = 10_000  # directories with hidden keys that are remembered, so that each is logged once


class MetadataCache:
    """Directories by prefix, which weigh *limit* bytes over all; what goes beyond that is told to *dropped* (see `DirectoryLru`)."""

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        bucket: str,
        lifetimes: TtlPolicy,
        *,
        moments: MonotonicStamps,
        limit: int,
        dropped: Callable[[int, Sequence[EntryPage]], None],
        replaced: Callable[[Sequence[EntryPage]], None],
        no_prefetch: frozenset[Prefetch],
    ) -> None:
        self.bucket = bucket
        self.lifetimes = lifetimes
        self.moments = moments
        self.doubts = Invalidations(lifetimes.forget)
        self.known = DirectoryLru(limit, self.doubts, dropped, replaced)
        # S3's directory buckets are known by their names not to list in order
        self.order = OrderEvidence(is_unordered=bucket.endswith("--x-s3"))
        self._store = store
        self._nursery = nursery
        self.fetches_listings = Prefetch.LISTINGS not in no_prefetch  # for lookups; pages ahead
        self._is_parallel = Prefetch.PARALLEL_LISTING not in no_prefetch
        self._told: set[str] = set()  # directories with hidden keys that the log has named

    def directory(self, prefix: str) -> DirectoryState:
        """What is known of *prefix*."""
        return self.known.use(prefix)

    def is_fresh(self, directory: DirectoryState) -> bool:
        """Whether its listing, as far as it has come, is whole and holds still."""
        return directory.is_fresh(self.moments.now(), self.lifetimes)

    def passage(self, directory: DirectoryState) -> ListingScan:
        """The listing of a directory that holds still, begun now if there is none."""
        passage = directory.passage
        if passage is None or passage.is_stuck or not self.is_fresh(directory):
            passage = self._begin(directory, self.moments.next())
        return passage

    def take_first_pages(self, prefix: str, pages: Sequence[ListPage], as_of: float) -> None:
        """A lookup has brought the first pages of *prefix*: its listing begins with them, unless one is here that holds still."""
        directory = self.directory(prefix)
        if self._is_news(directory, as_of):
            passage = self._begin(directory, as_of)
            for page in pages:
                passage.add(page, as_of)

    def publish(
        self, prefix: str, rows: list[Entry], hidden: int, as_of: float
    ) -> DirectoryState | None:
        """Make a directory known whole, as another listing has told it; None if that is no news."""
        if not self._is_news(self.known.get(prefix), as_of):
            return None
        listing = DirectoryListing(self.bucket, prefix, as_of, self.order)
        listing.fill(rows, hidden)
        self._tell_hidden(listing)
        return self.known.place(prefix, ListingScan(listing, None))

    async def wait_decided(self, directory: DirectoryState, name: bytes) -> bool:
        """Whether the listing decides *name*, which a lookup has missed, after as many pages as all such misses have earned."""
        if not self.fetches_listings:
            return False
        misses = self._count_miss(directory)
        if not self.lifetimes.positive:
            return False
        if misses == 1:
            if (
                directory.passage is not None
            ):  # it is larger than its first page: the next one may be wanted soon
                directory.passage.want(2)
            return False
        if (
            directory.passage is not None and directory.passage.listing.is_filled
        ):  # which denies nothing
            self._begin(directory, self.moments.next())
        passage = None if directory.is_too_large else self.passage(directory)
        if (
            passage is None or directory.is_too_large
        ):  # the name alone costs less than a listing that cannot be kept
            return False
        is_large = passage.has_begun  # its first page is here, and did not tell
        passage.want(PAGES_A_MISS * misses)
        if directory.slow_until > self.moments.now():
            return False
        return await self._wait_decided(
            directory, passage, name, PAGES_WAITED if misses > 2 else int(not is_large)
        )

    async def _wait_decided(
        self, directory: DirectoryState, passage: ListingScan, name: bytes, pages: int
    ) -> bool:
        """Whether *passage* decides *name* after at most so many pages more, and soon: else the name alone may be answered still."""
        try:
            with trio.move_on_after(PATIENCE):
                return await passage.wait_decided(name, pages)
        except S3MountError as exc:
            log.debug("listing of %r did not tell a name: %s", directory.prefix, exc)
        directory.slow_until = self.moments.now() + SLOW_FOR
        return False

    def resume(self, listing: DirectoryListing, number: int, index: int) -> ListingScan:
        """A scan that goes on for one reader where entry *index* of the trimmed page *number* of *listing* stood."""
        resumed = listing.resumed(number, index, self.moments.next(), self._grown)
        return self._scan(resumed)

    def paging(self, target: Paged, *, is_eager: bool = True) -> PageFetcher:
        """What brings the pages of *target*."""
        return PageFetcher(
            target,
            self._store,
            self._nursery,
            self.moments.next,
            is_eager=is_eager,
            is_parallel=is_eager and self._is_parallel,
        )

    def forget_all(self) -> None:
        """Believe nothing that was asked for before now."""
        self.lifetimes.forget(self.moments.next())
        self.known.clear()
        self.doubts.clear()

    def _begin(self, directory: DirectoryState, as_of: float) -> ListingScan:
        former = directory.passage
        directory.is_unordered = directory.is_unordered or (
            former is not None and not former.listing.is_ordered
        )
        listing = DirectoryListing(
            self.bucket,
            directory.prefix,
            as_of,
            self.order,
            self._grown,
            holds_all=directory.is_unordered,
        )
        passage = self._scan(listing)
        self.known.replace_passage(directory, passage)
        return passage

    def _scan(self, listing: DirectoryListing) -> ListingScan:
        return ListingScan(listing, self.paging(listing), AHEAD if self.fetches_listings else 1)

    def _is_news(self, directory: DirectoryState | None, as_of: float) -> bool:
        """Whether a listing as of then holds still, and none does that is newer."""
        if self.lifetimes.left(as_of, self.moments.now()) <= 0:
            return False
        if directory is None or directory.passage is None:
            return True
        return not self.is_fresh(directory) and directory.passage.listing.newest_as_of <= as_of

    def _grown(self, listing: DirectoryListing) -> None:
        """More of *listing* has come."""
        self.known.weigh_listing(listing)
        self._tell_hidden(listing)

    def _tell_hidden(self, listing: DirectoryListing) -> None:
        if listing.hidden and listing.prefix not in self._told:
            if len(self._told) >= TOLD_MAX:
                self._told.clear()
            self._told.add(listing.prefix)
            log.info("keys below %r that no file name can spell are hidden", listing.prefix)

    def _count_miss(self, directory: DirectoryState) -> int:
        now = self.moments.now()
        if directory.misses_since + self.lifetimes.positive < now:
            directory.misses, directory.misses_since, directory.is_too_large = 0, now, False
        directory.misses += 1
        return directory.misses
