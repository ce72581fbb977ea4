"""Inode table: inode numbers and lookup counts, as the kernel holds them.

Pure. Holds each number that the kernel was given until the kernel forgets it as often. A number
stands for an entry (page and index), which is packed with the lookup count into one integer, as a
dict of a million inodes has no room for objects. The integer has 60 bits: CPython's takes 32 bytes
then, and 48 beyond. So a count has 15 bits, and what is above is *carried* to a dict of its own.
There are many small dicts, as CPython copies a dict that grows: one of 1.3 million inodes takes
40 MB twice then, and the event loop for 90 ms. The only writer of pages' inode numbers.

The page of an entry may be packed with its directory (`packed_directories`): it is unpacked when
the entry is looked at, and then its references are counted. The references to a packed directory,
and to its entries if they are few, move to a map of less memory and more CPU time.

Invariant: a reference is in its dict or in the compact map, never in both. It may be in either,
whatever is packed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from s3mount.errors import StaleVersion
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.packed_listing import inodes_of, is_below, is_detached
from s3mount.filesystem.names import encode
from s3mount.filesystem.namespace.compact_map import CompactMap
from s3mount.filesystem.namespace.directory import DirectoryState
from s3mount.filesystem.namespace.packed_directories import COMPACT_MAX, PackedDirectories
from s3mount.filesystem.namespace.page_table import PageTable

ROOT = 1  # FUSE_ROOT_ID, see linux/fuse.h
SHRINK_FACTOR = 4  # a page is shrunk if at most one of so many of its entries is referred to
_SHARD_MASK = 63  # bits of an inode number that choose its dict; one is always set, so 32 are used
_COUNT_BITS = 16
_READ_BIT = 1 << 15  # the highest of them: bytes of the inode were read
_INDEX_BITS = 16  # for ENTRIES_MAX
_COUNT_MASK = _READ_BIT - 1
_MOVED_MIN = 64  # references that have moved from a dict before it is copied: it does not shrink
_CARRY = 1 << 14  # lookups that are carried at once, when the count is full
_STATE_MASK = (1 << _COUNT_BITS) - 1  # the count, and whether it was read
_INDEX_MASK = (1 << _INDEX_BITS) - 1


class InodeTable:
    """The inodes that the kernel refers to, but for the root, which lives as long as the mount."""

    def __init__(self) -> None:
        # by inode number: the page's number, the index in it, and the lookup count
        self._references: list[dict[int, int]] = [{} for _ in range(_SHARD_MASK + 1)]
        # the same of packed directories, and of entries in them; by dict, how many have moved here
        self._compact = CompactMap()
        self._moved = [0] * len(self._references)
        # of those few that are looked up very often: lookups beyond that count
        self._carried: dict[int, int] = {}
        # each page that a reference points to (`EntryPage.reference_count`), and what is packed
        self._pages = PageTable()
        self.packed = PackedDirectories(self._pages)
        # unpacks the directory of a number and restores its page, or drops the directory;
        # `DirectoryLru` sets it
        self.unpack: Callable[[int], object] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._references)) + self._compact.count

    def add_reference(self, page: EntryPage, index: int) -> int:
        """Count one lookup of an entry; its inode number, stable while a reference lives."""
        inode = page.inode(index)
        references = self._references[inode & _SHARD_MASK]  # as `_get`, faster
        reference = references.get(inode)
        if reference is None and not (self._compact.count and self._compact.get(inode)):
            self._retain(page)
            references[inode] = (page.table_number << _INDEX_BITS | index) << _COUNT_BITS | 1
            return inode
        target = page.table_number << _INDEX_BITS | index
        if reference is not None and reference >> _COUNT_BITS == target:
            references[inode] = self._incremented(inode, reference)
            return inode
        return self._add_other(inode, page, index)

    def forget(self, inode: int, count: int) -> None:
        """Take back *count* lookups; the last one takes the inode with it."""
        references = self._references[inode & _SHARD_MASK]  # as `_get`, faster
        reference = references.get(inode)
        if reference is None:
            reference = self._compact.get(inode)
        if reference is None:
            return
        left = (reference & _COUNT_MASK) - count
        if left <= 0 and inode in self._carried:
            left += self._carried.pop(inode)
            if left > _CARRY:
                self._carried[inode] = left - _CARRY
                left = _CARRY
        if left > 0:
            self._put(inode, reference & ~_COUNT_MASK | left)
            return
        if references.pop(inode, None) is None:
            self._compact.pop(inode)
        number = reference >> (_COUNT_BITS + _INDEX_BITS)
        page = self._pages[number]
        if isinstance(page, EntryPage):
            self._release(page)
        elif is_detached(page) and not self._count_references(number, inodes_of(page)):
            self.packed.remove(number)

    def resolve(self, inode: int) -> tuple[EntryPage, int]:
        """The entry of *inode*. StaleVersion if the kernel holds no reference to it."""
        found = self.get(inode)
        if found is None:
            raise StaleVersion(f"inode {inode} is not known")
        return found

    def get(self, inode: int) -> tuple[EntryPage, int] | None:
        """The entry of *inode*; None if the kernel holds no reference to it."""
        reference = self._get(inode)
        if reference is None:
            return None
        target = reference >> _COUNT_BITS
        return self._page(target >> _INDEX_BITS), target & _INDEX_MASK

    def mark_read(self, inode: int) -> None:
        """Record that the kernel may have bytes of *inode*, until it forgets the inode."""
        reference = self._get(inode)
        if reference is not None:
            self._put(inode, reference | _READ_BIT)

    def was_read(self, inode: int) -> bool:
        """Whether a reader that has gone may have left bytes of *inode* in the kernel."""
        return bool((self._get(inode) or 0) & _READ_BIT)

    def stands_for(self, page: EntryPage, index: int) -> bool:
        """Whether an inode of the kernel's stands for just this entry of *page*."""
        reference = self._get(page.inode(index)) or 0  # page numbers are not 0
        return bool(page.reference_count) and reference >> _COUNT_BITS == (
            page.table_number << _INDEX_BITS | index
        )

    def shrink(self, page: EntryPage) -> None:
        """Move few references into a large *page* to a page of their own, so that *page* can go."""
        if page.reference_count * SHRINK_FACTOR > len(page):
            return
        referenced = [index for index in range(len(page)) if self.stands_for(page, index)]
        subset = page.subset(referenced)
        for at, index in enumerate(referenced):
            inode = page.inode(index)
            subset.move_inode(at, inode)
            self._point(inode, subset, at, (self._get(inode) or 0) & _STATE_MASK)
            self._release(page)

    def pages(self, below: str = "") -> Iterator[EntryPage]:
        """The pages of the directory *below* and of all in it that references point to.

        Of packed ones copies.
        """
        return (page for page in self.search_pages(below) if page is not None)

    def search_pages(self, below: str = "") -> Iterator[EntryPage | None]:
        """Yield the same, and None for each other page that is looked at."""
        prefix = encode(below)
        for number in self._pages.numbers():
            item = self._pages.get(number)
            if isinstance(item, EntryPage):
                yield item if item.prefix.startswith(below) else None
            else:
                is_found = item is not None and is_below(item, prefix)
                yield self._copy_referenced(number) if is_found else None

    def _copy_referenced(self, number: int) -> EntryPage | None:
        """A copy of a packed page, if references point to it."""
        is_referenced = self._count_references(number, self.packed.entry_inodes(number))
        return self.packed.page(number) if is_referenced else None

    def pack(self, directory: DirectoryState, used_at: int) -> bool:
        """Pack *directory*, last used *used_at*; False if it has more than can be packed."""
        if not self.packed.add(directory, used_at):
            return False
        if directory.inode:  # else the kernel has not used it
            self._move(directory.inode)
            for page in directory.known_pages():
                for inode in page.inodes if len(page) <= COMPACT_MAX else ():
                    self._move(inode)
        return True

    def expand(self, inodes: Iterable[int]) -> None:
        """Make references fast to look at that `pack` has moved, if there are some."""
        for inode in inodes if self._compact.count else ():
            reference = self._compact.pop(inode)
            if reference is not None:
                self._references[inode & _SHARD_MASK][inode] = reference

    def restore(self, number: int, page: EntryPage) -> None:
        """Take the references of *number*, which was packed, for those of *page*."""
        page.reference_count = self._count_references(number, page.inodes)
        if page.reference_count:
            page.table_number = number
            self._pages.put(number, page)
        if len(page) <= COMPACT_MAX:
            self.expand(page.inodes)

    def _move(self, inode: int) -> None:
        """Move a reference, if there is one, to the compact map."""
        shard = inode & _SHARD_MASK
        references = self._references[shard]
        reference = references.get(inode)
        if reference is None:
            return
        self._compact.put(inode, reference)
        del references[inode]
        self._moved[shard] += 1
        if self._moved[shard] > len(references) + _MOVED_MIN:
            self._moved[shard] = 0
            self._references[shard] = dict(references)  # as small as it can be

    def drop_packed(self, number: int) -> int:
        """Drop a packed directory; how many of its entries the kernel refers to.

        If it refers to any, what is packed is kept for these until the last reference goes.
        """
        count = self._count_references(number, self.packed.entry_inodes(number))
        if count:
            self.packed.detach(number)
        else:
            self.packed.remove(number)
        return count

    def _page(self, number: int) -> EntryPage:
        """The page of *number*, which is unpacked if need be."""
        page = self._pages[number]
        if isinstance(page, bytes) and not is_detached(page) and self.unpack is not None:
            self.unpack(number)  # or detach it
            page = self._pages[number]
        if isinstance(page, bytes):
            self._unpack_detached(number)
            page = self._pages[number]
        assert isinstance(page, EntryPage)  # restored, because a reference points to it
        return page

    def _unpack_detached(self, number: int) -> None:
        page = self.packed.page(number)
        self.packed.remove(number)
        if page is not None:
            self.restore(number, page)

    def _count_references(self, number: int, inodes: Sequence[int]) -> int:
        """How many references point to the page of *number* that has *inodes*."""
        target = number << _INDEX_BITS
        count = 0
        for index, inode in enumerate(inodes):
            reference = self._get(inode) or 0
            count += reference >> _COUNT_BITS == target | index
        return count

    def _get(self, inode: int) -> int | None:
        """What is packed into one integer of *inode*; None if it is not referred to, else not 0."""
        reference = self._references[inode & _SHARD_MASK].get(inode)
        if reference is None and self._compact.count:
            return self._compact.get(inode)
        return reference

    def _put(self, inode: int, reference: int) -> None:
        """Set what `_get` returns, where it is."""
        references = self._references[inode & _SHARD_MASK]
        if self._compact.count and inode not in references and self._compact.get(inode):
            self._compact.put(inode, reference)
        else:
            references[inode] = reference

    def _add_other(self, inode: int, page: EntryPage, index: int) -> int:
        """Count a lookup: take *inode* over from an equal entry, or move on to a free number."""
        while (reference := self._get(inode)) is not None:
            target = reference >> _COUNT_BITS
            other, at = self._page(target >> _INDEX_BITS), target & _INDEX_MASK
            if other.is_same(at, page, index):
                self._point(inode, page, index, self._incremented(inode, reference) & _STATE_MASK)
                self._release(other)
                return inode
            inode += 1
            page.move_inode(index, inode)
        self._point(inode, page, index, 1)
        return inode

    def _incremented(self, inode: int, reference: int) -> int:
        """*reference* with one lookup more."""
        if reference & _COUNT_MASK == _COUNT_MASK:
            self._carried[inode] = self._carried.get(inode, 0) + _CARRY
            reference -= _CARRY
        return reference + 1

    def _point(self, inode: int, page: EntryPage, index: int, state: int) -> None:
        self._retain(page)
        self._put(inode, (page.table_number << _INDEX_BITS | index) << _COUNT_BITS | state)

    def _retain(self, page: EntryPage) -> None:
        if not page.reference_count:
            self._pages.add(page)
        page.reference_count += 1

    def _release(self, page: EntryPage) -> None:
        page.reference_count -= 1
        if not page.reference_count:
            self._pages.remove(page.table_number)
            page.table_number = 0  # the number may become that of another page
