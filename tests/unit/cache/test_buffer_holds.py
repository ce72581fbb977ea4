"""Held buffers: in use until they are let go, whatever becomes of their blocks."""

from functools import partial

import trio
from trio.testing import wait_all_tasks_blocked

from tests.unit.cache.test_buffer_pool import PART, Rig


def test_a_held_buffer_is_not_lent_again_before_it_is_let_go() -> None:
    rig = Rig(parts=1)
    block = rig.mark_evictable(0)
    buffer = block.buffer
    assert buffer is not None

    rig.memory.holds.hold(buffer[10:20])
    while_held = rig.memory.acquire_nowait(PART)
    rig.memory.evict(block)
    after_eviction = rig.memory.acquire_nowait(PART)
    rig.memory.holds.let_go(buffer)

    assert (None, None) == (while_held, after_eviction)
    assert rig.memory.acquire_nowait(PART) is buffer


def test_a_buffer_that_is_held_twice_is_in_use_until_both_holds_end() -> None:
    rig = Rig(parts=1)
    buffer = rig.memory.acquire_nowait(PART)
    assert buffer is not None
    rig.memory.holds.hold(buffer)
    rig.memory.holds.hold(buffer)
    rig.memory.release(buffer)

    rig.memory.holds.let_go(buffer)
    assert rig.memory.acquire_nowait(PART) is None
    rig.memory.holds.let_go(buffer)

    assert rig.memory.acquire_nowait(PART) is buffer


async def test_a_demand_that_waits_gets_the_buffer_that_is_let_go() -> None:
    rig = Rig(parts=1)
    acquired: list[int] = []
    buffer = rig.memory.acquire_nowait(PART)
    assert buffer is not None
    rig.memory.holds.hold(buffer)
    rig.memory.release(buffer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(rig.acquire_into, acquired, PART)
        await wait_all_tasks_blocked()
        assert [] == acquired
        rig.memory.holds.let_go(buffer)

    assert [1] == acquired


def test_prefetch_does_not_evict_for_memory_that_a_held_buffer_would_not_yield() -> None:
    rig = Rig(parts=2)
    held = rig.mark_evictable(0)
    rig.mark_evictable(1, is_expected=True)
    assert held.buffer is not None
    rig.memory.holds.hold(held.buffer)

    assert rig.memory.acquire_nowait(PART) is None

    assert [] == rig.evicted


def test_a_block_whose_buffer_is_held_is_not_unused() -> None:
    rig = Rig(parts=2)
    block = rig.mark_evictable(0)
    rig.memory.touch(block)
    assert block.buffer is not None
    was_unused = rig.memory.is_unused(block)

    rig.memory.holds.hold(block.buffer)

    assert was_unused
    assert not rig.memory.is_unused(block)


def test_a_callback_is_called_once_before_its_buffer_is_lent_again() -> None:
    rig = Rig(parts=1)
    called: list[int] = []
    block = rig.mark_evictable(0)
    assert block.buffer is not None
    rig.memory.holds.call_on_return(block.buffer[5:], lambda: called.append(rig.memory.used))

    again = rig.memory.acquire_nowait(PART)
    assert again is not None
    rig.memory.release(again)

    assert [PART] == called


def test_of_blocks_that_were_read_one_goes_first_whose_bytes_nobody_wants() -> None:
    rig = Rig(parts=3)
    oldest, _, latest = (rig.mark_evictable(number) for number in range(3))
    lost: list[str] = []
    for name, block in (("oldest", oldest), ("latest", latest)):
        assert block.buffer is not None
        rig.memory.holds.call_on_return(block.buffer, partial(lost.append, name))
    rig.memory.touch(latest)

    first = rig.memory.acquire_nowait(PART)
    was_lost = list(lost)
    rig.memory.acquire_nowait(PART)

    assert first is not None
    assert [1, 0] == rig.evicted
    assert [] == was_lost
    assert ["oldest"] == lost
