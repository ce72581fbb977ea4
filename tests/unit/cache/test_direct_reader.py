"""Direct reads: what the kernel has of the disk cache in memory needs no block and no thread."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from s3mount.cache.block_cache import BlockCache
from s3mount.cache.disk_tier import direct_reader
from s3mount.cache.disk_tier.direct_reader import (
    AWAITED_EVERY,
    DIRECT_MAX,
    SPIN_MAX,
    VAIN_MAX,
    DirectReader,
    SpinPolicy,
)
from s3mount.cache.disk_tier.readers import READERS, SLOW_AFTER, WAITING_MAX
from s3mount.cache.disk_tier.segment_lookups import BATCH, DELAY
from s3mount.cache.disk_tier.segment_reading import NEIGHBOURS
from s3mount.config import BlockConfig
from s3mount.disk.object_name import EXTENT, KIB, MIB, SEGMENT
from s3mount.s3.model import ObjectVersion
from tests.unit.cache.disk_rig import LARGE, MEMORY, SMALL, DiskRig

FILES = [ObjectVersion("b", f"file-{number:02}", "etag", 5 * KIB) for number in range(BATCH)]


@pytest.fixture(autouse=True)
def _clock_stands_still(mock_clock: object) -> None:
    """Let no disk be slow because the machine is busy."""


@asynccontextmanager
async def cache_of(rig: DiskRig) -> AsyncIterator[BlockCache]:
    """A block cache over the disk of *rig*, whose only source is `rig.source`."""
    async with trio.open_nursery() as nursery:
        cache = BlockCache(
            rig.store,
            nursery,
            BlockConfig(memory_limit=MEMORY),
            make_tier=lambda _, holds: rig.make_source(holds),
        )
        yield cache
        cache.close()
        nursery.cancel_scope.cancel()


async def read(rig: DiskRig, cache: BlockCache, version: ObjectVersion, start: int = 0) -> int:
    """Read a page of *version* from *start* on, and check it; how many blocks that has made."""
    reader = cache.open(version)
    stop = min(start + 4096, version.size)
    async with trio.open_nursery() as nursery:
        ended = trio.Event()
        nursery.start_soon(finish_until, rig, ended)
        reply = await reader.read(start, 4096)
        assert rig.store.content(version)[start:stop] == reply
        ended.set()
    blocks = len(reader._version_blocks)
    reader.close()
    return blocks


async def finish_until(rig: DiskRig, ended: trio.Event) -> None:
    while not ended.is_set():
        await rig.finish()
        await trio.lowlevel.checkpoint()


async def test_a_read_of_a_known_segment_makes_no_block_and_wakes_no_thread() -> None:
    rig = DiskRig()
    rig.fill(LARGE)

    async with cache_of(rig) as cache:
        assert await read(rig, cache, LARGE) == 1  # the segment is not known yet
        blocks = await read(rig, cache, LARGE, 5 * MIB)

    assert blocks <= 1
    assert rig.asked() == []
    assert not rig.threads.calls


async def test_the_first_find_tells_of_the_segments_around_it() -> None:
    rig = DiskRig()
    version = ObjectVersion("b", "k", "etag", 3 * SEGMENT)
    for number in range(3):
        rig.fill(version, number * SEGMENT, number * SEGMENT + EXTENT)

    async with cache_of(rig) as cache:
        await read(rig, cache, version)
        reader = cache.open(version)
        replies = [reader.read_cached(number * SEGMENT, 4096) for number in (1, 2)]
        reader.close()

    assert None not in replies
    assert NEIGHBOURS >= 3


async def test_no_thread_is_woken_for_files_that_were_looked_up_together() -> None:
    rig = DiskRig()
    for file in FILES:
        rig.fill(file)

    async with cache_of(rig) as cache:
        assert all(cache.prefetch(file) for file in FILES)
        assert len(rig.threads.calls) == 1
        await rig.finish()
        readers = [cache.open(file) for file in FILES]
        replies = [
            bytes(reader.read_cached(0, file.size) or b"")
            for reader, file in zip(readers, FILES, strict=True)
        ]
        for reader in readers:
            reader.close()

    assert [rig.store.content(file) for file in FILES] == replies
    assert rig.disk.read_aheads == [file.key for file in FILES]
    assert rig.asked() == []


async def test_what_is_likely_read_next_is_loaded_at_the_start() -> None:
    rig = DiskRig()

    rig.source.look_at_usage()
    await rig.finish()

    assert rig.disk.recent_loads == 1


async def test_a_small_file_is_read_whole_without_a_block(
    mock_clock: trio.testing.MockClock,
) -> None:
    rig = DiskRig()
    file = ObjectVersion("b", "k", "etag", MIB)
    rig.fill(file)

    async with cache_of(rig) as cache:
        assert cache.prefetch(file)
        await wait_all_tasks_blocked()
        mock_clock.jump(DELAY)
        await rig.finish()
        reader = cache.open(file)
        reply = reader.read_cached(0, 2 * MIB)
        assert reply is not None
        assert rig.store.content(file) == bytes(reply)
        assert not len(reader._version_blocks)
        reader.close()

    assert rig.asked() == []


async def test_few_lookups_that_come_during_a_query_wait_for_others_after_it(
    mock_clock: trio.testing.MockClock,
) -> None:
    rig = DiskRig()
    files = [ObjectVersion("b", f"k{number}", "etag", 5 * KIB) for number in range(BATCH + 2)]

    async with cache_of(rig) as cache:
        for file in files:
            cache.prefetch(file)
        rig.threads.run_all()
        await wait_all_tasks_blocked()
        assert not rig.threads.calls
        mock_clock.jump(DELAY)
        await wait_all_tasks_blocked()
        assert len(rig.threads.calls) == 1
        await rig.finish()


async def test_what_a_lookup_does_not_find_is_prefetched_from_the_store() -> None:
    rig = DiskRig()
    rig.fill(FILES[0])

    async with cache_of(rig) as cache:
        for file in FILES:
            cache.prefetch(file)
        await rig.finish()

    assert len(rig.asked()) == BATCH - 1


async def test_a_lookup_waits_a_moment_for_others(mock_clock: trio.testing.MockClock) -> None:
    rig = DiskRig()
    rig.fill(SMALL)

    async with cache_of(rig) as cache:
        cache.prefetch(SMALL)
        await wait_all_tasks_blocked()
        assert not rig.threads.calls
        mock_clock.jump(DELAY)
        await wait_all_tasks_blocked()
        assert len(rig.threads.calls) == 1


async def test_one_query_is_made_at_a_time_and_none_after_one_that_is_late(
    mock_clock: trio.testing.MockClock, expected_warnings: list[str]
) -> None:
    """A disk that hangs keeps one thread, and has room in its queue for readers."""
    expected_warnings.append("the disk cache cannot be")
    rig = DiskRig()
    files = [ObjectVersion("b", f"k{number}", "etag", 5 * KIB) for number in range(3 * BATCH)]

    async with cache_of(rig) as cache:
        for file in files:
            cache.prefetch(file)
        await wait_all_tasks_blocked()
        assert len(rig.threads.calls) == 1
        mock_clock.jump(SLOW_AFTER + 0.1)
        await wait_all_tasks_blocked()

        assert len(rig.threads.calls) == 1
        await rig.finish()
        assert len(rig.asked()) == len(files)


async def test_all_that_are_added_are_looked_up() -> None:
    rig = DiskRig()
    files = [ObjectVersion("b", f"k{number}", "etag", 5 * KIB) for number in range(3 * BATCH)]
    for file in files:
        rig.fill(file)

    async with cache_of(rig) as cache:
        assert all(cache.prefetch(file) for file in files)
        await rig.finish()

    assert rig.disk.read_aheads == [file.key for file in files]
    assert rig.asked() == []


async def test_files_are_fetched_if_their_lookup_is_late(
    mock_clock: trio.testing.MockClock, expected_warnings: list[str]
) -> None:
    expected_warnings.append("the disk cache cannot be")
    rig = DiskRig()
    for file in FILES:
        rig.fill(file)

    async with cache_of(rig) as cache:
        for file in FILES:
            cache.prefetch(file)
        await wait_all_tasks_blocked()
        mock_clock.jump(SLOW_AFTER + 0.1)
        await wait_all_tasks_blocked()

        assert len(rig.asked()) > 0  # without waiting for the thread
        await rig.finish()


def direct_reader_of(rig: DiskRig, clock: "count[int]") -> DirectReader:
    reader = DirectReader(rig.source._tier, rig.source._names.find, lambda: next(clock))
    rig.source.direct = reader
    return reader


async def test_the_event_loop_spins_for_a_bounded_time_and_seldom_if_that_is_in_vain() -> None:
    rig = DiskRig()
    rig.fill(LARGE)
    await rig.read(LARGE, 0, 4096)  # which tells of the segment
    step = SPIN_MAX // 10
    clock = count(0, step)
    reader = direct_reader_of(rig, clock)
    rig.disk.waits = True

    spins = []
    for number in range(VAIN_MAX + 2 * AWAITED_EVERY):
        before = next(clock)
        assert reader.read(LARGE, number * 4096, number * 4096 + 4096) is None
        spins.append((next(clock) - before) // step - 1)

    assert max(spins) <= 12
    assert sum(spin > 0 for spin in spins) == VAIN_MAX + 2


def test_a_read_that_was_in_vain_is_not_awaited_again() -> None:
    policy = SpinPolicy()

    assert policy.is_worth_it(("a", 0))
    policy.record(("a", 0), has_succeeded=False)

    assert not policy.is_worth_it(("a", 0))
    assert policy.is_worth_it(("a", 0))


def test_a_success_makes_reads_worth_awaiting_again() -> None:
    policy = SpinPolicy()
    for offset in range(VAIN_MAX):
        policy.record(("a", offset), has_succeeded=False)
    assert not policy.is_worth_it(("b", 0))

    policy.record(("b", 1), has_succeeded=True)

    assert policy.is_worth_it(("b", 2))


async def test_the_event_loop_leaves_the_disk_to_the_threads_while_these_are_behind() -> None:
    """A disk that hangs takes so many requests, and then lets everyone wait for room."""
    rig = DiskRig()
    rig.fill(LARGE)
    await rig.read(LARGE, 0, 4096)
    reader = rig.source.direct
    assert reader is not None
    rig.disk.waits = True
    for number in range(READERS + WAITING_MAX):
        rig.start(LARGE, number * EXTENT, number * EXTENT + 10)
    rig.disk.waits = False

    late = rig.start(LARGE, 0, 10)
    await wait_all_tasks_blocked()

    assert not late.ends
    assert reader.read(LARGE, 0, 10) is None
    await rig.finish()
    assert late.error is None
    assert reader.read(LARGE, 0, 10) is not None
    assert rig.asked() == []


async def test_bad_or_failing_or_long_reads_are_no_direct_ones() -> None:
    rig = DiskRig()
    rig.fill(LARGE)
    await rig.read(LARGE, 0, 4096)
    reader = rig.source.direct
    assert reader is not None
    assert bytes(reader.read(LARGE, 0, 10) or b"") == rig.store.content(LARGE)[:10]

    assert reader.read(LARGE, 0, DIRECT_MAX + 1) is None
    assert reader.read(LARGE, SEGMENT - 5, SEGMENT + 5) is None
    assert reader.read(LARGE.doubted(), 0, 10) is None
    rig.disk.bad.add((rig.name(LARGE).digest, 0, 0))
    assert reader.read(LARGE, 0, 10) is None
    rig.disk.fails = True
    assert reader.read(LARGE, EXTENT, EXTENT + 10) is None
    assert direct_reader.SPIN_MAX < 1_000_000
