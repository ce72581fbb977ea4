"""A pseudo-terminal with a program in it, whose screen is read as a person reads it."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyte

WITHIN = 30.0  # seconds for what a test waits for, on a busy machine
_RECEIVE = 64 << 10


class Terminal:
    """The screen of *process*; *received* has all bytes that it wrote."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], columns: int, rows: int
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.received = b""
        self._stream = pyte.ByteStream(self.screen)
        self._master, self._slave = pty.openpty()
        self._set_size(columns, rows)
        self.attributes_before = termios.tcgetattr(self._slave)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],  # it gets the signals of the terminal
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env={"TERM": "xterm-256color", **env},
        )

    @property
    def text(self) -> str:
        """What is on the screen, without spaces at the ends of lines."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    @property
    def attributes(self) -> list[Any]:
        return termios.tcgetattr(self._slave)

    def wait_for(self, *texts: str) -> None:
        """Wait until all *texts* are on the screen."""
        self.wait_until(lambda: all(text in self.text for text in texts))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds."""
        deadline = time.monotonic() + WITHIN
        while not condition():
            assert self.pump(deadline - time.monotonic()), f"the screen is:\n{self.text}"

    def wait_end(self) -> int:
        """Read until the program has ended; return its exit status."""
        deadline = time.monotonic() + WITHIN
        while self.process.poll() is None:
            self.pump(0.05)
            assert time.monotonic() < deadline, f"it does not end; the screen is:\n{self.text}"
        while self.pump(0.0):
            pass
        return self.process.returncode

    def pump(self, seconds: float) -> bool:
        """Feed what comes within *seconds* to the screen; return whether anything came."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, seconds))
        if not ready:
            return False
        received = os.read(self._master, _RECEIVE)
        self.received += received
        self._stream.feed(received)
        return True

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Change the size, of which the kernel tells the program."""
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    def _set_size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextmanager
def terminal(
    command: Sequence[str], env: Mapping[str, str], columns: int = 100, rows: int = 30
) -> Iterator[Terminal]:
    """Run *command* in a terminal of that size; it is killed at the end."""
    running = Terminal(command, env, columns, rows)
    try:
        yield running
    finally:
        running.close()
