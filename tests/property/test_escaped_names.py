"""With escaped names a tree has every key of any bucket, whatever is called, in any order."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

from hypothesis import example, given
from hypothesis import strategies as st

from s3mount.config import StoreConfig
from s3mount.errors import StoreError
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.prefetch.escaped_subtree import EscapedSubtreeBuilder
from s3mount.s3.object_store import BucketStore
from s3mount.s3.views.escaped_view import EscapedView
from s3mount.s3.views.key_escape import KeyEscape, key_of, names
from tests.fakes.key_order import in_byte_order, in_component_order, in_no_order
from tests.fakes.memory_store import BUCKET, MemoryStore
from tests.property.kernel import Clock, Kernel, kernel_on, kind, walk
from tests.property.running import run
from tests.reference import Directory, Node, directories_of, encode, files_of, look

PIECES = [
    *("a", "b", "-", ".", "..", "/", "/", "/", "//", "\0", "%", "%25"),
    *("%file=", "%dir=", "%long=", "é", "x" * 60, "y" * 196, "z" * 200, "n" * 249),
]
keys = st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("".join)
# which begin alike, so that they are in directories for the same parts
long_keys = st.lists(
    st.sampled_from(["z" * 200, "m", "m" * 40, "/", "/a", "é" * 30, "k" * 100]),
    min_size=1,
    max_size=5,
).map(lambda pieces: "z" * 160 + "".join(pieces))
buckets = st.dictionaries(st.one_of(keys, long_keys), st.binary(max_size=2), max_size=14)
path_buckets = buckets.map(  # a store over files has no NUL
    lambda bodies: {key.replace("\0", "0"): body for key, body in bodies.items()}
)
page_sizes = st.sampled_from([1, 2, 3, 10, 1000])
roots = st.sampled_from(["", "a/", "/", "%dir=/"])

stores = st.one_of(
    st.builds(MemoryStore, buckets, page_size=page_sizes, order=st.just(in_byte_order)),
    st.builds(MemoryStore, path_buckets, page_size=page_sizes, order=st.just(in_component_order)),
)


def tree_of(bodies: Mapping[str, bytes], root: str) -> Directory[int]:
    """Return the tree of all keys below *root*; each file by its size."""
    tree = Directory[int]()
    files = []
    for key, body in bodies.items():
        if not key.startswith(root):
            continue
        *above, last = key[len(root) :].split("/")
        path = [name for component in above for name in names(component, is_directory=True)]
        *more, name = names(last, is_directory=False)
        directory = tree
        for each in (*path, *more):
            below = directory.setdefault(encode(each), Directory[int]())
            assert isinstance(below, Directory)
            directory = below
        if last or body:
            files.append((directory, name, len(body)))
    for directory, name, size in files:
        is_shadowed = encode(name) in directory and isinstance(directory[encode(name)], Directory)
        directory[encode(KeyEscape().shadowed(name) if is_shadowed else name)] = size
    return tree


# a directory among keys of which a part of their component is the beginning of its name
AMONG_LONG_KEYS = ["z" * 200 + end for end in ("a" * 80, "b/c", "d" * 80)]


@asynccontextmanager
async def escaping(
    store: MemoryStore, root: str = "", *, is_proven: bool = False, **tree: float
) -> AsyncIterator[Kernel]:
    """Make a kernel on a file system that shows all keys of *store* below *root*."""
    view = EscapedView(cast("BucketStore", store), BUCKET, root)
    location = StoreConfig(bucket=BUCKET, prefix=root)
    async with kernel_on(
        view, Clock(), is_proven=is_proven, location=location, escape=KeyEscape(), **tree
    ) as kernel:
        yield kernel


@given(store=stores, root=roots, is_proven=st.booleans())
def test_a_walk_shows_every_key(store: MemoryStore, root: str, *, is_proven: bool) -> None:
    async def main() -> None:
        async with escaping(store, root, is_proven=is_proven) as kernel:
            assert await walk(kernel) == tree_of(store.bodies, root)
            assert kernel.filesystem.tree.cache.directories.hidden_count == 0

    run(main)


@given(bodies=buckets)
def test_the_files_of_a_walk_are_the_keys_of_the_bucket(bodies: dict[str, bytes]) -> None:
    store = MemoryStore(bodies, page_size=3)

    async def main() -> None:
        found = dict[str, bytes]()
        async with escaping(store) as kernel:
            for path, _ in files_of(await walk(kernel)):
                own = key_of(path.decode("utf-8", "surrogateescape"))
                assert own is not None
                assert own.key not in found
                found[own.key] = await _body(kernel, path)
        assert found == {key: body for key, body in bodies.items() if body or key[-1] != "/"}

    run(main)


@given(store=stores, root=roots, data=st.data())
def test_names_are_found_before_any_listing(
    store: MemoryStore, root: str, data: st.DataObject
) -> None:
    tree = tree_of(store.bodies, root)
    paths = data.draw(st.lists(st.sampled_from(_paths(tree)), max_size=12))

    async def main() -> None:
        async with escaping(store, root) as kernel:
            for path in paths:
                await _check_lookup(kernel, tree, path)

    run(main)


@given(
    store=stores, after=path_buckets, ttl=st.sampled_from([0.0, 10.0, float("inf")]), data=st.data()
)
def test_looks_and_changes_in_any_order_show_the_present_bucket(
    store: MemoryStore, after: dict[str, bytes], ttl: float, data: st.DataObject
) -> None:
    contents = [store.bodies, after]
    trees = [tree_of(each, "") for each in contents]
    paths = [path for tree in trees for path in _paths(tree)]
    steps = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from(["look", "read", "forget", "change"]), st.sampled_from(paths)
            ),
            max_size=15,
        )
    )

    async def main() -> None:
        now = 0
        async with escaping(store, metadata_ttl=ttl) as kernel:
            for step, path in steps:
                match step:
                    case "look":
                        await _check_lookup(kernel, trees[now], path)
                    case "read":
                        await _check_readdir(kernel, trees[now], path)
                    case "forget":
                        kernel.forget_all()
                    case _:
                        now = 1 - now
                        store.replace_all(contents[now])
                        kernel.filesystem.tree.invalidate_all()

    run(main)


@given(store=stores, after=path_buckets, data=st.data())
def test_a_refresh_of_a_path_shows_the_present_tree_below_it(
    store: MemoryStore, after: dict[str, bytes], data: st.DataObject
) -> None:
    before, later = tree_of(store.bodies, ""), tree_of(after, "")
    path = data.draw(st.sampled_from(_paths(before)[1:]))
    above: Node[int] | None = look(later, path.rpartition(b"/")[0])

    async def main() -> None:
        async with escaping(store, metadata_ttl=float("inf")) as kernel:
            await walk(kernel)
            for each in _paths(before):
                await _check_lookup(kernel, before, each)
            store.replace_all(after)
            kernel.filesystem.tree.refresh(path.split(b"/"))
            if isinstance(above, Directory):  # else it is known as it was
                await _check_lookup(kernel, later, path)
                below = _paths_below(look(later, path), path)
                for each in below:
                    await _check_lookup(kernel, later, each)
                for each in (path, *below):
                    await _check_readdir(kernel, later, each)

    run(main)


@given(store=stores)
def test_what_was_listed_is_found_by_its_number_without_a_request(store: MemoryStore) -> None:
    tree = tree_of(store.bodies, "")

    async def main() -> None:
        async with escaping(store) as kernel:
            await walk(kernel)
            paths = [*directories_of(tree), *(path for path, _ in files_of(tree))]
            seen = {path: await kernel.resolve(path) for path in paths}
            kernel.forget_all()
            requests = len(store.requests)
            for path, one in seen.items():
                assert one is not None
                found = await kernel.filesystem.numbers.lookup(one.inode)
                above = await kernel.filesystem.numbers.lookup_parent(one.inode)
                for each in (found.inode, above.inode):
                    kernel.filesystem.tree.inodes.forget(each, 1)
                parent = seen.get(path.rpartition(b"/")[0])
                assert found.inode == one.inode
                assert above.inode == (ROOT if parent is None else parent.inode)
            assert len(store.requests) == requests

    run(main)


@given(bodies=buckets, page_size=page_sizes, is_known=st.booleans())
def test_a_store_without_an_order_shows_every_key_or_fails(
    bodies: dict[str, bytes], page_size: int, *, is_known: bool
) -> None:
    store = MemoryStore(bodies, page_size=page_size, order=in_no_order)

    async def main() -> None:
        async with escaping(store) as kernel:
            kernel.filesystem.tree.cache.order._is_unordered = is_known
            try:
                assert await walk(kernel) == tree_of(bodies, "")
            except StoreError:  # disorder that showed too late
                assert not is_known
                assert page_size < len(bodies)

    run(main)


@given(store=stores, data=st.data())
@example(store=MemoryStore(dict.fromkeys(AMONG_LONG_KEYS, b"")), data=None)
def test_a_directory_that_a_scan_finishes_is_whole(
    store: MemoryStore, data: st.DataObject | None
) -> None:
    tree = tree_of(store.bodies, "")
    if (places := _parents(tree)) and data is not None:
        places = [data.draw(st.sampled_from(places))]

    async def main() -> None:
        view = EscapedView(cast("BucketStore", store), BUCKET, "")
        for root, start in places:
            builder = EscapedSubtreeBuilder(root, start, escape=KeyEscape())
            while not builder.is_complete:
                page = await view.list_page(builder.next_query())
                for finished in builder.add(page, 0.0):
                    node = look(tree, encode(finished.prefix[:-1]))
                    assert isinstance(node, Directory)
                    assert Counter(
                        (entry.name, kind(Directory() if entry.size < 0 else entry.size))
                        for entry in finished.entries
                    ) == Counter((name, kind(below)) for name, below in node.items())

    run(main)


@given(store=stores, limit=st.integers(1, 4000))
def test_a_small_metadata_limit_shows_the_same_tree(store: MemoryStore, limit: int) -> None:
    async def main() -> None:
        async with escaping(store, metadata_limit=limit) as kernel:
            assert await walk(kernel) == tree_of(store.bodies, "")

    run(main)


@given(page_size=st.integers(1, 3), limit=st.sampled_from([3_000, 20_000]), start=st.integers(1, 8))
def test_a_reader_whose_page_was_trimmed_goes_on_with_every_name(
    page_size: int, limit: int, start: int
) -> None:
    """The other reader of the same listing has gone through all of it meanwhile."""
    store = MemoryStore(
        {f"{number:02}": b"" for number in range(50)} | {".": b"", "..": b"", "\0": b""},
        page_size=page_size,
    )

    async def main() -> None:
        async with escaping(store, is_proven=True, metadata_limit=limit) as kernel:
            behind, ahead = kernel.opendir(ROOT), kernel.opendir(ROOT)
            shown = await kernel.read_places(behind, 0, start)
            await kernel.read_entries(ahead)
            shown += await kernel.read_places(behind, shown[-1][2])
            assert sorted(name for name, *_ in shown) == sorted(tree_of(store.bodies, ""))
            for handle in (behind, ahead):
                kernel.filesystem.directories.release(handle)

    run(main)


async def _body(kernel: Kernel, path: bytes) -> bytes:
    seen = await kernel.resolve(path)
    assert seen is not None
    files = kernel.filesystem.files
    handle = await files.open(seen.inode)
    try:
        return bytes(await files.read(handle, 0, 100))
    finally:
        files.release(handle)


async def _check_lookup(kernel: Kernel, tree: Directory[int], path: bytes) -> None:
    seen = await kernel.resolve(path)
    shown = (
        "nothing" if seen is None else "directory" if seen.is_directory else f"file of {seen.size}"
    )
    assert shown == kind(look(tree, path)), path


async def _check_readdir(kernel: Kernel, tree: Directory[int], path: bytes) -> None:
    node = look(tree, path)
    if not isinstance(node, Directory):
        return
    seen = await kernel.resolve(path)
    assert seen is not None
    found = await kernel.readdir(seen.inode if path else ROOT)
    shown = Counter(
        (name, "directory" if entry.is_directory else f"file of {entry.size}")
        for name, entry in found
    )
    assert shown == Counter((name, kind(below)) for name, below in node.items()), path


def _parents(tree: Directory[int]) -> list[tuple[str, str]]:
    """Return the prefixes of all directories in directories: of the outer, and of the inner one."""
    prefixes = [path.decode("utf-8", "surrogateescape") for path in directories_of(tree)]
    return [(path[: path.rfind("/") + 1], f"{path}/") for path in prefixes]


def _paths_below(node: Node[int] | None, path: bytes) -> list[bytes]:
    if not isinstance(node, Directory):
        return []
    below = [*directories_of(node), *(each for each, _ in files_of(node))]
    return [path + b"/" + each for each in below]


def _paths(tree: Directory[int]) -> list[bytes]:
    """The paths of a tree, and names beside them that keys have in other cases."""
    directories = [b"", *directories_of(tree)]
    others = [b"%file=", b"%dir=", b"%file=a", b"%dir=.", b"%long=" + b"z" * 200, b"a", b"n" * 250]
    paths = [*directories, *(path for path, _ in files_of(tree))]
    paths += [path + b"/" + name if path else name for path in directories for name in others]
    return paths + [b"%file=" + path for path in paths if b"/" not in path and len(path) < 250]
