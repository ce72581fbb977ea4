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
5. Of more than UNPACKED_MAX directories, the least recently used are packed if they can be
   (`packed_directories`); any look at one unpacks it. Nothing that is being read is packed.
6. What is packed may be dropped some time after `clear` or `forget_below`. It is not found any
   more, though counted.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.inode_table import InodeTable
from s3mount.filesystem.namespace.invalidations import DirectoryKey, Invalidations

UNPACKED_MAX = 4096  # directories: 8 MB, if they have few entries
PAGES_KEPT = 8  # of a listing larger than the limit: enough for readers a little apart


class Forgotten(NamedTuple):
    """Number of names that were cached of directories, and the iterator that drops packed ones."""

    name_count: int
    dropping: Iterator[None]


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
        inodes: InodeTable | None = None,
    ) -> None:
        self.limit = limit
        self._invalidations = invalidations
        self._on_evicted = on_evicted
        self._on_replaced = on_replaced
        self._inodes = InodeTable() if inodes is None else inodes
        self._inodes.unpack = self._unpack_referenced  # when the kernel looks at an entry of it
        self._packed = self._inodes.packed
        # by prefix: the time up to which what was requested below it, and is packed, is forgotten
        # and being dropped
        self._dropping: dict[str, float] = {}
        # those that are not packed, the least recently used first, with what they weigh; those of
        # them that have been used since they were looked at for packing; how many were
        self._directories: OrderedDict[DirectoryKey, DirectoryState] = OrderedDict()
        self._unpacked_weight = 0
        self._recent: OrderedDict[DirectoryKey, None] = OrderedDict()
        self._uses = 0
        # listings being read, with the number of their readers; those of them that are detached,
        # with their weight, which directories have to do without, and their directory's inode
        self._readers: dict[DirectoryListing, int] = {}
        self._detached: dict[DirectoryListing, tuple[int, int]] = {}
        self._detached_weight = 0
        self._entry_count = self._hidden_count = 0

    def get_or_add(self, key: DirectoryKey) -> DirectoryState:
        """The directory of *key*, new if need be, now the most recently used."""
        directory = self.get(key)
        if directory is None:
            directory = DirectoryState(key, self._invalidations)
            self._insert(directory)
        return directory

    def get(self, key: DirectoryKey) -> DirectoryState | None:
        """The directory of *key*, now the most recently used."""
        directory = self._directories.get(key)
        if directory is not None:
            self._directories.move_to_end(key)
            self._recent[key] = None
            self._recent.move_to_end(key)
            return directory
        number = self._find_packed(key)
        return None if number is None else self._unpack(number)

    def has(self, key: DirectoryKey) -> bool:
        """Whether the directory of *key* is kept, without counting a use of it."""
        return key in self._directories or self._find_packed(key) is not None

    def replace_scan(self, directory: DirectoryState, scan: ListingScan | None) -> None:
        """Give *directory* another scan, or none; readers of the one that it had go on with it."""
        former, directory.scan = directory.scan, scan
        if former is not None and former is not scan:
            self._retire(former, directory.inode, is_replaced=True)
        self.update_weight(directory)

    def put_scan(self, key: DirectoryKey, scan: ListingScan) -> DirectoryState:
        """The directory of *key*, new if need be, with *scan*."""
        directory = self.get(key)
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

    def acquire(self, listing: DirectoryListing, inode: int = 0) -> None:
        """Count one reader of *listing*, which is kept until it is released as often.

        *inode* is the number of the directory, if the kernel is given what is read.
        """
        self._readers[listing] = self._readers.get(listing, 0) + 1
        directory = self.get((listing.bucket, listing.prefix))
        was_unreferenced, listing.is_unreferenced = listing.is_unreferenced, False
        if directory is None or directory.listing is not listing:
            self._detach(listing, inode)  # the directory may have been evicted
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
        """All directories that are not packed, as of now; without counting a use of them."""
        return list(self._directories.values())

    @property
    def directory_count(self) -> int:
        return len(self._directories) + self._packed.count

    @property
    def entry_count(self) -> int:
        return self._entry_count + self._packed.entry_count

    @property
    def weight(self) -> int:
        """What all that is kept weighs, in bytes."""
        return self._kept_weight + self._detached_weight

    @property
    def _kept_weight(self) -> int:
        return self._unpacked_weight + self._packed.weight

    @property
    def hidden_count(self) -> int:
        """How many keys and prefixes below the directories no file name can spell."""
        return self._hidden_count

    def clear(self, until: float = math.inf) -> Iterator[None]:
        """Drop all directories, and the content of those that callers hold.

        The returned iterator drops those that are packed, one a step, as they may be very many: all
        that were requested up to *until*. They are not found any more, dropped or not.
        """
        for directory in self.snapshot():
            self.forget(directory)
        return self._drop_packed(self._packed.candidates(), "", until)

    def forget_below(self, prefix: str, until: float = math.inf) -> Forgotten:
        """`clear` of the directory *prefix* and all in it."""
        below = [each for each in self.snapshot() if each.prefix.startswith(prefix)]
        count = sum(directory.entry_count for directory in below)
        for directory in below:
            self.forget(directory)
        numbers = self._packed.numbers_below(prefix)
        count += sum(map(self._packed.entry_count_of, numbers))
        return Forgotten(count, self._drop_packed(numbers, prefix, until))

    def _drop_packed(self, numbers: Iterable[int], prefix: str, until: float) -> Iterator[None]:
        self._dropping[prefix] = until
        return self._drop_each(numbers, prefix, until)

    def _drop_each(self, numbers: Iterable[int], prefix: str, until: float) -> Iterator[None]:
        for number in numbers:
            if self._packed.is_packed(number) and self._is_forgotten(number):
                self._inodes.drop_packed(number)
            yield
        if self._dropping.get(prefix) == until:
            del self._dropping[prefix]

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
        number = None if directory is not None else self._find_packed(key)
        if directory is not None:
            self._remove(directory)
            self._give_up(directory)
        elif number is not None:
            self._evict_packed(number)

    @property
    def _room(self) -> int:
        """What directories may weigh."""
        return max(0, self.limit - self._detached_weight)

    def _insert(self, directory: DirectoryState) -> None:
        """Keep *directory*; without its listing if that is too large, or not at all."""
        if self._kept_weight + directory.weight <= self._room:  # mostly
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
        self._recent[directory.key] = None
        directory.counted_entries = directory.entry_count
        directory.counted_hidden = directory.hidden_count
        directory.counted_weight = directory.weight
        self._count(directory, 1)
        while len(self._recent) > UNPACKED_MAX:
            self._pack(self._directories[self._recent.popitem(last=False)[0]])

    def _pack(self, directory: DirectoryState) -> None:
        """Pack *directory*, if it can be."""
        self._uses += 1
        directory.used_at = self._uses
        is_read = directory.listing in self._readers
        if not is_read and self._inodes.pack(directory, self._uses):
            self._remove(directory)

    def _find_packed(self, key: DirectoryKey) -> int | None:
        """The number of the directory *key*, if it is packed, and not forgotten."""
        number = self._packed.find(key) if self._packed.count else None
        if number is None or not self._is_forgotten(number):
            return number
        self._inodes.drop_packed(number)
        return None

    def _is_forgotten(self, number: int) -> bool:
        """Whether a packed directory was forgotten, and is only to be dropped yet."""
        return any(
            self._packed.is_below(number, prefix) and self._packed.requested_at(number) <= until
            for prefix, until in self._dropping.items()
        )

    def _unpack_referenced(self, number: int) -> None:
        """Unpack a directory, or leave what is packed to the kernel if it is forgotten."""
        if self._is_forgotten(number):
            self._inodes.drop_packed(number)
        else:
            self._unpack(number)

    def _unpack(self, number: int) -> DirectoryState:
        listing, inode = self._packed.take(number)
        directory = DirectoryState((listing.bucket, listing.prefix), self._invalidations)
        directory.inode = inode
        directory.scan = ListingScan(listing, None)
        if not listing.is_unreferenced:
            for page in _pages_of(listing):
                self._inodes.restore(number, page)
        if inode:
            self._inodes.expand((inode,))
        self._insert(directory)
        return directory

    def _remove(self, directory: DirectoryState) -> None:
        del self._directories[directory.key]
        self._recent.pop(directory.key, None)
        self._count(directory, -1)

    def _count(self, directory: DirectoryState, sign: Literal[-1, 1]) -> None:
        """Add what was counted of *directory* to the totals, or take it out."""
        self._unpacked_weight += sign * directory.counted_weight
        self._entry_count += sign * directory.counted_entries
        self._hidden_count += sign * directory.counted_hidden

    def _evict(self, most: int) -> None:
        """Evict the least recently used directories, until the others weigh at most *most*."""
        while self._kept_weight > most:
            oldest = next(iter(self._directories.values()), None)
            packed = self._packed.oldest()
            is_recent = oldest is None or oldest.key in self._recent
            if packed is not None and (oldest is None or is_recent or packed[1] < oldest.used_at):
                self._evict_packed(packed[0])
            elif oldest is not None:
                self._remove(oldest)
                self._give_up(oldest)
            else:
                return

    def _evict_packed(self, number: int) -> None:
        page, inode = self._packed.page(number), self._packed.inode(number)
        references = self._inodes.drop_packed(number)
        if page is not None:
            page.reference_count = references  # of what is packed, of which it is a copy
            self._on_evicted(inode, [page])

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
