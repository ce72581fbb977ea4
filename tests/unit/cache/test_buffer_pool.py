"""The budget: which fetch gets a buffer, which waits, which block is evicted."""

import trio
from trio.testing import wait_all_tasks_blocked

from s3mount.cache.block import Block, VersionBlocks
from s3mount.cache.buffer_pool import BufferPool
from s3mount.cache.ranges import KIB, MIB, FetchSizes
from s3mount.cache.readahead.forward_steps import StepLimit
from s3mount.s3.model import ByteRange, ObjectVersion

PART = 64 * KIB


class Rig:
    """A memory of a few parts, and ready blocks in it."""

    def __init__(self, parts: int) -> None:
        self.memory = BufferPool(parts * PART, self._evict)
        self.version_blocks = VersionBlocks(
            ObjectVersion("b", "k", "e", 100 * PART), FetchSizes(PART), StepLimit()
        )
        self.evicted: list[int] = []

    def _evict(self, block: Block) -> memoryview:
        self.evicted.append(block.start // PART)
        buffer = block.buffer
        assert buffer is not None
        return buffer

    def mark_evictable(
        self, number: int, *, is_expected: bool = False, is_warmed: bool = False
    ) -> Block:
        block = Block(
            self.version_blocks,
            ByteRange(number * PART, (number + 1) * PART),
            self.memory.acquire_nowait(PART),
        )
        assert block.buffer is not None
        block.is_warmed = is_warmed
        self.memory.mark_evictable(block, is_expected=is_expected)
        return block

    async def acquire_into(self, acquired: list[int], length: int) -> None:
        await self.memory.acquire(length)
        acquired.append(length // PART)


def test_the_block_read_longest_ago_is_evicted_first() -> None:
    rig = Rig(parts=3)
    blocks = [rig.mark_evictable(number) for number in range(3)]
    rig.memory.touch(blocks[0])

    rig.memory.acquire_nowait(PART)
    rig.memory.acquire_nowait(PART)

    assert [1, 2] == rig.evicted


def test_a_finished_block_is_evicted_before_those_read_longer_ago_until_it_is_read_again() -> None:
    rig = Rig(parts=4)
    blocks = [rig.mark_evictable(number) for number in range(4)]
    for block in blocks:
        rig.memory.touch(block)
    for number in (3, 2, 1):
        rig.memory.finish(blocks[number])
    rig.memory.touch(blocks[1])

    for _ in range(3):
        assert rig.memory.acquire_nowait(PART) is not None

    assert [3, 2, 0] == rig.evicted
    assert rig.memory.acquire_nowait(PART) is None  # the reply of the last one may be being sent


async def test_a_demand_fetch_queues_for_the_finished_block_that_was_read_last() -> None:
    rig = Rig(parts=2)
    blocks = [rig.mark_evictable(number) for number in range(2)]
    rig.memory.touch(blocks[1])
    rig.memory.finish(blocks[1])

    assert rig.memory.acquire_nowait(PART, may_queue=True) is None
    await rig.memory.acquire(PART)
    assert [1] == rig.evicted


def test_a_finished_block_that_was_read_last_keeps_no_prefetch_from_older_blocks() -> None:
    rig = Rig(parts=2)
    blocks = [rig.mark_evictable(number) for number in range(2)]
    rig.memory.touch(blocks[1])
    rig.memory.finish(blocks[1])

    assert rig.memory.acquire_nowait(PART) is not None
    assert [0] == rig.evicted


def test_prefetch_never_evicts_what_a_stream_is_expected_to_read() -> None:
    rig = Rig(parts=2)
    rig.mark_evictable(0, is_expected=True)
    rig.mark_evictable(1)

    first, second = rig.memory.acquire_nowait(PART), rig.memory.acquire_nowait(PART)

    assert (first is not None, second, rig.evicted) == (True, None, [1])


def test_prefetch_that_spares_wanted_bytes_evicts_others_only() -> None:
    rig = Rig(parts=3)
    wanted, _, _ = (rig.mark_evictable(number) for number in range(3))
    lost: list[str] = []
    assert wanted.buffer is not None
    rig.memory.holds.call_on_return(wanted.buffer, lambda: lost.append("wanted"))

    spared = [rig.memory.acquire_nowait(PART, spares_wanted=True) for _ in range(3)]

    assert ([1, 2], []) == (rig.evicted, lost)
    assert [True, True, False] == [buffer is not None for buffer in spared]
    assert rig.memory.acquire_nowait(PART) is not None
    assert ([1, 2, 0], ["wanted"]) == (rig.evicted, lost)


def test_prefetch_that_spares_wanted_bytes_takes_free_memory() -> None:
    rig = Rig(parts=2)
    wanted = rig.mark_evictable(0)
    assert wanted.buffer is not None
    rig.memory.holds.call_on_return(wanted.buffer, lambda: None)

    assert rig.memory.acquire_nowait(PART, spares_wanted=True) is not None
    assert rig.memory.acquire_nowait(PART, spares_wanted=True) is None


def test_prefetch_that_finds_too_little_memory_evicts_nothing() -> None:
    rig = Rig(parts=2)
    rig.mark_evictable(0, is_expected=True)
    rig.mark_evictable(1)

    assert rig.memory.acquire_nowait(2 * PART) is None
    assert [] == rig.evicted


async def test_prefetch_leaves_the_block_that_was_accessed_last_and_demand_evicts_it(
    nursery: trio.Nursery,
) -> None:
    rig = Rig(parts=2)
    blocks = [rig.mark_evictable(number) for number in range(2)]
    rig.memory.touch(blocks[0])
    acquired: list[int] = []

    first, second = rig.memory.acquire_nowait(PART), rig.memory.acquire_nowait(PART)
    evicted = list(rig.evicted)
    nursery.start_soon(rig.acquire_into, acquired, PART)
    await wait_all_tasks_blocked()

    assert (first is None, second) == (False, None)
    assert ([1], [1, 0]) == (evicted, rig.evicted)
    assert [1] == acquired


def test_prefetch_evicts_warmed_blocks_and_not_that_which_was_accessed_last() -> None:
    rig = Rig(parts=2)
    accessed = rig.mark_evictable(0)
    rig.mark_evictable(1, is_warmed=True)
    rig.memory.touch(accessed)

    first, second = rig.memory.acquire_nowait(PART), rig.memory.acquire_nowait(PART)

    assert (first is None, second, rig.evicted) == (False, None, [1])


def test_prefetch_evicts_blocks_demoted_since_and_not_that_which_was_accessed_last() -> None:
    rig = Rig(parts=2)
    accessed = rig.mark_evictable(0)
    expected = rig.mark_evictable(1, is_expected=True)
    rig.memory.touch(accessed)
    rig.memory.demote(expected)

    first, second = rig.memory.acquire_nowait(PART), rig.memory.acquire_nowait(PART)

    assert (first is None, second, rig.evicted) == (False, None, [1])


async def test_demand_evicts_what_a_stream_needs_last() -> None:
    rig = Rig(parts=3)
    for number in range(3):
        rig.mark_evictable(number, is_expected=True)

    await rig.memory.acquire(PART)

    assert [2] == rig.evicted


def test_a_buffer_is_reused_by_the_next_fetch_of_its_length() -> None:
    memory = Rig(parts=2).memory
    buffer = memory.acquire_nowait(PART)
    assert buffer is not None
    memory.release(buffer)

    assert memory.acquire_nowait(PART) is buffer


def test_idle_buffers_make_way_for_one_of_another_length() -> None:
    memory = Rig(parts=2).memory
    buffers = [memory.acquire_nowait(PART), memory.acquire_nowait(PART)]
    for buffer in buffers:
        assert buffer is not None
        memory.release(buffer)

    longer = memory.acquire_nowait(2 * PART)

    assert longer is not None
    assert 2 * PART == len(longer) == memory.used


async def test_fetches_that_queue_for_memory_are_served_in_order_and_before_prefetch(
    nursery: trio.Nursery,
) -> None:
    rig = Rig(parts=2)
    held = [rig.memory.acquire_nowait(PART), rig.memory.acquire_nowait(PART)]
    acquired: list[int] = []
    for length in (2 * PART, PART):
        nursery.start_soon(rig.acquire_into, acquired, length)
        await wait_all_tasks_blocked()

    for buffer in held:
        assert buffer is not None
        rig.memory.release(buffer)
        assert rig.memory.acquire_nowait(PART) is None
    await wait_all_tasks_blocked()

    assert [2] == acquired


async def test_a_cancelled_allocation_lets_the_next_one_through(nursery: trio.Nursery) -> None:
    rig = Rig(parts=2)
    held = [rig.memory.acquire_nowait(PART), rig.memory.acquire_nowait(PART)]
    assert held[0] is not None
    acquired: list[int] = []
    scope = trio.CancelScope()
    with scope:
        async with trio.open_nursery() as claims:
            claims.start_soon(rig.acquire_into, acquired, 2 * PART)
            await wait_all_tasks_blocked()
            nursery.start_soon(rig.acquire_into, acquired, PART)
            await wait_all_tasks_blocked()
            rig.memory.release(held[0])
            scope.cancel()
    await wait_all_tasks_blocked()

    assert [1] == acquired


async def test_an_allocation_cancelled_as_it_is_granted_releases_its_buffer() -> None:
    rig = Rig(parts=1)
    held = rig.memory.acquire_nowait(PART)
    assert held is not None
    async with trio.open_nursery() as claims:
        claims.start_soon(rig.memory.acquire, PART)
        await wait_all_tasks_blocked()

        claims.cancel_scope.cancel()
        rig.memory.release(held)

    # whether the grant or the cancellation won, nothing is lost
    assert PART == rig.memory.used


def test_small_buffers_cost_a_minimum() -> None:
    memory = Rig(parts=1).memory

    acquired = 0
    while memory.acquire_nowait(10) is not None:
        acquired += 1

    assert PART // 2048 == acquired


def test_dropped_buffers_go_back_to_the_kernel() -> None:
    memory = BufferPool(64 * MIB, Rig(parts=1)._evict)
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
