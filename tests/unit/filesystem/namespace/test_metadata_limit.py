"""A walk through very many small directories takes little memory a name, and keeps to the limit."""

import gc
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from s3mount.config import BlockConfig, StoreConfig, TreeConfig
from s3mount.daemon.filesystem_wiring import prefetch_policies
from s3mount.errors import NotFound
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.handles.open_directories import OpenDirectories
from s3mount.filesystem.handles.open_files import OpenFiles
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace import directory_lru
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.namespace.number_lookup import NumberLookup
from s3mount.filesystem.namespace.tree import build_tree
from s3mount.s3.model import ListedObject, ListPage, ListQuery, ObjectStat, Reason
from s3mount.s3.object_store import OnToken, RequestPriority
from tests.fakes.unasked_store import UnaskedStore
from tests.property.filesystem_factory import UncachedBlocks

TOPS = 3
DIRECTORIES = 1000  # in each of them
NAMES = 6000  # files in all, if memory is counted by the name
PAGE = 1000
UNPACKED = 16  # directories that are not packed, so that those that are outweigh them
LIMIT = 1 << 19
SLACK = 6 << 20  # pages in flight, and the walker's own lists; unpacked it is 7 MiB in all


class ManyDirectories(UnaskedStore):
    """*tops* directories of `DIRECTORIES` directories of *files* files each, by arithmetic."""

    def __init__(self, tops: int, files: int) -> None:
        self._tops = tops
        self._files = files

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,  # noqa: ARG002
        on_token: OnToken | None = None,  # noqa: ARG002
    ) -> ListPage:
        await trio.lowlevel.checkpoint()
        parts = query.prefix.split("/")[:-1]
        if query.delimiter == "":
            return self._keys(query)
        if not parts:
            return ListPage([], [f"{top:02}/" for top in range(self._tops)], None)
        if len(parts) == 1:
            return ListPage(
                [], [f"{query.prefix}{number:04}/" for number in range(DIRECTORIES)], None
            )
        first = (int(parts[0]) * DIRECTORIES + int(parts[1])) * self._files
        return ListPage([self._listed(first + at) for at in range(self._files)], [], None)

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:  # noqa: ARG002
        await trio.lowlevel.checkpoint()
        raise NotFound("no such key", key=key)

    def _keys(self, query: ListQuery) -> ListPage:
        """An undelimited page of what is left of one top directory."""
        top, _, rest = (query.start_after or query.prefix).partition("/")
        first = int(top or 0) * DIRECTORIES + int(rest.strip("/") or 0)
        at = int(query.token) if query.token else first * self._files
        end = (at // (DIRECTORIES * self._files) + 1) * DIRECTORIES * self._files
        stop = min(at + PAGE, end)
        is_last = stop == end and (stop == self._count or query.prefix != "")
        objects = [self._listed(number) for number in range(at, stop)]
        return ListPage(objects, [], None if is_last else str(stop))

    @property
    def _count(self) -> int:
        return self._tops * DIRECTORIES * self._files

    def _listed(self, number: int) -> ListedObject:
        directory, file = divmod(number, self._files)
        top, directory = divmod(directory, DIRECTORIES)
        return ListedObject(f"{top:02}/{directory:04}/file-{file:02}", 1, 0, f"{number:032x}")


class ForgetfulKernel:
    """Holds references as the kernel does, and forgets those dropped that are not in use."""

    def __init__(self) -> None:
        self.filesystem: FileSystem
        self.in_use: set[int] = set()
        self._counts: dict[int, int] = {}

    def hold(self, inode: int) -> None:
        self._counts[inode] = self._counts.get(inode, 0) + 1

    def drop(self, parent: int, entries: EntryPage) -> None:  # noqa: ARG002
        for index in range(len(entries)):
            inode = entries.inode(index)
            if inode in self._counts and inode not in self.in_use:
                self.filesystem.tree.inodes.forget(inode, self._counts.pop(inode))

    def drop_name(self, parent: int, name: bytes) -> None: ...
    def drop_each(self, pages: Iterable[tuple[int, EntryPage] | None]) -> None: ...
    def drop_all(self) -> None: ...
    def expire_attributes(self, inode: int) -> None: ...


class LastingKernel(ForgetfulKernel):
    """Forgets nothing, and takes no memory of its own."""

    def hold(self, inode: int) -> None: ...


async def find(filesystem: FileSystem, kernel: ForgetfulKernel, inode: int) -> int:
    """Walk everything below *inode*; the number of its files."""
    kernel.in_use.add(inode)
    handle = filesystem.directories.open(inode)
    stream, offset, files, directories = filesystem.directories.handle(handle), 2, 0, []
    while (place := await stream.read(offset)) is not None:
        for index in range(place.start, len(place.page)):
            kernel.hold(filesystem.tree.inodes.add_reference(place.page, index))
            if place.page.is_directory(index):
                directories.append(place.page.name(index))
            else:
                files += 1
        offset = place.base + len(place.page)
    filesystem.directories.release(handle)
    for name in directories:
        child = (await filesystem.tree.lookup(inode, name)).inode
        kernel.hold(child)
        files += await find(filesystem, kernel, child)
    kernel.in_use.discard(inode)
    return files


@asynccontextmanager
async def mounted(
    store: ManyDirectories, kernel: ForgetfulKernel, limit: int
) -> AsyncIterator[None]:
    """A file system of *store* under *kernel*."""
    config = TreeConfig(uid=0, gid=0, metadata_limit=limit, metadata_ttl=3600.0)
    async with trio.open_nursery() as nursery:
        tree = build_tree(
            store,
            nursery,
            config,
            StoreConfig(bucket="bucket"),
            clock=trio.current_time,
            mounted_ns=0,
            first_bytes=lambda _version, _head: None,
            kernel=kernel,
        )
        policies = prefetch_policies(tree, frozenset(), BlockConfig().memory_limit)
        files_of_tree = OpenFiles(tree, UncachedBlocks(store), policies)
        kernel.filesystem = FileSystem(
            tree, files_of_tree, OpenDirectories(tree, policies), NumberLookup(tree)
        )
        gc.collect()
        tracemalloc.start()
        try:
            yield
        finally:
            tracemalloc.stop()
            nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def _few_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_lru, "UNPACKED_MAX", UNPACKED)


async def test_a_walk_through_many_small_directories_stays_near_the_limit(
    autojump_clock: MockClock,  # noqa: ARG001 - a busy machine must not look like a slow store
) -> None:
    kernel = ForgetfulKernel()
    async with mounted(ManyDirectories(TOPS, 1), kernel, LIMIT):
        files = await find(kernel.filesystem, kernel, ROOT)
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()

    assert files == TOPS * DIRECTORIES
    assert kernel.filesystem.tree.cache.directories.weight <= LIMIT
    assert held <= LIMIT + SLACK / 6
    assert peak <= LIMIT + SLACK


@pytest.mark.parametrize(("files", "most"), [(1, 200), (10, 200), (100, 200)])
async def test_a_name_takes_little_memory_however_many_are_in_a_directory(
    autojump_clock: MockClock,  # noqa: ARG001
    files: int,
    most: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "DIRECTORIES", NAMES // files)
    kernel = LastingKernel()
    async with mounted(ManyDirectories(1, files), kernel, 1 << 40):
        before, _ = tracemalloc.get_traced_memory()
        assert await find(kernel.filesystem, kernel, ROOT) == NAMES
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()

    tree = kernel.filesystem.tree
    assert (held - before) / len(tree.inodes) <= most
    assert 0.9 <= tree.cache.directories.weight / (held - before) <= 1.1
