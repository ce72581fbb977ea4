"""Lookups and readdirs while responses, invalidations and refreshes come in any order."""
# ruff: noqa: ARG001, ARG002 - a clock for its effect, arguments of a protocol

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from s3mount.config import StoreConfig, TreeConfig
from s3mount.errors import (
    AccessDenied,
    DeadlineExceeded,
    NotFound,
    StaleVersion,
    StoreError,
)
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.namespace import directory_lru, time_slice
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.model import ListPage, ListQuery, RowOddity
from s3mount.s3.object_store import OnToken, RequestPriority
from tests.fakes.memory_store import MemoryStore, Request
from tests.property.filesystem_factory import make_filesystem
from tests.property.kernel import Kernel


@dataclass
class Held:
    """Requests that wait for an event, by kind and key."""

    events: dict[tuple[str, str], trio.Event]

    async def __call__(self, request: Request) -> None:
        event = self.events.get((request.kind, request.key))
        if event is not None:
            await event.wait()
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def file_system(store: MemoryStore, **tree: float) -> AsyncIterator[FileSystem]:
    async with trio.open_nursery() as nursery:
        config = TreeConfig(uid=0, gid=0, **tree)  # type: ignore[arg-type]  # TTLs and limits only
        yield make_filesystem(
            store, nursery, config, StoreConfig(bucket="bucket"), trio.current_time
        )
        nursery.cancel_scope.cancel()


async def names_in(filesystem: FileSystem, *path: bytes) -> list[bytes]:
    inode = await inode_of(filesystem, *path)
    handle = filesystem.directories.open(inode)
    stream, names, offset = filesystem.directories.handle(handle), [], 2
    await stream.rewind()
    while (place := await stream.read(offset)) is not None:
        names += [place.page.name(index) for index in range(place.start, len(place.page))]
        offset = place.base + len(place.page)
    filesystem.directories.release(handle)
    return names


async def inode_of(filesystem: FileSystem, *path: bytes) -> int:
    inode = ROOT
    for name in path:
        inode = (await filesystem.tree.lookup(inode, name)).inode
    return inode


async def in_background(
    nursery: trio.Nursery, call: Callable[[], Awaitable[object]]
) -> list[object]:
    """Start *call*; once it waits for the store, return the list that will have its outcome."""
    outcome: list[object] = []

    async def run() -> None:
        try:
            outcome.append(await call())
        except NotFound:
            outcome.append(None)

    nursery.start_soon(run)
    await wait_all_tasks_blocked()
    return outcome


@pytest.mark.parametrize(
    "path",
    [
        (),
        (
            b"d",
            b"new",
        ),
    ],
)
async def test_a_lookup_sent_before_a_refresh_is_not_used_after_it(
    autojump_clock: MockClock, path: tuple[bytes, ...]
) -> None:
    release = trio.Event()
    store = MemoryStore(before=Held({("LIST", "d/new/"): release}))
    store.put("d/old")
    async with file_system(store) as filesystem, trio.open_nursery() as nursery:
        tree, directory = filesystem.tree, await inode_of(filesystem, b"d")
        tree.cache.directory("d/").scan = None  # as if evicted: the name is requested alone
        early = await in_background(nursery, lambda: tree.lookup(directory, b"new"))
        store.put("d/new")
        tree.refresh(path)
        release.set()
        await wait_all_tasks_blocked()

        assert early  # whatever it is
        assert (await tree.lookup(directory, b"new")).size == 0


@pytest.mark.parametrize("path", [(b"d",), (b"d", b"new")])
async def test_the_kernel_keeps_no_absence_that_was_asked_for_before_a_refresh(
    autojump_clock: MockClock, path: tuple[bytes, ...]
) -> None:
    release = trio.Event()
    store = MemoryStore(before=Held({("LIST", "d/new/"): release}))
    store.put("d/old")
    absences: list[NotFound] = []
    async with file_system(store) as filesystem, trio.open_nursery() as nursery:
        tree, directory = filesystem.tree, await inode_of(filesystem, b"d")
        tree.cache.directory("d/").scan = None  # as if evicted: the name is requested alone

        async def look_up() -> None:
            with pytest.raises(NotFound) as failure:
                await tree.lookup(directory, b"new")
            absences.append(failure.value)

        await in_background(nursery, look_up)
        tree.refresh(path)
        release.set()
        await wait_all_tasks_blocked()

        assert [absence.valid_for for absence in absences] == [0]


