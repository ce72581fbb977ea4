"""Signals: what each one asks of a mount.

SIGTERM and SIGINT end it, the second one at once; SIGHUP has it forget what it knows; SIGUSR1 has it log its statistics.
"""

import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from types import FrameType
from typing import Final, Protocol

import trio

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
HEEDED: Final = (*_ENDING, signal.SIGHUP, signal.SIGUSR1)
# ignored by the interpreter itself; `subprocess` gives programs the default
_PYTHONS: Final = frozenset((signal.SIGPIPE, signal.SIGXFSZ))


class SignalHandler(Protocol):
    """Who does what signals ask."""

    def end(self) -> None: ...

    def end_at_once(self) -> None: ...

    def invalidate(self) -> None: ...

    def log_statistics(self) -> None: ...


def block() -> None:
    """From here on no signal ends the process by itself: those that come before `receiver` wait for it, and those after are too late.

    Not SIG_IGN, which would drop what waits, and which programs that are run would inherit. What the caller blocked or ignored
    (a shell does so for a program in the background) is not passed on to them either.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, HEEDED)
    for number in HEEDED:
        signal.signal(number, _too_late)
    for number in signal.valid_signals() - _PYTHONS:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else _ignored)


async def dispatch(arriving: AsyncIterator[int], heeding: SignalHandler) -> None:
    """Do what the signals ask, in their order; never returns."""
    is_ending = False
    async for number in arriving:
        match number:
            case signal.SIGHUP:
                heeding.invalidate()
            case signal.SIGUSR1:
                heeding.log_statistics()
            case _ if is_ending:
                heeding.end_at_once()
            case _:
                is_ending = True
                heeding.end()


@contextlib.contextmanager
def receiver() -> Iterator[AsyncIterator[int]]:
    """The signals that `dispatch` takes; those that were held are let in now."""
    with trio.open_signal_receiver(*HEEDED) as arriving:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)
        yield arriving


def _ignored(number: int, frame: FrameType | None) -> None:
    """As SIG_IGN, but for programs that are run: they get the default."""


def _too_late(number: int, frame: FrameType | None) -> None:
    """The mount has ended, or has not begun."""
