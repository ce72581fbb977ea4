"""Signals of a mount: SIGTERM and SIGINT end it, the second one at once; SIGHUP invalidates its
metadata; SIGUSR1 logs its statistics.
"""

import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from types import FrameType
from typing import Final, Protocol

import trio

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
HANDLED: Final = (*_ENDING, signal.SIGHUP, signal.SIGUSR1)
# ignored by the interpreter itself; `subprocess` gives programs the default
_IGNORED_BY_PYTHON: Final = frozenset((signal.SIGPIPE, signal.SIGXFSZ))


class SignalHandler(Protocol):
    """Target of the signals."""

    def end(self) -> None: ...

    def end_at_once(self) -> None: ...

    def invalidate(self) -> None: ...

    def log_statistics(self) -> None: ...


def block() -> None:
    """Block the handled signals until `receiver`, so that none ends the process by itself.

    Not by SIG_IGN, which drops pending signals and is inherited by programs. Nor do programs
    inherit what the caller blocked or ignored, as a shell does for a program in the background.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, HANDLED)
    for number in HANDLED:
        signal.signal(number, _drop)
    for number in signal.valid_signals() - _IGNORED_BY_PYTHON:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else _ignore)


async def dispatch(received: AsyncIterator[int], handler: SignalHandler) -> None:
    """Call *handler* for each signal, in their order; never returns."""
    is_ending = False
    async for number in received:
        match number:
            case signal.SIGHUP:
                handler.invalidate()
            case signal.SIGUSR1:
                handler.log_statistics()
            case _ if is_ending:
                handler.end_at_once()
            case _:
                is_ending = True
                handler.end()


@contextlib.contextmanager
def receiver() -> Iterator[AsyncIterator[int]]:
    """Yield the signals for `dispatch`, and unblock them."""
    with trio.open_signal_receiver(*HANDLED) as received:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        yield received


def _ignore(number: int, frame: FrameType | None) -> None:
    """As SIG_IGN, but programs get the default instead of inheriting it."""


def _drop(number: int, frame: FrameType | None) -> None:
    """The mount has ended, or has not begun."""
