"""What the rest of the house can count on from the block cache, fact by fact."""

import gc
import logging
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from s3mount.cache.block_cache import BlockCache
from s3mount.cache.object_reader import ObjectReader
from s3mount.cache.ranges import KIB, MIB
from s3mount.config import BlockConfig
from s3mount.errors import S3MountError, StaleVersion, StoreError
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_store import Priority
from tests.metrics import read_metrics
from tests.property.scripted_store import BegunLoad, Load, ScriptedStore

LARGE = ObjectVersion("b", "large", "e", 40 * MIB)
SMALL = ObjectVersion("b", "small", "e", 300_000)


@dataclass
class House:
    """A cache over a scripted store, and a nursery for readers."""

    store: ScriptedStore
    cache: BlockCache
    loads: trio.Nursery
    readers: trio.Nursery

    async def reads(self, *wanted: tuple[ObjectReader, int, int]) -> list[object]:
        """Begin these reads, and wait until they wait; what each ends with will be in the list."""
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
        """Two reads that follow each other, neither of which is answered."""
        for offset in (0, 128 * KIB):
            await self.reads((reader, offset, 128 * KIB))

    async def land(self) -> None:
        await wait_all_tasks_blocked()
        while self.store.loads:
            self.store.land_all()
            await wait_all_tasks_blocked()

    def spans(self, urgency: Priority) -> list[ByteRange]:
        return sorted(span for _, span, asked in self.store.asked if asked is urgency)


@pytest.fixture(params=[False, True], ids=["loads-wait", "loads-sent-at-once"])
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    async with trio.open_nursery() as loads, trio.open_nursery() as readers:
        store = ScriptedStore(sends_at_once=request.param)
        cache = BlockCache(store, loads, BlockConfig(memory_limit=64 * MIB))
        try:
            yield House(store, cache, loads, readers)
        finally:
            readers.cancel_scope.cancel()
            cache.close()
            loads.cancel_scope.cancel()
            store.let_go()


async def test_opening_and_closing_ask_the_store_for_nothing(house: House) -> None:
    reader = house.cache.open(LARGE)
    reader.close()
    reader.close()
    del reader

    await wait_all_tasks_blocked()

    assert [] == house.store.asked
    assert not house.cache._shelves


async def test_a_read_is_clipped_at_the_end_of_the_object(house: House) -> None:
    reader = house.cache.open(SMALL)

    outcomes = await house.reads(
        (reader, 299_990, 4096), (reader, 300_000, 1), (reader, 10**9, 1), (reader, 5, 0)
    )
    await house.land()

    assert [house.store.content(SMALL)[299_990:], b"", b"", b""] == outcomes


async def test_a_small_object_is_one_get(house: House) -> None:
    reader = house.cache.open(SMALL)

    await house.reads((reader, 4096, 4096), (reader, 200_000, 4096))
    await house.land()

    assert [("small", ByteRange(0, 300_000), Priority.DEMANDED)] == house.store.asked


async def test_readers_of_the_same_bytes_share_one_load(house: House) -> None:
    readers = [house.cache.open(LARGE) for _ in range(10)]

    outcomes = await house.reads(
        *((reader, number * 4096, 4096) for number, reader in enumerate(readers))
    )
    await house.land()

    assert 1 == len([span for span in house.spans(Priority.DEMANDED) if span.start < 128 * KIB])
    assert [house.store.content(LARGE)[n * 4096 : (n + 1) * 4096] for n in range(10)] == outcomes


async def test_a_hit_copies_nothing_and_does_not_wait(house: House) -> None:
    reader = house.cache.open(LARGE)
    await house.reads((reader, 0, 4096))
    await house.land()

    with trio.CancelScope() as scope:
        scope.cancel()
        reply = await reader.read(4096, 4096)

    assert isinstance(reply, memoryview)
    assert house.store.content(LARGE)[4096:8192] == reply


async def test_a_cancelled_reader_does_not_fail_the_others(house: House) -> None:
    reader, other = house.cache.open(LARGE), house.cache.open(LARGE)
    async with trio.open_nursery() as doomed:
        doomed.start_soon(reader.read, 0, 4096)
        outcomes = await house.reads((other, 0, 4096))
        doomed.cancel_scope.cancel()
    reader.close()

    await house.land()

    assert [house.store.content(LARGE)[:4096]] == outcomes
    assert 1 == len(house.store.asked)


