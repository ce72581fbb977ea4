"""The newest knowledge wins, wherever older knowledge comes from; through the tree, over a store in memory."""
# ruff: noqa: ARG001 - a clock is taken for its effect

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from s3mount.errors import AccessDenied, StaleVersion
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.listing.order_evidence import OrderEvidence
from s3mount.filesystem.namespace.directory import listed
from s3mount.filesystem.namespace.inode_table import ROOT, InodeTable
from s3mount.s3.model import ListedObject, ListPage
from tests.fakes.memory_store import MemoryStore, Request
from tests.property.kernel import Kernel
from tests.unit.filesystem.namespace.test_knowledge import file_system, in_background, inode_of
from tests.unit.filesystem.proof import proven


async def test_what_a_slow_reader_was_told_last_is_opened_though_another_listing_is_older(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore(page_size=10)
    for number in range(100):
        store.put(f"d/{number:03}", b"old")
    async with file_system(store) as filesystem:
        kernel = Kernel(filesystem)
        directory = await inode_of(filesystem, b"d")
        handle = kernel.opendir(directory)
        told = await kernel.read_places(handle, 0, 10)
        await trio.sleep(61)
        await kernel.readdir(directory)
        await trio.sleep(9)
        store.put("d/090", b"the new version")
        await trio.sleep(10)
        rest = {name: seen for name, seen, _ in await kernel.read_places(handle, told[-1][2])}

        file = await filesystem.files.open(rest[b"090"].inode)
        assert bytes(await filesystem.files.read(file, 0, 20)) == b"the new version"
        kernel.filesystem.directories.release(handle)


async def test_who_waited_for_an_older_answer_is_told_the_newer_one(
    autojump_clock: MockClock,
) -> None:
    gate = trio.Event()
    store = MemoryStore()
    version = store.put("x", b"old")

    async def before(request: Request) -> None:
        await trio.lowlevel.checkpoint()
        if request.kind == "LIST":
            raise AccessDenied("no right to list", key=request.key)

    real = store.head
    is_first = True

    async def head(key: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
        nonlocal is_first
        stat, waits = await real(key), is_first
        is_first = False
        if waits:
            await gate.wait()
        return stat

    store.before = before
    async with file_system(store) as filesystem, trio.open_nursery() as nursery:
        filesystem.tree._questions._store = _Hooked(store, head)  # type: ignore[assignment]
        early = await in_background(nursery, lambda: filesystem.tree.lookup(ROOT, b"x"))
        store.put("x", b"new version")
        filesystem.tree.doubt(version)
        late = await filesystem.tree.lookup(ROOT, b"x")
        gate.set()
        await wait_all_tasks_blocked()

        assert late.size == len(b"new version")
        assert [attributes.size for attributes in early] == [late.size]  # type: ignore[attr-defined]


class _Hooked:
    """A store of which one call is another."""

    def __init__(self, store: MemoryStore, head: object) -> None:
        self._store = store
        self.head = head

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


async def test_the_kernel_is_to_believe_nothing_that_a_doubt_has_overtaken(
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


async def test_a_scan_that_only_lookups_wanted_and_that_is_too_large_is_neither_kept_nor_continued(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore(page_size=100)
    for number in range(5000):
        store.put(f"d/{number:04}", b"x")
    async with file_system(store, metadata_limit=100_000) as filesystem:
        directory = await inode_of(filesystem, b"d")
        for number in range(4000, 4050):
            await filesystem.tree.lookup(directory, b"%04d" % number)
        asked = store.counts()["LIST"]
        await wait_all_tasks_blocked()

        assert store.counts()["LIST"] == asked
        assert asked < 50 + 50  # one for each name, and one listing that was given up


def test_a_listing_that_broke_its_order_denies_no_directory() -> None:
    order = proven()
    listing = DirectoryListing("bucket", "", 0.0, order)
    listing.add(_page("b", "c", "d", token="t"), 0.0)
    listing.add(_page("a", token="u"), 0.0)

    assert listing.find(b"b") is not None
    assert listed(listing, b"b") is None


def test_what_walks_made_known_says_nothing_once_one_broke_its_order() -> None:
    order = OrderEvidence(is_unordered=False)
    listing = DirectoryListing("bucket", "d/", 0.0, order)
    listing.fill([Entry(b"a", 1, 0, "e")], 0)

    assert listed(listing, b"a") is not None
    order.note_break("", is_walk=True)
    assert listed(listing, b"a") is None


def test_a_file_that_was_held_back_for_long_does_not_spoil_the_search() -> None:
    listing = DirectoryListing("bucket", "", 0.0, proven())
    listing.add(_page("img", *(f"img-{number:04}" for number in range(100)), token="t0"), 0.0)
    for page in range(1, 50):
        listing.add(_page(*(f"img-{page * 100 + n:04}" for n in range(100)), token=f"t{page}"), 0.0)
    listing.add(_page("jpg"), 0.0)

    assert len(list(listing._may_hold(b"img-2345"))) <= 2
    names = [b"img", b"jpg", *(b"img-%04d" % number for number in range(5000))]
    found = [listing.find(name) for name in names]
    assert [None if each is None else each[0].name(each[1]) for each in found] == names
    assert all(listing.holds(page) for page in listing.pages)


def test_a_prefix_twice_in_a_page_is_told_once() -> None:
    listing = DirectoryListing("bucket", "", 0.0, proven())
    listing.add(ListPage([], ["a/", "a/", "b/"], None), 0.0)

    assert [len(page) for page in listing.pages if page is not None] == [2]


def test_a_page_of_which_the_kernel_knows_little_is_let_go_but_for_that() -> None:
    table = InodeTable()
    page = EntryPage(
        "bucket", "", [Entry(b"%04d" % index, index, 0, "e") for index in range(1000)], 0.0
    )
    told = {table.remember(page, index): index for index in (7, 500, 999)}
    for index in told.values():
        table.remember(page, index)
    table.shrink(page)

    assert page.live == 0
    for inode, index in told.items():
        entries, at = table.resolve(inode)
        assert (len(entries), entries.name(at), entries.inode(at)) == (3, b"%04d" % index, inode)
        table.forget(inode, 2)
    assert len(table) == 0


def test_a_page_of_which_the_kernel_knows_much_stays_as_it_is() -> None:
    table = InodeTable()
    page = EntryPage(
        "bucket", "", [Entry(b"%04d" % index, index, 0, "e") for index in range(10)], 0.0
    )
    inode = table.remember(page, 3)
    for index in range(5):
        table.remember(page, index)
    table.shrink(page)

    assert table.resolve(inode) == (page, 3)


def _page(*raws: str, token: str | None = None) -> ListPage:
    return ListPage([ListedObject(raw, 1, 0, "e") for raw in raws], [], token)
