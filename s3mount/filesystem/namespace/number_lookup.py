"""Lookup of an entry by its inode number alone: NFS and open_by_handle_at keep no names.

The kernel sends LOOKUP of "." and ".." for a number that it has forgotten. There is no index from
numbers to entries, which would cost memory for every name: the known listings are searched, some
10 ms for a million names, in slices, so that other requests are served in between. What is found is
looked up by its name, as any other, so a replaced version is never taken for the present one.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from s3mount.errors import NotFound, UnknownHandle
from s3mount.filesystem.names import encode, parent_of
from s3mount.filesystem.namespace.directory import DirectoryState
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.namespace.time_slice import TimeSlice
from s3mount.filesystem.namespace.tree import Attributes, Tree


class _Place(NamedTuple):
    """The directory of an entry, and its name there."""

    prefix: str
    name: bytes


class NumberLookup:
    """Lookup by inode number in *tree*."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    async def lookup(self, inode: int) -> Attributes:
        """Find *inode*, and count a reference. UnknownHandle if it is not known, or replaced."""
        if inode == ROOT:
            return self._tree.attributes(ROOT)
        return await self._lookup(await self._find(inode), inode)

    async def lookup_parent(self, inode: int) -> Attributes:
        """Find the directory of *inode*, and count a reference. UnknownHandle as `lookup`."""
        place = None if inode == ROOT else await self._find(inode)
        if place is None or place.prefix == self._tree.root:
            return self._tree.attributes(ROOT)
        return await self._lookup(_place_of(place.prefix), None)

    async def _lookup(self, place: _Place, inode: int | None) -> Attributes:
        try:
            attributes = await self._tree.lookup_in(place.prefix, place.name)
        except NotFound as exc:
            raise UnknownHandle("deleted since its handle was made", key=exc.key) from exc
        if inode in (None, attributes.inode):
            return attributes
        self._tree.inodes.forget(attributes.inode, 1)
        raise UnknownHandle(f"inode {inode} was replaced since its handle was made")

    async def _find(self, inode: int) -> _Place:
        """A checkpoint now and then. Raises UnknownHandle."""
        current = TimeSlice()
        for place in self._search(inode):
            if place is not None:
                return place
            if current.is_over:
                await current.next()
        raise UnknownHandle(f"inode {inode} is not known")

    def _search(self, inode: int) -> Iterator[_Place | None]:
        """Yield the place of *inode* once it is found, and None after each step before."""
        if (found := self._tree.inodes.get(inode)) is not None:
            yield _Place(found[0].prefix, found[0].name(found[1]))
        directories, packed = self._tree.cache.directories, self._tree.inodes.packed
        searched, numbers = directories.snapshot(), packed.numbers()
        yield from _search_unpacked(inode, searched)
        for key in packed.search(inode, numbers):
            directory = None if key is None else directories.get(key)
            yield from _search_unpacked(inode, [] if directory is None else [directory])
            yield None
        known = set(searched)
        unpacked_since = [each for each in directories.snapshot() if each not in known]
        yield from _search_unpacked(inode, unpacked_since)


def _search_unpacked(inode: int, directories: Iterable[DirectoryState]) -> Iterator[_Place | None]:
    for directory in directories:
        if directory.inode == inode:
            yield _place_of(directory.prefix)
        yield None  # it may have no pages
        for page in directory.known_pages():
            index = page.index_of(inode)
            yield None if index is None else _Place(page.prefix, page.name(index))


def _place_of(prefix: str) -> _Place:
    """The place of the directory *prefix*, which is not the root."""
    above = parent_of(prefix[:-1])
    return _Place(above, encode(prefix[len(above) : -1]))
