"""The disk as a tier: what is read from it, what it keeps, and how it stays out of the way."""

import gc
import logging
import weakref

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from s3mount.cache.block_cache import BlockCache
from s3mount.cache.block_source import BufferLost
from s3mount.cache.disk_tier.health import PAUSE
from s3mount.cache.disk_tier.names import VersionNames
from s3mount.cache.disk_tier.presence_table import ABSENCE_TTL
from s3mount.cache.disk_tier.read import ReadCancelledError
from s3mount.cache.disk_tier.readers import READERS, SLOW_AFTER
from s3mount.cache.disk_tier.segment_reading import ISLAND
from s3mount.cache.disk_tier.write_queue import LOST_MAX
from s3mount.cache.disk_tier.writer import FLUSH_AGE, STUCK_AFTER
from s3mount.cache.link_load import LinkLoad
from s3mount.config import BlockConfig
from s3mount.disk.object_name import EXTENT, KEPT_MAX, KIB, MIB, NUMBER_MAX, SEGMENT
from s3mount.disk.usage import DiskLimits
from s3mount.errors import StoreError
from s3mount.s3.model import SYNTHETIC_ETAG, ByteRange, ObjectVersion, Reason
from s3mount.unawaited import ExpectedError
from tests.unit.cache.disk_rig import LARGE, MEMORY, SMALL, DiskRig

CANNOT = "the disk cache cannot be"


@pytest.fixture(autouse=True)
def _clock_stands_still(request: pytest.FixtureRequest) -> None:
    """Let no disk be slow because the machine is busy."""
    if "autojump_clock" not in request.fixturenames:
        request.getfixturevalue("mock_clock")


async def test_what_the_disk_has_is_no_request() -> None:
    rig = DiskRig()
    rig.fill(LARGE)

    await rig.read(LARGE, 0, 4 * MIB)
    await rig.read(LARGE, 4 * MIB, 4 * MIB + 100)

    assert rig.asked() == []
    assert rig.source.has(LARGE, ByteRange(5, SEGMENT))


async def test_what_was_read_from_the_store_is_read_from_the_disk_the_next_time() -> None:
    rig = DiskRig()

    for version in (LARGE, SMALL):
        await rig.read(version)
        assert rig.asked() == [(0, version.size)]
        await rig.read(version)

    assert rig.asked() == []
    assert rig.source._writer.bytes_written == LARGE.size + SMALL.size


@pytest.mark.parametrize("end", ["late", "failed"])
async def test_a_read_that_the_disk_does_not_end_at_once_keeps_no_buffer_until_the_collector_runs(
    end: str, allowed_warnings: list[str]
) -> None:
    allowed_warnings.append(CANNOT)
    rig = DiskRig()
    rig.fill(LARGE)
    await rig.read(LARGE, 0, EXTENT)  # finds the segment
    rig.disk.waits, rig.disk.fails = end == "late", end == "failed"
    gc.collect()
    gc.disable()
    try:
        buffer = weakref.ref((await rig.read(LARGE, 0, 2 * EXTENT)).obj)

        assert buffer() is None
    finally:
        gc.enable()


async def test_only_gaps_are_requested_and_gaps_that_touch_are_one_request() -> None:
    rig = DiskRig()
    rig.fill(LARGE, 0, 2 * MIB)
    rig.fill(LARGE, 6 * MIB, 6 * MIB + EXTENT)  # less than a further request is worth

    await rig.read(LARGE)

    assert rig.asked() == [(2 * MIB, LARGE.size)]


async def test_gaps_that_are_far_apart_are_requested_at_once() -> None:
    rig = DiskRig()
    rig.fill(LARGE, MIB, MIB + ISLAND + EXTENT)

    read = rig.start(LARGE, 0, 4 * MIB)
    await trio.testing.wait_all_tasks_blocked()
    rig.threads.run_all()
    await trio.testing.wait_all_tasks_blocked()

    assert rig.asked() == [(0, MIB), (MIB + ISLAND + EXTENT, 4 * MIB)]
    await rig.finish()
    assert read.error is None


