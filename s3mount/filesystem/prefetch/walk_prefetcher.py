"""Walks recognised: a subtree fetched by undelimited listings, ahead of the one who walks it.

`find`, `du`, `rsync`, `tar` and `ls -R` read a directory and then the directories in it, one after another; a LIST for each costs a
round trip each. When a directory is read whose parent has just been read, a *sweep* of the parent begins there: an undelimited
listing that brings a thousand keys of many directories at a time and makes each directory it leaves behind known.

What holds the cost down, whatever the walker does next:
- A sweep goes on only as far as the walker follows: each page that the walker comes to entitles it to a few more. One that is
  followed is divided among a few side by side, each of which fetches a few pages before the walker has come to it.
- A directory that a sweep is inside of, or has not reached after a few pages, is listed the plain way meanwhile.
- A parent whose sweeps brought nothing is swept again only at its 2nd, 4th, 8th … directory that is listed the plain way.
So a walk that turns aside costs a small constant, and at worst the logarithm of its directories, in requests beyond the plain way.
"""

import logging
from collections.abc import Callable
from itertools import pairwise
from weakref import WeakKeyDictionary

import trio

from s3mount.errors import S3MountError
from s3mount.filesystem.listing.order_evidence import OrderEvidence
from s3mount.filesystem.listing.page_fetcher import PageFetcher
from s3mount.filesystem.names import parent_of
from s3mount.filesystem.namespace.directory import DirectoryState
from s3mount.filesystem.namespace.metadata_cache import MetadataCache
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.filesystem.prefetch.subtree_builder import (
    Finished,
    SubtreeBuilder,
    UnorderedListingError,
)
from s3mount.s3.model import ListPage, ListQuery

log = logging.getLogger(__name__)

WINDOW_MAX = 8  # pages that a sweep is ahead of its walker at most: some 8,000 entries
PATIENCE = 2.0  # seconds that a reader waits for one of them
PAGES_WAITED = 2  # pages that a reader waits for before it lists its directory itself
SWEEPS_MAX = 16  # sweeps remembered at once; the oldest go
VISITS_TO_SPREAD = 3  # directories read of one sweep, after which what is left of it is divided
WAYS_MAX = 4  # sweeps side by side in one parent
WAY_PAGES = 2  # pages that make it worth while to have one more of them
WAY_AHEAD_MAX = 4  # pages that each of them fetches before the walker has come to it
CHILDREN_SORTED = 20_000  # directories in a parent that are looked through one by one to divide it
HALVINGS_MAX = 10  # of the occasions on which a sweep is begun
READ_MAX = 2_000  # directories remembered because they were read


class SubtreeScan:
    """One undelimited listing, and how far the walker has come in it. What a page finishes goes to *publish*, with its number.

    Where the order breaks, or the first page does not prove it, the sweep is at its end; in the first case, what all sweeps have
    published is withdrawn.
    """

    def __init__(
        self,
        subtree: SubtreeBuilder,
        as_of: float,
        order: OrderEvidence,
        publish: Callable[["SubtreeScan", int, list[Finished]], None],
    ) -> None:
        self.subtree = subtree
        self.as_of = as_of
        self._order = order
        self._is_useless = False
        self._publish = publish
        self.visits = 0  # directories of this sweep that the walker has read
        self._visited_page = -1  # the last page that the walker came to a directory of
        self._visited_pages = 0

    @property
    def is_complete(self) -> bool:
        """Whether no more pages are of use."""
        return self.subtree.is_complete or self._is_useless

    def next_query(self) -> ListQuery:
        return self.subtree.next_query()

    def add(self, page: ListPage, as_of: float) -> None:
        number = self.subtree.pages
        try:
            finished = self.subtree.add(page, as_of)
        except UnorderedListingError:
            self._is_useless = True
            self._order.note_break(self.subtree.root, is_walk=True)
            raise
        self._order.note_page(page)
        if self._order.proof:
            self._is_useless = True
        else:
            self._publish(self, number, finished)

    def visit(self, page: int) -> int:
        """The walker reads a directory that *page* finished; how many pages the sweep is entitled to now."""
        self.visits += 1
        if page > self._visited_page:
            self._visited_page = page
            self._visited_pages += 1
        return page + 1 + min(self._visited_pages, WINDOW_MAX)


