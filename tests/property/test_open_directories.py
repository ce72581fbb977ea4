"""Directory streams: an offset that was told stays valid for the life of the stream, whatever becomes of the directory."""

import random

import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from s3mount.filesystem.namespace.inode_table import ROOT
from tests.property.kernel import Clock, Kernel, kernel_on, truth, walk
from tests.property.running import run
from tests.property.shelf import Order, Shelf, in_byte_order, in_component_order, in_no_order
from tests.property.strategies import bodies, page_sizes

orders = st.sampled_from([in_byte_order, in_component_order])


@given(before=bodies(20), after=bodies(20), page_size=page_sizes, order=orders, data=st.data())
def test_seeking_to_an_offset_goes_on_behind_its_entry(
    before: dict[str, bytes],
    after: dict[str, bytes],
    page_size: int,
    order: Order,
    data: st.DataObject,
) -> None:
    shelf = Shelf(before, page_size, order)
    clock = Clock()

    async def main() -> None:
        async with kernel_on(shelf, clock) as kernel:
            handle = kernel.opendir(ROOT)
            told = await kernel.read_places(handle, 0)
            names = [name for name, _, _ in told]
            assert sorted(names) == sorted(truth(shelf))
            shelf.bodies = after
            clock.now += data.draw(st.sampled_from([0, 61]))
            if data.draw(st.booleans()):
                kernel.filesystem.tree.invalidate_all()
            for start in data.draw(st.lists(st.integers(0, len(told)), max_size=5)):
                offset = told[start - 1][2] if start else 2
                assert [name for name, _ in await kernel.read_entries(handle, offset)] == names[
                    start:
                ]
            kernel.filesystem.directories.release(handle)

    run(main)


@given(before=bodies(20), after=bodies(20), page_size=page_sizes)
def test_rewinding_after_the_lifetime_shows_the_directory_as_it_is_then(
    before: dict[str, bytes], after: dict[str, bytes], page_size: int
) -> None:
    shelf = Shelf(before, page_size)
    clock = Clock()

    async def main() -> None:
        async with kernel_on(shelf, clock) as kernel:
            handle = kernel.opendir(ROOT)
            await kernel.read_entries(handle, 0, limit=2)
            shelf.bodies = after
            clock.now += 61
            assert {name for name, _ in await kernel.read_entries(handle, 0)} == set(truth(shelf))
            kernel.filesystem.directories.release(handle)

    run(main)


@given(
    bodies=bodies(20), page_size=page_sizes, readers=st.integers(2, 5), cancelled=st.integers(0, 3)
)
def test_walkers_at_once_all_see_the_tree_though_some_give_up(
    bodies: dict[str, bytes], page_size: int, readers: int, cancelled: int
) -> None:
    shelf = Shelf(bodies, page_size)

    async def main() -> None:
        async with kernel_on(shelf, Clock()) as kernel, trio.open_nursery() as nursery:
            for _ in range(readers):
                nursery.start_soon(_check_walk, kernel, shelf)
            for steps in range(cancelled):
                nursery.start_soon(_give_up, kernel, steps)

    run(main)


@given(bodies=bodies(20), page_size=page_sizes)
def test_readers_of_one_directory_at_once_cost_no_more_than_one(
    bodies: dict[str, bytes], page_size: int
) -> None:
    async def requests(readers: int) -> int:
        shelf = Shelf(bodies, page_size)
        async with kernel_on(shelf, Clock()) as kernel, trio.open_nursery() as nursery:
            for _ in range(readers):
                nursery.start_soon(kernel.readdir, ROOT)
        return len(shelf.asked)

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
def test_readers_of_a_directory_too_large_to_be_kept_are_told_every_name_once(
    bodies: dict[str, bytes], limit: int, order: Order, *, is_proven: bool, data: st.DataObject
) -> None:
    rnd = data.draw(st.randoms(use_true_random=False))
    shelf = Shelf(bodies, 1, order)

    def cut_anew(_: int) -> None:
        shelf.page_size = rnd.randint(1, 3)  # no page begins where it did before

    shelf.before = cut_anew

    async def main() -> None:
        async with kernel_on(
            shelf, Clock(), is_proven=is_proven and order is not in_no_order, metadata_limit=limit
        ) as kernel:
            readers = [_Reader(kernel) for _ in range(3)]
            for _ in range(30):
                await rnd.choice(readers).step(rnd)
            for reader in readers:
                assert sorted(await reader.rest()) == sorted(truth(shelf)), reader.told
                kernel.filesystem.directories.release(reader.handle)

    run(main)


@given(page_size=page_sizes, start=st.integers(1, 39))
def test_a_place_is_returned_to_again_and_again(page_size: int, start: int) -> None:
    names = [b"%02d" % number for number in range(40)]
    shelf = Shelf({name.decode(): b"" for name in names}, page_size)

    async def main() -> None:
        async with kernel_on(shelf, Clock(), metadata_limit=1) as kernel:
            handle = kernel.opendir(ROOT)
            told = await kernel.read_places(handle)
            for _ in range(5):
                rest = await kernel.read_entries(handle, told[start - 1][2])
                assert [name for name, _ in rest] == names[start:]
            kernel.filesystem.directories.release(handle)

    run(main)


@given(
    size=st.sampled_from([2_001, 65_535, 65_536, 140_000]), page=st.sampled_from([70_000, 200_000])
)
@settings(max_examples=6)
def test_a_page_of_any_size_is_told_whole_whatever_may_be_kept(size: int, page: int) -> None:
    shelf = Shelf({f"{number:06}": b"" for number in range(size)}, page)

    async def main(limit: int) -> int:
        async with kernel_on(shelf, Clock(), metadata_limit=limit) as kernel:
            handle = kernel.opendir(ROOT)
            stream, offset, names = kernel.filesystem.directories.handle(handle), 2, []
            while (place := await stream.read(offset)) is not None:
                names += [place.page.name(index) for index in range(place.start, len(place.page))]
                offset = place.base + len(place.page)
            kernel.filesystem.directories.release(handle)
            assert len(names) == len(set(names))
            return len(names)

    assert [run(lambda limit=limit: main(limit)) for limit in (1, 1 << 30)] == [size, size]  # type: ignore[misc]


class _Reader:
    """One open directory; *told* are the names that stand before each offset, and *names* those told since the start."""

    def __init__(self, kernel: Kernel) -> None:
        self.handle = kernel.opendir(ROOT)
        self._kernel = kernel
        self.offset = 0
        self.names: list[bytes] = []
        self.told: dict[int, list[bytes]] = {}

    async def step(self, rnd: random.Random) -> None:
        """Read on a little, go back to a place that was told, or start over."""
        action = rnd.random()
        if action < 0.1:
            self.offset, self.names, self.told = 0, [], {}
        elif action < 0.3 and self.told:
            self.offset = rnd.choice(list(self.told))
            self.names = self.told[self.offset].copy()
        await self._read(rnd.randint(1, 6))

    async def rest(self) -> list[bytes]:
        """All names from the start of the directory on, those told before included."""
        await self._read(1 << 30)
        return self.names

    async def _read(self, most: int) -> None:
        for name, _, offset in await self._kernel.read_places(self.handle, self.offset, most):
            self.names.append(name)
            self.offset = offset
            self.told[offset] = self.names.copy()


async def _check_walk(kernel: Kernel, shelf: Shelf) -> None:
    assert await walk(kernel) == truth(shelf)


async def _give_up(kernel: Kernel, steps: int) -> None:
    """A walker that is cancelled after so many checkpoints."""
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(walk, kernel)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            scope.cancel()