async def test_a_store_without_ranges_gets_one_request() -> None:
    rig = DiskRig()
    rig.store.ranges = False
    rig.fill(LARGE, MIB, 4 * MIB)

    await rig.read(LARGE)

    assert rig.asked() == [(0, LARGE.size)]


async def test_an_absence_is_believed_for_a_second_without_asking_a_thread(
    mock_clock: MockClock,
) -> None:
    rig = DiskRig()
    await rig.read(SMALL, reason=Reason.VERIFY)  # which is not kept
    rig.asked()
    rig.fill(SMALL)

    rig.start(SMALL)
    was_asked = rig.asked()
    await rig.finish()
    mock_clock.jump(ABSENCE_TTL + 0.1)
    await rig.read(SMALL)

    assert was_asked == [(0, SMALL.size)]
    assert rig.asked() == []


@pytest.mark.parametrize("etag", ["", SYNTHETIC_ETAG + "7"])
async def test_a_version_that_nothing_tells_from_others_is_neither_kept_nor_read(etag: str) -> None:
    rig = DiskRig()

    for version in (ObjectVersion("b", "k", etag, 1000), LARGE.doubted()):
        await rig.read(version)
        await rig.read(version)
        assert rig.asked() == [(0, version.size)] * 2
        rig.source.keep(version, 0, b"x" * 100)

    assert not rig.threads.calls
    assert rig.source._writer.bytes_written == 0


def test_an_object_with_more_segments_than_have_numbers_is_neither_kept_nor_read() -> None:
    names = VersionNames("n", lambda _: None)

    assert names.find(ObjectVersion("b", "k", "etag", KEPT_MAX))
    assert names.find(ObjectVersion("b", "k", "etag", KEPT_MAX + 1)) is None
    assert KEPT_MAX // SEGMENT - 1 == NUMBER_MAX


async def test_bytes_that_came_by_another_way_are_kept() -> None:
    rig = DiskRig()
    content = rig.store.content(SMALL)

    rig.source.keep(SMALL, 0, content)
    await rig.finish()
    await rig.read(SMALL)

    assert rig.asked() == []


async def test_what_a_verification_reads_is_not_kept() -> None:
    rig = DiskRig()

    await rig.read(SMALL, reason=Reason.VERIFY)
    await rig.read(SMALL, reason=Reason.VERIFY)

    assert rig.asked() == [(0, SMALL.size)] * 2


async def test_damaged_bytes_are_requested_again() -> None:
    rig = DiskRig()
    rig.fill(LARGE)
    rig.disk.bad.add((rig.name(LARGE).digest, 0, 3))

    await rig.read(LARGE, 0, MIB)

    assert rig.asked() == [(3 * EXTENT, 4 * EXTENT)]


