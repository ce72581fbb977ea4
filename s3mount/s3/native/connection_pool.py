"""The kept-alive connections to one store, the one used last first: so few stay open, and those stay fast.

Thread-safe. Bounds nothing: how many requests are under way is decided above.
"""

import contextlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Protocol

from s3mount.s3.native.connection import Connection, GatherRoom
from s3mount.s3.native.connector import Adopt, Awaited
from s3mount.s3.native.socket_stream import Stream
from s3mount.s3.scheduling.cancel_token import CancelToken

GATHER_TOTAL = (
    32 * 1024 * 1024
)  # bytes beyond the memory limit; a hundred connections with the largest bodies
IDLE_LIMIT = 20.0  # seconds; S3 closes idle connections some seconds later


class Dial(Protocol):
    """`Dialer.dial`."""

    def __call__(self, deadline: float, adopt: Adopt) -> Stream: ...


class ConnectionPool:
    """Connections wait here between exchanges; whoever borrows one gives it back or discards it."""

    def __init__(self, dial: Dial, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._dial = dial
        self._clock = clock
        self._room = GatherRoom(GATHER_TOTAL)
        self._lock = threading.Lock()
        # under the lock: the idle ones with the moment of their return, oldest first; all sockets and look-ups of names, so
        # that `close` can wake whoever waits for one; and whether it did
        self._idle: deque[tuple[float, Connection]] = deque()
        self._awaited: weakref.WeakSet[Awaited] = weakref.WeakSet()
        self._is_closed = False

    def borrow(self, deadline: float, cord: CancelToken) -> Connection:
        """An idle connection that is alive as far as can be seen, or a new one; OSErrors where there is none by *deadline*.

        Opening one ends where *cord* is pulled, with any exception.
        """
        return self.borrow_idle(deadline) or self.open(deadline, cord)

    def borrow_idle(self, deadline: float) -> Connection | None:
        """As `borrow`, but None where a new one would have to be waited for."""
        while (connection := self._pop()) is not None:
            connection.wait_until(deadline)
            is_reusable = False
            try:
                with contextlib.suppress(OSError):  # then it is of no use either
                    is_reusable = connection.is_reusable()
            finally:
                if not is_reusable:
                    connection.close()
            if is_reusable:
                return connection
        return None

    def open(self, deadline: float, cord: CancelToken) -> Connection:
        """A new connection; as `borrow`."""

        def adopt(awaited: Awaited) -> None:
            self._adopt(awaited)
            cord.tie(awaited.shut_down)

        try:
            stream = self._dial(deadline, adopt)
        finally:
            cord.untie()
        try:
            return Connection(stream, self._room)
        except BaseException:  # raised again
            stream.close()
            raise

    def give_back(self, connection: Connection) -> None:
        """Keep *connection* for the next; it is new, or was left clean."""
        connection.was_idle = True
        with self._lock:
            outdated = self._take_outdated()
            if self._is_closed:
                outdated.append(connection)
            else:
                self._idle.append((self._clock(), connection))
        for each in outdated:
            each.close()

    def drop_idle(self) -> None:
        """Have the next exchange begin on a new connection."""
        with self._lock:
            idle = list(self._idle)
            self._idle.clear()
        for _, connection in idle:
            connection.close()

    def close(self) -> None:
        """Close what is idle and wake whoever waits for the rest, with an error; from then on there are no connections."""
        with self._lock:
            self._is_closed = True
            awaited = list(self._awaited)
        for each in awaited:
            each.shut_down()
        self.drop_idle()

    def _pop(self) -> Connection | None:
        with self._lock:
            outdated = self._take_outdated()
            connection = self._idle.pop()[1] if self._idle else None
        for each in outdated:
            each.close()
        return connection

    def _take_outdated(self) -> list[Connection]:
        outdated = []
        horizon = self._clock() - IDLE_LIMIT
        while self._idle and self._idle[0][0] <= horizon:
            outdated.append(self._idle.popleft()[1])
        return outdated

    def _adopt(self, awaited: Awaited) -> None:
        with self._lock:
            if self._is_closed:
                raise ConnectionAbortedError("the store was left")
            self._awaited.add(awaited)
