"""Notification of the service manager: sd_notify(3), over a datagram socket.

Without NOTIFY_SOCKET nothing is sent. Each line of a message is an assignment. So a status, which
names the mount point and the prefix, is escaped to one line.
"""

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

import trio

from s3mount.printable import LINE_LIMIT, printable

_DIGITS_MAX: Final = 20


class Notifier:
    """Sends to the manager that *environment* names."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self.watchdog_interval = _watchdog_interval(environment)

    def starting(self, status: str, seconds: float) -> None:
        """Announce that the start may take *seconds*, if TimeoutStartSec is less."""
        extended = f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}"
        self._send(f"{extended}\nSTATUS={printable(status, LINE_LIMIT)}")

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={printable(status, LINE_LIMIT)}")

    def reloading(self) -> None:
        """Announce a reload, which `ready` ends. Type=notify-reload requires the time."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        self._send(f"STOPPING=1\nSTATUS={printable(status, LINE_LIMIT)}")

    async def feed_watchdog(self) -> None:
        """Notify twice an interval that the event loop runs; return if there is no watchdog."""
        if self.watchdog_interval is None:
            return
        while True:
            self._send("WATCHDOG=1")
            await trio.sleep(self.watchdog_interval / 2)

    def _send(self, state: str) -> None:
        if self._address is None:
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        ):
            manager.setblocking(False)
            manager.sendto(state.encode(errors="backslashreplace"), self._address)


def _address(name: str) -> str | None:
    """Return the address for a path, or for `@` and an abstract name."""
    if name.startswith("@"):
        return "\0" + name[1:]
    return name or None


def _watchdog_interval(environment: Mapping[str, str]) -> float | None:
    """Return seconds; None if no watchdog watches this process."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if (
        environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid())
        or not microseconds.isdecimal()
    ):
        return None
    if len(microseconds) > _DIGITS_MAX:  # more than 64 bits
        return None
    return int(microseconds) / 1e6 or None
