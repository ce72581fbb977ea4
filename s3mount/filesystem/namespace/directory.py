"""What is known of one directory: its listing, and what single lookups have learned beside it; and all directories known.

Pure but for holding the scan that is under way. What always holds:

1. The newest knowledge of a name wins, by the clock at which it was asked for, in whatever order the answers come.
   Knowledge that has expired, is doubted or was asked for before the last refresh is none.
2. All that is kept weighs at most the limit, in bytes: directories with their listings, names learned one by one, and listings
   that are no directory's any more but are still being read. What is being read is trimmed, never dropped. A listing that is
   neither a directory's nor being read grows no further.
3. The kernel's references into what is let go are given back (`dropped`), or hold no more than the entries that they are to
   (`replaced`).
4. A directory that was evicted never takes the place of a newer one of its prefix.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cachetools import LRUCache

from s3mount.filesystem import weights
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.invalidations import Invalidations
from s3mount.filesystem.namespace.ttl_policy import TtlPolicy

PAGES_KEPT = (
    8  # of a listing that is larger than all that may be kept: enough for readers a little apart
)
SINGLES_MAX = 10_000  # names learned one by one; beyond that the oldest go, as a flood of misses would fill the memory


class CachedDentry(NamedTuple):
    """What is known of a name as of a moment: an entry, or (without *entries*) that there is none."""

    requested_at: float
    page: EntryPage | None
    at: int = 0

    @property
    def exists(self) -> bool:
        return self.page is not None

    @property
    def is_directory(self) -> bool:
        return self.page is not None and self.page.is_directory(self.at)

    def is_about(self, entries: EntryPage, index: int) -> bool:
        """Whether what is known is just this entry."""
        return self.page is not None and self.page.is_same(self.at, entries, index)

    @property
    def weight(self) -> int:
        return weights.DENTRY + (0 if self.page is None else self.page.weight)


def listed(listing: DirectoryListing, name: bytes) -> CachedDentry | None:
    """What *listing* says of *name*; None if that is nothing that can be relied on."""
    if listing.is_withdrawn:
        return None
    if (found := listing.find(name)) is not None:
        # before a listing without an order is complete, a directory may still come that shadows the file
        is_certain = listing.is_ordered or listing.is_complete or found[0].is_directory(found[1])
        return CachedDentry(found[0].requested_at, *found) if is_certain else None
    return CachedDentry(listing.requested_at, None) if listing.is_final(name) else None


def nobody() -> None:
    """Nobody wants to know that a directory is read."""


class DirectoryState:
    """The directory of one prefix ("" or ending with a slash)."""

    __slots__ = (
        "_dentries",
        "_dentries_weight",
        "_invalidations",
        "inode",
        "is_read",
        "is_too_large",
        "is_unordered",
        "misses",
        "misses_since",
        "plain_reads",
        "prefix",
        "scan",
        "slow_until",
        "visited",
    )

    def __init__(self, prefix: str, invalidations: Invalidations) -> None:
        self.prefix = prefix
        self.inode = 0  # the number that the kernel last used for it; 0 if it has not
        self.scan: ListingScan | None = (
            None  # the newest listing, complete or growing; `DirectoryLru` sets it
        )
        self.is_unordered = False  # a listing of it came out of order
        self.is_too_large = False  # a listing of it was too large to be kept, since *misses_since*
        self.misses = 0  # lookups since *misses_since* that no knowledge answered
        self.misses_since = 0.0
        self.slow_until = -math.inf  # until when no lookup waits for its listing
        self.is_read = False  # somebody has read it, name by name
        self.plain_reads = 0  # directories in it that were then listed one by one
        self.visited: Callable[[], None] = (
            nobody  # to be called when it is read: whoever listed it ahead wants to know
        )
        # what lookups learned, and what that weighs
        self._dentries: dict[bytes, CachedDentry] = {}
        self._dentries_weight = 0
        self._invalidations = invalidations

    def get_fresh(self, name: bytes, now: float, ttl: TtlPolicy) -> CachedDentry | None:
        """What is known of *name* and holds still."""
        known = self.get(name)
        if known is None or ttl.remaining(known.requested_at, now, exists=known.exists) <= 0:
            return None
        return known

    def get(self, name: bytes, seen: CachedDentry | None = None) -> CachedDentry | None:
        """The newest knowledge of *name*, expired or not. Where it was *seen* before spares a search, if it is there still."""
        is_listed = (
            seen is not None and self.scan is not None and self.scan.listing.has_page(seen.page)
        )
        listed, single = seen if is_listed else self._listed(name), self._dentries.get(name)
        known = (
            single
            if listed is None or (single is not None and single.requested_at > listed.requested_at)
            else listed
        )
        return None if known is None or self.is_invalidated(name, known.requested_at) else known

    def is_invalidated(self, name: bytes, requested_at: float) -> bool:
        """Whether knowledge of *name* as of then has been found wrong since."""
        return self._invalidations.last(self.prefix, name) > requested_at

    def put(self, name: bytes, known: CachedDentry) -> CachedDentry | None:
        """Take what a lookup has learned, unless newer knowledge is here; another name's knowledge that had to go for it."""
        before = self._dentries.get(name)
        if before is not None and before.requested_at > known.requested_at:
            return None
        if before is not None:
            self._drop_single(name)
        self._dentries[name] = known
        self._dentries_weight += known.weight
        return (
            self._drop_single(next(iter(self._dentries)))
            if len(self._dentries) > SINGLES_MAX
            else None
        )

    @property
    def looked_up_pages(self) -> list[EntryPage]:
        """The entries that lookups learned."""
        return [known.page for known in self._dentries.values() if known.page is not None]

    def clear(self) -> None:
        """Know no name any more."""
        self._dentries.clear()
        self._dentries_weight = 0
        self.misses = 0

    def is_fresh(self, now: float, ttl: TtlPolicy) -> bool:
        """Whether the listing, as far as it has come, is whole and holds still."""
        if self.scan is None:
            return False
        listing = self.scan.listing
        return (
            not listing.is_trimmed
            and not listing.is_withdrawn
            and ttl.remaining(listing.requested_at, now) > 0
        )

    @property
    def newest_mtime_ns(self) -> int:
        """The newest modification time among the known entries, or 0."""
        return self.scan.listing.newest_mtime_ns if self.scan is not None else 0

    @property
    def hidden_count(self) -> int:
        return self.scan.listing.hidden_count if self.scan is not None else 0

    @property
    def entry_count(self) -> int:
        """How many names are known."""
        listed = self.scan.listing.entry_count if self.scan is not None else 0
        return listed + len(self._dentries)

    @property
    def weight(self) -> int:
        """How much memory this is, in bytes."""
        listed = self.scan.listing.weight if self.scan is not None else 0
        return weights.DIRECTORY + len(self.prefix) + listed + self._dentries_weight

    def _listed(self, name: bytes) -> CachedDentry | None:
        return None if self.scan is None else listed(self.scan.listing, name)

    def _drop_single(self, name: bytes) -> CachedDentry:
        known = self._dentries.pop(name)
        self._dentries_weight -= known.weight
        return known


