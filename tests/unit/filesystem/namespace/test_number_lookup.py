"""Lookup by inode number, of entries that the kernel has forgotten."""

import pytest
import trio

from s3mount.errors import UnknownHandle
from s3mount.filesystem.namespace import directory_lru, time_slice
from s3mount.filesystem.namespace.inode_table import ROOT
from tests.fakes.memory_store import BUCKET, MemoryStore
from tests.unit.filesystem.namespace.test_tree import file_system, names_in


async def test_an_entry_is_found_in_a_listing_and_by_a_lookup() -> None:
    store = MemoryStore()
    for key in ("d/a", "d/e/b", "c"):
        store.put(key, b"1")
    async with file_system(store) as filesystem:
        await names_in(filesystem, b"d")
        (c,) = [(await filesystem.tree.lookup(ROOT, b"c")).inode]
        d = (await filesystem.tree.lookup(ROOT, b"d")).inode
        a = (await filesystem.tree.lookup(d, b"a")).inode
        e = (await filesystem.tree.lookup(d, b"e")).inode
        for inode in (a, c, d, e):
            filesystem.tree.inodes.forget(inode, 99)
        requests = len(store.requests)

        found = [(await filesystem.numbers.lookup(inode)).inode for inode in (a, c, d, e)]

        assert found == [a, c, d, e]
        assert len(store.requests) == requests
        assert len(filesystem.tree.inodes) == 4


async def test_the_directory_of_an_entry_is_found() -> None:
    store = MemoryStore()
    store.put("d/e/b", b"1")
    async with file_system(store) as filesystem:
        d = (await filesystem.tree.lookup(ROOT, b"d")).inode
        e = (await filesystem.tree.lookup(d, b"e")).inode
        b = (await filesystem.tree.lookup(e, b"b")).inode
        for inode in (d, e, b):
            filesystem.tree.inodes.forget(inode, 99)

        above = [(await filesystem.numbers.lookup_parent(each)).inode for each in (b, e, d, ROOT)]

        assert above == [e, d, ROOT, ROOT]
        assert (await filesystem.numbers.lookup(ROOT)).inode == ROOT


@pytest.mark.parametrize("body", [b"2", None])
async def test_a_replaced_or_deleted_file_is_unknown(body: bytes | None) -> None:
    store = MemoryStore()
    store.put("a", b"1")
    async with file_system(store, metadata_ttl=1.0) as filesystem:
        a = (await filesystem.tree.lookup(ROOT, b"a")).inode
        filesystem.tree.inodes.forget(a, 1)
        store.delete("a")
        if body is not None:
            store.put("a", body)
        await trio.sleep(2)

        with pytest.raises(UnknownHandle):
            await filesystem.numbers.lookup(a)

        assert len(filesystem.tree.inodes) == 0


async def test_an_entry_is_found_whose_directory_is_unpacked_during_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(directory_lru, "UNPACKED_MAX", 1)
    store = MemoryStore()
    for key in ("d/a", "e/a"):
        store.put(key, b"1")
    async with file_system(store) as filesystem:
        tree = filesystem.tree
        for name in (b"d", b"e"):
            await names_in(filesystem, name)
        d = await tree.lookup(ROOT, b"d")
        a = (await tree.lookup(d.inode, b"a")).inode
        tree.inodes.forget(a, 99)
        for prefix in ("new/", "newer/"):
            tree.cache.directory(prefix)
        assert tree.inodes.packed.find((BUCKET, "d/")) is not None

        search = filesystem.numbers._search(a)
        next(search)
        tree.cache.find_directory("d/")

        assert [(place.prefix, place.name) for place in search if place] == [("d/", b"a")]


async def test_a_number_that_is_not_known_is_searched_in_slices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time_slice, "SLICE", -1.0)
    store = MemoryStore()
    for number in range(20):
        store.put(f"{number}/a", b"1")
    async with file_system(store) as filesystem:
        for number in range(20):
            await names_in(filesystem, b"%d" % number)
        served = 0

        async def serve_others() -> None:
            nonlocal served
            while True:
                served += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_others)
            with pytest.raises(UnknownHandle):
                await filesystem.numbers.lookup(12345)
            nursery.cancel_scope.cancel()

        assert served > 10


async def test_directories_without_entries_are_searched_in_slices_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time_slice, "SLICE", -1.0)
    async with file_system(MemoryStore()) as filesystem:
        for number in range(20):
            filesystem.tree.cache.directory(f"{number}/")
        with trio.CancelScope() as scope:
            scope.cancel()
            with pytest.raises(trio.Cancelled):
                await filesystem.numbers.lookup(12345)
            await trio.lowlevel.checkpoint()

        assert scope.cancelled_caught
