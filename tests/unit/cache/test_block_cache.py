"""The contract of the block cache, fact by fact."""

import gc
import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from s3mount.cache.active_patterns import ActiveStreams
from s3mount.cache.block_cache import BlockCache
from s3mount.cache.object_reader import ObjectReader
from s3mount.cache.ranges import KIB, MIB
from s3mount.cache.readahead.forward_steps import LONG_STEPS
from s3mount.cache.readahead.forward_steps import STEPS as SPARSE_STEPS
from s3mount.cache.readahead.stride import STEPS
from s3mount.config import BlockConfig
from s3mount.errors import S3MountError, StaleVersion, StoreError
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_store import Priority
from tests.metrics import read_metrics
from tests.property.scripted_store import ScriptedStore

LARGE = ObjectVersion("b", "large", "e", 40 * MIB)
SMALL = ObjectVersion("b", "small", "e", 300_000)


@dataclass
class Rig:
    """A cache over a scripted store, and a nursery for readers."""

    store: ScriptedStore
    cache: BlockCache
    loads: trio.Nursery
    readers: trio.Nursery

    async def reads(self, *wanted: tuple[ObjectReader, int, int]) -> list[object]:
        """Start these reads, and wait until they wait; the list gets what each ends with."""
        outcomes: list[object] = [None] * len(wanted)

        async def one(number: int, reader: ObjectReader, offset: int, size: int) -> None:
            try:
                outcomes[number] = bytes(await reader.read(offset, size))
            except S3MountError as exc:
                outcomes[number] = exc

        for number, (reader, offset, size) in enumerate(wanted):
            self.readers.start_soon(one, number, reader, offset, size)
        await wait_all_tasks_blocked()
        return outcomes

    async def open_stream(self, reader: ObjectReader) -> None:
        """Start two reads that follow each other; neither gets its bytes."""
        for offset in (0, 128 * KIB):
            await self.reads((reader, offset, 128 * KIB))

    async def land(self) -> None:
        await wait_all_tasks_blocked()
        while self.store.loads:
            self.store.land_all()
            await wait_all_tasks_blocked()

    def spans(self, priority: Priority) -> list[ByteRange]:
        return sorted(span for _, span, asked in self.store.asked if asked is priority)


