"""Prefetch of subtrees for readers that walk them, by undelimited listings.

`find`, `du`, `rsync`, `tar` and `ls -R` read a directory and then the directories in it. Each would
cost a LIST, and a round trip. When a directory is read after its parent, a *scan* of the parent
starts there: an undelimited listing, a thousand keys of many directories a page. It makes each
directory that its keys have left completely known.

Whatever the reader does next, the cost is bounded:
1. A scan proceeds only as far as the reader follows: each page that the reader comes to entitles
   the scan to a few more. A scan that is followed is split among a few parallel ones, each of which
   fetches a few pages before the reader comes to it.
2. A directory that a scan is inside of, or has not reached after a few pages, is listed by itself.
3. After a useless scan, a parent is scanned again only when the 2nd, 4th, 8th ... of its
   directories is listed by itself.
4. A reader that visits directories by inode number is scanned for as `inode_walk` has it.
So a walk that turns aside costs a small constant number of requests, and at worst the logarithm of
its directories.
"""

import logging
from itertools import pairwise
from typing import NamedTuple
from weakref import ref

import trio

from s3mount.errors import S3MountError
from s3mount.filesystem.listing.page_fetcher import PageFetcher
from s3mount.filesystem.names import parent_of
from s3mount.filesystem.namespace.directory import DirectoryState
from s3mount.filesystem.namespace.metadata_cache import MetadataCache
from s3mount.filesystem.prefetch.inode_order import CHILDREN_MAX, CHILDREN_MIN, InodeOrderDetector
from s3mount.filesystem.prefetch.inode_walk import InodeWalk
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.filesystem.prefetch.subtree_builder import Finished, SubtreeBuilder
from s3mount.filesystem.prefetch.subtree_scan import SubtreeScan, split_rest

log = logging.getLogger(__name__)

WAIT_MAX = 2.0  # seconds that a reader waits for one page
PAGES_WAITED = 2  # pages that a reader waits for before it lists its directory itself
SCANS_MAX = 16  # scans remembered at once; the oldest are dropped
VISITS_TO_SPLIT = 3  # directories of a scan that are read before the rest of it is split
PARALLEL_MAX = 4  # parallel scans of one parent
SPLIT_PAGES = 2  # pages that make one more parallel scan worthwhile
SPLIT_AHEAD_MAX = 4  # pages that each of them fetches before the reader comes to it
HALVINGS_MAX = 10  # of the occasions on which a scan starts
READ_MAX = 2_000  # directories remembered because they were read


class _Published(NamedTuple):
    """The scan of *root* that has made a directory known, as long as it is kept, and its page."""

    root: str
    scan: ref[SubtreeScan]
    page: int