async def test_a_failed_load_fails_all_who_wait_and_is_forgotten(house: House) -> None:
    reader = house.cache.open(LARGE)
    outcomes = await house.reads((reader, 0, 4096), (reader, 64 * KIB, 4096))
    error = StaleVersion("replaced", key="large")

    house.store.fail_all(error)
    await wait_all_tasks_blocked()
    again = await house.reads((reader, 0, 4096))
    await house.land()

    assert [StaleVersion, StaleVersion] == [type(outcome) for outcome in outcomes]
    assert [("replaced", "large")] * 2 == [(str(outcome), outcome.key) for outcome in outcomes]  # type: ignore[attr-defined]
    assert [house.store.content(LARGE)[:4096]] == again
    assert 1 == read_metrics(house.cache)["block_fetches_failed"]


async def test_each_who_waits_raises_a_failure_of_its_own_that_holds_no_frames_of_others(
    house: House,
) -> None:
    reader = house.cache.open(LARGE)
    outcomes = await house.reads((reader, 0, 4096), (reader, 64 * KIB, 4096))

    house.store.fail_all(StoreError("ill luck"))
    await wait_all_tasks_blocked()

    first, second = outcomes
    assert isinstance(first, StoreError)
    assert isinstance(second, StoreError)
    assert first is not second
    assert [None] * 4 == [first.__cause__, first.__context__, second.__cause__, second.__context__]
    lengths = [len(traceback.extract_tb(failure.__traceback__)) for failure in (first, second)]
    assert lengths[0] == lengths[1]


async def test_a_load_ahead_that_fails_is_nobodys_error_and_is_asked_for_again(
    house: House,
) -> None:
    reader = house.cache.open(LARGE)
    await house.open_stream(reader)
    await wait_all_tasks_blocked()
    for load in house.store.loads:
        if load.urgency is Priority.AHEAD:
            load.fail(StoreError("ill luck"))
    await house.land()

    outcomes = await house.reads((reader, MIB, 128 * KIB))
    await house.land()

    assert [house.store.content(LARGE)[MIB : MIB + 128 * KIB]] == outcomes


async def test_a_load_ahead_that_fails_is_logged_once(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "s3mount.cache")
    house.cache.prefetch(SMALL)
    await wait_all_tasks_blocked()

    house.store.fail_all(StoreError("ill luck"))
    await wait_all_tasks_blocked()

    assert ["fetching ahead failed for 'small': ill luck"] == [
        record.getMessage() for record in caplog.records
    ]


async def test_a_bug_in_a_load_is_a_failure_to_who_waits_and_one_traceback_in_the_log(
    house: House, caplog: pytest.LogCaptureFixture, expected_warnings: list[str]
) -> None:
    expected_warnings.append("bug in a load")
    outcomes = await house.reads(*[(house.cache.open(SMALL), 0, 1)] * 2)

    house.store.loads[0].fail(ZeroDivisionError("a bug"))
    await wait_all_tasks_blocked()

    assert [StoreError, StoreError] == [type(outcome) for outcome in outcomes]
    [record] = caplog.records
    assert record.exc_info is not None
    assert ZeroDivisionError is record.exc_info[0]


@pytest.mark.parametrize(
    "step", ["memory.keep", "memory.give_back", "_land", "_conclude", "_keep", "_discard"]
)
@pytest.mark.parametrize("is_awaited", [False, True], ids=["prefetch", "awaited"])
async def test_a_bug_in_the_accounting_for_a_load_fails_its_readers_only(
    house: House,
    step: str,
    monkeypatch: pytest.MonkeyPatch,
    expected_warnings: list[str],
    *,
    is_awaited: bool,
) -> None:
    expected_warnings += ["bug in a load", "bug in giving up a block"]
    house.cache.prefetch(SMALL)
    await wait_all_tasks_blocked()
    failures: list[Exception | None] = []

    async def read() -> None:
        try:
            await house.cache.open(SMALL).read(0, 1)
        except (StoreError, ZeroDivisionError) as exc:
            failures.append(exc)
        else:
            failures.append(None)

    if is_awaited:
        house.readers.start_soon(read)
        await wait_all_tasks_blocked()
    others = await house.reads((house.cache.open(LARGE), 0, 1))
    owner: object = house.cache._loads.memory if "." in step else house.cache._loads
    with monkeypatch.context() as patched:
        patched.setattr(owner, step.rpartition(".")[2], _broken)
        if step in ("memory.give_back", "_discard"):
            house.store.loads[0].fail(StoreError("ill luck"))
        else:
            house.store.loads[0].land()
        await wait_all_tasks_blocked()

    again = await house.reads((house.cache.open(SMALL), 0, 1))
    await house.land()

    assert is_awaited == len(failures)
    assert [house.store.content(LARGE)[:1]] == others
    assert [house.store.content(SMALL)[:1]] == again
    assert 0 == read_metrics(house.cache)["block_fetches_in_flight"]


