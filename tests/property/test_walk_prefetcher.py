"""A walk costs few requests; one that turns aside costs little more than its listings."""

import gc
import math

import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.prefetch.subtree_builder import SubtreeBuilder
from s3mount.filesystem.prefetch.walk_prefetcher import SCANS_MAX
from tests.fakes.key_order import Order, in_byte_order, in_component_order
from tests.fakes.memory_store import MemoryStore
from tests.property.kernel import Clock, Kernel, kernel_on, truth, walk
from tests.property.running import run
from tests.property.strategies import page_sizes
from tests.reference import directories_of

SMALL_CONSTANT = 12  # requests

parts = st.text("ab-", min_size=1, max_size=2)
deep_keys = st.lists(parts, min_size=1, max_size=5).map("/".join)
orders = st.sampled_from([in_byte_order, in_component_order])


@given(
    keys=st.sets(deep_keys, max_size=40),
    page_size=st.sampled_from([1, 2, 3, 10, 100]),
    order=orders,
    is_proven=st.booleans(),
)
def test_a_walk_shows_the_tree_for_little_more_than_a_list_per_directory(
    keys: set[str], page_size: int, order: Order, *, is_proven: bool
) -> None:
    store = MemoryStore(dict.fromkeys(keys, b"x"), page_size=page_size, order=order)
    plain = _plain_requests(store)
    if page_size == 1:  # a page of one key brings no more than a page of its own directory
        plain += plain // 2

    async def main() -> None:
        async with kernel_on(store, Clock(), is_proven=is_proven) as kernel:
            assert await walk(kernel) == truth(store)
            assert len(store.requests) <= plain + SMALL_CONSTANT

    run(main)


@given(keys=st.sets(deep_keys, min_size=5, max_size=40), page_size=page_sizes, data=st.data())
def test_a_walk_that_turns_aside_costs_little_more_than_its_listings(
    keys: set[str], page_size: int, data: st.DataObject
) -> None:
    store = MemoryStore(dict.fromkeys(keys, b"x"), page_size=page_size)
    directories = [b"", *directories_of(truth(store))]
    visited = data.draw(st.lists(st.sampled_from(directories), unique=True, max_size=12))

    async def main() -> None:
        async with kernel_on(store, Clock(), is_proven=True) as kernel:
            for path in visited:
                inode = await _inode(kernel, path)
                await kernel.readdir(inode)
            plain = sum(
                _pages(store, path)
                for path in {above for path in visited for above in _above(path)}
            )
            lists = store.counts()["LIST"]
            assert lists <= 2 * plain + SMALL_CONSTANT

    run(main)


def test_a_thousand_directories_of_ten_files_cost_about_their_pages() -> None:
    keys = [f"{number % 10}/{number:04}/{name}" for number in range(1000) for name in range(10)]
    store = MemoryStore(dict.fromkeys(keys, b"x"))

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            assert await walk(kernel) == truth(store)
            assert len(store.requests) <= 20  # a LIST for each directory would be 1,011

    run(main)


def test_a_hundred_levels_cost_few_requests() -> None:
    keys = ["/".join(["d"] * depth) + f"/{name}" for depth in range(1, 101) for name in range(20)]
    store = MemoryStore(dict.fromkeys(keys, b"x"))

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            assert await walk(kernel) == truth(store)
            assert len(store.requests) <= 10

    run(main)


def test_a_huge_flat_directory_beside_small_ones_costs_about_its_pages() -> None:
    keys = [f"m/{number:05}" for number in range(10_000)] + [
        f"{a}{number:03}/x" for a in "az" for number in range(100)
    ]
    store = MemoryStore(dict.fromkeys(keys, b"x"), page_size=100)

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            assert await walk(kernel) == truth(store)
            assert len(store.requests) <= 100 + 30

    run(main)


def test_one_small_directory_costs_few_requests() -> None:
    store = MemoryStore(
        {f"{directory:03}/{name}": b"x" for directory in range(100) for name in range(10)}
    )

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            await kernel.readdir(await _inode(kernel, b"050"))
            assert await kernel.resolve(b"070/3") is not None
            assert len(store.requests) <= 5

    run(main)


async def _inode(kernel: Kernel, path: bytes) -> int:
    seen = await kernel.resolve(path)
    assert seen is not None
    return seen.inode if path else ROOT


def _plain_requests(store: MemoryStore) -> int:
    """The requests of a LIST for each directory."""
    return sum(_pages(store, path) for path in [b"", *directories_of(truth(store))])


def _pages(store: MemoryStore, path: bytes) -> int:
    """The pages of one directory as the store lists it, shadowed files included."""
    prefix = path.decode() + "/" if path else ""
    below = [key[len(prefix) :].partition("/") for key in store.bodies if key.startswith(prefix)]
    return max(1, math.ceil(len({name + slash for name, slash, _ in below}) / store.page_size))


def _above(path: bytes) -> list[bytes]:
    """*path* and its parents, the root included."""
    names = path.split(b"/") if path else []
    return [b"/".join(names[:depth]) for depth in range(len(names) + 1)]


def test_scans_that_readers_have_left_are_not_kept() -> None:
    keys = [f"{a:02}/{b}/{c:02}" for a in range(4 * SCANS_MAX) for b in range(5) for c in range(10)]
    store = MemoryStore(dict.fromkeys(keys, b"x"), page_size=25)

    async def main() -> None:
        async with kernel_on(store, Clock(), is_proven=True) as kernel:
            for number in range(4 * SCANS_MAX):  # by name: the root is not read
                parent = await _inode(kernel, b"%02d" % number)
                [(_, first), *_] = await kernel.readdir(parent)
                await kernel.readdir(first.inode)
            await trio.testing.wait_all_tasks_blocked()
            gc.collect()
            # isinstance would ask a weak proxy, of which the object may be gone
            kept = [each for each in gc.get_objects() if type(each) is SubtreeBuilder]
            assert 0 < len(kept) <= SCANS_MAX

    run(main)