@pytest.fixture(params=[False, True], ids=["told-later", "told-at-once"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with trio.open_nursery() as loads, trio.open_nursery() as readers:
        store = ScriptedStore(tells_at_once=request.param)
        cache = BlockCache(store, loads, BlockConfig(memory_limit=64 * MIB))
        try:
            yield Rig(store, cache, loads, readers)
        finally:
            readers.cancel_scope.cancel()
            cache.close()
            loads.cancel_scope.cancel()
            store.let_go()


async def test_opening_and_closing_make_no_request(rig: Rig) -> None:
    reader = rig.cache.open(LARGE)
    reader.close()
    reader.close()
    del reader

    await wait_all_tasks_blocked()

    assert [] == rig.store.asked
    assert not rig.cache._versions


async def test_a_read_is_clipped_at_the_end_of_the_object(rig: Rig) -> None:
    reader = rig.cache.open(SMALL)

    outcomes = await rig.reads(
        (reader, 299_990, 4096), (reader, 300_000, 1), (reader, 10**9, 1), (reader, 5, 0)
    )
    await rig.land()

    assert [rig.store.content(SMALL)[299_990:], b"", b"", b""] == outcomes


async def test_a_small_object_is_one_get(rig: Rig) -> None:
    reader = rig.cache.open(SMALL)

    await rig.reads((reader, 4096, 4096), (reader, 200_000, 4096))
    await rig.land()

    assert [("small", ByteRange(0, 300_000), Priority.DEMAND)] == rig.store.asked


async def test_readers_of_the_same_bytes_share_one_fetch(rig: Rig) -> None:
    readers = [rig.cache.open(LARGE) for _ in range(10)]

    outcomes = await rig.reads(
        *((reader, number * 4096, 4096) for number, reader in enumerate(readers))
    )
    await rig.land()

    assert 1 == len([span for span in rig.spans(Priority.DEMAND) if span.start < 128 * KIB])
    assert [rig.store.content(LARGE)[n * 4096 : (n + 1) * 4096] for n in range(10)] == outcomes


async def test_a_reader_that_goes_back_from_the_end_has_all_up_to_it_fetched_at_once(
    rig: Rig,
) -> None:
    reader = rig.cache.open(LARGE)
    await rig.reads((reader, LARGE.size - 4096, 4096))
    await rig.land()

    await rig.reads((reader, LARGE.size - MIB, 4096))

    fetched = sorted((load.span.start, load.span.stop) for load in rig.store.loads)
    assert LARGE.size - MIB == fetched[0][0]
    assert LARGE.size - 128 * KIB == fetched[-1][1]
    assert [stop for _, stop in fetched[:-1]] == [start for start, _ in fetched[1:]]


async def test_what_comes_next_in_a_stride_is_fetched_ahead(rig: Rig) -> None:
    reader = rig.cache.open(LARGE)
    for number in range(4):
        await rig.reads((reader, number * 3 * MIB, 4096))
        await rig.land()

    assert [number * 3 * MIB for number in range(4, 10)] == [
        span.start for span in rig.spans(Priority.PREFETCH)
    ]


async def test_a_hit_copies_nothing_and_does_not_wait(rig: Rig) -> None:
    reader = rig.cache.open(LARGE)
    await rig.reads((reader, 0, 4096))
    await rig.land()

    with trio.CancelScope() as scope:
        scope.cancel()
        reply = await reader.read(4096, 4096)

    assert isinstance(reply, memoryview)
    assert rig.store.content(LARGE)[4096:8192] == reply


async def test_a_cancelled_reader_does_not_fail_the_others(rig: Rig) -> None:
    reader, other = rig.cache.open(LARGE), rig.cache.open(LARGE)
    async with trio.open_nursery() as doomed:
        doomed.start_soon(reader.read, 0, 4096)
        outcomes = await rig.reads((other, 0, 4096))
        doomed.cancel_scope.cancel()
    reader.close()

    await rig.land()

    assert [rig.store.content(LARGE)[:4096]] == outcomes
    assert 1 == len(rig.store.asked)


async def test_a_failed_fetch_fails_all_waiters_and_is_forgotten(rig: Rig) -> None:
    reader = rig.cache.open(LARGE)
    outcomes = await rig.reads((reader, 0, 4096), (reader, 64 * KIB, 4096))
    error = StaleVersion("replaced", key="large")

    rig.store.fail_all(error)
    await wait_all_tasks_blocked()
    again = await rig.reads((reader, 0, 4096))
    await rig.land()

    assert [StaleVersion, StaleVersion] == [type(outcome) for outcome in outcomes]
    assert [("replaced", "large")] * 2 == [(str(outcome), outcome.key) for outcome in outcomes]  # type: ignore[attr-defined]
    assert [rig.store.content(LARGE)[:4096]] == again
    assert 1 == read_metrics(rig.cache)["block_fetches_failed"]


async def test_each_waiter_raises_a_failure_of_its_own_without_frames_of_others(
    rig: Rig,
) -> None:
    reader = rig.cache.open(LARGE)
    outcomes = await rig.reads((reader, 0, 4096), (reader, 64 * KIB, 4096))

    rig.store.fail_all(StoreError("ill luck"))
    await wait_all_tasks_blocked()

    first, second = outcomes
    assert isinstance(first, StoreError)
    assert isinstance(second, StoreError)
    assert first is not second
    assert [None] * 4 == [first.__cause__, first.__context__, second.__cause__, second.__context__]
    lengths = [len(traceback.extract_tb(failure.__traceback__)) for failure in (first, second)]
    assert lengths[0] == lengths[1]


async def test_a_failed_prefetch_is_no_reader_s_error_and_is_fetched_again(
    rig: Rig,
) -> None:
    reader = rig.cache.open(LARGE)
    await rig.open_stream(reader)
    await wait_all_tasks_blocked()
    for load in rig.store.loads:
        if load.sent_priority is Priority.PREFETCH:
            load.fail(StoreError("ill luck"))
    await rig.land()

    outcomes = await rig.reads((reader, MIB, 128 * KIB))
    await rig.land()

    assert [rig.store.content(LARGE)[MIB : MIB + 128 * KIB]] == outcomes


async def test_a_failed_prefetch_is_logged_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "s3mount.cache")
    rig.cache.prefetch(SMALL)
    await wait_all_tasks_blocked()

    rig.store.fail_all(StoreError("ill luck"))
    await wait_all_tasks_blocked()

    assert ["prefetch of 'small' failed: ill luck"] == [
        record.getMessage() for record in caplog.records
    ]


async def test_a_bug_in_a_fetch_fails_its_waiters_and_is_one_traceback_in_the_log(
    rig: Rig, caplog: pytest.LogCaptureFixture, expected_warnings: list[str]
) -> None:
    expected_warnings.append("bug in a fetch")
    outcomes = await rig.reads(*[(rig.cache.open(SMALL), 0, 1)] * 2)

    rig.store.loads[0].fail(ZeroDivisionError("a bug"))
    await wait_all_tasks_blocked()

    assert [StoreError, StoreError] == [type(outcome) for outcome in outcomes]
    [record] = caplog.records
    assert record.exc_info is not None
    assert ZeroDivisionError is record.exc_info[0]


@pytest.mark.parametrize(
    "step",
    [
        "memory.mark_evictable",
        "memory.release",
        "_on_success",
        "_on_failure",
        "mark_evictable",
        "_discard",
    ],
)
@pytest.mark.parametrize("has_waiter", [False, True], ids=["prefetch", "waiter"])
async def test_a_bug_in_the_accounting_for_a_fetch_fails_its_readers_only(
    rig: Rig,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
    allowed_warnings: list[str],
    *,
    has_waiter: bool,
) -> None:
    allowed_warnings += ["bug in a fetch", "the release of a block failed"]
    rig.cache.prefetch(SMALL)
    await wait_all_tasks_blocked()
    failures: list[Exception | None] = []

    async def read() -> None:
        try:
            await rig.cache.open(SMALL).read(0, 1)
        except (StoreError, ZeroDivisionError) as exc:
            failures.append(exc)
        else:
            failures.append(None)

    if has_waiter:
        rig.readers.start_soon(read)
        await wait_all_tasks_blocked()
    others = await rig.reads((rig.cache.open(LARGE), 0, 1))
    owner: object = rig.cache._loader.memory if "." in step else rig.cache._loader
    with monkeypatch.context() as patched:
        patched.setattr(owner, step.rpartition(".")[2], _broken)
        if step in ("memory.release", "_discard", "_on_failure"):
            rig.store.loads[0].fail(StoreError("ill luck"))
        else:
            rig.store.loads[0].land()
        await wait_all_tasks_blocked()

    again = await rig.reads((rig.cache.open(SMALL), 0, 1))
    await rig.land()

    assert has_waiter == len(failures)
    assert [rig.store.content(LARGE)[:1]] == others
    assert [rig.store.content(SMALL)[:1]] == again
    assert 0 == read_metrics(rig.cache)["block_fetches_in_flight"]


def _broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError("a bug")


async def test_a_reader_that_fails_before_it_waits_does_not_count_as_a_waiter(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = rig.cache.open(SMALL)
    assert rig.cache.prefetch(SMALL)
    with monkeypatch.context() as patched:
        patched.setattr("tests.property.scripted_store.Load.promote", _broken)
        with pytest.raises(ZeroDivisionError):
            await reader.read(0, 1)
    await rig.land()

    assert [0] == [block.waiters for block in rig.cache._loader.memory._lru]


async def test_a_read_that_cannot_be_started_leaves_nothing_behind(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(rig.cache._loader._source, "start_read", _broken)
        with pytest.raises(ZeroDivisionError):
            await rig.cache.open(SMALL).read(0, 1)

    again = await rig.reads((rig.cache.open(SMALL), 0, 1))
    await rig.land()

    assert [rig.store.content(SMALL)[:1]] == again
    assert 0 == read_metrics(rig.cache)["block_fetches_in_flight"]
    assert rig.cache._loader.memory.used - rig.cache._loader.memory._idle.octets == SMALL.size


async def test_closing_the_last_reader_cancels_fetches_without_waiters(rig: Rig) -> None:
    reader, other = rig.cache.open(LARGE), rig.cache.open(LARGE)
    await rig.open_stream(reader)
    ahead = [load for load in rig.store.loads if load.sent_priority is Priority.PREFETCH]

    reader.close()
    await wait_all_tasks_blocked()
    given_up_with_another_reader = rig.store.cancelled_by(rig.cache)
    other.close()
    await wait_all_tasks_blocked()

    assert ahead
    assert [] == given_up_with_another_reader
    assert ahead == rig.store.cancelled_by(rig.cache)
    assert all(load.is_cancelled for load in ahead)


async def test_a_fetch_is_cancelled_with_its_last_waiter_after_the_close(
    rig: Rig,
) -> None:
    reader = rig.cache.open(LARGE)
    async with trio.open_nursery() as doomed:
        doomed.start_soon(reader.read, 0, 4096)
        await wait_all_tasks_blocked()
        reader.close()
        given_up_while_waited_for = rig.store.cancelled_by(rig.cache)
        doomed.cancel_scope.cancel()
    await wait_all_tasks_blocked()

    assert [] == given_up_while_waited_for
    assert rig.store.loads == rig.store.cancelled_by(rig.cache)
    assert all(load.is_cancelled for load in rig.store.loads)


async def test_a_cancelled_fetch_keeps_buffer_and_budget_until_nobody_writes_to_it(
    rig: Rig,
) -> None:
    reader, loads = rig.cache.open(LARGE), rig.cache._loader
    await rig.open_stream(reader)
    reader.close()
    await wait_all_tasks_blocked()
    cancelled = rig.store.cancelled_by(rig.cache)
    held, ahead = read_metrics(rig.cache)["block_bytes"], loads.prefetches.readers.octets

    await rig.land()

    assert held >= sum(len(load.into) for load in cancelled)
    assert (
        ahead
        == sum(len(load.into) for load in cancelled if load.sent_priority is Priority.PREFETCH)
        > 0
    )
    assert (0, 0) == (loads.prefetches.readers.octets, loads.prefetches.readers.count)
    assert loads.memory.used == loads.memory._idle.octets + loads.memory._lru.currsize


async def test_a_fetch_that_succeeds_as_it_is_cancelled_is_not_kept(rig: Rig) -> None:
    reader = rig.cache.open(LARGE)
    await rig.open_stream(reader)

    if rig.store.tells_at_once:
        reader.close()
        rig.store.land_all()
    else:  # the loader is still to be told
        rig.store.land_all()
        reader.close()
    await rig.land()

    metrics = read_metrics(rig.cache)
    kept = sum(len(block) for shelf in rig.cache._versions.values() for block in shelf._blocks)
    assert 0 == metrics["block_fetches_in_flight"]
    assert kept == rig.cache._loader.memory._lru.currsize
    assert metrics["block_fetches_cancelled"] > 0


async def test_a_cancelled_range_can_be_fetched_while_the_old_read_still_fills_its_buffer(
    rig: Rig,
) -> None:
    reader = rig.cache.open(LARGE)
    await rig.open_stream(reader)
    reader.close()
    await wait_all_tasks_blocked()
    old = rig.store.cancelled_by(rig.cache)

    outcomes = await rig.reads((rig.cache.open(LARGE), MIB, 128 * KIB))
    for load in rig.store.loads:
        if load not in old:
            load.land()
    await wait_all_tasks_blocked()
    rig.store.scribble()

    assert [rig.store.content(LARGE)[MIB : MIB + 128 * KIB]] == outcomes
    await rig.land()


async def test_bytes_that_were_put_are_not_fetched(rig: Rig) -> None:
    rig.cache.put(SMALL, rig.store.content(SMALL)[: 128 * KIB])
    reader = rig.cache.open(SMALL)

    outcomes = await rig.reads((reader, 0, 100_000), (reader, 100_000, 100_000))
    await rig.land()

    assert [
        rig.store.content(SMALL)[:100_000],
        rig.store.content(SMALL)[100_000:200_000],
    ] == outcomes
    assert [("small", ByteRange(128 * KIB, 300_000), Priority.DEMAND)] == rig.store.asked


async def test_a_version_id_that_a_read_told_is_used_as_long_as_a_reader_lives(
    rig: Rig,
) -> None:
    rig.store.version_id = "v1"
    reader = rig.cache.open(LARGE)
    await rig.reads((reader, 0, 1))
    first = [load.version.version_id for load in rig.store.loads]
    await rig.land()

    rig.store.version_id = None
    await rig.reads((rig.cache.open(LARGE), 20 * MIB, 1))
    second = [load.version.version_id for load in rig.store.loads]

    assert (first, second) == ([None], ["v1"])


async def test_a_read_that_finds_its_version_replaced_uses_a_version_id_told_since_its_start(
    rig: Rig,
) -> None:
    """It began without an id, beside the read that was told it."""
    reader = rig.cache.open(LARGE)
    outcomes = await rig.reads((reader, 0, 1), (reader, 20 * MIB, 1))
    first, second = rig.store.loads
    rig.store.version_id = "v1"
    first.land()
    await wait_all_tasks_blocked()
    rig.store.version_id = None
    second.fail(StaleVersion("replaced"))
    await wait_all_tasks_blocked()

    again = [(load.version.version_id, load.version.is_replaced) for load in rig.store.loads]
    await rig.land()

    assert [("v1", True)] == again
    assert [rig.store.content(LARGE)[at : at + 1] for at in (0, 20 * MIB)] == outcomes


async def test_a_cancelled_read_that_finds_its_version_replaced_is_not_repeated(rig: Rig) -> None:
    reader = rig.cache.open(LARGE)
    await rig.reads((reader, 0, 1))
    rig.cache.open(LARGE.with_version_id("v1"))
    [load] = rig.store.loads
    rig.cache.close()

    load.fail(StaleVersion("replaced"))
    await wait_all_tasks_blocked()

    assert not rig.store.loads
    assert 0 == read_metrics(rig.cache)["block_fetches_in_flight"]


async def test_a_version_that_cannot_be_read_by_a_version_id_told_since_is_gone(rig: Rig) -> None:
    reader = rig.cache.open(LARGE)
    outcomes = await rig.reads((reader, 0, 1))
    rig.cache.open(LARGE.with_version_id("v1"))

    for _ in range(2):
        rig.store.fail_all(StaleVersion("replaced"))
        await wait_all_tasks_blocked()

    assert [StaleVersion] == [type(outcome) for outcome in outcomes]
    assert not rig.store.loads


async def test_a_version_id_that_a_lookup_told_is_used(rig: Rig) -> None:
    rig.cache.open(LARGE)
    reader = rig.cache.open(LARGE.with_version_id("v1"))

    await rig.reads((reader, 0, 1))

    assert ["v1"] == [load.version.version_id for load in rig.store.loads]


async def test_a_prefetched_sibling_costs_its_reader_nothing(rig: Rig) -> None:
    assert rig.cache.prefetch(SMALL)
    assert rig.cache.prefetch(SMALL)
    await wait_all_tasks_blocked()
    assert read_metrics(rig.cache)["block_fetches_in_flight"] == 1
    await rig.land()

    outcomes = await rig.reads((rig.cache.open(SMALL), 0, 300_000))

    assert [rig.store.content(SMALL)] == outcomes
    assert [("small", ByteRange(0, 300_000), Priority.PREFETCH)] == rig.store.asked


async def test_a_prefetch_is_promoted_once_a_reader_waits_for_it(rig: Rig) -> None:
    reader = rig.cache.open(SMALL)
    for version in (ObjectVersion("b", "other", "e", 1000), SMALL):
        rig.cache.prefetch(version)
    await wait_all_tasks_blocked()
    before = {load.version.key: load.priority for load in rig.store.loads}

    await rig.reads((reader, 0, 10))

    after = {load.version.key: load.priority for load in rig.store.loads}
    assert {"other": Priority.PREFETCH, "small": Priority.PREFETCH} == before
    assert {"other": Priority.PREFETCH, "small": Priority.DEMAND} == after


async def test_prefetching_stops_where_there_is_no_room(rig: Rig) -> None:
    siblings = [ObjectVersion("b", f"sibling-{number}", "e", MIB) for number in range(100)]

    accepted = sum(rig.cache.prefetch(sibling) for sibling in siblings)
    outcomes = await rig.reads((rig.cache.open(SMALL), 0, 10))
    await rig.land()

    assert 48 == accepted
    assert [rig.store.content(SMALL)[:10]] == outcomes
    assert not rig.cache.prefetch(LARGE)


async def test_a_demand_read_finds_memory_while_streams_fill_theirs(rig: Rig) -> None:
    streams = [
        rig.cache.open(ObjectVersion("b", f"stream-{number}", "e", 40 * MIB)) for number in range(4)
    ]
    for offset in range(0, 2 * MIB, 128 * KIB):
        await rig.reads(*((stream, offset, 128 * KIB) for stream in streams))
        if offset < MIB:
            await rig.land()

    outcomes = await rig.reads((rig.cache.open(LARGE), 20 * MIB, 4096))
    next(load for load in rig.store.loads if load.version == LARGE).land()
    await wait_all_tasks_blocked()

    assert [rig.store.content(LARGE)[20 * MIB : 20 * MIB + 4096]] == outcomes
    assert read_metrics(rig.cache)["block_bytes"] <= 64 * MIB


async def test_a_seek_cancels_what_was_prefetched_at_the_old_place(rig: Rig) -> None:
    reader = rig.cache.open(LARGE)
    await rig.open_stream(reader)
    for load in rig.store.loads:
        if load.span.start < 256 * KIB:
            load.land()
    await wait_all_tasks_blocked()
    old = [load for load in rig.store.loads if load.sent_priority is Priority.PREFETCH]

    for offset in range(8 * MIB, 22 * MIB, 32 * KIB):
        await rig.reads((reader, offset, 32 * KIB))
        for load in rig.store.loads:
            if load not in old:
                load.land()
        await wait_all_tasks_blocked()

    assert old
    assert old == rig.store.cancelled_by(rig.cache)


async def test_closing_the_cache_fails_the_waiters(rig: Rig) -> None:
    outcomes = await rig.reads((rig.cache.open(SMALL), 0, 1))

    rig.cache.close()
    await rig.land()

    assert [StoreError] == [type(outcome) for outcome in outcomes]
    assert 0 == read_metrics(rig.cache)["block_fetches_in_flight"]


async def test_nothing_is_left_of_a_version_without_readers_and_blocks(rig: Rig) -> None:
    reader = rig.cache.open(SMALL)
    await rig.reads((reader, 0, 1))
    rig.store.fail_all(StoreError("ill luck"))
    await wait_all_tasks_blocked()

    reader.close()
    del reader
    gc.collect()  # what was raised holds the frames it came through

    assert not rig.cache._versions


@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_a_fetch_that_brought_nothing_is_freed_without_the_collector(
    rig: Rig, end: str
) -> None:
    with no_collector():
        assert rig.cache.prefetch(SMALL)
        if end == "failed":
            rig.store.fail_all(StoreError("ill luck"))
        else:
            rig.cache.close()
            rig.store.land_all()
        await wait_all_tasks_blocked()

        assert not rig.cache._versions


@contextmanager
def no_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# ---- stores without ranges


async def test_an_object_is_fetched_whole_and_once_if_the_store_has_no_ranges(rig: Rig) -> None:
    rig.store.ranges = False
    version = ObjectVersion("b", "medium", "e", 20 * MIB)
    reader = rig.cache.open(version)
    await rig.open_stream(reader)
    await rig.reads((reader, 7 * MIB, 5), (reader, version.size - 5, 5))
    await rig.land()
    await rig.reads((reader, 9 * MIB, 5), (reader, 0, 5))

    assert rig.spans(Priority.DEMAND) == [ByteRange(0, version.size)]
    assert rig.spans(Priority.PREFETCH) == []


async def test_what_is_missing_is_fetched_at_once_if_the_store_has_no_ranges(rig: Rig) -> None:
    version = ObjectVersion("b", "medium", "e", 20 * MIB)
    reader = rig.cache.open(version)
    await rig.reads((reader, 128 * KIB, 5))
    rig.store.ranges = False
    await rig.reads((reader, MIB, 5))
    await rig.land()

    assert rig.spans(Priority.DEMAND) == [
        ByteRange(128 * KIB, 256 * KIB),
        ByteRange(256 * KIB, version.size),
    ]


async def test_a_large_object_is_fetched_in_steps_if_the_store_has_no_ranges(rig: Rig) -> None:
    rig.store.ranges = False
    reader = rig.cache.open(LARGE)
    await rig.reads((reader, 128 * KIB, 5))
    await rig.land()

    assert rig.spans(Priority.DEMAND) == [ByteRange(128 * KIB, 128 * KIB + 16 * MIB)]
    assert rig.cache.prefetch(SMALL)  # it is requested whole in any case


async def test_the_activity_of_open_files_has_their_readers_position_and_bytes(rig: Rig) -> None:
    small, *large = rig.cache.open(SMALL), rig.cache.open(LARGE), rig.cache.open(LARGE)
    await rig.reads((small, 0, 4096))
    await rig.reads((large[0], 0, 4096))
    await rig.land()
    large[0].read_cached(4096, 4096)

    latest, first = rig.cache.activity(5)

    assert (latest.key, latest.readers, latest.position, latest.served) == (
        LARGE.key,
        2,
        8192,
        8192,
    )
    assert latest.window > 0
    assert (first.key, first.readers, first.position, first.size) == (SMALL.key, 1, 4096, 300_000)
    assert [latest] == rig.cache.activity(1)
    assert read_metrics(rig.cache)["bytes_served"] == 8192 + 4096
    small.close()
    assert [latest] == rig.cache.activity(5)


def many_files(count: int) -> list[ObjectVersion]:
    return [ObjectVersion("b", f"file-{number:02}", "e", 64 * MIB) for number in range(count)]


@asynccontextmanager
async def prompt_cache(connections: int) -> AsyncIterator[Rig]:
    """Yield a cache of a store that serves at once, *connections* requests at a time as it says."""
    async with trio.open_nursery() as loads, trio.open_nursery() as readers:
        store = ScriptedStore()
        store.is_prompt = True
        config = BlockConfig(memory_limit=256 * MIB)
        cache = BlockCache(store, loads, config, connections=connections)
        try:
            yield Rig(store, cache, loads, readers)
        finally:
            cache.close()
            store.let_go()


async def read_in_turns(readers: list[ObjectReader], start: int, stop: int) -> None:
    for offset in range(start, stop, MIB):
        for reader in readers:
            await reader.read(offset, MIB)


async def test_more_readers_than_connections_fetch_nothing_ahead() -> None:
    async with prompt_cache(connections=4) as rig:
        readers = [rig.cache.open(version) for version in many_files(8)]
        await read_in_turns(readers, 0, 4 * MIB)
        rig.store.asked.clear()

        await read_in_turns(readers, 4 * MIB, 32 * MIB)
        await wait_all_tasks_blocked()

        assert {Priority.DEMAND} == {priority for _, _, priority in rig.store.asked}
        assert 32 * MIB == max(span.stop for _, span, _ in rig.store.asked)


async def test_the_last_of_many_readers_fetch_little_ahead() -> None:
    async with prompt_cache(connections=4) as rig:
        readers = [rig.cache.open(version) for version in many_files(8)]
        await read_in_turns(readers, 0, 16 * MIB)
        for reader in readers[2:]:
            reader.close()
        rig.store.asked.clear()

        await read_in_turns(readers[:2], 16 * MIB, 18 * MIB)
        await wait_all_tasks_blocked()

        assert 20 * MIB >= max(span.stop for _, span, _ in rig.store.asked)


async def test_each_file_of_a_crowd_takes_few_requests() -> None:
    async with prompt_cache(connections=64) as rig:
        readers = [rig.cache.open(version) for version in many_files(32)]

        await read_in_turns(readers, 0, 16 * MIB)
        await wait_all_tasks_blocked()

        assert {8 * MIB} == {len(span) for key, span, _ in rig.store.asked if key == "file-31"}
        asked = sum(len(span) for _, span, _ in rig.store.asked)
        assert asked == 32 * 16 * MIB


async def test_of_more_open_files_than_the_memory_has_room_for_nothing_is_fetched_twice() -> None:
    async with prompt_cache(connections=64) as rig:
        readers = [rig.cache.open(version) for version in many_files(64)]

        await read_in_turns(readers, 0, 8 * MIB)

        assert 64 * 8 * MIB >= sum(len(span) for _, span, _ in rig.store.asked)


async def test_a_crowd_of_readers_that_stop_after_a_read_fetch_a_small_multiple_of_it() -> None:
    async with prompt_cache(connections=64) as rig:
        for length in (16 * KIB, 128 * KIB, MIB):
            rig.store.asked.clear()
            readers = [rig.cache.open(version) for version in many_files(32)]

            for reader in readers:
                await reader.read(0, length)
            for reader in readers:
                reader.close()

            most = max(128 * KIB, 8 * length if length == MIB else length)
            assert all(len(span) <= most for _, span, _ in rig.store.asked)


async def test_small_files_are_no_crowd() -> None:
    async with prompt_cache(connections=64) as rig:
        small = [ObjectVersion("b", f"small-{number}", "e", MIB) for number in range(32)]
        for version in small:
            await rig.cache.open(version).read(0, MIB)
        reader = rig.cache.open(LARGE)

        await read_in_turns([reader], 0, 8 * MIB)

        assert any(priority is Priority.PREFETCH for _, _, priority in rig.store.asked)


async def test_a_crowd_reads_nothing_ahead_without_readahead() -> None:
    async with trio.open_nursery() as loads:
        store = ScriptedStore()
        store.is_prompt = True
        cache = BlockCache(store, loads, BlockConfig(memory_limit=256 * MIB), has_readahead=False)
        readers = [cache.open(version) for version in many_files(32)]

        await read_in_turns(readers, 0, 2 * MIB)

        assert {MIB} == {len(span) for _, span, _ in store.asked}
        cache.close()
        store.let_go()


async def test_readers_that_pause_keep_no_other_one_from_fetching_ahead() -> None:
    async with prompt_cache(connections=2) as rig:
        paused = [rig.cache.open(version) for version in many_files(3)]
        await read_in_turns(paused, 0, 4 * MIB)
        version = many_files(4)[3]
        reader = rig.cache.open(version)

        for offset in range(0, version.size, 256 * KIB):
            await reader.read(offset, 256 * KIB)

        ahead = [
            span
            for key, span, priority in rig.store.asked
            if key == version.key and priority is Priority.PREFETCH
        ]
        assert ahead


async def read_record(reader: ObjectReader, number: int) -> None:
    """Read one of 16 records that follow one another in no stride, by two reads."""
    start = (number * 4 - number % 2) * MIB
    for offset in (start, start + 128 * KIB):
        await reader.read(offset, 128 * KIB)


async def test_a_reader_of_records_at_random_keeps_no_other_one_from_fetching_ahead() -> None:
    async with prompt_cache(connections=4) as rig:
        of_records, in_order = (rig.cache.open(version) for version in many_files(2))
        for number in range(16):
            await read_record(of_records, number)
            for offset in range(number * MIB, (number + 1) * MIB, 256 * KIB):
                await in_order.read(offset, 256 * KIB)

        asked = [(span, priority) for key, span, priority in rig.store.asked if key == "file-01"]
        assert any(
            priority is Priority.PREFETCH for span, priority in asked if span.start > 8 * MIB
        )


async def test_a_reader_of_records_at_random_leaves_others_their_share_of_the_memory() -> None:
    async with prompt_cache(connections=64) as rig:
        of_records = [rig.cache.open(version) for version in many_files(4)[1:]]
        for reader in of_records:
            for number in range(16):
                await read_record(reader, number)
        version = many_files(1)[0]
        in_order = rig.cache.open(version)
        ahead = 0

        for offset in range(0, 16 * MIB, 256 * KIB):
            await in_order.read(offset, 256 * KIB)
            stops = (span.stop for key, span, _ in rig.store.asked if key == version.key)
            ahead = max(ahead, max(stops) - offset)

        by_all_streams = 192 * MIB // (3 * 16 + 1)
        assert ahead > 2 * by_all_streams


async def test_a_read_looks_at_few_streams_however_many_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at = 0
    has_moved = ActiveStreams._has_moved

    def count(*arguments: Any) -> bool:
        nonlocal looked_at
        looked_at += 1
        return has_moved(*arguments)

    monkeypatch.setattr(ActiveStreams, "_has_moved", staticmethod(count))
    async with prompt_cache(connections=4) as rig:
        for version in many_files(6):
            reader = rig.cache.open(version)
            for number in range(16):
                await read_record(reader, number)

        metrics = read_metrics(rig.cache)

    assert metrics["readahead_streams"] == 6 * 16
    assert looked_at <= 2 * 20 * metrics["reads"]


async def test_many_streams_of_one_reader_are_in_contention_with_one_another() -> None:
    async with prompt_cache(connections=4) as rig:
        reader = rig.cache.open(many_files(1)[0])
        starts = range(0, 64 * MIB, 8 * MIB)
        for start in starts:
            await reader.read(start, 128 * KIB)
            await reader.read(start + 128 * KIB, 128 * KIB)
        rig.store.asked.clear()

        for offset in range(256 * KIB, 4 * MIB, 128 * KIB):
            for start in starts:
                await reader.read(start + offset, 128 * KIB)

        assert all(span.stop % (8 * MIB) <= 4 * MIB for _, span, _ in rig.store.asked)


async def test_nothing_is_read_ahead_within_the_elements_of_a_stride() -> None:
    async with prompt_cache(connections=4) as rig:
        reader = rig.cache.open(many_files(1)[0])

        for number, start in enumerate(range(0, 64 * MIB, 2 * MIB)):
            if number == 2 * STEPS:
                rig.store.asked.clear()
            await reader.read(start, 128 * KIB)
            await reader.read(start + 128 * KIB, 128 * KIB)

        assert {256 * KIB} == {len(span) for _, span, _ in rig.store.asked}
        assert read_metrics(rig.cache)["reads_waited"] <= 2 * (STEPS + 1)


async def test_a_reader_in_short_steps_waits_for_its_first_steps_only() -> None:
    async with prompt_cache(connections=4) as rig:
        reader = rig.cache.open(many_files(1)[0])

        for offset in range(0, 64 * MIB, 200 * KIB):
            await reader.read(offset, 10 * KIB)

        assert read_metrics(rig.cache)["reads_waited"] <= 3 * SPARSE_STEPS


async def test_a_reader_in_long_steps_that_pauses_waits_for_its_first_steps_only(
    autojump_clock: MockClock,
) -> None:
    del autojump_clock
    store = ScriptedStore()

    async def respond() -> None:
        while True:
            await trio.sleep(0.02)
            store.land_all()

    async with trio.open_nursery() as loads:
        cache = BlockCache(store, loads, BlockConfig(memory_limit=256 * MIB))
        reader = cache.open(LARGE)
        loads.start_soon(respond)
        for number in range(40):
            if number == 20:
                await trio.sleep(60)
            await reader.read(number * MIB + number**2 % 5 * 96 * KIB, 4096)  # in no stride
        reader.close()
        loads.cancel_scope.cancel()

    assert read_metrics(cache)["reads_waited"] <= 3 * LONG_STEPS


async def test_the_end_of_a_large_object_is_its_last_block() -> None:
    async with prompt_cache(connections=4) as rig:
        version = ObjectVersion("b", "large", "e", 10 * MIB + 4 * KIB)
        small = ObjectVersion("b", "small", "e", MIB)
        readers = [rig.cache.open(each) for each in (version, small)]

        for each in (version, small):
            rig.cache.prefetch_end(each)
        await wait_all_tasks_blocked()

        assert [ByteRange(10 * MIB, version.size)] == [span for _, span, _ in rig.store.asked]
        for reader in readers:
            reader.close()
