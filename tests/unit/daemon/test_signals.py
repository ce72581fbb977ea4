"""Signals, sent to this process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from s3mount.daemon import signals


class Heard:
    """Handler that records its calls."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def end(self) -> None:
        self.asked.append("end")

    def end_at_once(self) -> None:
        self.asked.append("end at once")

    def invalidate(self) -> None:
        self.asked.append("invalidate")

    def log_statistics(self) -> None:
        self.asked.append("log statistics")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in signals.HANDLED}
    yield
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.HANDLED)
    for number, handler in before.items():
        signal.signal(number, handler)


async def asked_after(*numbers: int) -> list[str]:
    """Send one at a time: the kernel keeps no order among pending signals."""
    heard = Heard()
    async with trio.open_nursery() as nursery:
        with signals.receiver() as arriving:
            nursery.start_soon(signals.dispatch, arriving, heard)
            for count, number in enumerate(numbers, start=1):
                os.kill(os.getpid(), number)
                while len(heard.asked) < count:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    return heard.asked


async def test_each_signal_calls_its_method() -> None:
    asked = await asked_after(signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)

    assert asked == ["log statistics", "invalidate", "end"]


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_the_second_ending_signal_ends_at_once(second: int) -> None:
    assert await asked_after(signal.SIGTERM, signal.SIGUSR1, second) == [
        "end",
        "log statistics",
        "end at once",
    ]


TOO_EARLY = """
import os, signal, trio
from s3mount.daemon import signals

async def receive():
    with signals.receiver() as arriving:
        return await anext(aiter(arriving))

signals.block()
os.kill(os.getpid(), signal.SIGTERM)
print(trio.run(receive))
"""

TOO_LATE = """
import os, signal, trio
from s3mount.daemon import signals

async def receive():
    with signals.receiver():
        pass

signals.block()
trio.run(receive)
os.kill(os.getpid(), signal.SIGTERM)
print("lives")
"""


PASSED_ON = """
import signal, subprocess, trio
from s3mount.daemon import signals

async def receive():
    with signals.receiver():
        subprocess.run(["grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"], check=True)

signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM, signal.SIGUSR2])
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD, signal.SIGTSTP):
    signal.signal(number, signal.SIG_IGN)
signals.block()
trio.run(receive)
"""


def said_by(script: str) -> str:
    """In a process of its own, since signals are blocked before there are threads."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_an_early_signal_is_kept() -> None:
    assert said_by(TOO_EARLY) == str(int(signal.SIGTERM))


def test_a_late_signal_does_no_harm() -> None:
    assert said_by(TOO_LATE) == "lives"


def test_programs_do_not_inherit_blocked_and_ignored_signals() -> None:
    assert said_by(PASSED_ON).split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16]
