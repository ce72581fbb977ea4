import signal
import subprocess
import threading
from functools import partial

import outcome
import pytest
import trio
import trio.testing

from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.limiter import Limiter, PermitWaiter
from s3mount.thread_pool import ThreadPool


async def test_a_result_and_a_failure_come_back_from_a_thread() -> None:
    thread_pool = ThreadPool()
    ended: list[object] = []

    assert await thread_pool.run(
        lambda: threading.current_thread() is not threading.main_thread(), ended.append
    )
    with pytest.raises(ZeroDivisionError):
        await thread_pool.run(lambda: 1 // 0, ended.append)

    assert [type(result) for result in ended] == [outcome.Value, outcome.Error]
    thread_pool.close()


async def test_a_program_that_a_thread_starts_has_no_signal_blocked() -> None:
    thread_pool = ThreadPool()
    command = ["grep", "^SigBlk", "/proc/self/status"]

    done = await thread_pool.run(
        partial(subprocess.run, command, capture_output=True, check=True), lambda _: None
    )

    assert int(done.stdout.split()[1], 16) == 0
    thread_pool.close()


async def test_a_signal_that_a_thread_takes_wakes_the_event_loop() -> None:
    thread_pool = ThreadPool()
    with trio.open_signal_receiver(signal.SIGUSR1) as arriving:
        thread = await thread_pool.run(threading.get_ident, lambda _: None)
        await trio.testing.wait_all_tasks_blocked()

        signal.pthread_kill(thread, signal.SIGUSR1)

        with trio.fail_after(30):
            assert await anext(aiter(arriving)) == signal.SIGUSR1
    thread_pool.close()


async def test_threads_stay_and_are_as_many_as_there_were_calls_at_once() -> None:
    thread_pool, names = ThreadPool(), set()

    for _ in range(10):
        names.add(await thread_pool.run(lambda: threading.current_thread().name, lambda _: None))

    assert len(names) == 1
    thread_pool.close()


async def test_a_cancelled_call_is_left_behind_and_holds_its_permit_until_it_ends() -> None:
    thread_pool, limiter, hold = ThreadPool(), Limiter(1), threading.Event()
    permit = await PermitWaiter(limiter, Priority.DEMAND).acquire()

    with trio.move_on_after(0.01):
        await thread_pool.run(hold.wait, lambda _: permit.release())
    held_while_it_runs = limiter.held
    hold.set()
    with trio.fail_after(5):
        await PermitWaiter(limiter, Priority.DEMAND).acquire()

    assert held_while_it_runs == 1
    thread_pool.close()


async def test_no_outcome_is_lost_however_many_threads_end_at_once() -> None:
    thread_pool, told = ThreadPool(), []

    async def ask(number: int) -> None:
        told.extend(
            [
                await thread_pool.run(partial(int, number * 100 + step), lambda _: None)
                for step in range(100)
            ]
        )

    with trio.fail_after(30):
        async with trio.open_nursery() as askers:
            for number in range(20):
                askers.start_soon(ask, number)

    assert sorted(told) == list(range(2000))
    thread_pool.close()


def _no_thread(*_: object) -> None:
    raise RuntimeError("can't start new thread")


async def test_a_thread_that_cannot_be_started_is_a_failure_told_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread_pool, told = ThreadPool(BlockingIOError), trio.Event()
    outcomes: list[outcome.Outcome[int]] = []

    def ended(result: outcome.Outcome[int]) -> None:
        outcomes.append(result)
        told.set()

    with monkeypatch.context() as patched:
        patched.setattr("s3mount.thread_pool._thread.start_new_thread", _no_thread)
        thread_pool.submit(lambda: 1, ended)
        assert outcomes == []
        await told.wait()
        with pytest.raises(BlockingIOError, match="no thread can be started"):
            await thread_pool.run(lambda: 1, lambda _: None)

    [refused] = outcomes
    assert isinstance(refused, outcome.Error)
    assert isinstance(refused.error, BlockingIOError)
    assert await thread_pool.run(lambda: 1, lambda _: None) == 1
    thread_pool.close()


async def test_a_call_goes_to_an_idle_thread_if_none_can_be_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread_pool = ThreadPool()
    await thread_pool.run(lambda: 1, lambda _: None)
    monkeypatch.setattr("s3mount.thread_pool._thread.start_new_thread", _no_thread)

    assert await thread_pool.run(lambda: 2, lambda _: None) == 2
    thread_pool.close()


async def test_what_a_callback_raises_is_logged_and_does_not_end_the_event_loop(
    expected_warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected_warnings.append("the callback of a thread failed: this is a bug")
    thread_pool = ThreadPool()

    def told(_: object) -> None:
        raise ZeroDivisionError

    thread_pool.submit(lambda: 1, told)
    with pytest.raises(ZeroDivisionError):
        await thread_pool.run(lambda: 2, told)

    assert await thread_pool.run(lambda: 3, lambda _: None) == 3
    assert [record.exc_info is not None for record in caplog.records] == [True]
    thread_pool.close()


async def test_a_bug_in_a_call_that_was_left_behind_is_logged(
    expected_warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected_warnings.append("an abandoned call failed: this is a bug")
    thread_pool, hold, ended = ThreadPool(), threading.Event(), trio.Event()

    def call() -> None:
        hold.wait()
        raise ZeroDivisionError

    with trio.move_on_after(0.01):
        await thread_pool.run(call, lambda _: ended.set())
    hold.set()
    await ended.wait()
    await trio.testing.wait_all_tasks_blocked()

    assert [record.exc_info is not None for record in caplog.records] == [True]
    thread_pool.close()
