"""Directories being read: offsets in, entries out, page by page.

An offset names a place in one scan of the directory, which the stream holds. What always holds:

1. An offset that was told stays valid until the stream starts over, whatever becomes of the directory meanwhile, for as long as the
   stream goes on in at most `LEGS_MAX` scans.
2. Where the page of an offset was trimmed, since the directory is too large to be kept and others have read on, the stream goes on in
   a scan of its own, from where the raw page began and without the names that stood before the offset. So no name that was
   there all the time is lost or told twice, however the pages of the two scans are cut.
3. Reading from the start again shows the directory as it is then.
"""

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple, Protocol

from s3mount.errors import StoreError
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.tree import Tree
from s3mount.filesystem.prefetch.policy import PrefetchPolicy

DOTS = 2  # offsets 0 and 1 are `.` and `..`
LEGS_MAX = 16  # scans that a stream goes on in: more are only needed to jump about in a directory that is larger than the memory
_INDEX_BITS = 16  # for ENTRIES_MAX
_PAGE_BITS = 31
_LEG_BITS = 15  # for the numbers of scans; together 62 of the 63 that an offset has


class Scans(Protocol):
    """Where scans come from, and who counts their readers."""

    async def begin(self) -> ListingScan:
        """A scan of the directory as it is now."""
        ...

    def resume(self, listing: DirectoryListing, number: int, index: int) -> ListingScan: ...
    def acquire(self, listing: DirectoryListing) -> None: ...
    def release(self, listing: DirectoryListing) -> None: ...


class _Leg(NamedTuple):
    """A scan that the stream reads, the *number*th. It went on from the offset *resumed*; 0: from the start."""

    number: int
    passage: ListingScan
    resumed: int

    def offset(self, page: int, index: int) -> int:
        """The offset of entry *index* of *page*: no two legs have one in common, however far each is read."""
        return (((self.number << _PAGE_BITS) | page) << _INDEX_BITS) + index + DOTS


class DirectoryHandle:
    """One open directory. State: *_legs* by their numbers, the oldest first, the last of which is *_leg_count*."""

    def __init__(self, inode: int, parent: int, scans: Scans) -> None:
        self.inode = inode
        self.parent = parent
        self._scans = scans
        self._legs: dict[int, _Leg] = {}
        self._leg_count = 0

    async def rewind(self) -> None:
        """Start over, with the directory as it is now."""
        passage = await self._scans.begin()
        self.close()
        self._begin_leg(passage, 0)

    def close(self) -> None:
        """Let all scans go."""
        while self._legs:
            self._scans.release(self._legs.popitem()[1].passage.listing)
        self._leg_count = 0

    async def place(self, offset: int) -> "EntrySlice | None":
        """Where the entries from *offset* (DOTS or more) on are found; None behind the last. A checkpoint only if it waits.

        StoreError if the offset is one of a scan that the stream has let go.
        """
        if not self._legs:
            await self.rewind()
        while (place := self.held(offset)) is None:
            leg, page, index = self._locate(offset)
            if leg.passage.is_trimmed_at(page):
                self._begin_leg(
                    self._scans.resume(leg.passage.listing, page, index), leg.offset(page, index)
                )
            elif await leg.passage.wait_page(page) is None and not leg.passage.is_trimmed_at(page):
                return None
        return place

    def held(self, offset: int) -> "EntrySlice | None":
        """`place`, if that needs no waiting; None also if it does."""
        if not self._legs:
            return None
        leg, page, index = self._locate(offset)
        entries = leg.passage.page(page)
        return None if entries is None else EntrySlice(entries, index, leg.offset(page, 0))

    def _locate(self, offset: int) -> tuple[_Leg, int, int]:
        """The scan, and the page and index in it, where the entries from *offset* on begin; it may be a page that is still to come."""
        position, index = divmod(offset - DOTS, 1 << _INDEX_BITS)
        number, page = divmod(position, 1 << _PAGE_BITS)
        leg = self._legs.get(number)
        while True:
            following = self._resumed_at(offset)
            if following is not None:  # which may have been trimmed and gone on from, too
                leg, page, index = following, 0, 0
            elif leg is None:
                raise StoreError(
                    "the directory is too large to be kept, and this place in it was left long ago"
                )
            else:
                entries = leg.passage.page(page)
                if entries is None or index < len(entries):
                    return leg, page, index
                page, index = page + 1, 0
            offset = leg.offset(page, index)

    def _resumed_at(self, offset: int) -> _Leg | None:
        if len(self._legs) == 1:
            return None
        return next((leg for leg in self._legs.values() if leg.resumed == offset), None)

    def _begin_leg(self, passage: ListingScan, resumed: int) -> None:
        number = self._leg_count if resumed else 0
        if number >> _LEG_BITS:
            raise StoreError(
                "the directory is too large to be kept, and was read at too many places at once"
            )
        self._scans.acquire(passage.listing)
        self._legs[number] = _Leg(number, passage, resumed)
        self._leg_count = number + 1
        if len(self._legs) > LEGS_MAX:
            oldest = next(iter(self._legs))
            self._scans.release(self._legs.pop(oldest).passage.listing)


class EntrySlice(NamedTuple):
    """Entries to go on with from *start*; entry i has the offset *base* + i."""

    entries: EntryPage
    start: int
    base: int


class _DirectoryScans(NamedTuple):
    """`Scans` of the directory *inode*."""

    inode: int
    tree: Tree
    policies: Sequence[PrefetchPolicy]

    async def begin(self) -> ListingScan:
        directory = self.tree.directory_of(self.inode)
        for policy in self.policies:
            await policy.before_readdir(directory)
        return self.tree.catalog.passage(directory)

    def resume(self, listing: DirectoryListing, number: int, index: int) -> ListingScan:
        return self.tree.catalog.resume(listing, number, index)

    def acquire(self, listing: DirectoryListing) -> None:
        self.tree.catalog.known.acquire(listing)

    def release(self, listing: DirectoryListing) -> None:
        self.tree.catalog.known.release(listing)


class OpenDirectories:
    """Handles, and the streams behind them."""

    def __init__(self, tree: Tree, policies: Sequence[PrefetchPolicy]) -> None:
        self._tree = tree
        self._policies = policies
        self._streams: dict[int, DirectoryHandle] = {}
        self._handles = count(1)

    def __len__(self) -> int:
        return len(self._streams)

    def open(self, inode: int) -> int:
        """A handle on a stream of the directory. NotADirectory."""
        prefix = self._tree.prefix(inode)
        handle = next(self._handles)
        scans = _DirectoryScans(inode, self._tree, self._policies)
        self._streams[handle] = DirectoryHandle(inode, self._tree.inode_above(prefix), scans)
        return handle

    def stream(self, handle: int) -> DirectoryHandle:
        return self._streams[handle]

    def release(self, handle: int) -> None:
        self._streams.pop(handle).close()
