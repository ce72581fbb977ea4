"""An offset of an open directory stays valid, whatever becomes of the directory."""

import random

import pytest
import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from s3mount.filesystem.handles.open_directories import DOTS, DirectoryHandle
from s3mount.filesystem.namespace import directory_lru
from s3mount.filesystem.namespace.directory import DirectoryState
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from tests.fakes.key_order import Order, in_byte_order, in_component_order, in_no_order
from tests.fakes.memory_store import BUCKET, MemoryStore, Request, hook
from tests.property.kernel import Clock, Kernel, kernel_on, truth, walk
from tests.property.running import run
from tests.property.strategies import bodies, page_sizes

orders = st.sampled_from([in_byte_order, in_component_order])


@given(before=bodies(20), after=bodies(20), page_size=page_sizes, order=orders, data=st.data())
def test_seeking_to_an_offset_continues_after_its_entry(
    before: dict[str, bytes],
    after: dict[str, bytes],
    page_size: int,
    order: Order,
    data: st.DataObject,
) -> None:
    store = MemoryStore(before, page_size=page_size, order=order)
    clock = Clock()

    async def main() -> None:
        async with kernel_on(store, clock) as kernel:
            handle = kernel.opendir(ROOT)
            entries = await kernel.read_places(handle, 0)
            names = [name for name, _, _ in entries]
            assert sorted(names) == sorted(truth(store))
            store.replace_all(after)
            clock.now += data.draw(st.sampled_from([0, 61]))
            if data.draw(st.booleans()):
                kernel.filesystem.tree.invalidate_all()
            for start in data.draw(st.lists(st.integers(0, len(entries)), max_size=5)):
                offset = entries[start - 1][2] if start else 2
                assert [name for name, _ in await kernel.read_entries(handle, offset)] == names[
                    start:
                ]
            kernel.filesystem.directories.release(handle)

    run(main)


@given(before=bodies(20), after=bodies(20), page_size=page_sizes)
def test_rewinding_after_the_ttl_shows_the_directory_as_it_is_then(
    before: dict[str, bytes], after: dict[str, bytes], page_size: int
) -> None:
    store = MemoryStore(before, page_size=page_size)
    clock = Clock()

    async def main() -> None:
        async with kernel_on(store, clock) as kernel:
            handle = kernel.opendir(ROOT)
            await kernel.read_entries(handle, 0, limit=2)
            store.replace_all(after)
            clock.now += 61
            assert {name for name, _ in await kernel.read_entries(handle, 0)} == set(truth(store))
            kernel.filesystem.directories.release(handle)

    run(main)


@given(
    bodies=bodies(20), page_size=page_sizes, readers=st.integers(2, 5), cancelled=st.integers(0, 3)
)
def test_concurrent_walkers_see_the_tree_even_if_some_are_cancelled(
    bodies: dict[str, bytes], page_size: int, readers: int, cancelled: int
) -> None:
    store = MemoryStore(bodies, page_size=page_size)

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel, trio.open_nursery() as nursery:
            for _ in range(readers):
                nursery.start_soon(_check_walk, kernel, store)
            for steps in range(cancelled):
                nursery.start_soon(_give_up, kernel, steps)

    run(main)


@given(bodies=bodies(20), page_size=page_sizes)
def test_concurrent_readers_of_one_directory_cost_no_more_than_one(
    bodies: dict[str, bytes], page_size: int
) -> None:
    async def requests(readers: int) -> int:
        store = MemoryStore(bodies, page_size=page_size)
        async with kernel_on(store, Clock()) as kernel, trio.open_nursery() as nursery:
            for _ in range(readers):
                nursery.start_soon(kernel.readdir, ROOT)
        return len(store.requests)

    assert run(lambda: requests(4)) == run(lambda: requests(1))


wide_bodies = st.dictionaries(
    st.text("abcdefgh-/.", min_size=1, max_size=2), st.just(b""), min_size=30, max_size=80
)


@given(
    bodies=wide_bodies,
    limit=st.sampled_from([1, 4_000, 20_000]),
    order=st.sampled_from([in_byte_order, in_component_order, in_no_order]),
    is_proven=st.booleans(),
    data=st.data(),
)
@settings(max_examples=200, phases=[Phase.generate])
def test_readers_of_a_directory_too_large_to_be_kept_get_every_name_once(
    bodies: dict[str, bytes], limit: int, order: Order, *, is_proven: bool, data: st.DataObject
) -> None:
    rnd = data.draw(st.randoms(use_true_random=False))
    store = MemoryStore(bodies, page_size=1, order=order)

    def resize(_: Request) -> None:
        store.page_size = rnd.randint(1, 3)  # no page begins where it did before

    store.before = hook(resize)

    async def main() -> None:
        async with kernel_on(
            store, Clock(), is_proven=is_proven and order is not in_no_order, metadata_limit=limit
        ) as kernel:
            readers = [_Reader(kernel) for _ in range(3)]
            for _ in range(30):
                await rnd.choice(readers).step(rnd)
            for reader in readers:
                assert sorted(await reader.rest()) == sorted(truth(store)), reader.before
                kernel.filesystem.directories.release(reader.handle)

    run(main)


