"""LRU cache of directories, limited by their weight in bytes.

Pure but for abandoning scans in progress. Invariants:

1. All that is kept weighs at most the limit: directories with their listings and dentries, and
   *detached* listings, which belong to no directory any more but are still being read. What is
   being read is trimmed, never dropped. A listing that is neither a directory's nor being read
   grows no further.
2. The kernel's references into what is dropped are given back (*on_evicted*), or hold no more than
   the entries that they refer to (*on_replaced*).
3. A directory that was evicted never takes the place of a newer one of its key.
4. *entry_count* and *hidden_count* are running totals: over the directories that are kept, the sums
   of what each had when it was weighed last. So statistics walk through nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from cachetools import Cache, LRUCache

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.invalidations import DirectoryKey, Invalidations

PAGES_KEPT = 8  # of a listing larger than the limit: enough for readers a little apart


class DirectoryLru:
    """Directories by key; the least recently used go when all weigh more than *limit* bytes.

    A listing that is larger than the limit is not kept: its readers hold it, and only its last
    pages stay. *on_evicted* is called with the inode number of a directory and the pages of it that
    are dropped; *on_replaced* with the pages that a newer listing replaces.
    """

    def __init__(
        self,
        limit: int,
        invalidations: Invalidations,
        on_evicted: Callable[[int, Sequence[EntryPage]], None],
        on_replaced: Callable[[Sequence[EntryPage]], None],
    ) -> None:
        self.limit = limit
        self._invalidations = invalidations
        self._on_evicted = on_evicted
        self._on_replaced = on_replaced
        self._directories: LRUCache[DirectoryKey, DirectoryState] = LRUCache(
            limit, getsizeof=lambda directory: directory.weight
        )
        # listings being read, with the number of their readers; those of them that are detached,
        # with their weight, which directories have to do without, and their directory's inode
        self._readers: dict[DirectoryListing, int] = {}
        self._detached: dict[DirectoryListing, tuple[int, int]] = {}
        self._detached_weight = 0
        self._entry_count = self._hidden_count = 0

    def get_or_add(self, key: DirectoryKey) -> DirectoryState:
        """The directory of *key*, new if need be, now the most recently used."""
        try:  # on the path of every lookup, where `get` would search twice
            return self._directories[key]
        except KeyError:
            directory = DirectoryState(key, self._invalidations)
            self._insert(directory)
            return directory

    def get(self, key: DirectoryKey) -> DirectoryState | None:
        return self._directories.get(key)

    def has(self, key: DirectoryKey) -> bool:
        """Whether the directory of *key* is kept, without counting a use of it."""
        return key in self._directories

    def replace_scan(self, directory: DirectoryState, scan: ListingScan | None) -> None:
        """Give *directory* another scan, or none; readers of the one that it had go on with it."""
        former, directory.scan = directory.scan, scan
        if former is not None and former is not scan:
            self._retire(former, directory.inode, is_replaced=True)
        self.update_weight(directory)

    def put_scan(self, key: DirectoryKey, scan: ListingScan) -> DirectoryState:
        """The directory of *key*, new if need be, with *scan*."""
        directory = self._directories.get(key)
        if directory is None:
            directory = DirectoryState(key, self._invalidations)
            directory.scan = scan
            self._insert(directory)
        else:
            self.replace_scan(directory, scan)
        return directory

    def put_dentry(self, directory: DirectoryState, name: bytes, dentry: CachedDentry) -> None:
        """Keep in *directory* what a lookup has found."""
        dropped = directory.put(name, dentry)
        if dropped is not None and dropped.page is not None:
            self._on_evicted(directory.inode, [dropped.page])
        self.update_weight(directory)

    def update_weight(self, directory: DirectoryState) -> None:
        """Note that *directory* has grown or shrunk; nothing happens if it has been evicted."""
        if self._directories.get(directory.key) is directory:
            self._remove(directory)
            self._insert(directory)

    def update_listing_weight(self, listing: DirectoryListing) -> None:
        """Note that *listing* has grown."""
        directory = self._directories.get((listing.bucket, listing.prefix))
        scan = None if directory is None else directory.scan
        if directory is not None and scan is not None and scan.listing is listing:
            scan.drop_fetcher_if_complete()
            self.update_weight(directory)
        elif listing in self._detached:
            self._weigh_detached(listing)
            if self.weight > self.limit:
                self._trim_detached()
                self._evict(self._room)

    def acquire(self, listing: DirectoryListing) -> None:
        """Count one reader of *listing*, which is kept until it is released as often."""
        self._readers[listing] = self._readers.get(listing, 0) + 1
        directory = self._directories.get((listing.bucket, listing.prefix))
        was_unreferenced, listing.is_unreferenced = listing.is_unreferenced, False
        if directory is None or directory.listing is not listing:
            self._detach(listing, 0 if directory is None else directory.inode)
        elif was_unreferenced:
            self.update_weight(directory)

    def note_reference(self, directory: DirectoryState) -> None:
        """Note that the kernel is given an entry of *directory*."""
        listing = directory.listing
        if listing is not None and listing.is_unreferenced:
            listing.is_unreferenced = False
            self.update_weight(directory)

    def release(self, listing: DirectoryListing) -> None:
        """Count one reader of *listing* less."""
        self._readers[listing] -= 1
        if not self._readers[listing]:
            del self._readers[listing]
            if listing in self._detached:
                weight, inode = self._detached.pop(listing)
                self._detached_weight -= weight
                self._on_evicted(inode, _pages_of(listing))

    def snapshot(self) -> list[DirectoryState]:
        """All directories as of now; without counting a use of them."""
        return list(self._each_directory())

    @property
    def directory_count(self) -> int:
        return len(self._directories)

    @property
    def entry_count(self) -> int:
        return self._entry_count

    @property
    def weight(self) -> int:
        """What all that is kept weighs, in bytes."""
        return int(self._directories.currsize) + self._detached_weight

    @property
    def hidden_count(self) -> int:
        """How many keys and prefixes below the directories no file name can spell."""
        return self._hidden_count

    def clear(self) -> None:
        """Drop all directories, and the content of those that callers hold."""
        for directory in self.snapshot():
            self.forget(directory)

    def forget(self, directory: DirectoryState) -> None:
        """Drop *directory*, and its content for those that hold it."""
        if self._directories.get(directory.key) is directory:
            self._remove(directory)
        scan, directory.scan = directory.scan, None
        directory.clear()
        if scan is not None:
            self._retire(scan, directory.inode, is_replaced=True)

    def evict(self, key: DirectoryKey) -> None:
        """Drop the directory of *key*, if it is kept, before others that are used less."""
        directory = self._directories.get(key)
        if directory is not None:
            self._remove(directory)
            self._give_up(directory)

    def _each_directory(self) -> Iterator[DirectoryState]:
        """All directories; `LRUCache.values` would count a use of each."""
        return (Cache.__getitem__(self._directories, key) for key in self._directories)

    @property
    def _room(self) -> int:
        """What directories may weigh."""
        return max(0, self.limit - self._detached_weight)

    def _insert(self, directory: DirectoryState) -> None:
        """Keep *directory*; without its listing if that is too large, or not at all."""
        if self._directories.currsize + directory.weight <= self._room:  # mostly
            self._keep(directory)
            return
        if directory.weight > self._room:
            self._trim_detached()
        if directory.weight > self._room and directory.scan is not None:
            directory.lookups.is_too_large = True
            self._evict_scan(directory)
        if directory.weight <= self._room:
            self._evict(self._room - directory.weight)
        if directory.weight <= self._room:  # what was evicted may be read still
            self._keep(directory)
        elif pages := directory.looked_up_pages:
            directory.clear()
            self._on_evicted(directory.inode, pages)

    def _keep(self, directory: DirectoryState) -> None:
        self._directories[directory.key] = directory
        directory.counted_entries = directory.entry_count
        directory.counted_hidden = directory.hidden_count
        self._count(directory, 1)

    def _remove(self, directory: DirectoryState) -> None:
        del self._directories[directory.key]
        self._count(directory, -1)

    def _count(self, directory: DirectoryState, sign: Literal[-1, 1]) -> None:
        """Add what was counted of *directory* to the totals, or take it out."""
        self._entry_count += sign * directory.counted_entries
        self._hidden_count += sign * directory.counted_hidden

    def _evict(self, most: int) -> None:
        """Evict the least recently used directories, until the others weigh at most *most*."""
        while self._directories and self._directories.currsize > most:
            _, oldest = self._directories.popitem()
            self._count(oldest, -1)
            self._give_up(oldest)

    def _give_up(self, directory: DirectoryState) -> None:
        if pages := directory.looked_up_pages:
            self._on_evicted(directory.inode, pages)
        self._evict_scan(directory)

    def _evict_scan(self, directory: DirectoryState) -> None:
        scan, directory.scan = directory.scan, None
        if scan is not None:
            self._retire(scan, directory.inode, is_replaced=False)

    def _retire(self, scan: ListingScan, inode: int, *, is_replaced: bool) -> None:
        """Detach a directory's listing if it is being read; else drop it."""
        listing = scan.listing
        if listing in self._readers:
            self._detach(listing, inode)
            if not is_replaced and self.weight > self.limit:
                self._trim_detached()
            return
        if is_replaced or scan.has_received:  # else it may be on its way to its first reader
            scan.abandon()
        if is_replaced:
            self._on_replaced(_pages_of(listing))
        else:
            self._on_evicted(inode, _pages_of(listing))

    def _detach(self, listing: DirectoryListing, inode: int) -> None:
        """Weigh *listing* by itself while it is read."""
        if listing not in self._detached:
            self._detached[listing] = 0, inode
            self._weigh_detached(listing)

    def _weigh_detached(self, listing: DirectoryListing) -> None:
        before, inode = self._detached[listing]
        self._detached[listing] = listing.weight, inode
        self._detached_weight += listing.weight - before

    def _trim_detached(self) -> None:
        for listing, (_, inode) in list(self._detached.items()):
            if trimmed := listing.trim(PAGES_KEPT):
                self._weigh_detached(listing)
                self._on_evicted(inode, trimmed)


def _pages_of(listing: DirectoryListing) -> list[EntryPage]:
    """Its pages that are not trimmed."""
    return [page for page in listing.pages if page is not None]