class _WalkHistory:
    """Directories that were read, and directories that sweeps made known before they are read."""

    def __init__(self) -> None:
        # By the prefix of each directory that was read, how many directories in it were listed one
        # by one then; the least recently used first. Kept when the directory itself is evicted.
        self._plain_reads: dict[str, int] = {}
        # The sweep that made a directory known, and its page; kept as long as the directory.
        self._published: WeakKeyDictionary[DirectoryState, tuple[SubtreeScan, int]] = (
            WeakKeyDictionary()
        )

    def record_read(self, prefix: str, *, is_known: bool) -> None:
        """Record that a directory is read; not *is_known*: its listing has to be fetched."""
        self._put(prefix, self._plain_reads.get(prefix, 0) if is_known else 0)

    def count_plain_read(self, parent: str) -> int:
        """How many directories in *parent* were listed one by one, this one included; 0 if *parent* was not read."""
        plain_reads = self._plain_reads.get(parent)
        if plain_reads is None:
            return 0
        self._put(parent, plain_reads + 1)
        return plain_reads + 1

    def reset_plain_reads(self, parent: str) -> None:
        if parent in self._plain_reads:
            self._put(parent, 0)

    def publish(self, directory: DirectoryState, page: tuple[SubtreeScan, int]) -> None:
        """Record that a page of a sweep made *directory* known."""
        self._published[directory] = page

    def take_published(self, directory: DirectoryState) -> tuple[SubtreeScan, int] | None:
        """The sweep that made *directory* known, and its page; only once."""
        return self._published.pop(directory, None)

    def _put(self, prefix: str, plain_reads: int) -> None:
        self._plain_reads.pop(prefix, None)
        self._plain_reads[prefix] = plain_reads
        if len(self._plain_reads) > READ_MAX:
            del self._plain_reads[next(iter(self._plain_reads))]