def _broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError("a bug")


async def test_a_load_that_cannot_be_launched_leaves_nothing_behind(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(house.store, "begin_range", _broken)
        with pytest.raises(ZeroDivisionError):
            await house.cache.open(SMALL).read(0, 1)

    again = await house.reads((house.cache.open(SMALL), 0, 1))
    await house.land()

    assert [house.store.content(SMALL)[:1]] == again
    assert 0 == read_metrics(house.cache)["block_fetches_in_flight"]
    assert house.cache._loads.memory.used - house.cache._loads.memory._idle_bytes == SMALL.size


async def test_closing_the_last_reader_cancels_what_nobody_waits_for(house: House) -> None:
    reader, other = house.cache.open(LARGE), house.cache.open(LARGE)
    await house.open_stream(reader)
    ahead = [load for load in house.store.loads if load.urgency is Priority.AHEAD]

    reader.close()
    await wait_all_tasks_blocked()
    given_up_with_another_reader = house.store.given_up_by(house.cache)
    other.close()
    await wait_all_tasks_blocked()

    assert ahead
    assert [] == given_up_with_another_reader
    assert ahead == house.store.given_up_by(house.cache)
    assert all(_is_cancelled(load) for load in ahead)


def _is_cancelled(load: Load) -> bool:
    """Whether the request of a load that was given up has been told so; a task's is, by trio."""
    return not isinstance(load, BegunLoad) or load.is_cancelled


async def test_a_load_is_cancelled_with_the_last_who_waits_for_it_after_the_close(
    house: House,
) -> None:
    reader = house.cache.open(LARGE)
    async with trio.open_nursery() as doomed:
        doomed.start_soon(reader.read, 0, 4096)
        await wait_all_tasks_blocked()
        reader.close()
        given_up_while_waited_for = house.store.given_up_by(house.cache)
        doomed.cancel_scope.cancel()
    await wait_all_tasks_blocked()

    assert [] == given_up_while_waited_for
    assert house.store.loads == house.store.given_up_by(house.cache)
    assert all(_is_cancelled(load) for load in house.store.loads)


async def test_a_cancelled_load_keeps_buffer_and_budget_until_nobody_writes_to_it(
    house: House,
) -> None:
    reader, loads = house.cache.open(LARGE), house.cache._loads
    await house.open_stream(reader)
    reader.close()
    await wait_all_tasks_blocked()
    cancelled = house.store.given_up_by(house.cache)
    held, ahead = read_metrics(house.cache)["block_bytes"], loads._ahead_bytes

    await house.land()

    assert held >= sum(len(load.into) for load in cancelled)
    assert ahead == sum(len(load.into) for load in cancelled if load.urgency is Priority.AHEAD) > 0
    assert (0, 0) == (loads._ahead_bytes, loads._ahead_flights)
    assert loads.memory.used == loads.memory._idle_bytes + loads.memory._cold.currsize


async def test_a_load_that_lands_as_it_is_cancelled_is_not_kept(house: House) -> None:
    reader = house.cache.open(LARGE)
    await house.open_stream(reader)

    if house.store.sends_at_once:
        reader.close()
        house.store.land_all()
    else:  # its task is still to run
        house.store.land_all()
        reader.close()
    await house.land()

    statistics = read_metrics(house.cache)
    kept = sum(len(block) for shelf in house.cache._shelves.values() for block in shelf._blocks)
    assert 0 == statistics["block_fetches_in_flight"]
    assert kept == house.cache._loads.memory._cold.currsize
    assert statistics["block_fetches_cancelled"] > 0


async def test_a_cancelled_span_can_be_asked_for_while_the_old_load_still_fills_its_buffer(
    house: House,
) -> None:
    reader = house.cache.open(LARGE)
    await house.open_stream(reader)
    reader.close()
    await wait_all_tasks_blocked()
    old = house.store.given_up_by(house.cache)

    outcomes = await house.reads((house.cache.open(LARGE), MIB, 128 * KIB))
    for load in house.store.loads:
        if load not in old:
            load.land()
    await wait_all_tasks_blocked()
    house.store.scribble()

    assert [house.store.content(LARGE)[MIB : MIB + 128 * KIB]] == outcomes
    await house.land()


async def test_seeded_bytes_are_not_fetched(house: House) -> None:
    house.cache.seed(SMALL, house.store.content(SMALL)[: 128 * KIB])
    reader = house.cache.open(SMALL)

    outcomes = await house.reads((reader, 0, 100_000), (reader, 100_000, 100_000))
    await house.land()

    assert [
        house.store.content(SMALL)[:100_000],
        house.store.content(SMALL)[100_000:200_000],
    ] == outcomes
    assert [("small", ByteRange(128 * KIB, 300_000), Priority.DEMANDED)] == house.store.asked


async def test_a_prefetched_sibling_costs_its_reader_nothing(house: House) -> None:
    assert house.cache.prefetch(SMALL)
    assert house.cache.prefetch(SMALL)
    await wait_all_tasks_blocked()
    assert read_metrics(house.cache)["block_fetches_in_flight"] == 1
    await house.land()

    outcomes = await house.reads((house.cache.open(SMALL), 0, 300_000))

    assert [house.store.content(SMALL)] == outcomes
    assert [("small", ByteRange(0, 300_000), Priority.AHEAD)] == house.store.asked


async def test_a_speculative_load_is_demanded_once_a_reader_waits_for_it(house: House) -> None:
    reader = house.cache.open(SMALL)
    for version in (ObjectVersion("b", "other", "e", 1000), SMALL):
        house.cache.prefetch(version)
    await wait_all_tasks_blocked()
    before = {load.version.key: load.demand.urgency for load in house.store.loads}

    await house.reads((reader, 0, 10))

    after = {load.version.key: load.demand.urgency for load in house.store.loads}
    assert {"other": Priority.AHEAD, "small": Priority.AHEAD} == before
    assert {"other": Priority.AHEAD, "small": Priority.DEMANDED} == after


async def test_prefetching_stops_where_there_is_no_room(house: House) -> None:
    siblings = [ObjectVersion("b", f"sibling-{number}", "e", MIB) for number in range(100)]

    accepted = sum(house.cache.prefetch(sibling) for sibling in siblings)
    outcomes = await house.reads((house.cache.open(SMALL), 0, 10))
    await house.land()

    assert 48 == accepted
    assert [house.store.content(SMALL)[:10]] == outcomes
    assert not house.cache.prefetch(LARGE)


async def test_a_demanded_read_finds_memory_while_streams_fill_theirs(house: House) -> None:
    streams = [
        house.cache.open(ObjectVersion("b", f"stream-{number}", "e", 40 * MIB))
        for number in range(4)
    ]
    for offset in range(0, 2 * MIB, 128 * KIB):
        await house.reads(*((stream, offset, 128 * KIB) for stream in streams))
        if offset < MIB:
            await house.land()

    outcomes = await house.reads((house.cache.open(LARGE), 20 * MIB, 4096))
    next(load for load in house.store.loads if load.version == LARGE).land()
    await wait_all_tasks_blocked()

    assert [house.store.content(LARGE)[20 * MIB : 20 * MIB + 4096]] == outcomes
    assert read_metrics(house.cache)["block_bytes"] <= 64 * MIB


async def test_a_seek_gives_up_what_the_old_place_had_on_its_way(house: House) -> None:
    reader = house.cache.open(LARGE)
    await house.open_stream(reader)
    for load in house.store.loads:
        if load.span.start < 256 * KIB:
            load.land()
    await wait_all_tasks_blocked()
    old = [load for load in house.store.loads if load.urgency is Priority.AHEAD]

    for offset in range(8 * MIB, 22 * MIB, 32 * KIB):
        await house.reads((reader, offset, 32 * KIB))
        for load in house.store.loads:
            if load not in old:
                load.land()
        await wait_all_tasks_blocked()

    assert old
    assert old == house.store.given_up_by(house.cache)


async def test_closing_the_cache_tells_those_who_wait(house: House) -> None:
    outcomes = await house.reads((house.cache.open(SMALL), 0, 1))

    house.cache.close()
    await house.land()

    assert [StoreError] == [type(outcome) for outcome in outcomes]
    assert 0 == read_metrics(house.cache)["block_fetches_in_flight"]


async def test_nothing_is_left_of_a_version_nobody_reads_and_no_block_is_of(house: House) -> None:
    reader = house.cache.open(SMALL)
    await house.reads((reader, 0, 1))
    house.store.fail_all(StoreError("ill luck"))
    await wait_all_tasks_blocked()

    reader.close()
    del reader
    gc.collect()  # what was raised holds the frames it came through

    assert not house.cache._shelves
