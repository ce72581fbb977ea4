"""What memory a warm-up may take."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
import trio.testing
from trio.testing import MockClock

from s3mount.cache.block_cache import BlockCache
from s3mount.cache.block_source import StoreSource
from s3mount.cache.prefetch_budget import PREFETCHES_MAX, WARM_MAX
from s3mount.cache.ranges import FetchSizes
from s3mount.config import BlockConfig
from s3mount.s3.model import ByteRange, ObjectVersion, Reason
from s3mount.s3.object_store import OnReadEnd, Priority, StartedRead
from tests.fakes.memory_store import MemoryStore, Request
from tests.property.scripted_store import ScriptedStore

UNIT = 1 << 16
LIMIT = 16 * UNIT
SIZES = FetchSizes(part=2 * UNIT, block=UNIT, small=UNIT, piece=UNIT)
STORE = {f"{number:02}": bytes([number]) * UNIT for number in range(40)}


@asynccontextmanager
async def cache_of(store: MemoryStore, warmed: int = 0) -> AsyncIterator[BlockCache]:
    """A cache with the first *warmed* objects."""
    async with trio.open_nursery() as nursery:
        cache = BlockCache(store, nursery, BlockConfig(memory_limit=LIMIT), SIZES)
        for version in versions(store)[:warmed]:
            assert await warm(cache, version) == UNIT
        yield cache
        nursery.cancel_scope.cancel()


async def warm(cache: BlockCache, version: ObjectVersion) -> int | None:
    """Fetch a version of one piece; its bytes."""
    content = cache.warming.open(version)
    try:
        return await content.fetch(ByteRange(0, version.size))
    finally:
        content.close()


def versions(store: MemoryStore) -> list[ObjectVersion]:
    return [store.stat(key).version for key in STORE]


async def test_a_quarter_is_left_to_readers() -> None:
    store = MemoryStore(STORE)
    async with cache_of(store) as cache:
        cache.warming.find_room()

        fetched = [await warm(cache, version) for version in versions(store)]

        assert fetched == [UNIT] * 12 + [None] * 28
        assert cache.warming.find_room() == 0


async def test_readers_evict_what_was_read_before_what_was_warmed() -> None:
    store = MemoryStore(STORE)
    every = versions(store)
    async with cache_of(store, warmed=12) as cache:
        for version in every[20:26]:  # two more than are free
            reader = cache.open(version)
            await reader.read(0, UNIT)
            reader.close()

        held = [not cache.warming.missing(version).octets for version in every]

        assert held[:12] == [True] * 12
        assert sum(held) == 16


async def test_small_files_ahead_take_nothing_that_was_warmed() -> None:
    store = MemoryStore(STORE)
    every = versions(store)
    async with cache_of(store, warmed=12) as cache:
        accepted = [cache.prefetch(version) for version in every[12:]]

        assert sum(accepted) == 4
        assert not any(cache.warming.missing(version).octets for version in every[:12])


async def test_files_that_readers_have_closed_make_room_and_open_ones_do_not() -> None:
    store = MemoryStore(STORE)
    async with cache_of(store) as cache:
        every = versions(store)
        readers = [cache.open(version) for version in every[:16]]
        for reader in readers:
            await reader.read(0, UNIT)
        assert cache.warming.find_room() == 0
        for reader in readers[:6]:
            reader.close()

        room = cache.warming.find_room()
        fetched = [await warm(cache, version) for version in every[20:25]]

        assert room == 2 * UNIT
        assert fetched == [UNIT, UNIT, None, None, None]


async def test_what_cannot_be_made_room_for_costs_no_block() -> None:
    store = MemoryStore(STORE)
    async with cache_of(store) as cache:
        every = versions(store)
        readers = [cache.open(version) for version in every[:16]]
        for reader in readers:
            await reader.read(0, UNIT)
        for reader in readers[:6]:
            reader.close()
        cache.warming.find_room()

        has_room = cache.warming.make_room(3 * UNIT)

        assert not has_room
        assert not any(cache.warming.missing(version).octets for version in every[:16])
        assert cache.warming.make_room(2 * UNIT)
        assert [bool(cache.warming.missing(each).octets) for each in every[:16]] == (
            [True] * 6 + [False] * 10
        )


async def test_blocks_that_are_read_again_are_no_room_any_more() -> None:
    store = MemoryStore(STORE)
    async with cache_of(store) as cache:
        every = versions(store)
        for version in every[:16]:
            reader = cache.open(version)
            await reader.read(0, UNIT)
            reader.close()
        room = cache.warming.find_room()
        cache.open(every[0])

        assert room == 12 * UNIT
        assert not cache.warming.make_room(12 * UNIT)
        assert not any(cache.warming.missing(version).octets for version in every[:16])
        assert cache.warming.make_room(11 * UNIT)


async def test_memory_that_an_open_object_will_take_is_no_room_for_another() -> None:
    store = MemoryStore({**STORE, "a": bytes(8 * UNIT), "b": bytes(8 * UNIT)})
    async with cache_of(store) as cache:
        warming, (a, b) = cache.warming, (store.stat(key).version for key in "ab")
        warming.find_room()
        content = warming.open(a)

        assert not warming.make_room(warming.missing(b).memory)
        for piece in content.pieces[:2]:
            await content.fetch(piece)
        assert not warming.make_room(warming.missing(b).memory)
        content.close()
        assert warming.make_room(warming.missing(b).memory)


async def fetches_ahead(*, while_warming: bool) -> list[int]:
    """The fetches in flight for a reader of a stream after each read; those of a warm-up hang."""

    async def hang_of_warm_up(request: Request) -> None:
        if request.key in STORE:
            await trio.sleep_forever()

    store = MemoryStore({**STORE, "stream": bytes(40 * UNIT)}, before=hang_of_warm_up)
    started = []
    async with trio.open_nursery() as nursery:
        cache = BlockCache(store, nursery, BlockConfig(memory_limit=LIMIT), SIZES)
        if while_warming:
            for version in versions(store):
                nursery.start_soon(warm, cache, version)
            await trio.testing.wait_all_tasks_blocked()
        warm_fetches = cache._loader.in_flight
        assert bool(warm_fetches) == while_warming
        reader = cache.open(store.stat("stream").version)
        for offset in range(0, 40 * UNIT, UNIT):
            await reader.read(offset, UNIT)
            started.append(cache._loader.started - warm_fetches)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    return started


async def test_readers_have_as_much_readahead_while_fetches_of_a_warm_up_are_in_flight() -> None:
    alone = await fetches_ahead(while_warming=False)

    assert await fetches_ahead(while_warming=True) == alone


async def test_a_warm_up_fetches_an_eighth_of_the_memory_at_once(
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    store = MemoryStore(STORE, before=hang)
    async with cache_of(store) as cache, trio.open_nursery() as nursery:
        for version in versions(store):
            nursery.start_soon(warm, cache, version)
        await trio.sleep(1)

        warm_bytes = cache._loader.prefetches.warm.octets
        nursery.cancel_scope.cancel()

    assert warm_bytes == LIMIT // 8


async def test_readers_take_the_budget_of_a_warm_up_first(
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    store = MemoryStore(STORE, before=hang)
    every = versions(store)
    async with cache_of(store) as cache, trio.open_nursery() as nursery:
        accepted = [cache.prefetch(version) for version in every]
        nursery.start_soon(warm, cache, every[-1])
        await trio.sleep(1)

        assert sum(accepted) == 12
        assert cache._loader.prefetches.warm.count == 0
        nursery.cancel_scope.cancel()


async def test_a_warmed_file_is_open_for_as_long_as_a_reader_has_it_open() -> None:
    store = MemoryStore(STORE)
    version = versions(store)[0]
    async with cache_of(store) as cache:
        reader = cache.open(version)
        content = cache.warming.open(version)
        while_both = [each.readers for each in cache.activity(5)]
        reader.close()
        while_warmed = cache.activity(5)
        content.close()

        assert while_both == [1]
        assert while_warmed == cache.activity(5) == []


async def test_a_file_larger_than_memory_is_cut_into_no_pieces_while_it_is_read() -> None:
    store = MemoryStore({**STORE, "large": bytes(2 * LIMIT)})
    version = store.stat("large").version
    async with cache_of(store) as cache:
        await cache.open(version).read(0, UNIT)

        missing = cache.warming.missing(version)

        assert (missing.octets < version.size, missing.requests) == (True, 0)
        assert missing.memory > LIMIT


async def test_what_is_missing_of_a_file_that_was_read_in_part_without_ranges_does_not_fit() -> (
    None
):
    store = ScriptedStore()
    store.ranges, store.is_prompt = False, True
    version = ObjectVersion("b", "k", "e", 4 * UNIT)
    async with trio.open_nursery() as nursery:
        cache = BlockCache(store, nursery, BlockConfig(memory_limit=LIMIT), SIZES)
        whole = cache.warming.missing(version)
        cache.put(version, bytes(UNIT))

        rest = cache.warming.missing(version)

    assert (whole.octets, whole.requests, whole.memory) == (4 * UNIT, 1, 4 * UNIT)
    assert (rest.octets, rest.requests) == (3 * UNIT, 0)
    assert rest.memory > LIMIT


async def test_readahead_beside_warmed_blocks_never_takes_the_buffer_of_the_reply() -> None:
    store = MemoryStore({**STORE, "stream": bytes(40 * UNIT)})
    version = store.stat("stream").version
    async with cache_of(store, warmed=12) as cache:
        reader = cache.open(version)
        blocks = cache.warming._find(version)
        assert blocks is not None
        hits = 0
        for offset in range(0, version.size, UNIT // 4):
            if reader.read_cached(offset, UNIT // 4) is None:
                await reader.read(offset, UNIT // 4)
            else:
                hits += 1
                assert blocks.find(offset) is not None
            await trio.testing.wait_all_tasks_blocked()

        assert hits


async def test_fetches_leave_half_of_the_prefetches_in_flight_to_readahead(
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    store = MemoryStore({f"{number:02}": b"x" for number in range(PREFETCHES_MAX)}, before=hang)
    async with trio.open_nursery() as nursery:
        cache = BlockCache(store, nursery, BlockConfig(memory_limit=LIMIT), SIZES)
        for number in range(PREFETCHES_MAX):
            nursery.start_soon(warm, cache, store.stat(f"{number:02}").version)
        await trio.sleep(1)

        in_flight = cache._loader.in_flight
        nursery.cancel_scope.cancel()

    assert in_flight == WARM_MAX


async def hang(_: Request) -> None:
    await trio.sleep_forever()


class KeepingSource(StoreSource):
    """A tier that keeps *room* bytes of whole objects, by `wait_kept` only."""

    def __init__(self, store: MemoryStore, room: int) -> None:
        super().__init__(store)
        self.room = room
        self.reads: list[ObjectVersion] = []
        self.kept: set[ObjectVersion] = set()
        self._start_read = self.start_read
        self.start_read = self._note_read

    def _note_read(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,
        on_end: OnReadEnd,
        priority: Priority,
        *,
        reason: Reason = Reason.READ,
    ) -> StartedRead:
        self.reads.append(version)
        return self._start_read(version, byte_range, into, on_end, priority, reason=reason)

    def capacity(self) -> int:
        return self.room

    def has(self, version: ObjectVersion, byte_range: ByteRange) -> bool:  # noqa: ARG002
        return version in self.kept

    async def wait_kept(self) -> None:
        await trio.lowlevel.checkpoint()
        self.kept |= {*self.reads}


@asynccontextmanager
async def keeping_cache(
    store: MemoryStore, room: int = 1 << 30
) -> AsyncIterator[tuple[BlockCache, KeepingSource]]:
    source = KeepingSource(store, room)
    async with trio.open_nursery() as nursery:
        config = BlockConfig(memory_limit=LIMIT)
        cache = BlockCache(store, nursery, config, SIZES, make_tier=lambda _next, _holds: source)
        yield cache, source
        nursery.cancel_scope.cancel()


async def test_what_a_source_keeps_makes_room_for_the_next() -> None:
    store = MemoryStore(STORE)
    async with keeping_cache(store) as (cache, source):
        fetched = [await warm(cache, version) for version in versions(store)]

        assert fetched == [UNIT] * 40
        await source.wait_kept()
        assert source.kept == {*versions(store)}


async def test_what_is_kept_is_not_missing_and_needs_no_memory() -> None:
    store = MemoryStore(STORE)
    async with keeping_cache(store) as (cache, source):
        version = versions(store)[0]
        assert cache.warming.missing(version).octets == UNIT

        source.kept.add(version)

        assert cache.warming.missing(version).octets == 0
        assert cache.warming.find_room() == source.room


async def test_a_source_that_keeps_nothing_now_leaves_the_bounds_of_the_memory() -> None:
    """A disk that is bypassed."""
    store = MemoryStore(STORE)
    async with keeping_cache(store, room=0) as (cache, _):
        fetched = [await warm(cache, version) for version in versions(store)]

        assert fetched == [UNIT] * 12 + [None] * 28


async def test_an_object_larger_than_the_memory_is_fetched_if_it_is_kept() -> None:
    size = 3 * LIMIT
    store = MemoryStore({"large": bytes(size)})
    version = store.stat("large").version
    async with keeping_cache(store) as (cache, _):
        assert cache.warming.missing(version).requests == size // SIZES.part
        content = cache.warming.open(version)

        fetched = [await content.fetch(piece) for piece in content.pieces]

        content.close()
        assert sum(each or 0 for each in fetched) == size
        assert cache.warming.find_room() >= 0


async def test_what_a_reader_has_open_is_not_evicted_for_what_is_kept() -> None:
    store = MemoryStore(STORE)
    every = versions(store)
    async with keeping_cache(store) as (cache, source):
        reader = cache.open(every[0])
        await reader.read(0, UNIT)

        for version in every[1:]:
            await warm(cache, version)
        await reader.read(0, UNIT)

        assert source.reads.count(every[0]) == 1
        reader.close()
