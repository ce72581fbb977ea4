"""Directory streams: an offset that was told stays valid for the life of the stream, whatever becomes of the directory."""

import trio
from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.inodes import ROOT
from tests.property.kernel import Clock, Kernel, kernel_on, truth, walk
from tests.property.running import run
from tests.property.shelf import Order, Shelf, in_byte_order, in_component_order
from tests.property.strategies import bodies, page_sizes

orders = st.sampled_from([in_byte_order, in_component_order])


@given(before=bodies(20), after=bodies(20), page_size=page_sizes, order=orders, data=st.data())
def test_seeking_to_an_offset_goes_on_behind_its_entry(
    before: dict[str, bytes], after: dict[str, bytes], page_size: int, order: Order, data: st.DataObject
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
                kernel.filesystem.tree.forget_all()
            for start in data.draw(st.lists(st.integers(0, len(told)), max_size=5)):
                offset = told[start - 1][2] if start else 2
                assert [name for name, _ in await kernel.read_entries(handle, offset)] == names[start:]
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


@given(bodies=bodies(20), page_size=page_sizes, readers=st.integers(2, 5), cancelled=st.integers(0, 3))
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
def test_readers_of_one_directory_at_once_cost_no_more_than_one(bodies: dict[str, bytes], page_size: int) -> None:
    async def requests(readers: int) -> int:
        shelf = Shelf(bodies, page_size)
        async with kernel_on(shelf, Clock()) as kernel, trio.open_nursery() as nursery:
            for _ in range(readers):
                nursery.start_soon(kernel.readdir, ROOT)
        return len(shelf.asked)

    assert run(lambda: requests(4)) == run(lambda: requests(1))


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
