import signal
import subprocess
import threading
from functools import partial

import outcome
import pytest
import trio
import trio.testing

from s3mount.s3.gate import Gate, Pass
from s3mount.s3.store import Urgency
from s3mount.s3.workers import Workers


async def test_an_answer_and_a_failure_come_back_from_a_thread() -> None:
    workers = Workers()
    ended: list[object] = []

    assert await workers.run(lambda: threading.current_thread() is not threading.main_thread(), ended.append)
    with pytest.raises(ZeroDivisionError):
        await workers.run(lambda: 1 // 0, ended.append)

    assert [type(result) for result in ended] == [outcome.Value, outcome.Error]
    workers.close()


async def test_a_program_that_a_thread_starts_has_no_signal_blocked() -> None:
    workers = Workers()
    command = ["grep", "^SigBlk", "/proc/self/status"]

    done = await workers.run(partial(subprocess.run, command, capture_output=True, check=True), lambda _: None)

    assert int(done.stdout.split()[1], 16) == 0
    workers.close()


async def test_a_signal_that_a_thread_takes_wakes_the_run() -> None:
    workers = Workers()
    with trio.open_signal_receiver(signal.SIGUSR1) as arriving:
        thread = await workers.run(threading.get_ident, lambda _: None)
        await trio.testing.wait_all_tasks_blocked()

        signal.pthread_kill(thread, signal.SIGUSR1)

        with trio.fail_after(30):
            assert await anext(aiter(arriving)) == signal.SIGUSR1
    workers.close()


async def test_threads_stay_and_are_as_many_as_there_were_calls_at_once() -> None:
    workers, names = Workers(), set()

    for _ in range(10):
        names.add(await workers.run(lambda: threading.current_thread().name, lambda _: None))

    assert len(names) == 1
    workers.close()


async def test_a_cancelled_call_is_left_behind_and_keeps_its_place_until_it_ends() -> None:
    workers, gate, hold = Workers(), Gate(1), threading.Event()
    ticket = Pass(gate, Urgency.DEMANDED)
    await ticket.enter()

    with trio.move_on_after(0.01):
        await workers.run(hold.wait, lambda _: ticket.leave())
    inside_while_it_runs = gate.inside
    hold.set()
    with trio.fail_after(5):
        await Pass(gate, Urgency.DEMANDED).enter()

    assert inside_while_it_runs == 1
    workers.close()


async def test_no_outcome_is_lost_however_many_threads_end_at_once() -> None:
    workers, told = Workers(), []

    async def ask(number: int) -> None:
        told.extend([await workers.run(partial(int, number * 100 + step), lambda _: None) for step in range(100)])

    with trio.fail_after(30):
        async with trio.open_nursery() as askers:
            for number in range(20):
                askers.start_soon(ask, number)

    assert sorted(told) == list(range(2000))
    workers.close()
