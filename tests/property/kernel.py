"""What the kernel does to a file system, without a kernel: it looks names up, reads directories, counts its references, forgets.

Drives `filesystem` as `fuse` does, a few entries a reply, and holds it to what the kernel relies on at every step.
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
from s3mount.filesystem.listing.order_evidence import PROOF
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.model import ListedObject, ListPage
from tests.property.assembling import assemble
from tests.property.shelf import BUCKET, Shelf
from tests.reference import Directory, Node, tree_of

Answer = TypeVar("Answer")

_IN_ORDER = ListPage(
    [ListedObject(f"{number:04}", 1, 0, "e") for number in range(PROOF + 1)], [], None
)
REPLY = 2  # entries in one readdir reply; the real one holds some 25


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Seen:
    """What a lookup or a readdir told of a name: its inode, and the size (negative for a directory)."""

    inode: int
    size: int

    @property
    def is_directory(self) -> bool:
        return self.size < 0


@dataclass
class Kernel:
    """References to inodes, each taken by a lookup or an entry of a readdir."""

    filesystem: FileSystem
    references: dict[int, int] = field(default_factory=dict)

    async def lookup(self, parent: int, name: bytes) -> Seen | None:
        """What *name* is; None where there is none."""
        try:
            attributes = await self.filesystem.tree.lookup(parent, name)
        except NotFound:
            return None
        return self._hold(attributes.inode, attributes.size)

    async def resolve(self, path: bytes) -> Seen | None:
        """What stands at *path*, component by component; the root for an empty path."""
        seen: Seen | None = Seen(ROOT, -1)
        for name in path.split(b"/") if path else ():
            if seen is None or not seen.is_directory:
                return None
            seen = await self.lookup(seen.inode, name)
        return seen

    async def readdir(self, inode: int) -> list[tuple[bytes, Seen]]:
        """All entries of a directory, with opendir and releasedir."""
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
        """The entries behind *offset*, at most *limit*, reply by reply."""
        return [(name, seen) for name, seen, _ in await self.read_places(handle, offset, limit)]

    async def read_places(
        self, handle: int, offset: int = 0, limit: int = 1 << 30
    ) -> list[tuple[bytes, Seen, int]]:
        """As `read_entries`, each with the offset behind it."""
        stream = self.filesystem.directories.handle(handle)
        if offset == 0:
            await stream.rewind()
        offset = max(offset, DOTS)
        told: list[tuple[bytes, Seen, int]] = []
        while len(told) < limit and (place := await stream.read(offset)) is not None:
            entries, start, base = place
            for index in range(start, min(start + REPLY, len(entries))):
                inode = self.filesystem.tree.inodes.add_reference(entries, index)
                attributes = self.filesystem.tree.describe(inode, entries, index)
                told.append(
                    (entries.name(index), self._hold(inode, attributes.size), base + index + 1)
                )
                offset = base + index + 1
        return told

    def forget_all(self) -> None:
        """Give every reference back, as the kernel does under memory pressure and at unmount."""
        for inode, count in self.references.items():
            self.filesystem.tree.inodes.forget(inode, count)
        self.references.clear()

    def _hold(self, inode: int, size: int) -> Seen:
        assert inode != ROOT
        self.references[inode] = self.references.get(inode, 0) + 1
        return Seen(inode, size)


@asynccontextmanager
async def kernel_on(
    shelf: Shelf, clock: Callable[[], float], *, is_proven: bool = False, **tree: float
) -> AsyncIterator[Kernel]:
    """A kernel over a file system over *shelf*; at the end, every reference given back leaves nothing.

    *is_proven*: the store has listed many keys in order before, so that walks are fetched ahead in a small tree, too.
    """
    config = TreeConfig(uid=0, gid=0, **tree)  # type: ignore[arg-type]  # lifetimes and limits only
    async with trio.open_nursery() as nursery:
        kernel = Kernel(assemble(shelf, nursery, config, StoreConfig(bucket=BUCKET), clock))
        if is_proven:
            kernel.filesystem.tree.cache.order.note_page(_IN_ORDER)
        yield kernel
        kernel.forget_all()
        assert len(kernel.filesystem.tree.inodes) == 0, (
            "references were given back, and inodes stay"
        )
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def walk(kernel: Kernel, inode: int = ROOT) -> Directory[int]:
    """The whole tree as readdir tells it; files by their sizes. Fails where a name comes twice."""
    tree: Directory[int] = Directory()
    for name, seen in await kernel.readdir(inode):
        assert name not in tree, f"{name!r} comes twice"
        tree[name] = await walk(kernel, seen.inode) if seen.is_directory else seen.size
    return tree


async def answers(question: Awaitable[Answer]) -> Answer | None:
    """What *question* says, or None where it failed as a file system may."""
    try:
        return await question
    except S3MountError:
        return None


def truth(shelf: Shelf) -> Directory[int]:
    """What the mount of *shelf* shows now."""
    return tree_of({key: len(body) for key, body in shelf.bodies.items()})


def kind(node: Node[int] | None) -> str:
    """What a name is, in a word."""
    return (
        "nothing"
        if node is None
        else "directory"
        if isinstance(node, Directory)
        else f"file of {node}"
    )