@given(page_size=page_sizes, start=st.integers(1, 39))
def test_an_offset_can_be_returned_to_repeatedly(page_size: int, start: int) -> None:
    names = [b"%02d" % number for number in range(40)]
    store = MemoryStore({name.decode(): b"" for name in names}, page_size=page_size)

    async def main() -> None:
        async with kernel_on(store, Clock(), metadata_limit=1) as kernel:
            handle = kernel.opendir(ROOT)
            entries = await kernel.read_places(handle)
            for _ in range(5):
                rest = await kernel.read_entries(handle, entries[start - 1][2])
                assert [name for name, _ in rest] == names[start:]
            kernel.filesystem.directories.release(handle)

    run(main)


@given(
    size=st.sampled_from([2_001, 65_535, 65_536, 140_000]), page=st.sampled_from([70_000, 200_000])
)
@settings(max_examples=6)
def test_a_page_of_any_size_is_returned_completely(size: int, page: int) -> None:
    store = MemoryStore({f"{number:06}": b"" for number in range(size)}, page_size=page)

    async def main(limit: int) -> int:
        async with kernel_on(store, Clock(), metadata_limit=limit) as kernel:
            handle = kernel.opendir(ROOT)
            opened, offset, names = kernel.filesystem.directories.handle(handle), 2, []
            while (found := await opened.read(offset)) is not None:
                names += [found.page.name(index) for index in range(found.start, len(found.page))]
                offset = found.base + len(found.page)
            kernel.filesystem.directories.release(handle)
            assert len(names) == len(set(names))
            return len(names)

    assert [run(lambda limit=limit: main(limit)) for limit in (1, 1 << 30)] == [size, size]  # type: ignore[misc]


def test_what_a_reader_has_passed_is_given_back_though_its_directory_was_evicted() -> None:
    store = MemoryStore({f"d/{number:03}": b"" for number in range(100)}, page_size=1)

    async def main() -> None:
        async with kernel_on(store, Clock(), is_proven=True, metadata_limit=10_000) as kernel:
            directories, given_back = kernel.filesystem.tree.cache.directories, set[int]()
            directories._on_evicted = lambda inode, _: given_back.add(inode)
            seen = await kernel.lookup(ROOT, b"d")
            assert seen is not None
            behind, ahead = kernel.opendir(seen.inode), kernel.opendir(seen.inode)
            shown = await kernel.read_places(behind, 0, 1)
            await kernel.read_entries(ahead)
            directories.evict((BUCKET, "d/"))
            rest = await kernel.read_entries(behind, shown[-1][2])  # by a listing that resumes
            for handle in (behind, ahead):
                kernel.filesystem.directories.release(handle)
            assert len(rest) == len(store.bodies) - 1
            assert given_back == {seen.inode, ROOT}  # whose listing was evicted, too

    run(main)


class _UserOfOthers(PrefetchPolicy):
    """Policy that waits while others use so many directories that unused ones are packed."""

    def __init__(self, kernel: Kernel) -> None:
        self._cache = kernel.filesystem.tree.cache

    async def before_readdir(self, directory: DirectoryState) -> None:  # noqa: ARG002
        await trio.lowlevel.checkpoint()
        for number in range(2):
            self._cache.directory(f"other-{number}/")


def test_a_directory_that_is_packed_while_its_reader_waits_is_read_from_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(directory_lru, "UNPACKED_MAX", 1)
    store = MemoryStore({"d/a": b"", "d/b": b""})

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            tree, given_back = kernel.filesystem.tree, list[int]()
            tree.cache.directories._on_evicted = lambda inode, _: given_back.append(inode)
            seen = await kernel.lookup(ROOT, b"d")
            assert seen is not None
            expected = await kernel.readdir(seen.inode)
            handle = DirectoryHandle(seen.inode, ROOT, tree, [_UserOfOthers(kernel)])
            await handle.rewind()
            directory = tree.cache.find_directory("d/")
            found = await handle.read(DOTS)
            handle.close()
            assert found is not None
            assert directory is not None
            assert [found.page] == list(directory.known_pages())
            assert len(expected) == len(found.page)
            assert given_back == []

    run(main)


class _Reader:
    """One open directory: *names* since the start, and those *before* each offset."""

    def __init__(self, kernel: Kernel) -> None:
        self.handle = kernel.opendir(ROOT)
        self._kernel = kernel
        self.offset = 0
        self.names: list[bytes] = []
        self.before: dict[int, list[bytes]] = {}

    async def step(self, rnd: random.Random) -> None:
        """Read on a little, go back to a known offset, or start over."""
        action = rnd.random()
        if action < 0.1:
            self.offset, self.names, self.before = 0, [], {}
        elif action < 0.3 and self.before:
            self.offset = rnd.choice(list(self.before))
            self.names = self.before[self.offset].copy()
        await self._read(rnd.randint(1, 6))

    async def rest(self) -> list[bytes]:
        """All names of the directory, those read before included."""
        await self._read(1 << 30)
        return self.names

    async def _read(self, most: int) -> None:
        for name, _, offset in await self._kernel.read_places(self.handle, self.offset, most):
            self.names.append(name)
            self.offset = offset
            self.before[offset] = self.names.copy()


async def _check_walk(kernel: Kernel, store: MemoryStore) -> None:
    assert await walk(kernel) == truth(store)


async def _give_up(kernel: Kernel, steps: int) -> None:
    """Cancel a walk after so many checkpoints."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(walk, kernel)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            scope.cancel()