class WalkPrefetcher(PrefetchPolicy):
    """Sees walks in the directories that are read, and sweeps their parents."""

    def __init__(self, catalog: MetadataCache) -> None:
        self._catalog = catalog
        self._history = _WalkHistory()
        self._sweeps: dict[SubtreeScan, PageFetcher] = {}  # oldest first
        self._occasions = 0  # on which a sweep might have begun
        self._failures = 0  # of sweeps since one was followed
        self._has_tried = (
            False  # to begin a sweep before the store's order was proved, which its own keys may do
        )

    async def before_readdir(self, directory: DirectoryState) -> None:
        """Make the listing of *directory* known if a sweep soon can; may wait for its pages."""
        catalog = self._catalog
        can_sweep = catalog.order.proof is not None and catalog.lifetimes.positive > 0
        if can_sweep and not catalog.is_fresh(directory):
            await self._follow(directory)
        is_known = catalog.is_fresh(directory)
        if is_known and (published := self._history.take_published(directory)) is not None:
            self._visit(*published)
        self._history.record_read(directory.prefix, is_known=is_known)

    async def _follow(self, directory: DirectoryState) -> None:
        """Wait for a sweep that will soon bring *directory*, or begin one where its reader seems to walk."""
        sweep = self._sweep_over(directory.prefix)
        if sweep is None:
            self._begin_if_walked(directory)
            return
        for waited in range(PAGES_WAITED):
            if sweep not in self._sweeps or sweep.is_complete:
                return
            # a sweep that is being followed may well finish the directory with its next page; another one has to prove itself
            if sweep.subtree.is_inside(directory.prefix) and (waited or not sweep.visits):
                self._sweeps[sweep].want(sweep.subtree.pages + 1)
                return
            await self._wait(sweep)
            if self._catalog.is_fresh(directory):
                return

    async def _wait(self, sweep: SubtreeScan) -> None:
        """Wait for the next page of *sweep*, but not for long: the reader's own listing may well be answered sooner."""
        try:
            with trio.move_on_after(PATIENCE) as waiting:
                await self._sweeps[sweep].wait_progress()
        except S3MountError as exc:  # the reader's own listing will tell, if the store is ill
            log.debug("sweep of %r ended: %s", sweep.subtree.root, exc)
        else:
            if not waiting.cancelled_caught:
                return
        self._failures += 1
        self._sweeps.pop(sweep, None)

    def _sweep_over(self, prefix: str) -> SubtreeScan | None:
        """The sweep that is on its way to *prefix*, or inside it; those that cannot come there soon are given up."""
        for sweep in reversed(list(self._sweeps)):
            if self._is_over(sweep) or self._is_stuck(sweep, prefix):
                del self._sweeps[sweep]
            elif sweep.subtree.is_inside(prefix) or sweep.subtree.is_before(prefix):
                return sweep
        return None

    def _is_over(self, sweep: SubtreeScan) -> bool:
        return (
            sweep.is_complete
            or self._catalog.lifetimes.left(sweep.as_of, self._catalog.moments.now()) <= 0
        )

    @staticmethod
    def _is_stuck(sweep: SubtreeScan, prefix: str) -> bool:
        """Whether the sweep is inside a large directory that the walker has left: its next pages bring nothing."""
        if not sweep.subtree.idle_pages or not sweep.subtree.is_before(prefix):
            return False
        return not prefix.startswith(parent_of(sweep.subtree.position))

    def _begin_if_walked(self, directory: DirectoryState) -> None:
        """Sweep the parent from *directory* on, if the parent has been read and sweeps of it have not failed too often."""
        parent = self._catalog.known.get(parent_of(directory.prefix[:-1]))
        if not directory.prefix or parent is None or parent is directory:
            return
        if not self._catalog.is_fresh(parent):
            return
        plain_reads = self._history.count_plain_read(parent.prefix)
        is_power_of_two = plain_reads & (plain_reads - 1) == 0
        if plain_reads and is_power_of_two and self._is_worth_trying():
            self._begin(SubtreeBuilder(parent.prefix, directory.prefix), 1)

    def _is_worth_trying(self) -> bool:
        """Whether to begin a sweep: with each that broke its order, failed or was too slow, on half as many occasions."""
        if self._catalog.order.proof:
            is_first, self._has_tried = not self._has_tried, True
            return is_first
        self._occasions += 1
        halvings = min(self._catalog.order.walk_breaks + self._failures, HALVINGS_MAX)
        return self._occasions % (1 << halvings) == 0

    def _begin(self, subtree: SubtreeBuilder, pages: int) -> None:
        sweep = SubtreeScan(
            subtree, self._catalog.moments.next(), self._catalog.order, self._publish
        )
        paging = self._catalog.paging(sweep, is_eager=False)  # any page may be its last
        self._sweeps = {**dict(list(self._sweeps.items())[1 - SWEEPS_MAX :]), sweep: paging}
        paging.want(pages)

    def _spread(self, subtree: SubtreeBuilder) -> None:
        """Divide what is left of a sweep that is being followed: continuation tokens are serial, sweeps are not."""
        passage = self._catalog.directory(subtree.root).passage
        if passage is None or not passage.listing.is_complete:
            return
        every = 1 + passage.listing.entry_count // CHILDREN_SORTED
        left = sorted(
            prefix for prefix in passage.listing.child_prefixes(every) if subtree.is_before(prefix)
        )
        pages = len(left) * every * subtree.pages // subtree.children
        ways = min(WAYS_MAX, pages // WAY_PAGES, len(left))
        starts = [left[len(left) * way // ways] for way in range(1, ways)]
        for start, stop in pairwise([*starts, subtree.stop]):
            assert start is not None  # only the last may be
            self._begin(
                SubtreeBuilder(subtree.root, start, stop), min(pages // ways, WAY_AHEAD_MAX)
            )
        if starts:
            subtree.stop = starts[0]

    def _publish(self, sweep: SubtreeScan, page: int, finished: list[Finished]) -> None:
        """Make directories known whole, unless newer knowledge of them is there."""
        catalog, at = self._catalog, (sweep, page)
        for prefix, rows, hidden, as_of in finished:
            directory = catalog.publish(prefix, rows, hidden, as_of)
            if directory is not None:
                self._history.publish(directory, at)

    def _visit(self, sweep: SubtreeScan, page: int) -> None:
        """The walker has come to what *page* of a sweep brought: let the sweep go on, ahead of it."""
        self._catalog.known.get(
            sweep.subtree.root
        )  # the walker will come back to it: evict it last
        self._history.reset_plain_reads(sweep.subtree.root)
        self._failures = 0
        if sweep in self._sweeps:
            self._sweeps[sweep].want(sweep.visit(page))
            if sweep.visits == VISITS_TO_SPREAD and sweep.subtree.stop is None:
                self._spread(sweep.subtree)
