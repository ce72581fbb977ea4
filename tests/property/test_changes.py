"""While the bucket changes, no name is shown twice, lost or invented; after the TTL all is true."""

from collections.abc import Callable, Mapping

from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import StaleVersion
from s3mount.filesystem.namespace.inode_table import ROOT
from tests.fakes.key_order import Order, in_byte_order, in_component_order
from tests.fakes.memory_store import MemoryStore, Request, hook, respond_at_once
from tests.property.kernel import Clock, Kernel, kernel_on, kind, truth, walk
from tests.property.running import run
from tests.property.strategies import bodies, keys, page_sizes
from tests.reference import Directory, directories_of, look

TTL = 10.0

Change = tuple[int, str, bytes | None]  # before which request which key becomes what; None: deleted

changes = st.lists(
    st.tuples(st.integers(1, 12), keys, st.none() | st.binary(max_size=2)), max_size=8
)
orders = st.sampled_from([in_byte_order, in_component_order])


@given(bodies=bodies(20), page_size=page_sizes, order=orders, changes=changes)
def test_a_directory_read_while_it_changes_has_no_name_twice_and_none_lost_that_stayed(
    bodies: dict[str, bytes], page_size: int, order: Order, changes: list[Change]
) -> None:
    store = MemoryStore(bodies, page_size=page_size, order=order)
    history = _apply(store, changes)

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            shown = [name for name, _ in await kernel.readdir(ROOT)]
            trees = [truth(store) for store in history()]
            always = set(trees[0]).intersection(*trees[1:])
            ever = set().union(*trees)
            assert len(shown) == len(set(shown))
            assert always <= set(shown) <= ever

    run(main)


@given(bodies=bodies(20), page_size=page_sizes, order=orders, changes=changes)
def test_a_walk_while_the_bucket_changes_shows_files_that_stayed_and_none_that_never_was(
    bodies: dict[str, bytes], page_size: int, order: Order, changes: list[Change]
) -> None:
    store = MemoryStore(bodies, page_size=page_size, order=order)
    clock = Clock()
    history = _apply(store, changes)

    async def main() -> None:
        async with kernel_on(store, clock, metadata_ttl=TTL) as kernel:
            shown = await walk(kernel)
            trees = [truth(store) for store in history()]
            for path in _paths(shown):
                assert kind(look(shown, path)) in {kind(look(tree, path)) for tree in trees}, path
            for path in set(_paths(trees[0])).intersection(*map(_paths, trees[1:])):
                if len({kind(look(tree, path)) for tree in trees}) == 1:
                    assert kind(look(shown, path)) == kind(look(trees[0], path)), path

            clock.now += TTL + 1
            store.before = respond_at_once
            assert await walk(kernel) == truth(store)

    run(main)


@given(
    before=bodies(),
    after=bodies(),
    page_size=page_sizes,
    ttl=st.sampled_from([0.0, TTL]),
    data=st.data(),
)
def test_a_change_is_seen_after_the_ttl_and_at_once_if_it_is_zero(
    before: dict[str, bytes],
    after: dict[str, bytes],
    page_size: int,
    ttl: float,
    data: st.DataObject,
) -> None:
    store = MemoryStore(before, page_size=page_size)
    clock = Clock()
    paths = sorted({b"a", *_paths(truth(store)), *_paths(truth(MemoryStore(after)))})
    early = data.draw(st.lists(st.sampled_from(paths), max_size=6))
    late = data.draw(st.lists(st.sampled_from(paths), max_size=6))

    async def main() -> None:
        async with kernel_on(store, clock, metadata_ttl=ttl) as kernel:
            for path in early:
                await kernel.resolve(path)
            await walk(kernel)
            store.replace_all(after)
            clock.now += ttl
            for path in late:
                assert await _shown(kernel, path) == kind(look(truth(store), path)), path
            assert await walk(kernel) == truth(store)

    run(main)


@given(body=st.binary(max_size=3), other=st.binary(max_size=3), waited=st.sampled_from([0.0, TTL]))
def test_an_open_after_the_ttl_reads_the_current_version_or_is_stale(
    body: bytes, other: bytes, waited: float
) -> None:
    store = MemoryStore({"a": body, "first": b"first"})
    clock = Clock()

    async def main() -> None:
        async with kernel_on(store, clock, metadata_ttl=TTL) as kernel:
            first = await kernel.lookup(ROOT, b"first")
            assert first is not None
            assert await _read_again(kernel, first.inode) == b"first"  # its open is checked
            seen = await kernel.lookup(ROOT, b"a")
            assert seen is not None
            store.put("a", other)
            clock.now += waited
            is_lost = not waited and body not in (other, b"")
            expected = other if waited else body
            assert await _read_again(kernel, seen.inode) == (None if is_lost else expected)

    run(main)


async def _read_again(kernel: Kernel, inode: int) -> bytes | None:
    """The bytes as of open(2): if the inode is stale, the kernel looks up and opens again."""
    files = kernel.filesystem.files
    try:
        handle = await files.open(inode)
    except StaleVersion:
        seen = await kernel.lookup(ROOT, b"a")
        assert seen is not None
        handle = await files.open(seen.inode)
    try:
        return bytes(await files.read(handle, 0, 10))
    except StaleVersion:
        return None
    finally:
        files.release(handle)


def _apply(store: MemoryStore, changes: list[Change]) -> Callable[[], list[MemoryStore]]:
    """Make *changes* before their requests; returns a function for the states until now."""
    states = [store.bodies]

    def change(request: Request) -> None:
        for at, key, body in changes:
            if at == request.number:
                store.change(key, body)
                states.append(store.bodies)

    store.before = hook(change)
    return lambda: [MemoryStore(state) for state in states]


async def _shown(kernel: Kernel, path: bytes) -> str:
    seen = await kernel.resolve(path)
    return (
        "nothing" if seen is None else "directory" if seen.is_directory else f"file of {seen.size}"
    )


def _paths(tree: Directory[int]) -> list[bytes]:
    return [*directories_of(tree), *_files(tree)]


def _files(tree: Mapping[bytes, object], path: bytes = b"") -> list[bytes]:
    found = []
    for name, node in tree.items():
        found += _files(node, path + name + b"/") if isinstance(node, Directory) else [path + name]
    return found
