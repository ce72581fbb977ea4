"""Walks that visit the directories of a large parent by inode number, as `find` and `cp -r` do."""

import math
import tracemalloc

import pytest
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.errors import AccessDenied
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.prefetch import inode_walk
from s3mount.filesystem.prefetch.inode_order import PROOF
from s3mount.filesystem.prefetch.inode_walk import PAGES_PER_VISIT, PARTS_MAX
from s3mount.s3.model import ListQuery
from tests.fakes.key_order import Order, in_byte_order, in_component_order
from tests.fakes.memory_store import MemoryStore, Request, hook
from tests.property.kernel import Clock, Kernel, kernel_on
from tests.property.running import run

DIRECTORIES, FILES, PAGE = 300, 10, 50
PAGES = DIRECTORIES * FILES // PAGE
ROOT_PAGES = DIRECTORIES // PAGE
FEW = 2 * PARTS_MAX  # requests: the proof, scans by name, and a page too many of each part
LARGE = 5000  # files of one directory
REPEATED = 10_000  # reads of one directory

orders = st.sampled_from([in_byte_order, in_component_order])


def _store(order: Order = in_byte_order) -> MemoryStore:
    keys = [f"{number:03}/{name:02}" for number in range(DIRECTORIES) for name in range(FILES)]
    return MemoryStore(dict.fromkeys(keys, b"x"), page_size=PAGE, order=order)


async def _sorted_directories(kernel: Kernel) -> list[int]:
    """The inode numbers of all directories in the root, as a walk sorts them."""
    return sorted(seen.inode for _, seen in await kernel.readdir(ROOT))


def test_a_walk_by_inode_number_costs_its_pages_and_few_listings_more() -> None:
    store = _store()

    async def main() -> None:
        async with kernel_on(store, Clock(), is_proven=True) as kernel:
            for inode in await _sorted_directories(kernel):
                assert len(await kernel.readdir(inode)) == FILES
            assert len(store.requests) <= ROOT_PAGES + PAGES + PAGES // 2 + FEW  # 306 without scans

    run(main)


def test_a_walk_by_inode_number_goes_on_after_what_was_scanned_has_expired() -> None:
    store, clock = _store(), Clock()

    async def main() -> None:
        async with kernel_on(store, clock, is_proven=True) as kernel:
            for at, inode in enumerate(await _sorted_directories(kernel)):
                if at == DIRECTORIES // 4:
                    clock.now += 61
                assert len(await kernel.readdir(inode)) == FILES
            assert len(store.requests) <= ROOT_PAGES + 2 * (PAGES + FEW) + PAGES // 2

    run(main)


@settings(max_examples=20)
@given(stops_after=st.integers(0, DIRECTORIES), order=orders, jumps=st.sets(st.integers(0, 299)))
def test_a_reader_that_stops_or_jumps_has_cost_some_pages_for_each_directory(
    stops_after: int, order: Order, jumps: set[int]
) -> None:
    store = _store(order)

    async def main() -> None:
        async with kernel_on(store, Clock(), is_proven=True) as kernel:
            directories = await _sorted_directories(kernel)
            visits = 0
            for at, inode in enumerate(directories[:stops_after]):
                if at in jumps:
                    await kernel.readdir(directories[-at])
                    visits += 1
                assert len(await kernel.readdir(inode)) == FILES
                visits += 1
            bound = (PAGES_PER_VISIT + 1) * visits + 2 * math.log2(visits + 1) + PROOF + FEW
            assert len(store.requests) <= ROOT_PAGES + bound

    run(main)


def test_a_walk_by_inode_number_costs_little_more_if_the_cache_holds_half_of_the_names() -> None:
    store = _store()
    limit = DIRECTORIES * (2500 + FILES * 200) // 2

    async def main() -> None:
        async with kernel_on(store, Clock(), is_proven=True, metadata_limit=limit) as kernel:
            directories = kernel.filesystem.tree.cache.directories
            for inode in await _sorted_directories(kernel):
                assert len(await kernel.readdir(inode)) == FILES
                assert directories.weight <= limit
            assert len(store.requests) <= ROOT_PAGES + 2 * PAGES + FEW

    run(main)


def test_a_second_walk_of_what_is_cached_sends_no_request() -> None:
    store = _store()

    async def main() -> None:
        async with kernel_on(store, Clock(), is_proven=True) as kernel:
            for inode in await _sorted_directories(kernel):
                await kernel.readdir(inode)
            await trio.testing.wait_all_tasks_blocked()
            sent = len(store.requests)
            for inode in await _sorted_directories(kernel):
                assert len(await kernel.readdir(inode)) == FILES
            await trio.testing.wait_all_tasks_blocked()  # scans would send theirs in the background
            assert len(store.requests) == sent

    run(main)


def test_scans_that_are_denied_cost_few_requests() -> None:
    store = _store()
    store.before = hook(_deny_scans)

    async def main() -> None:
        async with kernel_on(store, Clock(), is_proven=True) as kernel:
            for inode in await _sorted_directories(kernel):
                assert len(await kernel.readdir(inode)) == FILES
            assert len(store.requests) <= ROOT_PAGES + DIRECTORIES + FEW

    run(main)


def _deny_scans(request: Request) -> None:
    if request.query is not None and not request.query.delimiter:
        raise AccessDenied("access denied", key=request.key)


def test_reads_after_a_walk_take_no_memory() -> None:
    store = _store()

    async def main() -> None:
        async with kernel_on(store, Clock(), is_proven=True) as kernel:
            directories = await _sorted_directories(kernel)
            for inode in directories:
                await kernel.readdir(inode)
            kernel.forget_all()
            again = (await kernel.readdir(ROOT))[0][1].inode
            tracemalloc.start()
            for _ in range(REPEATED):
                await kernel.readdir(again)
            grown, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert grown < REPEATED * 8

    run(main)


def test_a_large_directory_is_passed_over_before_it_takes_much_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inode_walk, "PENDING_MAX", 4 * PAGE)
    store = _store()
    for number in range(LARGE):
        store.put(f"150/large/{number:05}", b"x")

    async def main() -> None:
        async with kernel_on(store, Clock(), is_proven=True) as kernel:
            for inode in await _sorted_directories(kernel):
                assert len(await kernel.readdir(inode)) >= FILES
            scans = [request for request in store.requests if not _of(request).delimiter]
            assert len(scans) <= PAGES + 2 * PARTS_MAX < LARGE // PAGE
            assert len(store.requests) <= ROOT_PAGES + 2 * PAGES + 2 * FEW

    run(main)


def _of(request: Request) -> ListQuery:
    assert request.query is not None
    return request.query