class WalkPrefetcher(PrefetchPolicy):
    """Detector of walks, and owner of the scans ahead of them."""

    def __init__(self, catalog: MetadataCache) -> None:
        self._catalog = catalog
        # For each directory that was read, how many of its directories were then listed by
        # themselves; by prefix, since that outlasts the directory's eviction. The least recently
        # used first.
        self._plain_reads: dict[str, int] = {}
        self._scans: dict[SubtreeScan, PageFetcher] = {}  # oldest first
        self._occasions = 0  # on which a scan might have started
        self._failures = 0  # of scans since one was followed
        self._has_tried = False  # to prove the store's order by the keys of a scan
        # of readers by inode number: what they have read, and the one that is scanned for
        self._inode_orders = InodeOrderDetector()
        self._inode_walk: InodeWalk | None = None

    async def before_readdir(self, directory: DirectoryState) -> None:
        catalog = self._catalog
        can_scan = catalog.order.keys_needed is not None and catalog.ttl.positive > 0
        if can_scan:
            self._record_read(directory)
        if can_scan and not catalog.is_fresh(directory):
            await self._wait_for_scan(directory)
        plain_reads = 0
        if catalog.is_fresh(directory):
            plain_reads = self._plain_reads.get(directory.prefix, 0)
            self._visit_published(directory)
        self._remember(directory.prefix, plain_reads)

    def _record_read(self, directory: DirectoryState) -> None:
        """Find out whether directories are visited by inode number, and scan for that."""
        walk, is_known = self._inode_walk, self._catalog.is_fresh(directory)
        if walk is not None and walk.record_read(directory, is_known=is_known):
            return
        if walk is not None and walk.has_failed:
            self._inode_walk = None
        if is_known:  # scans would bring nothing
            return
        parent = self._parent_of(directory)
        listing = None if parent is None else parent.listing
        if parent is None or listing is None or not listing.is_complete or listing.is_trimmed:
            return
        if not (directory.inode and CHILDREN_MIN <= listing.entry_count <= CHILDREN_MAX):
            return
        order = self._inode_orders.record_read(listing, directory.inode)
        if order is not None and self._may_scan(parent):
            self._start_inode_walk(
                InodeWalk(
                    parent, order, self._catalog.directories, self._new_builder, self._new_scan
                )
            )

    def _start_inode_walk(self, walk: InodeWalk) -> None:
        """Scan for *walk* in place of another one, and of scans by name of its parent."""
        if self._inode_walk is not None:
            self._inode_walk.abandon()
        for scan in [scan for scan in self._scans if scan.builder.root == walk.prefix]:
            self._scans.pop(scan).abandon()
        self._inode_walk = walk
        walk.begin()

    def _remember(self, prefix: str, plain_reads: int) -> None:
        self._plain_reads.pop(prefix, None)
        self._plain_reads[prefix] = plain_reads
        if len(self._plain_reads) > READ_MAX:
            del self._plain_reads[next(iter(self._plain_reads))]

    async def _wait_for_scan(self, directory: DirectoryState) -> None:
        """Wait for a scan that soon reaches *directory*, or start one if its reader walks."""
        if self._inode_walk is not None and self._inode_walk.covers(directory.prefix):
            return  # not soon
        scan = self._scan_reaching(directory.prefix)
        if scan is None:
            self._start_if_walked(directory)
            return
        for waited in range(PAGES_WAITED):
            if scan not in self._scans or scan.is_complete:
                return
            # The next page of a scan that is followed may well finish the directory; another scan
            # has to prove itself first.
            if scan.builder.is_inside(directory.prefix) and (waited or not scan.visits):
                self._scans[scan].request_pages(scan.builder.pages + 1)
                return
            await self._wait_page(scan)
            if self._catalog.is_fresh(directory):
                return

    async def _wait_page(self, scan: SubtreeScan) -> None:
        """Wait for a page of *scan*, but not long: the directory's own listing may be faster."""
        try:
            with trio.move_on_after(WAIT_MAX) as waiting:
                await self._scans[scan].wait_progress()
        except S3MountError as exc:  # if the store fails, the directory's own listing reports it
            log.debug("scan of %r ended: %s", scan.builder.root, exc)
        else:
            if not waiting.cancelled_caught:
                return
        self._failures += 1
        self._scans.pop(scan, None)

    def _scan_reaching(self, prefix: str) -> SubtreeScan | None:
        """The scan that is inside *prefix* or will reach it; drops those that will not soon."""
        for scan in reversed(list(self._scans)):
            if self._is_over(scan) or self._is_stuck(scan, prefix):
                del self._scans[scan]
            elif scan.builder.is_inside(prefix) or scan.builder.is_before(prefix):
                return scan
        return None

    def _is_over(self, scan: SubtreeScan) -> bool:
        now = self._catalog.clock.now()
        return scan.is_complete or self._catalog.ttl.remaining(scan.requested_at, now) <= 0

    @staticmethod
    def _is_stuck(scan: SubtreeScan, prefix: str) -> bool:
        """Whether the scan is inside a large directory that the reader has left."""
        if not scan.builder.idle_pages or not scan.builder.is_before(prefix):
            return False
        return not prefix.startswith(parent_of(scan.builder.position))

    def _start_if_walked(self, directory: DirectoryState) -> None:
        """Scan the parent from *directory* on, if it was read and scans are worthwhile."""
        parent = self._parent_of(directory)
        if parent is None or not self._may_scan(parent):
            return
        if self._catalog.names.is_unlisted(directory.prefix):  # a scan passes over it
            return
        plain_reads = self._plain_reads.get(parent.prefix)
        if plain_reads is None:
            return
        self._remember(parent.prefix, plain_reads + 1)
        is_power_of_two = (plain_reads + 1) & plain_reads == 0
        if is_power_of_two and self._is_worthwhile():
            self._start(self._new_builder(parent.prefix, directory.prefix), 1)

    def _parent_of(self, directory: DirectoryState) -> DirectoryState | None:
        """The directory that *directory* is in, if it is known."""
        parent = self._catalog.find_directory(parent_of(directory.prefix[:-1]))
        return parent if directory.prefix and parent is not directory else None

    def _may_scan(self, parent: DirectoryState) -> bool:
        return self._catalog.has_scans(parent.prefix) and self._catalog.is_fresh(parent)

    def _is_worthwhile(self) -> bool:
        """Whether to start a scan: half as often after each that failed or was too slow."""
        if self._catalog.order.keys_needed:
            is_first, self._has_tried = not self._has_tried, True
            return is_first
        self._occasions += 1
        halvings = min(self._catalog.order.subtree_breaks + self._failures, HALVINGS_MAX)
        return self._occasions % (1 << halvings) == 0

    def _start(self, builder: SubtreeBuilder, pages: int) -> None:
        scan, fetcher = self._new_scan(builder)
        self._scans = {**dict(list(self._scans.items())[1 - SCANS_MAX :]), scan: fetcher}
        fetcher.request_pages(pages)

    def _new_scan(self, builder: SubtreeBuilder) -> tuple[SubtreeScan, PageFetcher]:
        now = self._catalog.clock.tick()
        scan = SubtreeScan(builder, now, self._catalog.order, self._publish)
        return scan, self._catalog.new_fetcher(scan, is_eager=False)  # any page may be its last

    def _new_builder(self, root: str, start: str, stop: str | None = None) -> SubtreeBuilder:
        escape = self._catalog.names.escape
        if escape is None:
            return SubtreeBuilder(root, start, stop)
        # of few mounts
        from s3mount.filesystem.prefetch.escaped_subtree import (  # noqa: PLC0415
            EscapedSubtreeBuilder,
        )

        return EscapedSubtreeBuilder(root, start, stop, escape=escape)

    def _split(self, builder: SubtreeBuilder) -> None:
        """Split the rest of a scan, to fetch it in parallel: continuation tokens are serial."""
        listed = self._catalog.directory(builder.root).scan
        if listed is None or not listed.listing.is_complete:
            return
        starts, part_pages = split_rest(builder, listed.listing, PARALLEL_MAX, SPLIT_PAGES)
        for start, stop in pairwise([*starts, builder.stop]):
            assert start is not None  # only the last may be
            part = self._new_builder(builder.root, start, stop)
            self._start(part, min(part_pages, SPLIT_AHEAD_MAX))
        if starts:
            builder.stop = starts[0]

    def _publish(self, scan: SubtreeScan, page: int, finished: list[Finished]) -> None:
        """Make directories completely known, unless newer listings of them are cached."""
        published = _Published(
            scan.builder.root, ref(scan), page
        )  # shared by all of them, to save memory
        for prefix, entries, hidden, requested_at in finished:
            directory = self._catalog.put_complete(prefix, entries, hidden, requested_at)
            if directory is not None and directory.listing is not None:
                directory.listing.prefetched_by = published

    def _visit_published(self, directory: DirectoryState) -> None:
        """Let the scan proceed that has made *directory* known, at the first read of it."""
        listing = directory.listing
        published = None if listing is None else listing.prefetched_by
        if listing is not None and isinstance(published, _Published):
            listing.prefetched_by = None
            self._visit(published.root, published.scan(), published.page)

    def _visit(self, root: str, scan: SubtreeScan | None, page: int) -> None:
        """Let *scan* of *root* proceed, since its reader has come to a directory of *page*."""
        self._catalog.find_directory(root)  # used: the reader will come back to it
        if root in self._plain_reads:
            self._remember(root, 0)
        self._failures = 0
        if scan in self._scans:
            self._scans[scan].request_pages(scan.record_visit(page))
            if scan.visits == VISITS_TO_SPLIT and scan.builder.stop is None:
                self._split(scan.builder)
