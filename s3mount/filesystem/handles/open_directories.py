"""Open directories: readdir offsets to entries, page by page.

An offset names a page and an index in one of the scans that the handle reads. Invariants:

1. An offset that was returned stays valid until the handle is rewound, whatever becomes of the
   directory, as long as the handle reads at most `SEGMENTS_MAX` scans.
2. When the page of an offset was trimmed, because the directory is too large to be kept and other
   readers are further on, the handle resumes in a scan of its own. That scan starts where the raw
   page started, without the names before the offset. So a name that was there all the time is
   returned exactly once, however the two scans are cut into pages.
3. After a rewind, the handle shows the directory as it is then.

See docs/decisions/directory-offsets.md.
"""

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from s3mount.errors import StoreError
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.tree import Tree
from s3mount.filesystem.prefetch.policy import PrefetchPolicy

DOTS = 2  # offsets 0 and 1 are `.` and `..`
SEGMENTS_MAX = 16  # more are only needed to seek about in a directory that is not kept
# An offset has 63 bits.
_INDEX_BITS = 16  # for ENTRIES_MAX
_PAGE_BITS = 31
_SEGMENT_BITS = 15


class EntrySlice(NamedTuple):
    """The entries of *page* from index *start* on; entry i has the offset *base* + i."""

    page: EntryPage
    start: int
    base: int


class _Segment(NamedTuple):
    """The *number*-th scan that a handle reads, from the offset *resumed_at* on (0: the start)."""

    number: int
    scan: ListingScan
    resumed_at: int

    def offset(self, page: int, index: int) -> int:
        """The offset of an entry; unique in all segments, however far each is read."""
        return (((self.number << _PAGE_BITS) | page) << _INDEX_BITS) + index + DOTS


class DirectoryHandle:
    """One open directory."""

    def __init__(
        self, inode: int, parent: int, tree: Tree, policies: Sequence[PrefetchPolicy]
    ) -> None:
        self.inode = inode
        self.parent = parent
        self._tree = tree
        self._policies = policies
        # by number, oldest first; the number of the newest is *_segment_count* - 1
        self._segments: dict[int, _Segment] = {}
        self._segment_count = 0
        self._last_page: tuple[int, int] | None = None  # segment and page, for the statistics

    async def rewind(self) -> None:
        """Start over, with the directory as it is now."""
        directory = self._tree.directory_of(self.inode)
        for policy in self._policies:
            await policy.before_readdir(directory)
        # which may have been packed, or evicted, while a policy waited
        directory = self._tree.directory_of(self.inode)
        scan = self._tree.cache.scan_for_reader(directory)
        self.close()
        self._add_segment(scan, 0)

    def close(self) -> None:
        while self._segments:
            self._tree.cache.directories.release(self._segments.popitem()[1].scan.listing)
        self._segment_count = 0
        self._last_page = None

    async def read(self, offset: int) -> EntrySlice | None:
        """The entries from *offset* on, which is at least DOTS; None at the end.

        A checkpoint only if it waits. Raises StoreError if the scan of *offset* was dropped.
        """
        if not self._segments:
            await self.rewind()
        while (found := self.read_nowait(offset)) is None:
            segment, page, index = self._locate(offset)
            scan = segment.scan
            if scan.is_trimmed_at(page):
                resumed = self._tree.cache.resume(scan.listing, page, index)
                self._add_segment(resumed, segment.offset(page, index))
            elif await scan.wait_page(page) is None and not scan.is_trimmed_at(page):
                return None
        return found

    def read_nowait(self, offset: int) -> EntrySlice | None:
        """The same, but None also if it would have to wait."""
        if not self._segments:
            return None
        segment, number, index = self._locate(offset)
        page = segment.scan.page_nowait(number)
        if page is None:
            return None
        if self._last_page != (segment.number, number):
            self._last_page = segment.number, number
            self._tree.cache.pages_read += 1
        return EntrySlice(page, index, segment.offset(number, 0))

    def _locate(self, offset: int) -> tuple[_Segment, int, int]:
        """The segment, and in it the page and index of *offset*; the page may not have come yet."""
        position, index = divmod(offset - DOTS, 1 << _INDEX_BITS)
        number, page = divmod(position, 1 << _PAGE_BITS)
        segment = self._segments.get(number)
        while True:
            resumed = self._segment_resumed_at(offset)
            if resumed is not None:  # which may have been trimmed and resumed, too
                segment, page, index = resumed, 0, 0
            elif segment is None:
                raise StoreError(
                    "the directory is too large to be kept, and this offset was left too long ago"
                )
            else:
                entries = segment.scan.page_nowait(page)
                if entries is None or index < len(entries):
                    return segment, page, index
                page, index = page + 1, 0
            offset = segment.offset(page, index)

    def _segment_resumed_at(self, offset: int) -> _Segment | None:
        if len(self._segments) == 1:
            return None
        return next((each for each in self._segments.values() if each.resumed_at == offset), None)

    def _add_segment(self, scan: ListingScan, resumed_at: int) -> None:
        number = self._segment_count if resumed_at else 0
        if number >> _SEGMENT_BITS:
            raise StoreError(
                "the directory is too large to be kept, and was read at too many offsets"
            )
        self._tree.cache.directories.acquire(scan.listing, self.inode)
        self._segments[number] = _Segment(number, scan, resumed_at)
        self._segment_count = number + 1
        if len(self._segments) > SEGMENTS_MAX:
            oldest = next(iter(self._segments))
            self._tree.cache.directories.release(self._segments.pop(oldest).scan.listing)


class OpenDirectories:
    """Open directories by file handle number."""

    def __init__(self, tree: Tree, policies: Sequence[PrefetchPolicy]) -> None:
        self._tree = tree
        self._policies = policies
        self._handles: dict[int, DirectoryHandle] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._handles)

    def open(self, inode: int) -> int:
        """Open a directory; the number of its handle. Raises NotADirectory."""
        prefix = self._tree.prefix(inode)
        number = next(self._numbers)
        parent = self._tree.parent_inode(prefix)
        self._handles[number] = DirectoryHandle(inode, parent, self._tree, self._policies)
        return number

    def handle(self, number: int) -> DirectoryHandle:
        return self._handles[number]

    def release(self, number: int) -> None:
        self._handles.pop(number).close()