class DirectoryLru:
    """The directories known, the least recently used ones forgotten beyond *limit* bytes over all.

    A listing that is larger than the limit is not kept at all: whoever reads it holds it, and of it only the last pages
    stay. What goes is told to *dropped*, with the inode number of its directory, so that the kernel's references to it go as well;
    what a newer listing takes the place of is told to *replaced*.
    """

    def __init__(
        self,
        limit: int,
        invalidations: Invalidations,
        dropped: Callable[[int, Sequence[EntryPage]], None],
        replaced: Callable[[Sequence[EntryPage]], None],
    ) -> None:
        self._limit = limit
        self._invalidations = invalidations
        self._on_evicted = dropped
        self._on_replaced = replaced
        self._directories: LRUCache[str, DirectoryState] = LRUCache(
            limit, getsizeof=lambda directory: directory.weight
        )
        # listings that are being read, with the number of their readers; and those of them that are no directory's any more, with
        # what they weigh, which is no more to be had for directories, and their directory's inode number
        self._readers: dict[DirectoryListing, int] = {}
        self._detached: dict[DirectoryListing, tuple[int, int]] = {}
        self._detached_weight = 0

    def get_or_add(self, prefix: str) -> DirectoryState:
        """The directory of *prefix*, new if need be, now the most recently used."""
        directory = self._directories.get(prefix)
        if directory is None:
            directory = DirectoryState(prefix, self._invalidations)
            self._insert(directory)
        return directory

    def get(self, prefix: str) -> DirectoryState | None:
        return self._directories.get(prefix)

    def replace_scan(self, directory: DirectoryState, scan: ListingScan | None) -> None:
        """Give *directory* another listing, or none; readers of the one that it had go on with that."""
        former, directory.scan = directory.scan, scan
        if former is not None and former is not scan:
            self._retire(former, directory.inode)
        self.update_weight(directory)

    def put_scan(self, prefix: str, scan: ListingScan) -> DirectoryState:
        """The directory of *prefix*, new if need be, with another listing."""
        directory = self._directories.get(prefix)
        if directory is not None:
            self.replace_scan(directory, scan)
            return directory
        directory = DirectoryState(prefix, self._invalidations)
        directory.scan = scan
        self._insert(directory)
        return directory

    def put_dentry(self, directory: DirectoryState, name: bytes, known: CachedDentry) -> None:
        """Have *directory* take what a lookup has learned of *name*."""
        gone = directory.put(name, known)
        if gone is not None and gone.page is not None:
            self._on_evicted(directory.inode, [gone.page])
        self.update_weight(directory)

    def update_weight(self, directory: DirectoryState) -> None:
        """Note that *directory* has grown, or shrunk. One that has been evicted is nobody's business."""
        if self._directories.get(directory.prefix) is directory:
            del self._directories[directory.prefix]
            self._insert(directory)

    def update_listing_weight(self, listing: DirectoryListing) -> None:
        """Note that *listing* has grown."""
        directory = self._directories.get(listing.prefix)
        if (
            directory is not None
            and directory.scan is not None
            and directory.scan.listing is listing
        ):
            directory.scan.drop_fetcher_if_complete()
            self.update_weight(directory)
        elif listing in self._detached:
            self._weigh_detached(listing)
            if self.weight > self._limit:
                self._trim_detached()
                self._evict(self._room)

    def acquire(self, listing: DirectoryListing) -> None:
        """*listing* has one more reader: it is kept until it is released as often."""
        self._readers[listing] = self._readers.get(listing, 0) + 1
        directory = self._directories.get(listing.prefix)
        if directory is None or directory.scan is None or directory.scan.listing is not listing:
            self._detach(listing, 0 if directory is None else directory.inode)

    def release(self, listing: DirectoryListing) -> None:
        """*listing* has one reader less."""
        self._readers[listing] -= 1
        if not self._readers[listing]:
            del self._readers[listing]
            if listing in self._detached:
                weight, inode = self._detached.pop(listing)
                self._detached_weight -= weight
                self._on_evicted(inode, _pages_of(listing))

    @property
    def directory_count(self) -> int:
        return len(self._directories)

    @property
    def entry_count(self) -> int:
        return sum(directory.entry_count for directory in self._directories.values())

    @property
    def weight(self) -> int:
        """What all that is kept weighs, in bytes."""
        return int(self._directories.currsize) + self._detached_weight

    @property
    def hidden_count(self) -> int:
        """Keys and prefixes below the known directories that no name can show."""
        return sum(directory.hidden_count for directory in self._directories.values())

    def clear(self) -> None:
        """Know nothing any more, those who hold a directory included."""
        directories = list(self._directories.values())
        self._directories.clear()
        for directory in directories:
            scan, directory.scan = directory.scan, None
            directory.clear()
            if scan is not None:
                self._retire(scan, directory.inode)

    @property
    def _room(self) -> int:
        """What directories may weigh."""
        return max(0, self._limit - self._detached_weight)

    def _insert(self, directory: DirectoryState) -> None:
        """Keep *directory*, without its listing if that is too large; not at all if even that weighs too much."""
        if self._directories.currsize + directory.weight <= self._room:  # mostly
            self._directories[directory.prefix] = directory
            return
        if directory.weight > self._room:
            self._trim_detached()
        if directory.weight > self._room and directory.scan is not None:
            former, directory.scan = directory.scan, None
            directory.is_too_large = True
            self._let_go(former, directory.inode)
        if directory.weight <= self._room:
            self._evict(self._room - directory.weight)
        if directory.weight <= self._room:  # what was evicted may be read still
            self._directories[directory.prefix] = directory
        elif singles := directory.looked_up_pages:
            directory.clear()
            self._on_evicted(directory.inode, singles)

    def _evict(self, most: int) -> None:
        """Evict directories, the least recently used first, until the others weigh no more than *most*."""
        while self._directories and self._directories.currsize > most:
            _, oldest = self._directories.popitem()
            scan, oldest.scan = oldest.scan, None
            if singles := oldest.looked_up_pages:
                self._on_evicted(oldest.inode, singles)
            if scan is not None:
                self._let_go(scan, oldest.inode)

    def _let_go(self, scan: ListingScan, inode: int) -> None:
        """The listing of *scan* is not kept any more: it goes, or stays for those who read it, as far as there is room."""
        if scan.listing in self._readers:
            self._detach(scan.listing, inode)
            if self.weight > self._limit:
                self._trim_detached()
        else:
            if scan.has_received:  # else it may be on its way to its first reader
                scan.abandon()
            self._on_evicted(inode, _pages_of(scan.listing))

    def _retire(self, scan: ListingScan, inode: int) -> None:
        """Another listing takes the place of that of *scan*: it goes, or stays for those who read it."""
        if scan.listing in self._readers:
            self._detach(scan.listing, inode)
        else:
            scan.abandon()
            self._on_replaced(_pages_of(scan.listing))

    def _detach(self, listing: DirectoryListing, inode: int) -> None:
        """*listing* is no directory's any more: count it by itself while it is read."""
        if listing in self._readers and listing not in self._detached:
            self._detached[listing] = 0, inode
            self._weigh_detached(listing)

    def _weigh_detached(self, listing: DirectoryListing) -> None:
        before, inode = self._detached[listing]
        self._detached[listing] = listing.weight, inode
        self._detached_weight += listing.weight - before

    def _trim_detached(self) -> None:
        for listing, (_, inode) in list(self._detached.items()):
            if going := listing.trim(PAGES_KEPT):
                self._weigh_detached(listing)
                self._on_evicted(inode, going)


def _pages_of(listing: DirectoryListing) -> list[EntryPage]:
    """The pages that are kept of it."""
    return [page for page in listing.pages if page is not None]
