"""What a warm-up makes of files whose versions GET denies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from s3mount.cache.block_cache import BlockCache
from s3mount.config import BlockConfig, StoreConfig, TreeConfig
from s3mount.errors import StoreError, UnknownVersion
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.warming.warm_up import WarmUps
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_store import Priority
from tests.fakes.lying_store import LyingStore
from tests.fakes.memory_store import BUCKET, MemoryStore, Request
from tests.property.filesystem_factory import make_filesystem

BODIES = {f"d/{number}": bytes([number]) * 100 for number in range(5)}


@dataclass
class Mount:
    """A file system with a block cache, whose warm-ups are of all of it."""

    store: MemoryStore
    filesystem: FileSystem
    blocks: BlockCache

    async def warm(self) -> dict[str, object]:
        warm_ups = WarmUps(self.filesystem.tree, self.blocks.warming, tuple, 32)
        warm_up = warm_ups.begin([()], listing_only=False, jobs=4, is_dry=False)
        await warm_up.list()
        await warm_up.fetch()
        progress = warm_up.progress()
        assert progress["files_done"] == progress["files"]
        return dict(warm_up.result())

    async def read(self, key: str) -> bytes:
        """Read a file as the version that its entry is."""
        prefix, _, name = key.rpartition("/")
        page, index = await self.filesystem.tree.find(f"{prefix}/", name.encode())
        reader = self.blocks.open(page.version(index))
        try:
            return bytes(await reader.read(0, page.sizes[index]))
        finally:
            reader.close()

    def counts(self) -> dict[str, int]:
        return dict(self.store.counts())


@asynccontextmanager
async def mount_of(store: MemoryStore) -> AsyncIterator[Mount]:
    async with trio.open_nursery() as nursery:
        filesystem = make_filesystem(
            store,
            nursery,
            TreeConfig(uid=0, gid=0),
            StoreConfig(bucket=BUCKET),
            trio.current_time,
        )
        blocks = BlockCache(store, nursery, BlockConfig())
        yield Mount(store, filesystem, blocks)
        nursery.cancel_scope.cancel()


async def test_files_that_the_store_lists_with_other_sizes_are_warmed_by_what_get_tells() -> None:
    async with mount_of(LyingStore(BODIES, listed_bytes=3)) as mount:
        result = await mount.warm()

        before = mount.counts()
        assert (result["fetched_files"], result["failed_count"]) == (5, 0)
        assert {key: await mount.read(key) for key in BODIES} == BODIES
        assert mount.counts() == before


async def test_what_was_corrected_before_is_warmed_at_once() -> None:
    async with mount_of(LyingStore(BODIES, listed_bytes=3)) as mount:
        await mount.warm()
        mount.filesystem.tree.cache.invalidate_all()
        mount.blocks = BlockCache(mount.store, mount.blocks._loader._nursery, BlockConfig())
        before = mount.counts()["GET"]

        result = await mount.warm()

        assert (result["fetched_files"], result["bytes"]) == (5, 500)
        assert mount.counts()["GET"] == before + 5


async def test_an_entry_that_the_kernel_refers_to_is_left_to_its_open() -> None:
    async with mount_of(LyingStore(BODIES, listed_bytes=3)) as mount:
        tree, files = mount.filesystem.tree, mount.filesystem.files
        directory = await tree.lookup(ROOT, b"d")
        found = await tree.lookup(directory.inode, b"1")
        result = await mount.warm()

        assert tree.attributes(found.inode).size == found.size == 103
        assert (result["fetched_files"], result["failed_count"]) == (5, 0)
        again = await mount.warm()
        assert (again["already"], again["fetched_files"]) == (5, 0)
        handle = await files.open(found.inode)
        assert bytes(await files.read(handle, 0, 100)) == BODIES["d/1"]
        files.release(handle)


async def test_a_file_that_was_replaced_is_warmed_as_it_is_now() -> None:
    store = MemoryStore(BODIES)
    async with mount_of(store) as mount:
        await mount.warm()
        for key in BODIES:
            store.put(key, key.encode() * 50)
        mount.blocks = BlockCache(store, mount.blocks._loader._nursery, BlockConfig())

        result = await mount.warm()

        assert (result["fetched_files"], result["failed_count"]) == (5, 0)
        assert await mount.read("d/3") == b"d/3" * 50


@dataclass(slots=True)
class UntellingStore(MemoryStore):
    """Store whose responses to reads do not tell their version."""

    async def _read(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: memoryview,
        priority: Priority = Priority.DEMAND,
    ) -> None:
        await MemoryStore._read(self, version, span, into, priority)
        raise UnknownVersion("a response without ETag", key=version.key)


async def test_a_file_whose_version_no_response_tells_fails_by_that() -> None:
    async with mount_of(UntellingStore(BODIES)) as mount:
        result = await mount.warm()

        assert result["failed_count"] == 5
        failed = result["failed"]
        assert isinstance(failed, list)
        assert {each["message"] for each in failed} == {"a response without ETag"}


async def test_a_store_that_goes_away_is_asked_about_few_of_the_denied_files() -> None:
    store = LyingStore({f"d/{number}": b"x" for number in range(300)}, listed_bytes=3)
    asked: list[Request] = []

    async def go_away(request: Request) -> None:
        await trio.lowlevel.checkpoint()
        if asked or (request.kind == "GET" and request.span == ByteRange(0, 1)):
            asked.append(request)
            raise StoreError("the store is away", key=request.key)

    async with mount_of(store) as mount:
        store.before = go_away
        result = await mount.warm()

    failed = result["failed"]
    assert isinstance(failed, list)
    assert result["failed_count"] == 300
    assert "not fetched, since the store failed too often in a row" in str(failed)
    assert len(asked) < 40
