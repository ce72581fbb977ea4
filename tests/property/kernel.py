"""Simulated kernel: looks up names, reads directories, counts references and forgets them.

Calls `filesystem` as `fuse` does, a few entries a reply, and checks what the kernel relies on.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import trio
import trio.testing

from s3mount.config import StoreConfig, TreeConfig
from s3mount.errors import NotFound, S3MountError
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.handles.open_directories import DOTS
from s3mount.filesystem.names import NameEscape, ViewNames
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.object_store import ObjectStore
from tests.fakes.memory_store import BUCKET, MemoryStore
from tests.property.filesystem_factory import ORDERED_PAGE, make_filesystem
from tests.reference import Directory, Node, tree_of

Result = TypeVar("Result")

REPLY = 2  # entries in one readdir reply; the real one holds some 25


@dataclass
class Clock:
    """Clock that a test sets."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Seen:
    """Inode and size that a lookup or a readdir returned; the size of a directory is negative."""

    inode: int
    size: int

    @property
    def is_directory(self) -> bool:
        return self.size < 0


@dataclass
class Kernel:
    """Kernel with its references to inodes, one for each lookup and each entry of a readdir."""

    filesystem: FileSystem
    references: dict[int, int] = field(default_factory=dict)

    async def lookup(self, parent: int, name: bytes) -> Seen | None:
        """Look up *name*; returns None if it is absent."""
        try:
            attributes = await self.filesystem.tree.lookup(parent, name)
        except NotFound:
            return None
        return self._hold(attributes.inode, attributes.size)

    async def resolve(self, path: bytes) -> Seen | None:
        """Look up *path* by components; an empty path is the root."""
        seen: Seen | None = Seen(ROOT, -1)
        for name in path.split(b"/") if path else ():
            if seen is None or not seen.is_directory:
                return None
            seen = await self.lookup(seen.inode, name)
        return seen

    async def readdir(self, inode: int) -> list[tuple[bytes, Seen]]:
        """Return all entries of a directory, with opendir and releasedir."""
        handle = self.opendir(inode)
        try:
            return await self.read_entries(handle)
        finally:
            self.filesystem.directories.release(handle)

    def opendir(self, inode: int) -> int:
        return self.filesystem.directories.open(inode)

    async def read_entries(
        self, handle: int, offset: int = 0, limit: int = 1 << 30
    ) -> list[tuple[bytes, Seen]]:
        """Return at most *limit* entries after *offset*, read reply by reply."""
        return [(name, seen) for name, seen, _ in await self.read_places(handle, offset, limit)]

    async def read_places(
        self, handle: int, offset: int = 0, limit: int = 1 << 30
    ) -> list[tuple[bytes, Seen, int]]:
        """Return the same as `read_entries`, each with the offset after it."""
        stream = self.filesystem.directories.handle(handle)
        if offset == 0:
            await stream.rewind()
        offset = max(offset, DOTS)
        entries_read: list[tuple[bytes, Seen, int]] = []
        while len(entries_read) < limit and (place := await stream.read(offset)) is not None:
            entries, start, base = place
            for index in range(start, min(start + REPLY, len(entries))):
                self.filesystem.tree.versions.apply(entries, index)
                inode = self.filesystem.tree.inodes.add_reference(entries, index)
                attributes = self.filesystem.tree.describe(inode, entries, index)
                entries_read.append(
                    (entries.name(index), self._hold(inode, attributes.size), base + index + 1)
                )
                offset = base + index + 1
        return entries_read

    def forget_all(self) -> None:
        """Forget every reference, as the kernel does under memory pressure and at unmount."""
        for inode, count in self.references.items():
            self.filesystem.tree.inodes.forget(inode, count)
        self.references.clear()

    def _hold(self, inode: int, size: int) -> Seen:
        assert inode != ROOT
        self.references[inode] = self.references.get(inode, 0) + 1
        return Seen(inode, size)


@asynccontextmanager
async def kernel_on(
    store: ObjectStore,
    clock: Callable[[], float],
    *,
    is_proven: bool = False,
    location: StoreConfig = StoreConfig(bucket=BUCKET),  # noqa: B008 - it is frozen
    escape: NameEscape | None = None,
    **tree: float,
) -> AsyncIterator[Kernel]:
    """Make a kernel and a file system over *store*, and check that no inode is left at the end.

    With *is_proven* the store has proved its key order, so that a small tree is prefetched too.
    """
    config = TreeConfig(uid=0, gid=0, **tree)  # type: ignore[arg-type]  # lifetimes and limits only
    async with trio.open_nursery() as nursery:
        kernel = Kernel(
            make_filesystem(store, nursery, config, location, clock, names=ViewNames(escape=escape))
        )
        if is_proven:
            kernel.filesystem.tree.cache.order.note_page(ORDERED_PAGE)
        yield kernel
        kernel.forget_all()
        assert len(kernel.filesystem.tree.inodes) == 0, (
            "references were given back, and inodes stay"
        )
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def walk(kernel: Kernel, inode: int = ROOT) -> Directory[int]:
    """Read the whole tree, files by their sizes; fails if a name comes twice."""
    tree: Directory[int] = Directory()
    for name, seen in await kernel.readdir(inode):
        assert name not in tree, f"{name!r} comes twice"
        tree[name] = await walk(kernel, seen.inode) if seen.is_directory else seen.size
    return tree


async def answers(call: Awaitable[Result]) -> Result | None:
    """Await *call*; returns None if it failed with an expected error."""
    try:
        return await call
    except S3MountError:
        return None


def truth(store: MemoryStore) -> Directory[int]:
    """Return the tree that a mount of *store* shows now."""
    return tree_of({key: len(body) for key, body in store.bodies.items()})


def kind(node: Node[int] | None) -> str:
    """Return a word for the kind of *node*."""
    return (
        "nothing"
        if node is None
        else "directory"
        if isinstance(node, Directory)
        else f"file of {node}"
    )
