"""If the store fails, a caller gets an error or a complete result: no part, no absence."""

from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import AccessDenied, S3MountError, StoreError
from s3mount.filesystem.namespace.inode_table import ROOT
from tests.fakes.key_order import Order, in_byte_order, in_component_order
from tests.fakes.memory_store import MemoryStore, Request, fail_at, hook, respond_at_once
from tests.property.kernel import Clock, Kernel, answers, kernel_on, kind, truth, walk
from tests.property.running import run
from tests.property.strategies import bodies, page_sizes
from tests.reference import directories_of, files_of, look

orders = st.sampled_from([in_byte_order, in_component_order])


@given(
    bodies=bodies(20),
    page_size=page_sizes,
    order=orders,
    failing=st.sets(st.integers(1, 12), min_size=1),
)
def test_a_walk_in_which_requests_fail_shows_an_error_or_the_whole_truth_and_afterwards_the_truth(
    bodies: dict[str, bytes], page_size: int, order: Order, failing: set[int]
) -> None:
    store = MemoryStore(bodies, page_size=page_size, order=order, before=fail_at(*failing))

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            for _ in range(3):
                assert await answers(walk(kernel)) in (None, truth(store))
            store.before = respond_at_once
            assert await walk(kernel) == truth(store)

    run(main)


@given(
    bodies=bodies(),
    page_size=page_sizes,
    failing=st.sets(st.integers(1, 12), min_size=1),
    data=st.data(),
)
def test_a_lookup_in_which_requests_fail_is_an_error_or_the_truth_and_never_an_absence(
    bodies: dict[str, bytes], page_size: int, failing: set[int], data: st.DataObject
) -> None:
    store = MemoryStore(bodies, page_size=page_size, before=fail_at(*failing))
    tree = truth(store)
    there = [
        *directories_of(tree),
        *(path for path, _ in files_of(tree)),
        b"a",
        b"b/a",
        b"a/a",
        b".a",
    ]
    asked = data.draw(st.lists(st.sampled_from(there), max_size=10))

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            for path in asked:
                assert await _told(kernel, path) in ("failure", kind(look(tree, path))), path

    run(main)


@given(bodies=bodies(), page_size=page_sizes, data=st.data())
def test_where_only_listing_is_refused_names_of_files_are_found_and_absence_is_a_refusal(
    bodies: dict[str, bytes], page_size: int, data: st.DataObject
) -> None:
    store = MemoryStore(bodies, page_size=page_size)
    store.before = hook(_deny_listing)
    name = data.draw(st.sampled_from([b"a", b"b", b"ab", b"a.", b"-"]))

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            expected = (
                f"file of {len(bodies[name.decode()])}" if name.decode() in bodies else "failure"
            )
            assert await _told(kernel, name) == expected

    run(main)


@given(bodies=bodies(), page_size=page_sizes, at=st.integers(1, 8))
def test_a_stream_that_failed_goes_on_where_it_stood(
    bodies: dict[str, bytes], page_size: int, at: int
) -> None:
    store = MemoryStore(bodies, page_size=page_size, before=fail_at(at))

    async def main() -> None:
        async with kernel_on(store, Clock()) as kernel:
            handle = kernel.opendir(ROOT)
            names: list[bytes] = []
            offset = 0
            for _ in range(50):
                try:
                    places = await kernel.read_places(handle, offset, limit=1)
                except StoreError:
                    continue
                if not places:
                    break
                names += [name for name, _, _ in places]
                offset = places[-1][2]
            kernel.filesystem.directories.release(handle)
            assert sorted(names) == sorted(truth(store))

    run(main)


async def _told(kernel: Kernel, path: bytes) -> str:
    try:
        seen = await kernel.resolve(path)
    except S3MountError:
        return "failure"
    return (
        "nothing" if seen is None else "directory" if seen.is_directory else f"file of {seen.size}"
    )


def _deny_listing(request: Request) -> None:
    if request.kind == "LIST":
        raise AccessDenied("not allowed", status=403, code="AccessDenied")
