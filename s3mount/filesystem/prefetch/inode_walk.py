"""Scans of all directories of one parent, for a reader that visits them by inode number.

To such a reader the directories of a listing page come in no order, so no scan can be ahead of it.
Instead the whole parent is scanned, in parts side by side, while the reader goes on. What it comes
to is then more and more often known. Invariants:

1. Each visit in order entitles to `PAGES_PER_VISIT` pages. So a reader that stops has cost so many
   times its directories, and a few pages.
2. A parent is scanned again only if what was scanned has expired before the reader came to it,
   and more directories are left than there were pages.
3. What the reader has visited makes room for what it has not: beyond `FULL` of the metadata limit
   the first visited directories are evicted. If there are none, scans pause until there are.
4. A scan that fails ends the walk (`has_failed`); the next one begins with a new proof.
5. A scan that is inside a directory of over `PENDING_MAX` entries goes on after it: they are in no
   limit before the directory is finished.
6. At most twice as many visits are recorded as the cache holds directories.
"""

from collections import deque
from collections.abc import Callable
from itertools import pairwise

from s3mount.filesystem.listing.page_fetcher import PageFetcher
from s3mount.filesystem.namespace.directory import DirectoryState
from s3mount.filesystem.namespace.directory_lru import DirectoryLru
from s3mount.filesystem.namespace.invalidations import DirectoryKey
from s3mount.filesystem.prefetch.inode_order import SKIPPED_MAX, InodeOrder
from s3mount.filesystem.prefetch.subtree_builder import SubtreeBuilder
from s3mount.filesystem.prefetch.subtree_scan import SubtreeScan, split_rest

PAGES_PER_VISIT = 4  # as many as scans are in progress
PARALLEL_MAX = 4  # scans in progress at once
PARTS_MAX = 16  # so that parts of unequal length end at about the same time
PART_PAGES_MIN = 8  # a part may begin with a page too many
AHEAD_MAX = 4  # pages of one scan that are requested at once, while the cache is half empty
FULL = 0.9  # of the metadata limit
KEPT_MIN = 16  # directories visited last, which are kept
PENDING_MAX = 10_000  # entries of unfinished directories of one scan: some 4 MB
MISSES_MAX = 6  # directories in a row that were not known, after all scans, before it is repeated
_EVICTED_MAX = 8  # directories at one visit, for the kernel has to forget their entries


