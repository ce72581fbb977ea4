"""What is believed of names while answers, doubts and refreshes come in any order; through the tree, over a store in memory."""
# ruff: noqa: ARG001, ARG002 - a clock is taken for its effect, and a protocol is kept

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from s3mount.config import StoreConfig, TreeConfig
from s3mount.errors import DeadlineExceeded, NotFound, StoreError
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.model import ListPage, ListQuery
from s3mount.s3.object_store import Demand, OnToken
from tests.fakes.memory_store import MemoryStore, Request
from tests.property.filesystem_factory import make_filesystem


@dataclass
class Held:
    """Requests that are held back until they are let through, by kind and key."""

    gates: dict[tuple[str, str], trio.Event]

    async def __call__(self, request: Request) -> None:
        gate = self.gates.get((request.kind, request.key))
        if gate is not None:
            await gate.wait()
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def file_system(store: MemoryStore, **tree: float) -> AsyncIterator[FileSystem]:
    async with trio.open_nursery() as nursery:
        config = TreeConfig(uid=0, gid=0, **tree)  # type: ignore[arg-type]  # lifetimes and limits only
        yield make_filesystem(
            store, nursery, config, StoreConfig(bucket="bucket"), trio.current_time
        )
        nursery.cancel_scope.cancel()


async def names_in(filesystem: FileSystem, *path: bytes) -> list[bytes]:
    inode = await inode_of(filesystem, *path)
    handle = filesystem.directories.open(inode)
    stream, names, offset = filesystem.directories.stream(handle), [], 2
    await stream.rewind()
    while (place := await stream.place(offset)) is not None:
        names += [place.entries.name(index) for index in range(place.start, len(place.entries))]
        offset = place.base + len(place.entries)
    filesystem.directories.release(handle)
    return names


async def inode_of(filesystem: FileSystem, *path: bytes) -> int:
    inode = ROOT
    for name in path:
        inode = (await filesystem.tree.lookup(inode, name)).inode
    return inode


async def in_background(
    nursery: trio.Nursery, ask: Callable[[], Awaitable[object]]
) -> list[object]:
    """Start *ask*, and return the list that will hold its outcome, once it waits for the store."""
    outcome: list[object] = []

    async def run() -> None:
        try:
            outcome.append(await ask())
        except NotFound:
            outcome.append(None)

    nursery.start_soon(run)
    await wait_all_tasks_blocked()
    return outcome


async def test_a_lookup_that_was_sent_before_a_refresh_is_not_believed_after_it(
    autojump_clock: MockClock,
) -> None:
    gate = trio.Event()
    store = MemoryStore(before=Held({("LIST", "d/new/"): gate}))
    store.put("d/old")
    async with file_system(store) as filesystem, trio.open_nursery() as nursery:
        tree, directory = filesystem.tree, await inode_of(filesystem, b"d")
        tree.catalog.directory(
            "d/"
        ).passage = None  # as if it had been evicted: the name is asked for alone
        early = await in_background(nursery, lambda: tree.lookup(directory, b"new"))
        store.put("d/new")
        tree.forget_all()
        gate.set()
        await wait_all_tasks_blocked()

        assert early  # whatever it was told
        assert (await tree.lookup(directory, b"new")).size == 0


async def test_a_listing_that_was_sent_before_a_refresh_is_not_believed_after_it(
    autojump_clock: MockClock,
) -> None:
    gate = trio.Event()
    store = MemoryStore(before=Held({("LIST", ""): gate}), page_size=2)
    for name in "abcd":
        store.put(name)
    async with file_system(store) as filesystem, trio.open_nursery() as nursery:
        early = await in_background(nursery, lambda: names_in(filesystem))
        filesystem.tree.forget_all()
        gate.set()
        await wait_all_tasks_blocked()
        store.delete("b")
        store.put("b2")

        assert early == [[b"a", b"b", b"c", b"d"]]
        assert await names_in(filesystem) == [b"a", b"b2", b"c", b"d"]


