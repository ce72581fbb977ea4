"""Lookup by number: a handle opens what it was made of, or nothing, whatever happened since."""

from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import UnknownHandle
from tests.fakes.memory_store import MemoryStore
from tests.property.kernel import Clock, Kernel, kernel_on
from tests.property.running import run
from tests.property.strategies import bodies, page_sizes
from tests.reference import Directory, Node, look, tree_of

TTL = 10.0
Change = tuple[str, bytes | None]  # a key, and its new body; None deletes it

changes = st.lists(
    st.tuples(st.sampled_from(["a", "b", "a/a", "a/b", "b/a/a"]), st.none() | st.binary(max_size=2))
)


async def handles_of(kernel: Kernel, path: bytes = b"", inode: int = 1) -> dict[bytes, int]:
    """Return the inode number of every path, which the kernel then forgets."""
    found = {}
    for name, seen in await kernel.readdir(inode):
        found[path + name] = seen.inode
        if seen.is_directory:
            found |= await handles_of(kernel, path + name + b"/", seen.inode)
    return found


async def size_by_number(kernel: Kernel, inode: int) -> int | None:
    """Return the size of what the handle opens, negative for a directory; None if it is stale."""
    try:
        attributes = await kernel.filesystem.numbers.lookup(inode)
    except UnknownHandle:
        return None
    assert attributes.inode == inode
    kernel.filesystem.tree.inodes.forget(inode, 1)
    return attributes.size


def size_of(node: Node[bytes] | None) -> int | None:
    return -1 if isinstance(node, Directory) else None if node is None else len(node)


@given(bodies=bodies(), page_size=page_sizes)
def test_whatever_was_listed_is_found_by_its_number_without_a_request(
    bodies: dict[str, bytes], page_size: int
) -> None:
    store = MemoryStore(bodies, page_size=page_size)

    async def main() -> None:
        async with kernel_on(store, Clock(), metadata_ttl=TTL) as kernel:
            handles = await handles_of(kernel)
            kernel.forget_all()
            requests = len(store.requests)

            for path, inode in handles.items():
                expected = size_of(look(tree_of(store.bodies), path))
                assert expected == await size_by_number(kernel, inode)

                above = (await kernel.filesystem.numbers.lookup_parent(inode)).inode
                kernel.filesystem.tree.inodes.forget(above, 1)
                directory = path.rpartition(b"/")[0]
                assert above == (handles[directory] if directory else 1)
            assert len(store.requests) == requests

    run(main)


@given(bodies=bodies(), changes=changes, is_listed_again=st.booleans())
def test_a_handle_never_opens_another_version(
    bodies: dict[str, bytes], changes: list[Change], *, is_listed_again: bool
) -> None:
    """After the TTL, exactly the handles of what is still there open."""
    store, clock = MemoryStore(bodies), Clock()

    async def main() -> None:
        async with kernel_on(store, clock, metadata_ttl=TTL) as kernel:
            handles = await handles_of(kernel)
            kernel.forget_all()
            before = tree_of(store.bodies)
            for key, body in changes:
                if body is not None:
                    store.put(key, body)
                elif key in store.bodies:
                    store.delete(key)
            clock.now += TTL + 1
            if is_listed_again:
                await handles_of(kernel)
                kernel.forget_all()

            for path, inode in handles.items():
                then, now = look(before, path), look(tree_of(store.bodies), path)
                is_same = then == now or (
                    isinstance(then, Directory) and isinstance(now, Directory)
                )
                expected = size_of(now) if is_same else None
                assert expected == await size_by_number(kernel, inode)

    run(main)
