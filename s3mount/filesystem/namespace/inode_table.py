"""Inode numbers and lookup counts: what the kernel knows us by, and for how long.

Pure. Every number the kernel has been given stands here with its lookup count, until the kernel forgets as many. What a number
means is an entry (columns and index), packed with the count into one integer: a dict of a million inodes has no room for objects.
"""

from s3mount.errors import StaleVersion
from s3mount.filesystem.listing.entry_page import EntryPage

ROOT = 1  # FUSE_ROOT_ID, see linux/fuse.h
SHRINK_FACTOR = 4  # a page is shrunk if at most one of so many of its entries is referred to
_COUNT_BITS = 48  # a name that is looked up 10,000 times a second fills 32 in five days
_INDEX_BITS = 16  # for ENTRIES_MAX
_COUNT_MASK = (1 << _COUNT_BITS) - 1
_INDEX_MASK = (1 << _INDEX_BITS) - 1


class InodeTable:
    """The inodes that the kernel holds references to; the root is not among them, it lives as long as the mount."""

    def __init__(self) -> None:
        # a reference is the number of its entries, the index in them, and the lookup count; the entries themselves are kept
        # for as long as a reference points there (`live`)
        self._references: dict[int, int] = {}
        self._pages: dict[int, EntryPage] = {}
        self._last_number = 0

    def __len__(self) -> int:
        return len(self._references)

    def add_reference(self, entries: EntryPage, index: int) -> int:
        """One more reference to an entry that is being told to the kernel; its number, stable while any reference lives."""
        inode = entries.inode(index)
        reference = self._references.get(inode)
        if (
            reference is not None
            and reference >> _COUNT_BITS == entries.table_number << _INDEX_BITS | index
        ):
            self._references[inode] = reference + 1
            return inode
        return self._place(inode, entries, index)

    def forget(self, inode: int, count: int) -> None:
        """Take back *count* references; the last takes the inode with it."""
        reference = self._references.get(inode)
        if reference is None:
            return
        if reference & _COUNT_MASK > count:
            self._references[inode] = reference - count
            return
        del self._references[inode]
        self._release(self._pages[reference >> (_COUNT_BITS + _INDEX_BITS)])

    def resolve(self, inode: int) -> tuple[EntryPage, int]:
        """The entry that *inode* stands for. StaleVersion where the kernel holds no reference to it (a stale NFS handle, say)."""
        reference = self._references.get(inode)
        if reference is None:
            raise StaleVersion(f"inode {inode} is not known")
        target = reference >> _COUNT_BITS
        return self._pages[target >> _INDEX_BITS], target & _INDEX_MASK

    def shrink(self, entries: EntryPage) -> None:
        """Have the references to a few of many *entries* hold a page of their own, so that the others can go."""
        if entries.reference_count * SHRINK_FACTOR > len(entries):
            return
        places = [
            index
            for index in range(len(entries))
            if self._references.get(entries.inode(index), -1) >> _COUNT_BITS
            == entries.table_number << _INDEX_BITS | index
        ]
        page = entries.subset(places)
        for at, index in enumerate(places):
            inode = entries.inode(index)
            page.move_inode(at, inode)
            self._point(inode, page, at, self._references[inode] & _COUNT_MASK)
            self._release(entries)

    def pages(self) -> list[EntryPage]:
        """All that references point to."""
        return list(self._pages.values())

    def _place(self, inode: int, entries: EntryPage, index: int) -> int:
        """One more reference to an entry that *inode* does not stand for so far, or the first one: move it there, or on to a free number."""
        while (reference := self._references.get(inode)) is not None:
            target = reference >> _COUNT_BITS
            other, at = self._pages[target >> _INDEX_BITS], target & _INDEX_MASK
            if other.is_same(at, entries, index):
                self._point(inode, entries, index, (reference & _COUNT_MASK) + 1)
                self._release(other)
                return inode
            inode += 1
            entries.move_inode(index, inode)
        self._point(inode, entries, index, 1)
        return inode

    def _point(self, inode: int, entries: EntryPage, index: int, count: int) -> None:
        if not entries.reference_count:
            self._last_number += 1
            entries.table_number = self._last_number
            self._pages[entries.table_number] = entries
        entries.reference_count += 1
        self._references[inode] = (
            (entries.table_number << _INDEX_BITS | index) << _COUNT_BITS
        ) | count

    def _release(self, entries: EntryPage) -> None:
        entries.reference_count -= 1
        if not entries.reference_count:
            del self._pages[entries.table_number]
