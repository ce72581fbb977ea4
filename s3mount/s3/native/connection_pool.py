"""Pool of kept-alive connections to one store.

It hands out the one that was used last, so few stay open and those stay fast. Thread-safe. Limits
nothing: scheduling decides how many requests are in flight.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable

from s3mount.s3.native.connection import BufferBudget, Connection
from s3mount.s3.native.socket_stream import Stream
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.tcp_connect import OnWait, Waitable

# bytes beyond the memory limit; enough for a hundred connections with the largest small bodies
BUFFERS_TOTAL = 32 * 1024 * 1024
IDLE_LIMIT = 20.0  # seconds; S3 closes idle connections some seconds later


class ConnectionPool:
    """Pool of connections, kept between exchanges; an acquired one is to be released or closed.

    *connect* opens one by a deadline. A header must arrive within *idle_timeout* seconds. *budget*
    is that of large buffers, of this pool only by default.
    """

    def __init__(
        self,
        connect: Callable[[float, OnWait], Stream],
        *,
        idle_timeout: float,
        clock: Callable[[], float],
        budget: BufferBudget | None = None,
    ) -> None:
        self._connect = connect
        self._idle_timeout = idle_timeout
        self._clock = clock
        self._budget = budget or BufferBudget(BUFFERS_TOTAL)
        self._lock = threading.Lock()
        # under the lock: the idle connections with the time of their release, oldest first; all
        # sockets and name look-ups, so that `close` can wake who waits for one; whether it did
        self._idle: deque[tuple[float, Connection]] = deque()
        self._waitables: weakref.WeakSet[Waitable] = weakref.WeakSet()
        self._is_closed = False

    @property
    def idle_count(self) -> int:
        """The idle connections, those that have expired included."""
        return len(self._idle)

    def acquire(self, deadline: float, cancel_token: CancelToken) -> Connection:
        """Return an idle connection that seems alive, or a new one.

        OSErrors if there is none by *deadline*. *cancel_token* ends the opening, with any error.
        """
        return self.acquire_idle(deadline) or self.open(deadline, cancel_token)

    def acquire_idle(self, deadline: float) -> Connection | None:
        """As `acquire`, but return None if a new connection had to be waited for."""
        while (connection := self._pop()) is not None:
            connection.set_deadline(deadline)
            is_reusable = False
            try:
                is_reusable = connection.is_reusable()
            except OSError:  # then it is not reusable either
                pass
            finally:
                if not is_reusable:
                    connection.close()
            if is_reusable:
                return connection
        return None

    def open(self, deadline: float, cancel_token: CancelToken) -> Connection:
        """Return a new connection; as `acquire`."""

        def on_wait(waitable: Waitable) -> None:
            self._register(waitable)
            cancel_token.attach(waitable.shut_down)

        try:
            stream = self._connect(deadline, on_wait)
        finally:
            cancel_token.detach()
        try:
            return Connection(stream, self._budget)
        except BaseException:  # raised again
            stream.close()
            raise

    def header_deadline(self, deadline: float) -> float:
        """Return when the header of a response must be here: one that drips is as good as none."""
        return min(deadline, self._clock() + self._idle_timeout)

    def release(self, connection: Connection) -> None:
        """Keep *connection* for the next exchange; it is new, or was left clean."""
        connection.was_idle = True
        with self._lock:
            closing = self._pop_expired()
            if self._is_closed:
                closing.append(connection)
            else:
                self._idle.append((self._clock(), connection))
        for each in closing:
            each.close()

    def drop_idle(self, most: int | None = None) -> int:
        """Close all idle connections, or *most* of them, the oldest; return how many.

        If there is none left, the next exchange opens a new one.
        """
        with self._lock:
            count = len(self._idle) if most is None else min(most, len(self._idle))
            idle = [self._idle.popleft() for _ in range(count)]
        for _, connection in idle:
            connection.close()
        return count

    def close(self) -> None:
        """Close idle connections and wake who waits for the others; no connection opens again."""
        with self._lock:
            self._is_closed = True
            waitables = list(self._waitables)
        for each in waitables:
            each.shut_down()
        self.drop_idle()

    def _pop(self) -> Connection | None:
        with self._lock:
            expired = self._pop_expired()
            connection = self._idle.pop()[1] if self._idle else None
        for each in expired:
            each.close()
        return connection

    def _pop_expired(self) -> list[Connection]:
        expired = []
        horizon = self._clock() - IDLE_LIMIT
        while self._idle and self._idle[0][0] <= horizon:
            expired.append(self._idle.popleft()[1])
        return expired

    def _register(self, waitable: Waitable) -> None:
        with self._lock:
            if self._is_closed:
                raise ConnectionAbortedError("the store was closed")
            self._waitables.add(waitable)


class IdleLimit:
    """Limit of *most* idle connections of several pools together. Thread-safe.

    Pools that were used the longest ago lose theirs first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._pools: dict[ConnectionPool, None] = {}  # under the lock; the last used is the last

    def used(self, pool: ConnectionPool) -> None:
        """Close what is too much, now that *pool* has been used."""
        with self._lock:
            self._pools.pop(pool, None)
            self._pools[pool] = None
            pools = list(self._pools)
        excess = sum(each.idle_count for each in pools) - self._most
        for each in pools:
            if excess > 0:
                excess -= each.drop_idle(excess)
