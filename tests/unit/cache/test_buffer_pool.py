"""The budget: who gets buffers, who waits, who loses theirs."""

import trio
from trio.testing import wait_all_tasks_blocked

from s3mount.cache.block import Block, VersionBlocks
from s3mount.cache.buffer_pool import BufferPool
from s3mount.cache.ranges import KIB, MIB, FetchSizes
from s3mount.s3.model import ByteRange, ObjectVersion

PART = 64 * KIB


class Room:
    """A memory of a few parts, and blocks that landed in it."""

    def __init__(self, parts: int) -> None:
        self.memory = BufferPool(parts * PART, self._evict)
        self.shelf = VersionBlocks(ObjectVersion("b", "k", "e", 100 * PART), FetchSizes(PART))
        self.evicted: list[int] = []

    def _evict(self, block: Block) -> memoryview:
        self.evicted.append(block.start // PART)
        buffer = block.buffer
        assert buffer is not None
        return buffer

    def mark_evictable(self, number: int, *, is_expected: bool = False) -> Block:
        block = Block(
            self.shelf,
            ByteRange(number * PART, (number + 1) * PART),
            self.memory.acquire_nowait(PART),
        )
        assert block.buffer is not None
        self.memory.mark_evictable(block, is_expected=is_expected)
        return block

    async def take_into(self, taken: list[int], length: int) -> None:
        await self.memory.acquire(length)
        taken.append(length // PART)


def test_the_block_read_longest_ago_goes_first() -> None:
    room = Room(parts=3)
    blocks = [room.mark_evictable(number) for number in range(3)]
    room.memory.touch(blocks[0])

    room.memory.acquire_nowait(PART)
    room.memory.acquire_nowait(PART)

    assert [1, 2] == room.evicted


def test_speculation_never_takes_what_a_stream_will_come_by() -> None:
    room = Room(parts=2)
    room.mark_evictable(0, is_expected=True)
    room.mark_evictable(1)

    first, second = room.memory.acquire_nowait(PART), room.memory.acquire_nowait(PART)

    assert (first is not None, second, room.evicted) == (True, None, [1])


def test_speculation_that_finds_too_little_room_evicts_nothing() -> None:
    room = Room(parts=2)
    room.mark_evictable(0, is_expected=True)
    room.mark_evictable(1)

    assert room.memory.acquire_nowait(2 * PART) is None
    assert [] == room.evicted


async def test_speculation_leaves_the_block_that_was_accessed_last_and_a_demanded_load_takes_it(
    nursery: trio.Nursery,
) -> None:
    room = Room(parts=2)
    blocks = [room.mark_evictable(number) for number in range(2)]
    room.memory.touch(blocks[0])
    taken: list[int] = []

    first, second = room.memory.acquire_nowait(PART), room.memory.acquire_nowait(PART)
    evicted = list(room.evicted)
    nursery.start_soon(room.take_into, taken, PART)
    await wait_all_tasks_blocked()

    assert (first is None, second) == (False, None)
    assert ([1], [1, 0]) == (evicted, room.evicted)
    assert [1] == taken


async def test_a_demanded_load_takes_what_a_stream_reaches_last() -> None:
    room = Room(parts=3)
    for number in range(3):
        room.mark_evictable(number, is_expected=True)

    await room.memory.acquire(PART)

    assert [2] == room.evicted


def test_a_buffer_is_used_again_by_the_next_load_of_its_length() -> None:
    memory = Room(parts=2).memory
    buffer = memory.acquire_nowait(PART)
    assert buffer is not None
    memory.release(buffer)

    assert memory.acquire_nowait(PART) is buffer


def test_idle_buffers_make_way_for_one_of_another_length() -> None:
    memory = Room(parts=2).memory
    buffers = [memory.acquire_nowait(PART), memory.acquire_nowait(PART)]
    for buffer in buffers:
        assert buffer is not None
        memory.release(buffer)

    longer = memory.acquire_nowait(2 * PART)

    assert longer is not None
    assert 2 * PART == len(longer) == memory.used


async def test_whoever_queues_for_memory_is_served_in_order_and_before_speculation(
    nursery: trio.Nursery,
) -> None:
    room = Room(parts=2)
    held = [room.memory.acquire_nowait(PART), room.memory.acquire_nowait(PART)]
    taken: list[int] = []
    for length in (2 * PART, PART):
        nursery.start_soon(room.take_into, taken, length)
        await wait_all_tasks_blocked()

    for buffer in held:
        assert buffer is not None
        room.memory.release(buffer)
        assert room.memory.acquire_nowait(PART) is None
    await wait_all_tasks_blocked()

    assert [2] == taken


async def test_a_cancelled_claim_lets_the_next_one_through(nursery: trio.Nursery) -> None:
    room = Room(parts=2)
    held = [room.memory.acquire_nowait(PART), room.memory.acquire_nowait(PART)]
    assert held[0] is not None
    taken: list[int] = []
    scope = trio.CancelScope()
    with scope:
        async with trio.open_nursery() as claims:
            claims.start_soon(room.take_into, taken, 2 * PART)
            await wait_all_tasks_blocked()
            nursery.start_soon(room.take_into, taken, PART)
            await wait_all_tasks_blocked()
            room.memory.release(held[0])
            scope.cancel()
    await wait_all_tasks_blocked()

    assert [1] == taken


async def test_a_claim_cancelled_as_it_is_granted_gives_its_buffer_back() -> None:
    room = Room(parts=1)
    held = room.memory.acquire_nowait(PART)
    assert held is not None
    async with trio.open_nursery() as claims:
        claims.start_soon(room.memory.acquire, PART)
        await wait_all_tasks_blocked()

        claims.cancel_scope.cancel()
        room.memory.release(held)

    # whether the grant or the cancellation won, nothing is lost
    assert PART == room.memory.used


def test_small_buffers_cost_their_place_in_the_books_too() -> None:
    memory = Room(parts=1).memory

    taken = 0
    while memory.acquire_nowait(10) is not None:
        taken += 1

    assert PART // 2048 == taken


def test_dropped_buffers_go_back_to_the_kernel() -> None:
    memory = BufferPool(64 * MIB, Room(parts=1)._evict)
    first = memory.acquire_nowait(64 * MIB)
    assert first is not None
    first[:] = b"x" * len(first)
    memory.release(first)
    del first
    before = _resident()

    for _ in range(1024):
        assert memory.acquire_nowait(64 * KIB) is not None

    assert _resident() < before - 32 * MIB


def _resident() -> int:
    with open("/proc/self/statm") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * 4096
