"""Open files: what prefetch policies are told of them."""

from collections.abc import Iterable

import trio
from trio.testing import MockClock

from s3mount.config import StoreConfig, TreeConfig
from s3mount.filesystem.handles.open_files import OpenFiles
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.filesystem.prefetch.traversal_order import EntryRef
from s3mount.s3.model import ObjectVersion
from tests.fakes.memory_store import MemoryStore
from tests.property.filesystem_factory import UncachedBlocks, make_filesystem


class OpenedFile(PrefetchPolicy):
    """Policy that records opens, and wants the file itself fetched."""

    def __init__(self) -> None:
        self.opened: list[str] = []

    def on_open(self, page: EntryPage, index: int) -> Iterable[EntryRef]:
        self.opened.append(page.key(index))
        return (EntryRef(page, index),)


async def test_each_policy_is_told_of_an_open_though_there_is_no_room_to_prefetch(
    autojump_clock: MockClock,
) -> None:
    del autojump_clock
    store = MemoryStore()
    store.put("a", b"bytes")
    store.put("b", b"bytes")
    policies = OpenedFile(), OpenedFile()
    async with trio.open_nursery() as nursery:
        config, location = TreeConfig(uid=0, gid=0), StoreConfig(bucket="bucket")
        tree = make_filesystem(store, nursery, config, location, trio.current_time).tree
        files = OpenFiles(tree, UncachedBlocks(store), policies)  # which never has room
        for name in (b"a", b"b"):  # what the first tells decides whether to prefetch others
            inode = (await tree.lookup(ROOT, name)).inode
            files.release(await files.open(inode))
        nursery.cancel_scope.cancel()

    assert [policy.opened for policy in policies] == [["a", "b"], ["a", "b"]]


class EndRecorder(UncachedBlocks):
    """Blocks that record the objects of which the end is wanted."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.ends: list[str] = []

    def prefetch_end(self, version: ObjectVersion) -> None:
        self.ends.append(version.key)


async def ends_wanted(names: list[str]) -> list[str]:
    """Return the objects of which the end is wanted when files of *names* are opened in turn."""
    store = MemoryStore()
    for name in names:
        store.put(name, b"bytes")
    blocks = EndRecorder(store)
    async with trio.open_nursery() as nursery:
        config, location = TreeConfig(uid=0, gid=0), StoreConfig(bucket="bucket")
        tree = make_filesystem(store, nursery, config, location, trio.current_time).tree
        files = OpenFiles(tree, blocks, ())
        for name in names:
            files.release(await files.open((await tree.lookup(ROOT, name.encode())).inode))
        nursery.cancel_scope.cancel()
    return blocks.ends


async def test_the_end_of_an_archive_comes_while_its_version_is_checked(
    autojump_clock: MockClock,
) -> None:
    del autojump_clock

    assert ["a.ZIP"] == await ends_wanted(["a.ZIP", "b.zip"])  # one check is enough for a mount


async def test_the_end_of_a_file_without_an_index_there_is_not_fetched(
    autojump_clock: MockClock,
) -> None:
    del autojump_clock

    assert [] == await ends_wanted(["a.txt"])
