"""The terminal while a picture is on it: single keys, changes of size, and restoring it.

Invariant: whatever ends the block (a key, an error, a signal of _ENDING), the attributes of the
terminal are what they were before. A signal raises in the block, once.
"""

import os
import select
import signal
import sys
import termios
import tty
from types import FrameType
from typing import Final, Self

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_CHANGED: Final = (signal.SIGWINCH, signal.SIGCONT)  # the picture is to be drawn anew
_IGNORED: Final = (signal.SIGTSTP,)  # a stopped program would leave its picture to the shell
_HANDLED: Final = (*_ENDING, *_CHANGED, *_IGNORED)


class Keyboard:
    """Keys of stdin, without echo; none if stdin is no terminal.

    *_attributes* are the terminal's from before, *_handlers* those of the signals; both are None
    and empty outside the block. A byte in the pipe *_awake*, *_wakes* says that a signal came.
    """

    def __init__(self) -> None:
        self._input = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._attributes: list[int | list[bytes | int]] | None = None
        self._handlers: dict[signal.Signals, object] = {}
        self._awake, self._wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            self._take()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return self

    def __exit__(self, *_exc: object) -> None:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            self._give_back()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def wait(self, seconds: float) -> str:
        """Return a key; an empty text after *seconds*, or at once if the size has changed."""
        sources = [self._awake] if self._input is None else [self._awake, self._input]
        ready, _, _ = select.select(sources, [], [], max(0.0, seconds))
        if self._awake in ready:
            os.read(self._awake, 1024)
        if self._input is None or self._input not in ready:
            return ""
        pressed = os.read(self._input, 1)
        if not pressed:
            self._input = None  # the terminal is gone; SIGHUP may be ignored
        return pressed.decode("ascii", "ignore")

    def _take(self) -> None:
        signal.set_wakeup_fd(self._wakes, warn_on_full_buffer=False)
        for number in _ENDING:
            self._handlers[number] = signal.signal(number, _end)
        for number in _CHANGED:
            self._handlers[number] = signal.signal(number, _pass)
        for number in _IGNORED:
            self._handlers[number] = signal.signal(number, signal.SIG_IGN)
        if self._input is not None:
            self._attributes = termios.tcgetattr(self._input)
            tty.setcbreak(self._input, termios.TCSANOW)

    def _give_back(self) -> None:
        if self._input is not None and self._attributes is not None:
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._attributes)
            self._attributes = None
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._handlers.clear()
        os.close(self._awake)
        os.close(self._wakes)


def _end(number: int, _frame: FrameType | None) -> None:
    for each in _ENDING:  # what restores the terminal is not interrupted
        signal.signal(each, signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)  # as shells count


def _pass(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wake-up byte is written."""
