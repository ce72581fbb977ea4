"""The mount shows the tree of the reference model, whatever is called and however S3 lists."""

from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fakes.key_order import Order, in_byte_order, in_component_order, in_no_order
from tests.fakes.memory_store import MemoryStore
from tests.property.kernel import Clock, Kernel, answers, kernel_on, kind, truth, walk
from tests.property.running import run
from tests.property.strategies import bodies, page_sizes
from tests.reference import Directory, directories_of, look

NAMES = [
    bytes(pair)
    for length in (1, 2)
    for pair in product(b"ab-.", repeat=length)
    if bytes(pair) not in (b".", b"..")
]

each_order = pytest.mark.parametrize(
    "order", [in_byte_order, in_component_order], ids=lambda order: order.__name__
)


@each_order
@given(bodies=bodies(), page_size=page_sizes)
def test_reading_every_directory_shows_the_tree(
    order: Order, bodies: dict[str, bytes], page_size: int
) -> None:
    store = MemoryStore(bodies, page_size=page_size, order=order)

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            assert await walk(kernel) == truth(store)

    run(main)


@each_order
@given(bodies=bodies(), page_size=page_sizes, data=st.data())
def test_looking_names_up_shows_the_tree(
    order: Order, bodies: dict[str, bytes], page_size: int, data: st.DataObject
) -> None:
    store = MemoryStore(bodies, page_size=page_size, order=order)
    paths = _paths(truth(store))
    paths = data.draw(st.lists(st.sampled_from(paths), max_size=12))

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            for path in paths:
                await _check_lookup(kernel, store, path)

    run(main)


@each_order
@given(
    bodies=bodies(),
    page_size=page_sizes,
    ttl=st.sampled_from([0.0, 10.0, float("inf")]),
    data=st.data(),
)
def test_lookups_readdirs_and_forgets_in_any_order_show_the_tree(
    order: Order, bodies: dict[str, bytes], page_size: int, ttl: float, data: st.DataObject
) -> None:
    store = MemoryStore(bodies, page_size=page_size, order=order)
    tree = truth(store)
    clock = Clock()
    directories = [b"", *directories_of(tree)]
    look_up = st.tuples(st.just("look up"), st.sampled_from(_paths(tree)))
    read = st.tuples(st.just("read"), st.sampled_from(directories))
    others = st.tuples(st.sampled_from(["forget", "wait", "refresh"]), st.just(b""))
    steps = data.draw(st.lists(st.one_of(look_up, read, others), max_size=15))

    async def main() -> None:
        async with kernel_on(store, clock, metadata_ttl=ttl) as kernel:
            for step, path in steps:
                match step:
                    case "look up":
                        await _check_lookup(kernel, store, path)
                    case "read":
                        await _check_readdir(kernel, store, path)
                    case "forget":
                        kernel.forget_all()
                    case "wait":
                        clock.now += 6
                    case _:
                        kernel.filesystem.tree.invalidate_all()

    run(main)


@each_order
@given(before=bodies(), after=bodies(), page_size=page_sizes, data=st.data())
def test_a_refresh_of_a_path_shows_the_present_tree_below_it(
    order: Order,
    before: dict[str, bytes],
    after: dict[str, bytes],
    page_size: int,
    data: st.DataObject,
) -> None:
    store = MemoryStore(before, page_size=page_size, order=order)
    tree = truth(store)
    path = data.draw(st.sampled_from(_paths(tree)))
    looks = data.draw(st.lists(st.sampled_from(_paths(tree)), max_size=6))
    reads = data.draw(st.lists(st.sampled_from([b"", *directories_of(tree)]), max_size=4))

    async def main() -> None:
        async with kernel_on(store, Clock(), metadata_ttl=float("inf")) as kernel:
            for each in reads:
                await _check_readdir(kernel, store, each)
            for each in looks:
                await _check_lookup(kernel, store, each)
            for key in before:
                store.delete(key)
            for key, body in after.items():
                store.put(key, body)

            kernel.filesystem.tree.refresh(path.split(b"/"))

            await _check_below(kernel, store, path)

    run(main)


@given(bodies=bodies(), page_size=page_sizes, limit=st.integers(1, 6))
def test_a_metadata_limit_of_few_bytes_shows_the_same_tree(
    bodies: dict[str, bytes], page_size: int, limit: int
) -> None:
    store = MemoryStore(bodies, page_size=page_size)

    async def main() -> None:
        async with kernel_on(store, Clock(), metadata_limit=limit) as kernel:
            assert await walk(kernel) == truth(store)
            for path in _paths(truth(store))[:6]:
                await _check_lookup(kernel, store, path)

    run(main)


@each_order
@given(bodies=bodies(), page_size=page_sizes)
def test_what_a_listing_has_shown_is_looked_up_without_a_request(
    order: Order, bodies: dict[str, bytes], page_size: int
) -> None:
    store = MemoryStore(bodies, page_size=page_size, order=order)

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            await walk(kernel)
            requests = len(store.requests)
            for path in _paths(truth(store)):
                await _check_lookup(kernel, store, path)
            assert await walk(kernel) == truth(store)
            assert store.requests[requests:] == []

    run(main)


@given(bodies=bodies(), data=st.data())
def test_an_unordered_store_shows_the_tree_if_a_page_shows_the_disorder(
    bodies: dict[str, bytes], data: st.DataObject
) -> None:
    store = MemoryStore(bodies, order=in_no_order)
    paths = data.draw(st.lists(st.sampled_from(_paths(truth(store))), max_size=12))

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            for path in paths:
                await _check_lookup(kernel, store, path)
            assert await walk(kernel) == truth(store)

    run(main)


@given(bodies=bodies(), page_size=page_sizes)
@example(
    bodies={"a/": b"", "b/a": b"", "b/aa": b""}, page_size=2
)  # a subtree scan would see but part of it, in order
def test_disorder_that_shows_too_late_fails_the_readdir(
    bodies: dict[str, bytes], page_size: int
) -> None:
    store = MemoryStore(bodies, page_size=page_size, order=in_no_order)

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            assert await answers(walk(kernel)) in (None, truth(store))

    run(main)


async def _check_lookup(kernel: Kernel, store: MemoryStore, path: bytes) -> None:
    seen = await kernel.resolve(path)
    shown = (
        "nothing" if seen is None else "directory" if seen.is_directory else f"file of {seen.size}"
    )
    assert shown == kind(look(truth(store), path)), path


async def _check_below(kernel: Kernel, store: MemoryStore, path: bytes) -> None:
    """Check *path* and all below it, unless a directory above it is gone: it may be known still."""
    await _check_lookup(kernel, store, path)
    if isinstance(node := look(truth(store), path), Directory):
        await _check_readdir(kernel, store, path)
        for name in node:
            await _check_below(kernel, store, path + b"/" + name)


async def _check_readdir(kernel: Kernel, store: MemoryStore, path: bytes) -> None:
    seen = await kernel.resolve(path)
    assert seen is not None
    shown = [
        (name, "directory" if entry.is_directory else f"file of {entry.size}")
        for name, entry in await kernel.readdir(seen.inode)
    ]
    node = look(truth(store), path)
    assert isinstance(node, Directory)
    assert sorted(shown) == sorted((name, kind(below)) for name, below in node.items()), path


def _paths(tree: Directory[int]) -> list[bytes]:
    """Every name of two letters in every directory, there or not."""
    return [
        path + b"/" + name if path else name
        for path in (b"", *directories_of(tree))
        for name in NAMES
    ]
