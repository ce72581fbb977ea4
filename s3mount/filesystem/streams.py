"""Directories being read: offsets in, entries out, page by page.

An offset names a place in one pass over the directory, which the stream holds: it stays valid for the life of the stream, whatever
becomes of the directory meanwhile. Reading from the start again shows the directory as it is then.
"""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import NamedTuple

from s3mount.filesystem.entries import Entries
from s3mount.filesystem.passes import Pass
from s3mount.filesystem.tree import Tree
from s3mount.filesystem.walks import Walks

DOTS = 2  # offsets 0 and 1 are `.` and `..`
_INDEX_BITS = 16  # as Entries holds no more


class DirectoryStream:
    """One open directory; *listing* gives the pass to read, whenever reading starts over."""

    def __init__(self, inode: int, parent: int, listing: Callable[[], Awaitable[Pass]]) -> None:
        self.inode = inode
        self.parent = parent
        self._listing = listing
        self._passage: Pass | None = None

    async def rewind(self) -> None:
        """Start over, with the directory as it is now."""
        self._passage = await self._listing()

    async def place(self, offset: int) -> "Place | None":
        """Where the entries from *offset* (DOTS or more) on are found; None behind the last. A checkpoint only if it waits."""
        number = _page_of(offset)
        # it may be too large to be kept, and others have read on
        if self._passage is None or self._passage.is_trimmed_at(number):
            await self.rewind()
        assert self._passage is not None
        while (place := self.held(offset)) is None:
            if await self._passage.wait_page(number) is None:
                return None
            number += 1
        return place

    def held(self, offset: int) -> "Place | None":
        """`place`, where that needs no waiting; None also where it does."""
        passage = self._passage
        number, index = divmod(offset - DOTS, 1 << _INDEX_BITS)
        if passage is None:
            return None
        while (entries := passage.page(number)) is not None:
            if index < len(entries):
                return Place(entries, index, (number << _INDEX_BITS) + DOTS)
            number, index = number + 1, 0
        return None


def _page_of(offset: int) -> int:
    return (offset - DOTS) >> _INDEX_BITS


class Place(NamedTuple):
    """Entries to go on with from *start*; entry i has the offset *base* + i."""

    entries: Entries
    start: int
    base: int


class OpenDirectories:
    """Handles, and the streams behind them."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._walks = Walks(tree.catalog)
        self._streams: dict[int, DirectoryStream] = {}
        self._handles = count(1)

    def __len__(self) -> int:
        return len(self._streams)

    def open(self, inode: int) -> int:
        """A handle on a stream of the directory. NotADirectory."""
        prefix = self._tree.prefix(inode)
        handle = next(self._handles)
        self._streams[handle] = DirectoryStream(
            inode, self._tree.inode_above(prefix), lambda: self._walks.passage(self._tree.directory_of(inode))
        )
        return handle

    def stream(self, handle: int) -> DirectoryStream:
        return self._streams[handle]

    def release(self, handle: int) -> None:
        del self._streams[handle]
