"""A directory that no listing has is there by its name, whatever is cached of its parent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from s3mount.config import StoreConfig, TreeConfig
from s3mount.errors import NotFound
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.handles.open_directories import DOTS
from s3mount.filesystem.names import ViewNames
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.model import VersionPage, VersionQuery
from s3mount.s3.object_store import RequestPriority
from s3mount.s3.views.escaped_view import EscapedView
from s3mount.s3.views.key_escape import KeyEscape, key_of
from s3mount.s3.views.versions_view import VersionsView, version_named
from tests.fakes.memory_store import BUCKET
from tests.fakes.versioned_store import VersionedStore
from tests.property.filesystem_factory import make_filesystem

NAME = b".versions"


@asynccontextmanager
async def file_system(
    store: VersionedStore, escape: KeyEscape | None = None
) -> AsyncIterator[FileSystem]:
    versions = VersionsView(store, BUCKET)
    async with trio.open_nursery() as nursery:
        yield make_filesystem(
            versions if escape is None else EscapedView(versions, BUCKET, ""),
            nursery,
            TreeConfig(uid=0, gid=0),
            StoreConfig(bucket=BUCKET),
            trio.current_time,
            names=ViewNames(frozenset((NAME,)), escape),
        )
        nursery.cancel_scope.cancel()


async def names_in(filesystem: FileSystem, inode: int) -> list[bytes]:
    handle, names, offset = filesystem.directories.open(inode), list[bytes](), DOTS
    while (place := await filesystem.directories.handle(handle).read(offset)) is not None:
        names += [place.page.name(index) for index in range(place.start, len(place.page))]
        offset = place.base + len(place.page)
    filesystem.directories.release(handle)
    return names


async def test_a_complete_listing_does_not_deny_it(autojump_clock: trio.testing.MockClock) -> None:
    assert autojump_clock is not None
    store = VersionedStore({f"d/{number:03}": b"" for number in range(100)})
    async with file_system(store) as filesystem:
        tree = filesystem.tree
        directory = (await tree.lookup(ROOT, b"d")).inode
        for _ in range(2):  # the second time after the metadata has expired
            assert len(await names_in(filesystem, directory)) == 100
            assert NAME not in await names_in(filesystem, directory)
            sent = len(store.requests)
            with pytest.raises(NotFound):
                await tree.lookup(directory, b"absent")
            assert len(store.requests) == sent

            found = await tree.lookup(directory, NAME)

            assert found.size < 0
            sent = len(store.requests)
            assert (await tree.lookup(directory, NAME)).inode == found.inode
            assert len(await names_in(filesystem, found.inode)) == 100
            assert len(store.requests) == sent
            await trio.sleep(100)


async def test_where_nothing_has_a_version_it_is_absent() -> None:
    async with file_system(VersionedStore({"d/a": b""})) as filesystem:
        assert await names_in(filesystem, ROOT) == [b"d"]
        with pytest.raises(NotFound):
            await filesystem.tree.lookup(ROOT, NAME)


async def test_its_names_are_no_evidence_of_the_order_of_the_store() -> None:
    store = VersionedStore({"a": b"", "a-b": b"", "a.c": b""})
    for number in range(40):
        store.put("a", b"%d" % number)
    async with file_system(store) as filesystem:
        order = filesystem.tree.cache.order
        before = order.keys_needed
        found = await filesystem.tree.lookup(ROOT, NAME)

        names = await names_in(filesystem, found.inode)

        assert len(set(names)) == len(names) == 43
        assert order.keys_needed is not None
        assert before is not None
        assert order.keys_needed <= before
        for name in names[::10]:
            assert (await filesystem.tree.lookup(found.inode, name)).size >= 0


async def test_a_walk_through_it_finds_its_files() -> None:
    store = VersionedStore({f"{top}/{name}": b"" for top in "abc" for name in "xyz"})
    async with file_system(store) as filesystem:
        for top in await names_in(filesystem, ROOT):
            directory = (await filesystem.tree.lookup(ROOT, top)).inode
            assert len(await names_in(filesystem, directory)) == 3
            versions = (await filesystem.tree.lookup(directory, NAME)).inode
            assert len(await names_in(filesystem, versions)) == 3


class SlowStore(VersionedStore):
    """A store whose pages of versions take a moment, so that more are requested ahead."""

    async def list_versions(
        self, query: VersionQuery, priority: RequestPriority | None = None
    ) -> VersionPage:
        await trio.sleep(0.1)
        return await VersionedStore.list_versions(self, query, priority)


async def test_a_huge_one_is_listed_whole(autojump_clock: trio.testing.MockClock) -> None:
    assert autojump_clock is not None
    store = SlowStore({f"{number:04}": b"" for number in range(2000)}, version_page_size=100)
    for number in range(0, 2000, 2):
        store.put(f"{number:04}", b"2")
    async with file_system(store) as filesystem:
        versions = (await filesystem.tree.lookup(ROOT, NAME)).inode

        names = await names_in(filesystem, versions)

        assert len(set(names)) == len(names) == 3000
        assert len(await names_in(filesystem, ROOT)) == 2000


async def files_below(filesystem: FileSystem, inode: int, path: bytes = b"") -> list[bytes]:
    """The paths of all files that a walk finds."""
    found = []
    for name in await names_in(filesystem, inode):
        entry = await filesystem.tree.lookup(inode, name)
        if entry.size < 0:
            found += await files_below(filesystem, entry.inode, path + name + b"/")
        else:
            found.append(path + name)
    return found


@pytest.mark.parametrize("parent", ["", "d/", "d//", "e/./"])
async def test_over_long_names_in_it_are_whole_if_no_key_is_hidden(parent: str) -> None:
    """Parts of them are directories in it, and their names come in no order either."""
    long = ["n" * 190, "n" * 230, "n" * 230 + "-b", "n" * 500, "n" * 199 + "@", "n" * 199 + "é"]
    store = VersionedStore(dict.fromkeys([parent + each for each in [*long, "n", "\0"]], b""))
    for each in long * 30:
        store.put(parent + each, b"2")
    store.delete(parent + long[0])
    async with file_system(store, KeyEscape()) as filesystem:
        order, inode = filesystem.tree.cache.order, ROOT
        path = b"".join(
            b"%b/" % name.encode()
            for component in parent.split("/")[:-1]
            for name in KeyEscape().names(component, is_directory=True)
        )
        for name in (path + NAME).split(b"/"):
            inode = (await filesystem.tree.lookup(inode, name)).inode
        needed = order.keys_needed

        files = await files_below(filesystem, inode, path + NAME + b"/")

        keys = [key_of(each.decode("utf-8", "surrogateescape")) for each in files]
        found = sorted(version_named(each.key) or ("", "") for each in keys if each is not None)
        rows = [row for rows in store.history.values() for row, _ in rows]
        assert found == sorted(
            (row.key, row.version_id) for row in rows if not row.is_delete_marker
        )
        assert order.keys_needed == needed


async def test_no_scan_starts_at_a_directory_that_scans_pass_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A scan would find nothing in it, and its file names are not absent for that."""
    assert autojump_clock is not None
    store = VersionedStore({f"d/{number:03}": b"" for number in range(100)})
    async with file_system(store) as filesystem:
        directory = (await filesystem.tree.lookup(ROOT, b"d")).inode
        versions = (await filesystem.tree.lookup(directory, NAME)).inode
        await trio.sleep(10000)
        await names_in(filesystem, directory)
        sent = len(store.requests)

        assert len(await names_in(filesystem, versions)) == 100

        await trio.testing.wait_all_tasks_blocked()
        kinds = [request.kind for request in store.requests[sent:]]
        assert kinds == ["LIST", "HEAD", "LIST"]  # keys of its own, an object, and versions


async def test_an_object_of_its_name_is_one_file_whatever_is_asked_first() -> None:
    for is_listed_first in (False, True):
        store = VersionedStore({"a": b"", ".versions": b"body"})
        async with file_system(store) as filesystem:
            if is_listed_first:
                assert NAME in await names_in(filesystem, ROOT)

            assert (await filesystem.tree.lookup(ROOT, NAME)).size == 4
