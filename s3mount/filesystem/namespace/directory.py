"""What is known of one directory: its listing, and what single lookups have learned beside it; and all directories known.

Pure but for holding the scan that is under way. What always holds:

1. The newest knowledge of a name wins, by the moments at which it was asked for, in whatever order the answers come.
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

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.invalidations import Invalidations
from s3mount.filesystem.namespace.ttl_policy import TtlPolicy

PAGES_KEPT = (
    8  # of a listing that is larger than all that may be kept: enough for readers a little apart
)
SINGLES_MAX = 10_000  # names learned one by one; beyond that the oldest go, as a flood of misses would fill the memory

# What memory costs, in bytes: a directory without a listing; a name learned by itself.
_WEIGHT = 800
_SINGLE_WEIGHT = 300


class CachedDentry(NamedTuple):
    """What is known of a name as of a moment: an entry, or (without *entries*) that there is none."""

    as_of: float
    entries: EntryPage | None
    at: int = 0

    @property
    def exists(self) -> bool:
        return self.entries is not None

    @property
    def is_directory(self) -> bool:
        return self.entries is not None and self.entries.is_directory(self.at)

    def is_about(self, entries: EntryPage, index: int) -> bool:
        """Whether what is known is just this entry."""
        return self.entries is not None and self.entries.is_same(self.at, entries, index)

    @property
    def weight(self) -> int:
        return _SINGLE_WEIGHT + (0 if self.entries is None else self.entries.weight)


def listed(listing: DirectoryListing, name: bytes) -> CachedDentry | None:
    """What *listing* says of *name*; None if that is nothing that can be relied on."""
    if listing.is_withdrawn:
        return None
    if (found := listing.find(name)) is not None:
        # before a listing without an order is complete, a directory may still come that shadows the file
        is_certain = listing.is_ordered or listing.is_complete or found[0].is_directory(found[1])
        return CachedDentry(found[0].as_of, *found) if is_certain else None
    return CachedDentry(listing.as_of, None) if listing.decides(name) else None


class DirectoryState:
    """The directory of one prefix ("" or ending with a slash)."""

    __slots__ = (
        "__weakref__",
        "_doubts",
        "_singles",
        "_singles_weight",
        "inode",
        "is_too_large",
        "is_unordered",
        "misses",
        "misses_since",
        "passage",
        "prefix",
        "slow_until",
    )

    def __init__(self, prefix: str, doubts: Invalidations) -> None:
        self.prefix = prefix
        self.inode = 0  # the number that the kernel last used for it; 0 if it has not
        self.passage: ListingScan | None = (
            None  # the newest listing, complete or growing; `DirectoryLru` sets it
        )
        self.is_unordered = False  # a listing of it came out of order
        self.is_too_large = False  # a listing of it was too large to be kept, since *misses_since*
        self.misses = 0  # lookups since *misses_since* that no knowledge answered
        self.misses_since = 0.0
        self.slow_until = -math.inf  # until when no lookup waits for its listing
        # what lookups learned, and what that weighs
        self._singles: dict[bytes, CachedDentry] = {}
        self._singles_weight = 0
        self._doubts = doubts

    def recall(self, name: bytes, now: float, lifetimes: TtlPolicy) -> CachedDentry | None:
        """What is known of *name* and holds still."""
        known = self.latest(name)
        if known is None or lifetimes.left(known.as_of, now, exists=known.exists) <= 0:
            return None
        return known

    def latest(self, name: bytes, seen: CachedDentry | None = None) -> CachedDentry | None:
        """The newest knowledge of *name*, expired or not. Where it was *seen* before spares a search, if it is there still."""
        is_listed = (
            seen is not None
            and self.passage is not None
            and self.passage.listing.holds(seen.entries)
        )
        listed, single = seen if is_listed else self._listed(name), self._singles.get(name)
        known = (
            single
            if listed is None or (single is not None and single.as_of > listed.as_of)
            else listed
        )
        return None if known is None or self.is_doubted(name, known.as_of) else known

    def is_doubted(self, name: bytes, as_of: float) -> bool:
        """Whether knowledge of *name* as of then has been found wrong since."""
        return self._doubts.since(self.prefix, name) > as_of

    def learn(self, name: bytes, known: CachedDentry) -> CachedDentry | None:
        """Take what a lookup has learned, unless newer knowledge is here; another name's knowledge that had to go for it."""
        before = self._singles.get(name)
        if before is not None and before.as_of > known.as_of:
            return None
        if before is not None:
            self._drop_single(name)
        self._singles[name] = known
        self._singles_weight += known.weight
        return (
            self._drop_single(next(iter(self._singles)))
            if len(self._singles) > SINGLES_MAX
            else None
        )

    @property
    def singles(self) -> list[EntryPage]:
        """The entries that lookups learned."""
        return [known.entries for known in self._singles.values() if known.entries is not None]

    def forget(self) -> None:
        """Know no name any more."""
        self._singles.clear()
        self._singles_weight = 0
        self.misses = 0

    def is_fresh(self, now: float, lifetimes: TtlPolicy) -> bool:
        """Whether the listing, as far as it has come, is whole and holds still."""
        if self.passage is None:
            return False
        listing = self.passage.listing
        return (
            not listing.is_trimmed
            and not listing.is_withdrawn
            and lifetimes.left(listing.as_of, now) > 0
        )

    @property
    def newest_ns(self) -> int:
        """The newest modification time among the known entries, or 0."""
        return self.passage.listing.newest_ns if self.passage is not None else 0

    @property
    def hidden_count(self) -> int:
        return self.passage.listing.hidden if self.passage is not None else 0

    @property
    def entry_count(self) -> int:
        """How many names are known."""
        listed = self.passage.listing.entry_count if self.passage is not None else 0
        return listed + len(self._singles)

    @property
    def weight(self) -> int:
        """How much memory this is, in bytes."""
        listed = self.passage.listing.weight if self.passage is not None else 0
        return _WEIGHT + len(self.prefix) + listed + self._singles_weight

    def _listed(self, name: bytes) -> CachedDentry | None:
        return None if self.passage is None else listed(self.passage.listing, name)

    def _drop_single(self, name: bytes) -> CachedDentry:
        known = self._singles.pop(name)
        self._singles_weight -= known.weight
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
        doubts: Invalidations,
        dropped: Callable[[int, Sequence[EntryPage]], None],
        replaced: Callable[[Sequence[EntryPage]], None],
    ) -> None:
        self._limit = limit
        self._doubts = doubts
        self._dropped = dropped
        self._replaced = replaced
        self._kept: LRUCache[str, DirectoryState] = LRUCache(
            limit, getsizeof=lambda directory: directory.weight
        )
        # listings that are being read, with the number of their readers; and those of them that are no directory's any more, with
        # what they weigh, which is no more to be had for directories, and their directory's inode number
        self._readers: dict[DirectoryListing, int] = {}
        self._detached: dict[DirectoryListing, tuple[int, int]] = {}
        self._detached_weight = 0

    def use(self, prefix: str) -> DirectoryState:
        """The directory of *prefix*, new if need be, now the most recently used."""
        directory = self._kept.get(prefix)
        if directory is None:
            directory = DirectoryState(prefix, self._doubts)
            self._insert(directory)
        return directory

    def get(self, prefix: str) -> DirectoryState | None:
        return self._kept.get(prefix)

    def replace_passage(self, directory: DirectoryState, passage: ListingScan | None) -> None:
        """Give *directory* another listing, or none; readers of the one that it had go on with that."""
        former, directory.passage = directory.passage, passage
        if former is not None and former is not passage:
            self._retire(former, directory.inode)
        self.weigh(directory)

    def place(self, prefix: str, passage: ListingScan) -> DirectoryState:
        """The directory of *prefix*, new if need be, with another listing."""
        directory = self._kept.get(prefix)
        if directory is not None:
            self.replace_passage(directory, passage)
            return directory
        directory = DirectoryState(prefix, self._doubts)
        directory.passage = passage
        self._insert(directory)
        return directory

    def learn(self, directory: DirectoryState, name: bytes, known: CachedDentry) -> None:
        """Have *directory* take what a lookup has learned of *name*."""
        gone = directory.learn(name, known)
        if gone is not None and gone.entries is not None:
            self._dropped(directory.inode, [gone.entries])
        self.weigh(directory)

    def weigh(self, directory: DirectoryState) -> None:
        """Note that *directory* has grown, or shrunk. One that has been evicted is nobody's business."""
        if self._kept.get(directory.prefix) is directory:
            del self._kept[directory.prefix]
            self._insert(directory)

    def weigh_listing(self, listing: DirectoryListing) -> None:
        """Note that *listing* has grown."""
        directory = self._kept.get(listing.prefix)
        if (
            directory is not None
            and directory.passage is not None
            and directory.passage.listing is listing
        ):
            directory.passage.settle()
            self.weigh(directory)
        elif listing in self._detached:
            self._weigh_detached(listing)
            if self.weight > self._limit:
                self._trim_detached()
                self._evict(self._room)

    def acquire(self, listing: DirectoryListing) -> None:
        """*listing* has one more reader: it is kept until it is released as often."""
        self._readers[listing] = self._readers.get(listing, 0) + 1
        directory = self._kept.get(listing.prefix)
        if (
            directory is None
            or directory.passage is None
            or directory.passage.listing is not listing
        ):
            self._detach(listing, 0 if directory is None else directory.inode)

    def release(self, listing: DirectoryListing) -> None:
        """*listing* has one reader less."""
        self._readers[listing] -= 1
        if not self._readers[listing]:
            del self._readers[listing]
            if listing in self._detached:
                weight, inode = self._detached.pop(listing)
                self._detached_weight -= weight
                self._dropped(inode, _pages_of(listing))

    @property
    def directory_count(self) -> int:
        return len(self._kept)

    @property
    def entry_count(self) -> int:
        return sum(directory.entry_count for directory in self._kept.values())

    @property
    def weight(self) -> int:
        """What all that is kept weighs, in bytes."""
        return int(self._kept.currsize) + self._detached_weight

    @property
    def hidden_count(self) -> int:
        """Keys and prefixes below the known directories that no name can show."""
        return sum(directory.hidden_count for directory in self._kept.values())

    def clear(self) -> None:
        """Know nothing any more, those who hold a directory included."""
        directories = list(self._kept.values())
        self._kept.clear()
        for directory in directories:
            passage, directory.passage = directory.passage, None
            directory.forget()
            if passage is not None:
                self._retire(passage, directory.inode)

    @property
    def _room(self) -> int:
        """What directories may weigh."""
        return max(0, self._limit - self._detached_weight)

    def _insert(self, directory: DirectoryState) -> None:
        """Keep *directory*, without its listing if that is too large; not at all if even that weighs too much."""
        if self._kept.currsize + directory.weight <= self._room:  # mostly
            self._kept[directory.prefix] = directory
            return
        if directory.weight > self._room:
            self._trim_detached()
        if directory.weight > self._room and directory.passage is not None:
            former, directory.passage = directory.passage, None
            directory.is_too_large = True
            self._let_go(former, directory.inode)
        if directory.weight <= self._room:
            self._evict(self._room - directory.weight)
        if directory.weight <= self._room:  # what was evicted may be read still
            self._kept[directory.prefix] = directory
        elif singles := directory.singles:
            directory.forget()
            self._dropped(directory.inode, singles)

    def _evict(self, most: int) -> None:
        """Evict directories, the least recently used first, until the others weigh no more than *most*."""
        while self._kept and self._kept.currsize > most:
            _, oldest = self._kept.popitem()
            passage, oldest.passage = oldest.passage, None
            if singles := oldest.singles:
                self._dropped(oldest.inode, singles)
            if passage is not None:
                self._let_go(passage, oldest.inode)

    def _let_go(self, passage: ListingScan, inode: int) -> None:
        """The listing of *passage* is not kept any more: it goes, or stays for those who read it, as far as there is room."""
        if passage.listing in self._readers:
            self._detach(passage.listing, inode)
            if self.weight > self._limit:
                self._trim_detached()
        else:
            if passage.has_begun:  # else it may be on its way to its first reader
                passage.abandon()
            self._dropped(inode, _pages_of(passage.listing))

    def _retire(self, passage: ListingScan, inode: int) -> None:
        """Another listing takes the place of that of *passage*: it goes, or stays for those who read it."""
        if passage.listing in self._readers:
            self._detach(passage.listing, inode)
        else:
            passage.abandon()
            self._replaced(_pages_of(passage.listing))

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
                self._dropped(inode, going)


def _pages_of(listing: DirectoryListing) -> list[EntryPage]:
    """The pages that are kept of it."""
    return [page for page in listing.pages if page is not None]