async def test_a_walk_under_way_at_a_refresh_publishes_nothing_older(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore(page_size=100)
    for directory in range(20):
        for file in range(70):
            store.put(f"p/d{directory:02}/f{file:03}")
    async with file_system(store) as filesystem:
        for name in (b"d00", b"d01", b"d02", b"d03"):
            await names_in(filesystem, b"p", name)
        await trio.sleep(5)
        for directory in range(20):
            store.delete(f"p/d{directory:02}/f000")
            store.put(f"p/d{directory:02}/f000-new")
        filesystem.tree.forget_all()

        for directory in range(20):
            names = await names_in(filesystem, b"p", b"d%02d" % directory)
            assert b"f000" not in names
            assert b"f000-new" in names


async def test_a_refresh_reaches_what_was_evicted_and_is_still_read(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    store.put("a", b"old")
    async with file_system(store, metadata_limit=1) as filesystem:
        inode = await inode_of(filesystem, b"a")
        handle = await filesystem.files.open(inode)
        filesystem.files.release(handle)
        store.put("a", b"newer")
        filesystem.tree.forget_all()

        assert filesystem.files.open_current(inode) is None
        assert (await filesystem.tree.lookup(ROOT, b"a")).size == 5


async def test_a_lookup_after_a_doubt_does_not_join_one_from_before_it(
    autojump_clock: MockClock,
) -> None:
    gate = trio.Event()
    held = Held({})
    store = MemoryStore(before=held)
    version = store.put("d/a", b"old")
    async with file_system(store) as filesystem, trio.open_nursery() as nursery:
        tree, directory = filesystem.tree, await inode_of(filesystem, b"d")
        tree.catalog.known.clear()
        held.gates["HEAD", "d/a"] = gate
        early = await in_background(nursery, lambda: tree.lookup(directory, b"a"))
        tree.doubt(version)
        del held.gates["HEAD", "d/a"]
        late = await in_background(nursery, lambda: tree.lookup(directory, b"a"))

        assert late
        assert not early
        gate.set()


async def test_an_answer_from_before_a_doubt_does_not_lift_it(autojump_clock: MockClock) -> None:
    gate = trio.Event()
    held = Held({})
    store = MemoryStore(before=held)
    version = store.put("d/a", b"old")
    async with file_system(store) as filesystem, trio.open_nursery() as nursery:
        tree, directory = filesystem.tree, await inode_of(filesystem, b"d")
        tree.catalog.known.clear()
        held.gates["HEAD", "d/a"] = gate
        await in_background(nursery, lambda: tree.lookup(directory, b"a"))
        tree.doubt(version)
        gate.set()
        await wait_all_tasks_blocked()
        asked = len(store.requests)
        await tree.lookup(directory, b"a")

        assert len(store.requests) > asked


async def test_a_doubt_outlives_its_directory(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    version = store.put("a", b"old")
    async with file_system(store) as filesystem:
        tree = filesystem.tree
        inode = await inode_of(filesystem, b"a")
        tree.doubt(version)
        tree.catalog.known.clear()

        assert filesystem.files.open_current(inode) is None


async def test_too_many_doubts_let_go_all_that_is_older(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3mount.filesystem.namespace.invalidations.DOUBTS_MAX", 3)
    store = MemoryStore()
    versions = [store.put(f"{name}", b"old") for name in "abcde"]
    async with file_system(store) as filesystem:
        inodes = [await inode_of(filesystem, name.encode()) for name in "abcde"]
        for version in versions[:4]:
            filesystem.tree.doubt(version)

        assert [filesystem.files.open_current(inode) for inode in inodes] == [None] * 5


async def test_a_listing_that_fails_behind_its_first_page_keeps_no_name_from_being_looked_up(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore(page_size=100)
    for number in range(1000):
        store.put(f"d/{number:04}", b"x")

    async def before(request: Request) -> None:
        await trio.sleep(0.01)
        if request.query is not None and request.query.token is not None:
            raise StoreError("refused", status=400, key=request.key)

    store.before = before
    async with file_system(store) as filesystem:
        directory = await inode_of(filesystem, b"d")
        sizes = [
            (await filesystem.tree.lookup(directory, b"%04d" % number)).size
            for number in range(500, 1000, 100)
        ]
        with pytest.raises(NotFound):
            await filesystem.tree.lookup(directory, b"absent")

        assert sizes == [1] * 5


class SlowToShow(MemoryStore):
    """Lists two empty pages before the first one that holds anything, as S3 may where many keys were deleted."""

    async def list_page(
        self, query: ListQuery, demand: Demand | None = None, on_token: OnToken | None = None
    ) -> ListPage:
        await trio.lowlevel.checkpoint()
        if query.token in (None, "empty"):
            return ListPage([], [], "full" if query.token else "empty")
        return await super().list_page(replace(query, token=None))


async def test_empty_pages_before_a_listing_ends_say_nothing(autojump_clock: MockClock) -> None:
    store = SlowToShow()
    store.put("d/a", b"12345")
    store.put("d/b/c")
    async with file_system(store, metadata_limit=1) as filesystem:
        directory = await inode_of(filesystem, b"d")

        assert (await filesystem.tree.lookup(directory, b"a")).size == 5
        assert (await filesystem.tree.lookup(directory, b"b")).size < 0
        assert await names_in(filesystem, b"d", b"b") == [b"c"]


class NeverShows(MemoryStore):
    """Lists empty pages for ever."""

    async def list_page(
        self, query: ListQuery, demand: Demand | None = None, on_token: OnToken | None = None
    ) -> ListPage:
        await trio.sleep(1)
        self.requests.append(Request("LIST", query.prefix, query=query))
        return ListPage([], [], f"t{len(self.requests)}")


async def test_empty_pages_without_end_are_asked_for_no_longer_than_the_timeout(
    autojump_clock: MockClock,
) -> None:
    store = NeverShows()
    store.put("a")
    async with file_system(store) as filesystem:
        with pytest.raises(DeadlineExceeded):
            await filesystem.tree.lookup(ROOT, b"b")
        asked = len(store.requests)
        await trio.sleep(1000)

        assert len(store.requests) == asked


async def test_a_bug_in_a_lookup_ahead_is_logged_once_and_ends_nothing(
    autojump_clock: MockClock, expected_warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected_warnings.append("lookup in the background failed: this is a bug")
    store = MemoryStore()
    store.put("a", b"x")
    async with file_system(store, metadata_ttl=1, stale_while_revalidate=60) as filesystem:
        await inode_of(filesystem, b"a")
        await trio.sleep(2)

        async def before(_: Request) -> None:
            await trio.lowlevel.checkpoint()
            raise ZeroDivisionError

        store.before = before
        await inode_of(filesystem, b"a")
        await wait_all_tasks_blocked()

        assert (await filesystem.tree.lookup(ROOT, b"a")).size == 1
