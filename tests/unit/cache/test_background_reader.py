"""What a background reader waits for, and what it leaves in memory."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from s3mount.cache.background_reader import MEMORY_TIMEOUT, BackgroundReader
from s3mount.cache.block_cache import BlockCache
from s3mount.cache.ranges import FetchSizes
from s3mount.config import BlockConfig
from s3mount.errors import StoreError
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_store import Priority
from tests.fakes.memory_store import MemoryStore, Request

UNIT = 1 << 16
LIMIT = 32 * UNIT
SIZES = FetchSizes(part=2 * UNIT, block=UNIT, small=UNIT, piece=UNIT)
BODY = bytes(range(256)) * (UNIT // 256) * 12


class BusyStore(MemoryStore):
    """The fake, whose connections readers may need."""

    is_busy = False

    def has_capacity(self) -> bool:
        return not self.is_busy


@asynccontextmanager
async def cache_of(store: MemoryStore) -> AsyncIterator[BlockCache]:
    async with trio.open_nursery() as nursery:
        yield BlockCache(store, nursery, BlockConfig(memory_limit=LIMIT), SIZES)
        nursery.cancel_scope.cancel()


async def read_all(
    reader: BackgroundReader, use: Callable[[memoryview], Awaitable[None]] | None = None
) -> bytes:
    got = bytearray()

    async def keep(content: memoryview) -> None:
        if use is not None:
            await use(content)
        got.extend(content)

    try:
        await reader.read_all(keep)
    finally:
        reader.close()
    return bytes(got)


async def read(cache: BlockCache, version: ObjectVersion, offset: int, size: int) -> None:
    reader = cache.open(version)
    await reader.read(offset, size)
    reader.close()


def held(cache: BlockCache, version: ObjectVersion) -> int:
    """Return the bytes of *version* that are in memory."""
    gaps = cache._blocks_of(version).gaps(ByteRange(0, version.size))
    return version.size - sum(map(len, gaps))


async def test_what_another_reader_has_read_meanwhile_stays() -> None:
    store = MemoryStore({"a": BODY})
    version = store.stat("a").version
    async with cache_of(store) as cache:

        async def use(_content: memoryview) -> None:
            if not held(cache, version) < version.size:
                return
            block = cache._blocks_of(version).find(0)
            if block is not None and not block.was_accessed:
                await read(cache, version, 0, UNIT)

        assert await read_all(cache.open_background(version), use) == BODY
        assert held(cache, version) == SIZES.part
        assert cache._blocks_of(version).find(0) is not None


async def test_a_block_of_another_reader_may_begin_before_the_next_byte() -> None:
    store = MemoryStore({"a": BODY})
    version = store.stat("a").version
    async with cache_of(store) as cache:
        reader = cache.open_background(version)
        blocks = cache._blocks_of(version)
        done = False

        async def use(_content: memoryview) -> None:
            nonlocal done
            # its pieces are all in use or dropped, and the next one has not begun
            if not done and blocks.find(reader._frontier) is None:
                done = True
                cache.put(version, BODY)

        assert await read_all(reader, use) == BODY


async def test_it_waits_while_readers_need_the_connections(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    store = BusyStore({"a": BODY})
    version = store.stat("a").version
    async with cache_of(store) as cache, trio.open_nursery() as nursery:
        store.is_busy = True
        nursery.start_soon(read_all, cache.open_background(version))
        with trio.move_on_after(1.5 * MEMORY_TIMEOUT):
            await trio.sleep_forever()
        assert store.requests == []

        store.is_busy = False

    assert sum(len(each.span or ()) for each in store.requests) == version.size


async def test_without_memory_it_gives_up_and_says_what_to_do(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    store = MemoryStore({"a": BODY, "b": BODY[: 10 * UNIT]})
    version, other = store.stat("a").version, store.stat("b").version
    async with cache_of(store) as cache:
        await read(cache, other, 0, other.size)
        blocks = cache._blocks_of(other).overlapping(0, other.size)
        taken = cache._loader.memory.acquire_nowait(cache._loader.memory.free)
        assert taken is not None
        for block in blocks:  # in use
            cache._loader.memory.unmark(block)

        with pytest.raises(StoreError, match="memory-limit"):
            await read_all(cache.open_background(version))

        assert not cache._blocks_of(version)


async def test_a_reader_that_waits_for_its_block_gives_it_demand_priority() -> None:
    release = trio.Event()
    promoted: list[object] = []

    async def before(_request: Request) -> None:
        await release.wait()

    store = MemoryStore({"a": BODY}, before=before)
    version = store.stat("a").version
    async with cache_of(store) as cache, trio.open_nursery() as nursery:
        nursery.start_soon(read_all, cache.open_background(version))
        await trio.testing.wait_all_tasks_blocked()
        fetch = cache._blocks_of(version).overlapping(0, 1)[0].fetch
        assert fetch is not None
        assert fetch.read is not None
        fetch.read.promote = lambda: promoted.append(fetch)  # type: ignore[method-assign]
        nursery.start_soon(read, cache, version, 0, UNIT)
        await trio.testing.wait_all_tasks_blocked()
        release.set()

    assert promoted == [fetch]
    assert {each.priority for each in store.requests[:2]} == {Priority.PREFETCH}


async def test_dropped_bytes_are_fetched_again_after_who_waits_for_them_has_got_them() -> None:
    store = MemoryStore({"a": BODY})
    version = store.stat("a").version
    async with cache_of(store) as cache:
        await read(cache, version, 0, version.size)
        reader = cache.open_background(version)
        block = cache._blocks_of(version).find(0)
        assert block is not None
        block.waiters += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.drop)
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            assert block.is_ready
            block.waiters -= 1

        assert held(cache, version) == 0
        assert await read_all(reader) == BODY
