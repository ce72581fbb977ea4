"""Open files: each is one version of one object, for as long as it is open.

Opening makes sure that the version is current, within the metadata lifetime; reading never looks at names again.
"""

from itertools import count
from typing import NamedTuple, Protocol

from s3mount.errors import IsADirectory, StaleVersion
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.namespace.tree import Tree
from s3mount.filesystem.prefetch.sibling_prefetcher import SiblingPrefetcher
from s3mount.filesystem.prefetch.traversal_order import TraversalOrders
from s3mount.s3.model import ObjectVersion


class Reader(Protocol):
    """Reads one version; see `blocks`."""

    async def read(self, offset: int, size: int) -> bytes | bytearray | memoryview: ...
    def read_cached(self, offset: int, size: int) -> bytes | memoryview | None:
        """`read`, where that needs no waiting."""
        ...

    def close(self) -> None: ...


class Blocks(Protocol):
    """Where readers come from; see `blocks`."""

    def open(self, version: ObjectVersion) -> Reader: ...
    def prefetch(self, version: ObjectVersion) -> bool:
        """Begin to fetch a small object that nobody waits for yet; False where there is no room."""
        ...


class _OpenFile(NamedTuple):
    version: ObjectVersion
    reader: Reader


class OpenFiles:
    """Handles, and the readers behind them."""

    def __init__(self, tree: Tree, blocks: Blocks) -> None:
        self._tree = tree
        self._blocks = blocks
        self._siblings = SiblingPrefetcher(TraversalOrders(tree.pages_of, tree.root))
        self._files: dict[int, _OpenFile] = {}
        self._handles = count(1)

    def __len__(self) -> int:
        return len(self._files)

    async def open(self, inode: int) -> int:
        """A handle on the version that *inode* is. ReplacedBeforeOpen where it is no longer current: the kernel looks it up again then."""
        entries, index = self._resolve(inode)
        await self._tree.revalidate(entries, index)
        return self._open(entries, index)

    def open_current(self, inode: int) -> int | None:
        """`open`, where its version is known to be current; None where that has to be asked."""
        entries, index = self._resolve(inode)
        return self._open(entries, index) if self._tree.is_current(entries, index) else None

    async def read(self, handle: int, offset: int, size: int) -> bytes | bytearray | memoryview:
        """The bytes from *offset*, fewer than *size* only at the end; valid until the next checkpoint. StaleVersion, and the rest."""
        file = self._files[handle]
        try:
            return await file.reader.read(offset, size)
        except StaleVersion:
            self._tree.doubt(file.version)
            raise

    def read_cached(self, handle: int, offset: int, size: int) -> bytes | memoryview | None:
        """`read`, where that needs no waiting; else None."""
        return self._files[handle].reader.read_cached(offset, size)

    def release(self, handle: int) -> None:
        self._files.pop(handle).reader.close()

    def _resolve(self, inode: int) -> tuple[EntryPage, int]:
        if inode == ROOT:
            raise IsADirectory("is a directory")
        entries, index = self._tree.inodes.resolve(inode)
        if entries.is_directory(index):
            raise IsADirectory("is a directory", bucket=entries.bucket, key=entries.key(index))
        return entries, index

    def _open(self, entries: EntryPage, index: int) -> int:
        version = entries.version(index)
        self._fetch_siblings(entries, index)
        handle = next(self._handles)
        self._files[handle] = _OpenFile(version, self._blocks.open(version))
        return handle

    def _fetch_siblings(self, entries: EntryPage, index: int) -> None:
        for sibling in self._siblings.opened(entries, index):
            if not self._blocks.prefetch(sibling.entries.version(sibling.at)):
                return