async def test_a_failing_disk_is_bypassed_and_tried_again(
    mock_clock: MockClock, expected_warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    expected_warnings.append(f"{CANNOT} read")
    rig = DiskRig()
    rig.fill(SMALL)
    rig.disk.fails = True

    await rig.read(SMALL)
    await rig.read(SMALL)
    mock_clock.jump(PAUSE + 1)
    await rig.read(SMALL)  # with a trial, which fails
    rig.disk.fails = False
    await rig.read(SMALL)
    while_bypassed = rig.asked()
    mock_clock.jump(PAUSE + 1)
    await rig.read(SMALL)  # with a trial, for which nobody waits
    during_trial = rig.asked()
    await rig.read(SMALL)

    assert while_bypassed == [(0, SMALL.size)] * 4
    assert during_trial == [(0, SMALL.size)]
    assert rig.asked() == []
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_disk_that_fails_at_the_start_is_tried_later_without_another_warning(
    mock_clock: MockClock,
) -> None:
    rig = DiskRig(is_failing=True)
    rig.disk.fails = True
    await rig.read(SMALL)
    capacity_at_first = rig.source.capacity()

    mock_clock.jump(PAUSE + 1)
    await rig.read(SMALL)
    rig.disk.fails = False
    for _ in range(3):  # a trial to read, one to write, and then what was written
        mock_clock.jump(PAUSE + 1)
        rig.asked()
        await rig.read(SMALL)

    assert capacity_at_first == 0
    assert rig.asked() == []
    assert rig.source.capacity()


async def test_a_disk_that_cannot_be_written_is_read_still(expected_warnings: list[str]) -> None:
    expected_warnings.append(f"{CANNOT} written")
    rig = DiskRig()
    rig.fill(SMALL)
    await rig.read(SMALL)
    await rig.read(LARGE, 0, MIB)
    rig.disk.fails = True
    await rig.read(LARGE, MIB, 2 * MIB)
    rig.disk.fails = False
    rig.asked()

    await rig.read(SMALL)

    assert rig.asked() == []
    assert not rig.memory.holds._holds


async def test_a_read_that_the_disk_does_not_end_in_time_loses_its_buffer(
    mock_clock: MockClock, expected_warnings: list[str]
) -> None:
    expected_warnings.append(f"{CANNOT} read")
    rig = DiskRig()
    rig.fill(LARGE)
    read = rig.start(LARGE, 0, MIB)

    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(SLOW_AFTER + 0.1)
    await trio.testing.wait_all_tasks_blocked()

    assert isinstance(read.error, BufferLost)
    assert rig.memory.holds.has(read.into)
    await rig.read(LARGE, 0, MIB)
    assert rig.asked() == [(0, MIB)]
    assert not rig.memory.holds.has(read.into)


async def test_reads_that_wait_behind_a_disk_that_hangs_go_to_the_store(
    mock_clock: MockClock, expected_warnings: list[str]
) -> None:
    expected_warnings.append(f"{CANNOT} read")
    rig = DiskRig()
    rig.fill(LARGE)
    reads = [
        rig.start(LARGE, number * EXTENT, (number + 1) * EXTENT) for number in range(READERS + 2)
    ]

    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(SLOW_AFTER + 0.1)
    await trio.testing.wait_all_tasks_blocked()
    rig.store.land_all()
    await trio.testing.wait_all_tasks_blocked()

    errors = [read.error for read in reads]
    assert [isinstance(error, BufferLost) for error in errors] == [True] * READERS + [False] * 2
    assert errors[READERS:] == [None, None]
    mock_clock.jump(PAUSE + 1)
    rig.start(LARGE, 0, EXTENT)
    assert len(rig.threads.calls) == READERS  # no trial, since no thread is left for it
    await rig.finish()


async def test_no_read_waits_for_threads_that_all_hang(
    mock_clock: MockClock, expected_warnings: list[str]
) -> None:
    """Records may be read meanwhile, from memory, so that the disk is used again."""
    expected_warnings.append(f"{CANNOT} read")
    rig = DiskRig()
    rig.fill(LARGE)
    for number in range(READERS):
        rig.start(LARGE, number * EXTENT, (number + 1) * EXTENT)
    mock_clock.jump(SLOW_AFTER + 0.1)
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(PAUSE)
    assert rig.source._reading.begin_trial()
    rig.source._reading.end_trial()

    read = rig.start(LARGE, MIB, 2 * MIB)
    await trio.testing.wait_all_tasks_blocked()

    assert rig.asked() == [(MIB, 2 * MIB)]
    await rig.finish()
    assert read.error is None


async def test_no_read_waits_for_bytes_that_threads_have_which_hang(
    mock_clock: MockClock, expected_warnings: list[str]
) -> None:
    """The disk is used again meanwhile, as it hangs in some places only."""
    expected_warnings.append(f"{CANNOT} read")
    rig = DiskRig()
    rig.fill(LARGE)
    for _ in range(2):
        rig.start(LARGE, 0, SEGMENT)  # an eighth of the memory each
    mock_clock.jump(SLOW_AFTER + 0.1)
    await trio.testing.wait_all_tasks_blocked()
    rig.asked()
    mock_clock.jump(PAUSE)
    assert rig.source._reading.begin_trial()
    rig.source._reading.end_trial()

    read = rig.start(LARGE, SEGMENT, LARGE.size)
    await trio.testing.wait_all_tasks_blocked()

    assert rig.asked() == [(SEGMENT, LARGE.size)]
    await rig.finish()
    assert read.error is None


async def test_a_read_that_is_cancelled_ends_when_the_disk_writes_no_longer() -> None:
    rig = DiskRig()
    rig.fill(LARGE)
    read = rig.start(LARGE, 0, MIB)
    assert read.started is not None

    read.started.cancel()
    read.started.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert not read.ends
    await rig.finish()

    assert isinstance(read.error, ReadCancelledError)
    assert rig.asked() == []


async def test_a_cancelled_read_that_waits_for_a_thread_ends_at_once() -> None:
    rig = DiskRig()
    for number in range(READERS):
        rig.start(LARGE, number * EXTENT, (number + 1) * EXTENT)
    read = rig.start(SMALL)
    assert read.started is not None

    read.started.cancel()
    await trio.testing.wait_all_tasks_blocked()

    assert isinstance(read.error, ExpectedError)
    await rig.finish()


async def test_a_failure_of_the_store_cancels_the_other_gaps() -> None:
    rig = DiskRig()
    rig.fill(LARGE, MIB, 3 * MIB)
    read = rig.start(LARGE, 0, 4 * MIB)
    await rig.finish(store=False)
    first, second = rig.store.loads

    first.fail(StoreError("ill luck"))
    await trio.testing.wait_all_tasks_blocked()
    assert second.is_cancelled
    assert not read.ends
    second.fail(ExpectedError("cancelled"))
    await trio.testing.wait_all_tasks_blocked()

    assert isinstance(read.error, StoreError)


async def test_the_version_id_that_the_store_has_told_is_passed_on() -> None:
    rig = DiskRig()
    rig.store.version_id = "v7"

    read = rig.start(SMALL)
    await rig.finish()

    assert [told.version_id for told, _ in read.ends] == ["v7"]


async def test_nothing_is_kept_of_a_version_that_one_of_its_requests_has_made_doubtful() -> None:
    rig = DiskRig()
    rig.fill(LARGE, MIB, MIB + ISLAND + EXTENT)
    read = rig.start(LARGE, 0, 4 * MIB)
    await trio.testing.wait_all_tasks_blocked()
    rig.threads.run_all()
    await trio.testing.wait_all_tasks_blocked()
    first, _ = rig.store.loads
    first.version = first.version.doubted()

    await rig.finish()

    assert [told.is_doubted for told, _ in read.ends] == [True]
    assert min(start for start, _ in rig.disk.extents(rig.name(LARGE))) == MIB


async def test_a_buffer_that_is_used_again_before_its_turn_is_not_written() -> None:
    rig = DiskRig()
    rig.threads.calls.append((lambda: None, lambda _: None))  # the writer waits for a thread
    first = await _read_without_writing(rig, 0, MIB)
    second = await _read_without_writing(rig, MIB, 2 * MIB)

    rig.memory.release(second)
    second[:] = b"\xee" * len(second)
    await rig.finish()

    assert [start for start, _ in rig.disk.extents(rig.name(LARGE))][-1] == MIB - EXTENT
    assert rig.source._writer.bytes_skipped == MIB
    assert not rig.memory.holds.has(first)


async def _read_without_writing(rig: DiskRig, start: int, stop: int) -> memoryview:
    """Read, and let only that end."""
    read = rig.start(LARGE, start, stop)
    await trio.testing.wait_all_tasks_blocked()
    if not rig.store.loads:  # the segment has to be found first
        rig.threads.run(len(rig.threads.calls) - 1)
        await trio.testing.wait_all_tasks_blocked()
    rig.store.land_all()
    await trio.testing.wait_all_tasks_blocked()
    assert read.error is None
    return read.into


async def test_a_buffer_is_held_while_it_is_written_and_wanted_no_longer_after_it() -> None:
    rig = DiskRig()
    into = await _read_without_writing(rig, 0, MIB)

    while_written = rig.memory.holds.has(into)
    await rig.finish()

    assert while_written
    assert not rig.memory.holds.has(into)
    assert not rig.memory.holds.is_wanted(into)


async def test_what_is_evicted_is_not_served_and_not_written_from_before() -> None:
    rig = DiskRig()
    rig.fill(LARGE)
    await rig.read(LARGE, 0, EXTENT)

    rig.source.evict(LARGE)
    has_it = rig.source.has(LARGE, ByteRange(0, EXTENT))
    rig.start(LARGE, 0, EXTENT)
    asked = rig.asked()
    await rig.finish()

    assert not has_it
    assert asked == [(0, EXTENT)]
    assert list(rig.disk.extents(rig.name(LARGE))) == []
    await rig.read(LARGE, 0, EXTENT)
    await rig.read(LARGE, 0, EXTENT)
    assert rig.asked() == [(0, EXTENT)]


async def test_what_comes_while_its_object_is_evicted_is_not_kept() -> None:
    rig = DiskRig()
    rig.start(LARGE, 0, EXTENT)
    await trio.testing.wait_all_tasks_blocked()
    rig.threads.run_all()
    await trio.testing.wait_all_tasks_blocked()

    rig.source.evict(LARGE)
    rig.store.land_all()
    await rig.finish()

    assert rig.asked() == [(0, EXTENT)]
    assert list(rig.disk.extents(rig.name(LARGE))) == []


async def test_what_cannot_be_evicted_is_never_served_again(expected_warnings: list[str]) -> None:
    expected_warnings.append(f"{CANNOT} written")
    rig = DiskRig()
    rig.fill(SMALL)
    rig.disk.fails = True

    rig.source.evict(SMALL)
    await rig.finish()
    rig.disk.fails = False
    await rig.read(SMALL)

    assert rig.asked() == [(0, SMALL.size)]


async def test_a_version_is_marked_replaced_when_a_later_one_is_read() -> None:
    rig = DiskRig()
    later = ObjectVersion("b", "small", "other", 100 * KIB)

    await rig.read(SMALL)
    await rig.read(later)
    await rig.read(SMALL.with_version_id("v1", is_replaced=True))

    assert rig.disk.replaced == [rig.name(SMALL)]


async def test_the_end_writes_what_waits_and_closes_the_disk() -> None:
    rig = DiskRig()
    rig.start(LARGE)
    await trio.testing.wait_all_tasks_blocked()
    rig.threads.run_all()
    await trio.testing.wait_all_tasks_blocked()
    rig.store.land_all()
    await trio.testing.wait_all_tasks_blocked()
    rig.threads.is_prompt = True
    rig.threads.run_all()

    await rig.source.close()

    assert rig.disk.is_closed
    assert sum(len(extent) for _, extent in rig.disk.extents(rig.name(LARGE))) == LARGE.size


async def test_the_end_does_not_wait_long_for_a_disk_that_hangs(
    autojump_clock: MockClock,  # noqa: ARG001
) -> None:
    rig = DiskRig()
    rig.source.keep(SMALL, 0, rig.store.content(SMALL))

    with trio.fail_after(60):
        await rig.source.close()

    assert not rig.disk.is_closed


async def test_bytes_by_another_way_that_wait_take_an_eighth_of_the_memory_at_most() -> None:
    rig = DiskRig()
    version = ObjectVersion("b", "k", "etag", MEMORY)

    for start in range(0, 16 * MIB, MIB):
        rig.source.keep(version, start, bytes(MIB))

    assert rig.source._writer.bytes_skipped == 8 * MIB
    await rig.finish()
    assert rig.source._writer.bytes_written == 8 * MIB


async def test_a_small_read_fetches_no_more_than_an_extent_of_what_the_disk_has() -> None:
    rig = DiskRig()
    rig.fill(LARGE)
    rig.disk.waits = True  # or it would need no block
    rig.threads.is_prompt = True

    async with trio.open_nursery() as nursery:
        cache = BlockCache(
            rig.store,
            nursery,
            BlockConfig(memory_limit=MEMORY),
            make_tier=lambda _source, holds: rig.make_source(holds),
        )
        reader = cache.open(LARGE)
        lengths = []
        for offset in (0, 2 * MIB + 5, 4 * MIB + EXTENT - 5, 9 * MIB + 1):
            assert (
                await reader.read(offset, 4096) == rig.store.content(LARGE)[offset : offset + 4096]
            )
            block = reader._version_blocks.find(offset)
            assert block is not None
            lengths.append(len(block))
        reader.close()

    assert [128 * KIB, EXTENT, 2 * EXTENT, 7] == lengths
    assert rig.asked() == []


async def test_a_prefetch_of_what_the_disk_has_is_not_narrowed() -> None:
    rig = DiskRig()
    rig.fill(LARGE)
    rig.threads.is_prompt = True

    async with trio.open_nursery() as nursery:
        cache = BlockCache(
            rig.store,
            nursery,
            BlockConfig(memory_limit=MEMORY),
            make_tier=lambda _source, holds: rig.make_source(holds),
        )
        reader = cache.open(LARGE)
        for offset in range(0, 3 * MIB, 16 * KIB):
            expected = rig.store.content(LARGE)[offset : offset + 16 * KIB]
            assert await reader.read(offset, 16 * KIB) == expected
        stop = max(block.stop for block in reader._version_blocks._blocks)
        reader.close()

    assert stop > 3 * MIB
    assert rig.asked() == []


async def test_what_the_disk_has_tells_nothing_of_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = DiskRig()
    rig.fill(LARGE, 0, SEGMENT)
    rig.threads.is_prompt = rig.store.is_prompt = True
    recorded = []
    monkeypatch.setattr(LinkLoad, "record", lambda _, length, *_others: recorded.append(length))

    async with trio.open_nursery() as nursery:
        cache = BlockCache(
            rig.store,
            nursery,
            BlockConfig(memory_limit=MEMORY),
            make_tier=lambda _source, holds: rig.make_source(holds),
        )
        reader = cache.open(LARGE)
        for offset in range(0, LARGE.size, MIB):
            await reader.read(offset, MIB)
        reader.close()

    assert rig.asked() == [(SEGMENT, LARGE.size)]
    assert recorded == [LARGE.size - SEGMENT]


async def test_lost_writes_take_no_memory_while_a_write_hangs() -> None:
    rig = DiskRig()
    await _read_without_writing(rig, 0, EXTENT)  # its write has a thread, which does not end

    for _ in range(3 * LOST_MAX):
        rig.memory.release(await _read_without_writing(rig, EXTENT, 2 * EXTENT))

    assert len(rig.source._writer._waiting) <= LOST_MAX + 1


async def test_a_write_that_hangs_is_a_failure_that_nothing_waits_for(
    autojump_clock: MockClock,  # noqa: ARG001
    expected_warnings: list[str],
) -> None:
    expected_warnings.append(f"{CANNOT} written")
    rig = DiskRig()
    rig.source.keep(SMALL, 0, rig.store.content(SMALL))
    assert rig.source.capacity()

    with trio.fail_after(2 * STUCK_AFTER):
        await rig.source.wait_kept()

    assert not rig.source.capacity()


async def test_what_waits_for_no_read_is_done_when_it_is_waited_for() -> None:
    rig = DiskRig()
    later = ObjectVersion("b", "small", "other", 100 * KIB)
    rig.threads.is_prompt = True
    rig.source.has(SMALL, ByteRange(0, 1))
    rig.source.has(later, ByteRange(0, 1))

    with trio.fail_after(5):
        await rig.source.wait_kept()

    assert rig.disk.replaced == [rig.name(SMALL)]


async def test_what_comes_later_is_not_waited_for() -> None:
    rig = DiskRig(write_delay=1.0)
    ended = trio.Event()

    async def wait() -> None:
        await rig.source.wait_kept()
        ended.set()

    rig.source.keep(SMALL, 0, rig.store.content(SMALL))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        for number in range(10):
            await trio.testing.wait_all_tasks_blocked()
            rig.source.keep(ObjectVersion("b", f"k{number}", "etag", 1000), 0, bytes(1000))
            rig.threads.run_all()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()

    assert ended.is_set()


async def test_replaced_versions_take_no_memory_while_a_write_hangs(
    mock_clock: MockClock, expected_warnings: list[str]
) -> None:
    expected_warnings.append(f"{CANNOT} written")
    rig = DiskRig()
    rig.source.keep(SMALL, 0, rig.store.content(SMALL))
    mock_clock.jump(STUCK_AFTER)
    rig.source.keep(LARGE, 0, bytes(EXTENT))

    for number in range(100):
        rig.source.has(ObjectVersion("b", "small", f"e{number}", 1000), ByteRange(0, 1))

    assert len(rig.source._writer._waiting) == 1


async def test_reads_that_write_nothing_tell_the_index_of_their_accesses(
    mock_clock: MockClock,
) -> None:
    rig = DiskRig()
    rig.fill(SMALL)
    await rig.read(SMALL)
    before = rig.disk.flushed

    mock_clock.jump(FLUSH_AGE)
    await rig.read(SMALL)

    assert (before, rig.disk.flushed) == (0, 1)
    assert rig.asked() == []


async def test_small_writes_wait_for_others_and_are_one_batch(mock_clock: MockClock) -> None:
    rig = DiskRig(write_delay=1.0)
    for number in range(20):
        rig.source.keep(ObjectVersion("b", f"k{number}", "etag", 1000), 0, bytes(1000))

    mock_clock.jump(0.5)
    await rig.finish()
    assert rig.source._writer.bytes_written == 0
    mock_clock.jump(0.6)
    await trio.testing.wait_all_tasks_blocked()

    assert len(rig.threads.calls) == 1
    await rig.finish()
    assert rig.source._writer.bytes_written == 20_000


async def test_a_batch_is_a_quarter_of_a_small_directory_at_most() -> None:
    rig = DiskRig(write_delay=1.0)
    rig.disk.limits = DiskLimits(16 * MIB)
    rig.source = rig.make_source(rig.memory.holds)
    for number in range(300):
        rig.source.keep(ObjectVersion("b", f"k{number}", "etag", 17_000), 0, bytes(17_000))
    assert len(rig.threads.calls) == 1

    rig.threads.run()
    await trio.testing.wait_all_tasks_blocked()

    assert 3 * MIB < rig.source._writer.bytes_written <= 4 * MIB


async def test_writes_of_a_batch_do_not_wait() -> None:
    rig = DiskRig(write_delay=1.0)

    await rig.read(LARGE, 0, 8 * MIB)

    assert rig.source._writer.bytes_written == 8 * MIB


async def test_a_buffer_that_is_wanted_before_its_batch_is_begun_is_not_written() -> None:
    rig = DiskRig(write_delay=1.0)
    into = await rig.read(LARGE, 0, MIB)

    rig.memory.release(into)
    into[:] = b"\xee" * len(into)
    rig.threads.is_prompt = True
    await rig.source.wait_kept()

    assert list(rig.disk.extents(rig.name(LARGE))) == []
    assert rig.source._writer.bytes_skipped == MIB
