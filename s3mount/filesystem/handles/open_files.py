"""Open files: each is one version of one object for as long as it is open.

Opening makes sure that the version is current, within the metadata TTL. Reading knows no names.
"""

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple, Protocol

from s3mount.errors import IsADirectory, StaleVersion
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.namespace.tree import Tree
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.s3.model import ObjectVersion


class Reader(Protocol):
    """Reader of one version; see `cache`."""

    async def read(self, offset: int, size: int) -> bytes | bytearray | memoryview: ...
    def read_cached(self, offset: int, size: int) -> bytes | memoryview | None:
        """The same, or None if it would have to wait."""
        ...

    def close(self) -> None: ...


class Blocks(Protocol):
    """Source of readers; see `cache`."""

    def open(self, version: ObjectVersion) -> Reader: ...
    def prefetch(self, version: ObjectVersion) -> bool:
        """Start to fetch a small object before it is opened; False if there is no room."""
        ...


class _OpenFile(NamedTuple):
    version: ObjectVersion
    reader: Reader


class OpenFiles:
    """Open files by file handle number."""

    def __init__(self, tree: Tree, blocks: Blocks, policies: Sequence[PrefetchPolicy]) -> None:
        self._tree = tree
        self._blocks = blocks
        self._policies = policies
        self._files: dict[int, _OpenFile] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._files)

    async def open(self, inode: int) -> int:
        """Open the version that *inode* is; the number of its handle.

        Raises ReplacedBeforeOpen if it is not current: the kernel then looks the name up again.
        """
        page, index = self._resolve(inode)
        await self._tree.revalidate(page, index)
        return self._open(page, index)

    def open_nowait(self, inode: int) -> int | None:
        """The same, or None if the version has to be revalidated."""
        page, index = self._resolve(inode)
        return self._open(page, index) if self._tree.is_current(page, index) else None

    async def read(self, handle: int, offset: int, size: int) -> bytes | bytearray | memoryview:
        """The bytes from *offset* on, fewer than *size* only at the end.

        They are valid until the next checkpoint. Raises StaleVersion, and the store's other errors.
        """
        file = self._files[handle]
        try:
            return await file.reader.read(offset, size)
        except StaleVersion:
            self._tree.invalidate(file.version)
            raise

    def read_cached(self, handle: int, offset: int, size: int) -> bytes | memoryview | None:
        """The same, or None if it would have to wait."""
        return self._files[handle].reader.read_cached(offset, size)

    def release(self, handle: int) -> None:
        self._files.pop(handle).reader.close()

    def _resolve(self, inode: int) -> tuple[EntryPage, int]:
        if inode == ROOT:
            raise IsADirectory("is a directory")
        page, index = self._tree.inodes.resolve(inode)
        if page.is_directory(index):
            raise IsADirectory("is a directory", bucket=page.bucket, key=page.key(index))
        return page, index

    def _open(self, page: EntryPage, index: int) -> int:
        version = page.version(index)
        self._prefetch(page, index)
        number = next(self._numbers)
        self._files[number] = _OpenFile(version, self._blocks.open(version))
        return number

    def _prefetch(self, page: EntryPage, index: int) -> None:
        for policy in self._policies:
            for following in policy.on_open(page, index):
                if not self._blocks.prefetch(following.page.version(following.at)):
                    return