class InodeWalk:
    """A reader of the directories of *parent* in *order*; *start* starts a scan."""

    def __init__(
        self,
        parent: DirectoryState,
        order: InodeOrder,
        directories: DirectoryLru,
        new_builder: Callable[[str, str, str | None], SubtreeBuilder],
        start: Callable[[SubtreeBuilder], tuple[SubtreeScan, PageFetcher]],
    ) -> None:
        self.prefix = parent.prefix
        self._parent = parent
        self._order = order
        self._directories = directories
        self._new_builder = new_builder
        self._start = start
        self._rank: int | None = None  # of the last visit in order
        self._visited: deque[DirectoryKey] = deque()  # with what is in them
        self.has_failed = False  # a scan, so that no more are started
        self._allowed = 0  # pages
        self._received = 0  # pages, of scans that are complete
        self._is_split = False
        self._misses = 0  # in a row
        self._scans: dict[SubtreeScan, PageFetcher] = {}  # those that are not complete

    def begin(self) -> None:
        """Start with the first directory by name, for one page tells how many there are."""
        listing = self._parent.listing
        if listing is not None and (children := listing.child_prefixes(1)):
            self._add(self._new_builder(self.prefix, min(children), None))
        self._is_split, self._allowed, self._received, self._misses = False, 1, 0, 0
        self._request_pages()

    def abandon(self) -> None:
        """Fetch no more."""
        for fetcher in self._scans.values():
            fetcher.abandon()
        self._scans.clear()

    def covers(self, prefix: str) -> bool:
        """Whether a scan is to come to the directory *prefix*, or may be inside it."""
        return prefix.startswith(self.prefix) and any(
            scan.builder.is_before(prefix) or scan.builder.is_inside(prefix) for scan in self._scans
        )

    def record_read(self, directory: DirectoryState, *, is_known: bool) -> bool:
        """Record that *directory* is read, and whether its entries are known.

        Returns whether it is next in order, so that pages are due.
        """
        if not directory.prefix.startswith(self.prefix) or directory.prefix == self.prefix:
            return False
        self._record_visited(directory.key)
        rank = self._order.rank(directory.inode)
        is_next = rank is not None and self._is_next(rank)
        if rank is not None and is_next:
            self._rank = rank
            self._allowed += PAGES_PER_VISIT
            self._misses = 0 if is_known or self._scans else self._misses + 1
            if self._misses >= MISSES_MAX and len(self._order) - self._rank > self._received:
                self.begin()
        self._make_room()
        self._request_pages()
        return is_next and not self.has_failed

    def _record_visited(self, key: DirectoryKey) -> None:
        self._visited.append(key)
        if len(self._visited) > 2 * self._directories.directory_count + KEPT_MIN:
            latest = dict.fromkeys(filter(self._directories.has, reversed(self._visited)))
            self._visited = deque(reversed(latest))

    def _is_next(self, rank: int) -> bool:
        return self._rank is None or 0 < rank - self._rank <= SKIPPED_MAX

    def _make_room(self) -> None:
        for _ in range(_EVICTED_MAX):
            if not self._is_full or len(self._visited) <= KEPT_MIN:
                return
            self._directories.evict(self._visited.popleft())

    @property
    def _is_full(self) -> bool:
        return self._fill > FULL

    @property
    def _fill(self) -> float:
        """What the cache holds, as a share of its limit."""
        return self._directories.weight / self._directories.limit

    def _request_pages(self) -> None:
        self._drop_complete()
        if not self._is_split and any(scan.builder.pages for scan in self._scans):
            self._split()
        if self._is_full:
            return
        left = self._allowed - self._received
        left -= sum(fetcher.received for fetcher in self._scans.values())
        ahead = AHEAD_MAX if self._fill < FULL / 2 else 1  # for all may come before the next visit
        for scan, fetcher in list(self._scans.items())[:PARALLEL_MAX]:
            pages = min(ahead, -(-left // PARALLEL_MAX))
            if pages > 0:
                fetcher.request_pages(scan.builder.pages + pages)

    def _drop_complete(self) -> None:
        for scan, fetcher in list(self._scans.items()):
            self.has_failed = self.has_failed or scan.has_failed or fetcher.has_failed
            if scan.is_complete:
                self._received += self._scans.pop(scan).received
            elif scan.builder.pending_count > PENDING_MAX:
                self._received += self._scans.pop(scan).received
                fetcher.abandon()
                self._add_next(scan.builder)
        if self.has_failed:
            self.abandon()

    def _add_next(self, builder: SubtreeBuilder) -> None:
        """Scan what *builder* has left, but for the directory that it is inside of."""
        listing = self._parent.listing
        children = [] if listing is None else listing.child_prefixes(1)
        left = filter(builder.is_before, children)
        start = min(left, key=builder.position_of, default=None)
        if start is not None:
            self._add(self._new_builder(self.prefix, start, builder.stop))

    def _split(self) -> None:
        """Split what is left, now that the first page shows how long it is."""
        self._is_split = True
        [scan], listing = self._scans, self._parent.listing
        if listing is None or not listing.is_complete:
            return
        builder = scan.builder
        starts, _ = split_rest(builder, listing, PARTS_MAX, PART_PAGES_MIN)
        for start, stop in pairwise([*starts, None]):
            assert start is not None  # only the last may be
            self._add(self._new_builder(self.prefix, start, stop))
        if starts:
            builder.stop = starts[0]

    def _add(self, builder: SubtreeBuilder) -> None:
        scan, fetcher = self._start(builder)
        self._scans[scan] = fetcher
