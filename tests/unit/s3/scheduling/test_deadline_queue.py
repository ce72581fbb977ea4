"""Entries are called back at their time, unless they were removed before."""

import gc
import weakref

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from s3mount.s3.scheduling.deadline_queue import DeadlineQueue


class Entry:
    """Something that is due."""


async def pass_time(clock: MockClock, seconds: float) -> None:
    await wait_all_tasks_blocked()
    clock.jump(seconds)
    await wait_all_tasks_blocked()


async def test_an_entry_is_called_back_once_at_its_time(mock_clock: MockClock) -> None:
    called: list[str] = []
    queue = DeadlineQueue(called.append)
    now = trio.current_time()

    queue.add("first", now + 1)
    await pass_time(mock_clock, 0.5)
    before = list(called)
    await pass_time(mock_clock, 0.5)
    await pass_time(mock_clock, 10)

    assert (before, called) == ([], ["first"])


async def test_an_earlier_entry_does_not_wait_for_a_later_one(mock_clock: MockClock) -> None:
    called: list[str] = []
    queue = DeadlineQueue(called.append)
    now = trio.current_time()

    queue.add("later", now + 10)
    await wait_all_tasks_blocked()
    queue.add("earlier", now + 1)
    await pass_time(mock_clock, 1)

    assert called == ["earlier"]


async def test_an_entry_that_is_overdue_is_called_back_soon(mock_clock: MockClock) -> None:
    called: list[str] = []
    queue = DeadlineQueue(called.append)

    queue.add("overdue", trio.current_time() - 1)
    await pass_time(mock_clock, 0)

    assert called == ["overdue"]


async def test_a_bug_in_a_callback_leaves_the_queue_at_work(
    mock_clock: MockClock, expected_warnings: list[str]
) -> None:
    expected_warnings.append("the callback of a deadline failed: this is a bug")
    called: list[float] = []
    queue: DeadlineQueue[int] = DeadlineQueue(lambda number: called.append(1 / number))
    now = trio.current_time()

    queue.add(0, now + 1)
    queue.add(1, now + 1)
    await pass_time(mock_clock, 1)
    queue.add(2, now + 2)
    await pass_time(mock_clock, 1)

    assert called == [1, 0.5]


async def test_the_queue_keeps_no_entry_that_was_called_back(mock_clock: MockClock) -> None:
    queue: DeadlineQueue[Entry] = DeadlineQueue(lambda _: None)
    entry = Entry()
    reference = weakref.ref(entry)
    gc.disable()
    try:
        queue.add(entry, trio.current_time() + 1)
        await pass_time(mock_clock, 1)
        del entry

        assert reference() is None
    finally:
        gc.enable()


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(0, 5), st.integers(-2, 8)),
            st.tuples(st.just("discard"), st.integers(0, 5), st.none()),
            st.tuples(st.just("pass"), st.none(), st.integers(0, 4)),
        ),
        max_size=30,
    )
)
def test_entries_are_called_back_at_the_first_moment_that_is_not_before_their_time(
    steps: list[tuple[str, int | None, int | None]],
) -> None:
    clock = MockClock()
    trio.run(_perform, steps, clock, clock=clock)


async def _perform(steps: list[tuple[str, int | None, int | None]], clock: MockClock) -> None:
    called: list[int] = []
    queue = DeadlineQueue(called.append)
    due: dict[int, float] = {}
    for name, entry, seconds in steps:
        if name == "add":
            due[entry or 0] = trio.current_time() + (seconds or 0)
            queue.add(entry or 0, due[entry or 0])
        elif name == "discard":
            due.pop(entry or 0, None)
            queue.discard(entry or 0)
        else:
            await pass_time(clock, seconds or 0)
            expected = [each for each, time in due.items() if time <= trio.current_time()]
            assert sorted(called) == sorted(expected)
            called.clear()
            for each in expected:
                del due[each]
