"""Packed directories: small listings that are complete and not in use, at a fraction of the memory.

Pure. Invariants:

1. A directory is packed or not, never both: what is looked at is unpacked before.
2. References of the kernel into a packed directory point to its number, and are not counted. When
   it is unpacked, its references are counted anew.
3. What was evicted is *detached* while the kernel refers to it: it is found by its number only, and
   weighs nothing more, as an evicted page.
4. The totals are those of the packed directories that are not detached. Their weight has what the
   inode table needs for the entries, less what it does not need for the directory in its parent.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from sys import byteorder
from typing import Final, Literal

from s3mount.filesystem import weights
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.listing_state import ListingSource
from s3mount.filesystem.listing.packed_listing import (
    PackedHeader,
    detached,
    entry_count,
    header,
    inodes_of,
    is_below,
    is_detached,
    is_of,
    pack,
    prefix_of,
    unpack,
    unpack_page,
)
from s3mount.filesystem.names import decode, encode
from s3mount.filesystem.namespace.directory import DirectoryState
from s3mount.filesystem.namespace.invalidations import DirectoryKey
from s3mount.filesystem.namespace.page_table import PageTable

COMPACT_MAX: Final = 4  # entries of a directory whose references take less memory when packed
_BATCH = 256  # of the oldest directories that are looked for at once


class _Sources:
    """Sources of listings by number, each as long as a packed listing has it."""

    def __init__(self) -> None:
        # by number, with how many listings have it; numbers by the identity of what is in them
        self._sources: dict[int, tuple[ListingSource, int]] = {}
        self._numbers: dict[tuple[str, int, int, int], int] = {}
        self._last_number = 0

    def __getitem__(self, number: int) -> ListingSource:
        return self._sources[number][0]

    def add(self, source: ListingSource) -> int:
        """Count one listing of *source*; its number."""
        identity = _identity(source)
        number = self._numbers.get(identity)
        if number is None:
            self._last_number += 1
            number = self._numbers[identity] = self._last_number
        self._sources[number] = source, self._sources.get(number, (source, 0))[1] + 1
        return number

    def release(self, number: int) -> None:
        """Count one listing less."""
        source, count = self._sources[number]
        if count > 1:
            self._sources[number] = source, count - 1
        else:
            del self._sources[number], self._numbers[_identity(source)]


class PackedDirectories:
    """Packed directories in the table *pages*; *weight* is their cost in memory, in bytes."""

    def __init__(self, pages: PageTable) -> None:
        self._pages = pages
        self._sources = _Sources()
        self._oldest: deque[tuple[int, bytes]] = deque()  # some of them
        self.count = self.entry_count = self.weight = 0

    def add(self, directory: DirectoryState, used_at: int) -> bool:
        """Pack *directory*, last used *used_at*; False if it has more than can be packed."""
        listing = directory.packable_listing
        state = None if listing is None else listing.state()
        if listing is None or state is None:
            return False
        page = listing.pages[0] if listing.pages else None
        number = self._number_of(directory.key, page)
        if number is None:
            return False
        source = self._sources.add(listing.source)
        packed = pack(state, page, source=source, used_at=used_at, inode=directory.inode)
        if packed is None:
            self._sources.release(source)
            return False
        self._pages.put(number, packed)
        if page is not None:  # readers that still have it are none of the packed directory's
            page.reference_count = page.table_number = 0
        self._count(header(packed), len(packed), 1)
        return True

    def find(self, key: DirectoryKey) -> int | None:
        """The number of the directory *key*, if it is packed."""
        for number, packed in self._pages.packed_at(key):
            if is_of(packed, key[1]) and self._key_of(packed) == key:
                return number
        return None

    def take(self, number: int) -> tuple[DirectoryListing, int]:
        """Remove a directory: its listing, and its inode number."""
        packed = self._packed(number)
        fields = header(packed)
        listing = unpack(packed, self._sources[fields.source])
        self.remove(number)
        return listing, fields.inode

    def remove(self, number: int) -> None:
        """Remove a directory, or what is detached."""
        packed = self._packed(number)
        fields = header(packed)
        self._pages.remove(number)
        if not is_detached(packed):
            self._count(fields, len(packed), -1)
        self._sources.release(fields.source)

    def detach(self, number: int) -> None:
        """Make the directory no one's, as the kernel refers to entries of it."""
        packed = self._packed(number)
        self._count(header(packed), len(packed), -1)
        self._pages.put(number, detached(packed))

    def inode(self, number: int) -> int:
        """The inode number of the directory."""
        return header(self._packed(number)).inode

    def entry_inodes(self, number: int) -> Sequence[int]:
        """The inode numbers of its entries, by index."""
        return inodes_of(self._packed(number))

    def page(self, number: int) -> EntryPage | None:
        """A copy of the page of *number*."""
        packed = self._packed(number)
        return unpack_page(packed, self._sources[header(packed).source].bucket)

    def oldest(self) -> tuple[int, int] | None:
        """The number of the directory that was packed first, and when it was used."""
        while self.count:
            if not self._oldest:
                self._oldest.extend(islice(self._items(), _BATCH))
            number, packed = self._oldest[0]
            if self._pages.get(number) is packed:
                return number, header(packed).used_at
            self._oldest.popleft()
        return None

    def numbers(self) -> list[int]:
        """The numbers of all directories as of now."""
        return [number for number, _ in self._items()]

    def candidates(self) -> list[int]:
        """`numbers` and others, faster."""
        return self._pages.numbers()

    def is_packed(self, number: int) -> bool:
        """Whether *number* is that of a packed directory, which is not detached."""
        packed = self._pages.get(number)
        return isinstance(packed, bytes) and not is_detached(packed)

    def is_below(self, number: int, prefix: str) -> bool:
        """Whether *number* is that of the directory *prefix*, or of one in it."""
        return is_below(self._packed(number), encode(prefix))

    def requested_at(self, number: int) -> float:
        """When the directory was requested."""
        return header(self._packed(number)).requested_at

    def numbers_below(self, prefix: str) -> list[int]:
        """The numbers of *prefix* and of all directories in it."""
        above = encode(prefix)
        return [
            number
            for number, packed in self._pages.items()  # as `_items`, faster
            if isinstance(packed, bytes) and is_below(packed, above) and not is_detached(packed)
        ]

    def entry_count_of(self, number: int) -> int:
        return entry_count(self._packed(number))

    def search(self, inode: int, numbers: Iterable[int]) -> Iterator[DirectoryKey | None]:
        """Yield the key of each directory that may have *inode*, or be it, and None for others.

        Of *numbers* those are looked at that are packed once their turn comes.
        """
        for number in numbers:
            packed = self._pages.get(number)
            if isinstance(packed, bytes) and not is_detached(packed):
                is_found = inode.to_bytes(8, byteorder) in packed
                yield self._key_of(packed) if is_found else None

    def _items(self) -> Iterator[tuple[int, bytes]]:
        """All directories by number, the oldest first; none may be put or removed meanwhile."""
        for number, packed in self._pages.items():
            if isinstance(packed, bytes) and not is_detached(packed):
                yield number, packed

    def _number_of(self, key: DirectoryKey, page: EntryPage | None) -> int | None:
        """The number under which to pack a directory of *page*."""
        if page is None or not page.reference_count:
            return self._pages.free_number(key)
        return page.table_number if self._pages.is_hashed(page.table_number) else None

    def _key_of(self, packed: bytes) -> DirectoryKey:
        return self._sources[header(packed).source].bucket, decode(prefix_of(packed))

    def _packed(self, number: int) -> bytes:
        packed = self._pages[number]
        assert isinstance(packed, bytes)
        return packed

    def _count(self, fields: PackedHeader, length: int, sign: Literal[-1, 1]) -> None:
        inodes = 0 if fields.is_unreferenced else fields.entry_count
        inode = weights.INODE if inodes > COMPACT_MAX else weights.COMPACT_INODE
        saved = weights.INODE - weights.COMPACT_INODE if fields.inode else 0
        self.count += sign
        self.entry_count += sign * fields.entry_count
        self.weight += sign * (weights.PACKED + length + inode * inodes - saved)


def _identity(source: ListingSource) -> tuple[str, int, int, int]:
    return source.bucket, id(source.order), id(source.names), id(source.prefetched_by)