async def test_a_listing_sent_before_a_refresh_is_not_used_after_it(
    autojump_clock: MockClock,
) -> None:
    release = trio.Event()
    store = MemoryStore(before=Held({("LIST", ""): release}), page_size=2)
    for name in "abcd":
        store.put(name)
    async with file_system(store) as filesystem, trio.open_nursery() as nursery:
        early = await in_background(nursery, lambda: names_in(filesystem))
        filesystem.tree.invalidate_all()
        release.set()
        await wait_all_tasks_blocked()
        store.delete("b")
        store.put("b2")

        assert early == [[b"a", b"b", b"c", b"d"]]
        assert await names_in(filesystem) == [b"a", b"b2", b"c", b"d"]


@pytest.mark.parametrize("path", [(), (b"p",)])
async def test_a_walk_in_progress_at_a_refresh_caches_nothing_older(
    autojump_clock: MockClock, path: tuple[bytes, ...]
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
        filesystem.tree.refresh(path)

        for directory in range(20):
            names = await names_in(filesystem, b"p", b"d%02d" % directory)
            assert b"f000" not in names
            assert b"f000-new" in names


@pytest.mark.parametrize("path", [(), (b"a",)])
async def test_a_refresh_expires_entries_that_were_evicted_and_are_still_referred_to(
    autojump_clock: MockClock, path: tuple[bytes, ...]
) -> None:
    store = MemoryStore()
    store.put("a", b"old")
    async with file_system(store, metadata_limit=1) as filesystem:
        inode = await inode_of(filesystem, b"a")
        handle = await filesystem.files.open(inode)
        filesystem.files.release(handle)
        store.put("a", b"newer")
        filesystem.tree.refresh(path)

        assert filesystem.files.open_nowait(inode) is None
        assert (await filesystem.tree.lookup(ROOT, b"a")).size == 5


async def test_a_refresh_of_a_path_leaves_what_is_beside_it_alone(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    for key in ("a/1", "ab", "b/1"):
        store.put(key)
    async with file_system(store) as filesystem:
        for path in ((), (b"a",), (b"b",)):
            await names_in(filesystem, *path)
        requests = len(store.requests)

        assert filesystem.tree.refresh((b"a",)) == 2  # itself, and what is in it

        await names_in(filesystem, b"b")
        await inode_of(filesystem, b"ab")
        assert store.requests[requests:] == []


async def test_a_refresh_reaches_a_path_whose_directory_was_absent(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    store.put("a")
    async with file_system(store) as filesystem:
        assert await names_in(filesystem) == [b"a"]
        store.put("new/b")
        with pytest.raises(NotFound):
            await inode_of(filesystem, b"new", b"b")

        assert filesystem.tree.refresh((b"new", b"b")) == 0

        await inode_of(filesystem, b"new", b"b")


async def test_a_lookup_after_an_invalidation_does_not_join_one_from_before_it(
    autojump_clock: MockClock,
) -> None:
    release = trio.Event()
    held = Held({})
    store = MemoryStore(before=held)
    version = store.put("d/a", b"old")
    async with file_system(store) as filesystem, trio.open_nursery() as nursery:
        tree, directory = filesystem.tree, await inode_of(filesystem, b"d")
        tree.cache.directories.clear()
        held.events["HEAD", "d/a"] = release
        early = await in_background(nursery, lambda: tree.lookup(directory, b"a"))
        tree.invalidate(version)
        del held.events["HEAD", "d/a"]
        late = await in_background(nursery, lambda: tree.lookup(directory, b"a"))

        assert late
        assert not early
        release.set()


async def test_a_response_from_before_an_invalidation_does_not_undo_it(
    autojump_clock: MockClock,
) -> None:
    release = trio.Event()
    held = Held({})
    store = MemoryStore(before=held)
    version = store.put("d/a", b"old")
    async with file_system(store) as filesystem, trio.open_nursery() as nursery:
        tree, directory = filesystem.tree, await inode_of(filesystem, b"d")
        tree.cache.directories.clear()
        held.events["HEAD", "d/a"] = release
        await in_background(nursery, lambda: tree.lookup(directory, b"a"))
        tree.invalidate(version)
        release.set()
        await wait_all_tasks_blocked()
        requests = len(store.requests)
        await tree.lookup(directory, b"a")

        assert len(store.requests) > requests


async def test_an_invalidation_outlives_its_directory(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    version = store.put("a", b"old")
    async with file_system(store) as filesystem:
        tree = filesystem.tree
        inode = await inode_of(filesystem, b"a")
        tree.invalidate(version)
        tree.cache.directories.clear()

        assert filesystem.files.open_nowait(inode) is None


async def test_too_many_invalidations_expire_all_that_is_older(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3mount.filesystem.namespace.invalidations.INVALIDATIONS_MAX", 3)
    store = MemoryStore()
    versions = [store.put(f"{name}", b"old") for name in "abcde"]
    async with file_system(store) as filesystem:
        inodes = [await inode_of(filesystem, name.encode()) for name in "abcde"]
        for version in versions[:4]:
            filesystem.tree.invalidate(version)

        assert [filesystem.files.open_nowait(inode) for inode in inodes] == [None] * 5


async def test_a_listing_that_fails_after_its_first_page_fails_no_lookup(
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
    """Lists two empty pages before the first key, as S3 may after many deletions."""

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        await trio.lowlevel.checkpoint()
        if query.token in (None, "empty"):
            return ListPage([], [], "full" if query.token else "empty")
        return await super().list_page(replace(query, token=None))


async def test_empty_pages_before_the_first_key_deny_nothing(autojump_clock: MockClock) -> None:
    store = SlowToShow()
    store.put("d/a", b"12345")
    store.put("d/b/c")
    async with file_system(store, metadata_limit=1) as filesystem:
        directory = await inode_of(filesystem, b"d")

        assert (await filesystem.tree.lookup(directory, b"a")).size == 5
        assert (await filesystem.tree.lookup(directory, b"b")).size < 0
        assert await names_in(filesystem, b"d", b"b") == [b"c"]


class KnowsNoEmptyListing(MemoryStore):
    """Says of a prefix that has nothing that there is no such key, as rclone did (#7455)."""

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        page = await super().list_page(query, priority, on_token)
        if not page.objects and not page.prefixes:
            raise NotFound("LIST refused", key=query.prefix, code="NoSuchKey")
        return page


async def test_a_listing_that_is_not_found_hides_no_file(autojump_clock: MockClock) -> None:
    store = KnowsNoEmptyListing()
    store.put("d/a", b"12345")
    async with file_system(store, metadata_limit=1) as filesystem:
        directory = await inode_of(filesystem, b"d")

        assert (await filesystem.tree.lookup(directory, b"a")).size == 5
        with pytest.raises(NotFound):
            await filesystem.tree.lookup(directory, b"b")


class LosesObjects(MemoryStore):
    """Lists objects whose size nothing tells: they are left out of each page."""

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        page = await super().list_page(query, priority, on_token)
        lost = ((RowOddity.NOT_FOUND_OUT, len(page.objects)),) if page.objects else ()
        return replace(page, objects=[], odd_rows=lost, is_partial=bool(lost))


async def test_a_directory_is_found_though_its_only_object_was_left_out(
    autojump_clock: MockClock,
) -> None:
    store = LosesObjects()
    store.put("d/e/a", b"12345")
    async with file_system(store, metadata_limit=1) as filesystem:
        directory = await inode_of(filesystem, b"d", b"e")

        assert (await filesystem.tree.lookup(directory, b"a")).size == 5
        with pytest.raises(NotFound):
            await filesystem.tree.lookup(directory, b"b")


async def test_a_walk_shows_a_directory_though_its_only_object_was_left_out(
    autojump_clock: MockClock,
) -> None:
    store = LosesObjects()
    for number in range(40):
        store.put(f"d{number:02}/e/a", b"12345")
    async with file_system(store) as filesystem:
        assert len(await names_in(filesystem)) == 40
        for number in range(40):
            assert await names_in(filesystem, b"d%02d" % number) == [b"e"]


class BucketIsGone(MemoryStore):
    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        raise NotFound("LIST refused", key=query.prefix, status=404, code="NoSuchBucket")


async def test_a_bucket_that_is_gone_says_of_no_name_that_it_is_absent(
    autojump_clock: MockClock,
) -> None:
    async with file_system(BucketIsGone()) as filesystem:
        with pytest.raises(StoreError) as raised:
            await filesystem.tree.lookup(ROOT, b"a")

    assert raised.value.code == "NoSuchBucket"


class NeverShows(MemoryStore):
    """Lists empty pages without end."""

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        await trio.sleep(1)
        self.requests.append(Request("LIST", query.prefix, query=query))
        return ListPage([], [], f"t{len(self.requests)}")


async def test_empty_pages_without_end_are_requested_no_longer_than_the_timeout(
    autojump_clock: MockClock,
) -> None:
    store = NeverShows()
    store.put("a")
    async with file_system(store) as filesystem:
        with pytest.raises(DeadlineExceeded):
            await filesystem.tree.lookup(ROOT, b"b")
        requests = len(store.requests)
        await trio.sleep(1000)

        assert len(store.requests) == requests


async def test_a_bug_in_a_background_lookup_is_logged_once_and_ends_nothing(
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


async def test_the_entry_that_a_slow_readdir_showed_is_opened_though_the_cached_listing_is_older(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore(page_size=10)
    for number in range(100):
        store.put(f"d/{number:03}", b"old")
    async with file_system(store) as filesystem:
        kernel = Kernel(filesystem)
        directory = await inode_of(filesystem, b"d")
        handle = kernel.opendir(directory)
        shown = await kernel.read_places(handle, 0, 10)
        await trio.sleep(61)
        await kernel.readdir(directory)
        await trio.sleep(9)
        store.put("d/090", b"the new version")
        await trio.sleep(10)
        rest = {name: seen for name, seen, _ in await kernel.read_places(handle, shown[-1][2])}

        file = await filesystem.files.open(rest[b"090"].inode)
        assert bytes(await filesystem.files.read(file, 0, 20)) == b"the new version"
        kernel.filesystem.directories.release(handle)


async def test_a_lookup_that_waited_for_an_older_response_returns_the_newer_one(
    autojump_clock: MockClock,
) -> None:
    release = trio.Event()
    store = MemoryStore()
    version = store.put("x", b"old")

    async def before(request: Request) -> None:
        await trio.lowlevel.checkpoint()
        if request.kind == "LIST":
            raise AccessDenied("listing is refused", key=request.key)

    real = store.head
    is_first = True

    async def head(key: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
        nonlocal is_first
        stat, is_held = await real(key), is_first
        is_first = False
        if is_held:
            await release.wait()
        return stat

    store.before = before
    async with file_system(store) as filesystem, trio.open_nursery() as nursery:
        filesystem.tree._resolver._store = _Hooked(store, head)  # type: ignore[assignment]
        early = await in_background(nursery, lambda: filesystem.tree.lookup(ROOT, b"x"))
        store.put("x", b"new version")
        filesystem.tree.invalidate(version)
        late = await filesystem.tree.lookup(ROOT, b"x")
        release.set()
        await wait_all_tasks_blocked()

        assert late.size == len(b"new version")
        assert [attributes.size for attributes in early] == [late.size]  # type: ignore[attr-defined]


class _Hooked:
    """A store with another `head`."""

    def __init__(self, store: MemoryStore, head: object) -> None:
        self._store = store
        self.head = head

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


async def test_the_kernel_may_not_cache_an_entry_after_an_invalidation(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    store.put("d/x", b"old")
    store.put("d/y")
    async with file_system(store) as filesystem:
        kernel = Kernel(filesystem)
        directory = await inode_of(filesystem, b"d")
        seen = dict(await kernel.readdir(directory))[b"x"]
        file = await filesystem.files.open(seen.inode)
        store.put("d/x", b"the new version")
        with pytest.raises(StaleVersion):
            await filesystem.files.read(file, 0, 9)
        again = dict(await kernel.readdir(directory))[b"x"]

        assert filesystem.tree.valid_for(filesystem.tree.inodes.resolve(again.inode)[0]) == 0


async def test_lookups_do_not_wait_again_and_again_for_a_listing_that_hangs(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore(page_size=100)
    for number in range(1000):
        store.put(f"d/{number:04}", b"x")

    async def before(request: Request) -> None:
        is_later_page = request.query is not None and request.query.token is not None
        await trio.sleep(1000 if is_later_page else 0.1)

    store.before = before
    async with file_system(store) as filesystem:
        directory = await inode_of(filesystem, b"d")
        began = trio.current_time()
        for number in range(500, 510):
            assert (await filesystem.tree.lookup(directory, b"%04d" % number)).size == 1

        assert trio.current_time() - began < 5


async def test_a_scan_for_lookups_that_is_too_large_is_neither_kept_nor_continued(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore(page_size=100)
    for number in range(5000):
        store.put(f"d/{number:04}", b"x")
    async with file_system(store, metadata_limit=100_000) as filesystem:
        directory = await inode_of(filesystem, b"d")
        for number in range(4000, 4050):
            await filesystem.tree.lookup(directory, b"%04d" % number)
        requests = store.counts()["LIST"]
        await wait_all_tasks_blocked()

        assert store.counts()["LIST"] == requests
        assert requests < 50 + 50  # one for each name, and one listing that was abandoned


@pytest.mark.parametrize("name", [b"x", b"new"])
async def test_a_refused_head_is_an_absence_only_if_the_listing_has_no_such_object(
    name: bytes, autojump_clock: MockClock
) -> None:
    store = MemoryStore()
    store.put("d/x", b"old")
    store.put("d/newer", b"another")

    async def before(request: Request) -> None:
        await trio.lowlevel.checkpoint()
        if request.kind == "HEAD":
            raise AccessDenied("HEAD is refused", key=request.key)

    store.before = before
    async with file_system(store, metadata_ttl=0.0) as filesystem:
        directory = (await filesystem.tree.lookup(ROOT, b"d")).inode
        with pytest.raises(AccessDenied if name == b"x" else NotFound):
            await filesystem.tree.lookup(directory, name)


@pytest.mark.parametrize("path", [(), (b"d",)])
async def test_packed_directories_are_dropped_in_slices_after_a_refresh(
    path: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_lru, "UNPACKED_MAX", 1)
    monkeypatch.setattr(time_slice, "SLICE", -1.0)
    store = MemoryStore({f"d/{number}/a": b"1" for number in range(20)} | {"e/a": b""})
    async with file_system(store) as filesystem:
        tree = filesystem.tree
        for number in range(20):
            await names_in(filesystem, b"d", b"%d" % number)
        inode = await inode_of(filesystem, b"d", b"7", b"a")
        packed = tree.inodes.packed
        assert packed.count > 10

        assert tree.refresh(path) > 10

        counts = [len(packed.numbers_below("d/"))]
        while counts[-1]:
            await trio.lowlevel.checkpoint()
            counts.append(len(packed.numbers_below("d/")))
        assert counts[0] > 10
        assert all(before - after <= 2 for before, after in pairwise(counts))  # one a turn
        store.put("d/7/a", b"22")
        assert (await tree.lookup(await inode_of(filesystem, b"d", b"7"), b"a")).size == 2
        assert tree.attributes(inode).size == 1
