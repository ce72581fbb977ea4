"""What is known of the directories of one bucket, and the listings under way that tell more.

Knows directories and their pages, and never asks for a single name. Several lookups that miss in one directory are a pattern: its listing
is fetched, a few pages for each of them, so that no lookup ever pays for a whole huge directory.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial

import trio

from s3mount.errors import AccessDenied
from s3mount.filesystem.directory import Directories, Directory
from s3mount.filesystem.entries import Entries
from s3mount.filesystem.lifetimes import Lifetimes
from s3mount.filesystem.listing import Listing
from s3mount.filesystem.paging import Paged, Paging
from s3mount.filesystem.passes import Pass
from s3mount.s3.store import ObjectStore
from s3mount.s3.values import ListPage

log = logging.getLogger(__name__)

PAGES_A_MISS = 4  # listing pages that each lookup without an answer entitles its directory to
PAGES_WAITED = 8  # pages that one lookup waits for before it asks for its name alone


class Catalog:
    """Directories by prefix, of *limit* entries over all; what goes beyond that is told to *dropped* (see `Directories`)."""

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        bucket: str,
        lifetimes: Lifetimes,
        *,
        clock: Callable[[], float],
        limit: int,
        dropped: Callable[[Directory, Sequence[Entries]], None],
    ) -> None:
        self.bucket = bucket
        self.lifetimes = lifetimes
        self.clock = clock
        self.known = Directories(limit, dropped)
        # whether the store lists in an order; S3's directory buckets are known by their names not to
        self.is_ordered = not bucket.endswith("--x-s3")
        self._store = store
        self._nursery = nursery
        self._told: set[str] = set()  # directories with hidden keys that the log has named

    def directory(self, prefix: str) -> Directory:
        """What is known of *prefix*."""
        return self.known.use(prefix)

    def is_fresh(self, directory: Directory) -> bool:
        """Whether its listing, as far as it has come, is whole and holds still."""
        return directory.is_fresh(self.clock(), self.lifetimes)

    def passage(self, directory: Directory) -> Pass:
        """The listing of a directory that holds still, begun now if there is none."""
        passage = directory.passage
        if passage is None or passage.paging.is_stuck or not self.is_fresh(directory):
            passage = directory.passage = self._begin(directory, self.clock())
        return passage

    def take_first_page(self, prefix: str, page: ListPage, as_of: float) -> None:
        """A lookup has brought the first page of *prefix*: its listing begins with that, unless there is one that holds still."""
        directory = self.directory(prefix)
        if not self.is_fresh(directory):
            directory.passage = self._begin(directory, as_of)
            directory.passage.paging.add(page, as_of)

    async def wait_decided(self, directory: Directory, name: bytes) -> bool:
        """Whether the listing decides *name*, which a lookup has missed, after as many pages as all such misses have earned."""
        misses = self._count_miss(directory)
        if not self.lifetimes.positive:
            return False
        if misses == 1:
            if directory.passage is not None:  # it is larger than its first page: the next one may be wanted soon
                directory.passage.paging.want(2)
            return False
        passage = self.passage(directory)
        passage.paging.want(PAGES_A_MISS * misses)
        is_large = passage.paging.answered > 0  # its first page is here, and did not tell
        waited = PAGES_WAITED if misses > 2 else int(not is_large)
        try:
            return await passage.wait_decided(name, waited)
        except AccessDenied:  # the right to read a key does not need the right to list
            return False

    def paging(self, target: Paged, *, is_eager: bool = True) -> Paging:
        """What brings the pages of *target*."""
        return Paging(target, self._store, self._nursery, self.clock, is_eager=is_eager)

    def grown(self, directory: Directory) -> None:
        """More of *directory* is known."""
        self.known.weigh(directory)
        if directory.passage is not None and not directory.passage.listing.is_ordered:
            self.is_ordered = False  # for good: no later listing of this store is shown before its end
        if directory.hidden_count and directory.prefix not in self._told:
            self._told.add(directory.prefix)
            log.info("keys below %r that no file name can spell are hidden", directory.prefix)

    def _begin(self, directory: Directory, as_of: float) -> Pass:
        grown = partial(self.grown, directory)
        listing = Listing(self.bucket, directory.prefix, as_of, grown, is_ordered=self.is_ordered)
        return Pass(listing, self.paging(listing))

    def _count_miss(self, directory: Directory) -> int:
        now = self.clock()
        if directory.misses_since + self.lifetimes.positive < now:
            directory.misses, directory.misses_since = 0, now
        directory.misses += 1
        return directory.misses
