"""Pool of kept-alive connections to one store.

It hands out the one that was used last, so few stay open and those stay fast. Thread-safe. Limits
nothing: scheduling decides how many requests are in flight.

A request may leave a connection that is silent (`silent_connections`) for one that is proven. It
waits for one to be released, before any other request gets that, for PROVEN_WAIT at most. If a
proven one is closed instead, it opens one: never does a request wait that no connection is coming
to.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable

from s3mount.s3.native.connection import Connection, SilentConnectionError
from s3mount.s3.native.receive_buffer import BufferBudget
from s3mount.s3.native.socket_stream import PlainStream, Stream
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.silent_connections import SilentConnections
from s3mount.s3.tcp_connect import OnWait, Opening, Waitable

# bytes beyond the memory limit; enough for a hundred connections with the largest small bodies
BUFFERS_TOTAL = 32 * 1024 * 1024
IDLE_LIMIT = 20.0  # seconds; S3 closes idle connections some seconds later
MOVED_WITHIN = 4  # a request is moved in this part of the idle timeout: its first quarter
PROVEN_WAIT = 5.0  # seconds; over a slow link, bodies keep all of them for minutes


class AllBusyError(TimeoutError):
    """No proven connection was released in time."""


class ConnectionPool:
    """Pool of connections, kept between exchanges; an acquired one is to be released or closed.

    *connect* opens one by a deadline. A header must arrive within *idle_timeout* seconds. *budget*
    is that of large buffers. *silent_connections* are those of this pool, new ones by default.
    """

    def __init__(
        self,
        connect: Callable[[float, OnWait], Stream],
        *,
        idle_timeout: float,
        clock: Callable[[], float],
        budget: BufferBudget | None = None,
        silent_connections: SilentConnections | None = None,
    ) -> None:
        self._connect = connect
        self.silent_connections = silent_connections or SilentConnections()
        self._idle_timeout = idle_timeout
        self.now = clock
        self._budget = budget or BufferBudget(BUFFERS_TOTAL)
        self._lock = threading.Lock()
        # under the lock: the idle connections with the time of their release, oldest first; all
        # sockets and name look-ups, so that `close` can wake who waits for one; whether it did; how
        # many connections are proven; who waits for one of those
        self._idle: deque[tuple[float, Connection]] = deque()
        self._proven = 0
        self._waiters: deque[_Waiter] = deque()
        self._waitables: weakref.WeakSet[Waitable] = weakref.WeakSet()
        self._is_closed = False

    @property
    def idle_count(self) -> int:
        """The idle connections, those that have expired included."""
        return len(self._idle)

    def acquire(self, deadline: float, cancel_token: CancelToken) -> Connection:
        """Return an idle connection that seems alive, or a new one.

        OSErrors if there is none by *deadline*. SilentConnectionError if opening one takes long,
        and a proven one is to be waited for. *cancel_token* ends the opening, with any error.
        """
        return self.acquire_idle(deadline) or self.acquire_new(deadline, cancel_token)

    def acquire_new(self, deadline: float, cancel_token: CancelToken) -> Connection:
        """Return a new connection; as `acquire`."""
        began = self.now()

        def check_age() -> None:
            age = self.now() - began
            if self.begin_move(age):
                raise SilentConnectionError(age)

        return self.open(deadline, cancel_token, on_tick=check_age)

    def acquire_proven(self, deadline: float, cancel_token: CancelToken) -> Connection:
        """Return a proven connection, once one is idle; or a new one, if one was closed instead.

        AllBusyError if all of them are busy for PROVEN_WAIT. Else as `acquire`.
        """
        waiter = _Waiter()
        while not self._add_waiter(waiter):
            connection = self.acquire_idle(deadline)
            if connection is not None and connection.is_proven:
                return connection
            if connection is not None:
                self.discard(connection)
        try:
            cancel_token.attach(waiter.shut_down)
            wait = self.header_deadline(deadline) - self.now()
            is_awake = waiter.wait(min(PROVEN_WAIT, wait))
        except RequestCancelledError:
            is_awake = False
        finally:
            cancel_token.detach()
        connection = self._remove_waiter(waiter)
        if cancel_token.is_cancelled or not is_awake:
            if connection is not None:
                self.release(connection)
            cancel_token.check()
            raise AllBusyError("no connection was released")
        if connection is not None and self._is_alive(connection, deadline):
            return connection
        return self.open(deadline, cancel_token)

    def acquire_idle(self, deadline: float) -> Connection | None:
        """As `acquire`, but return None if a new connection had to be waited for."""
        while (connection := self._pop()) is not None:
            if self._is_alive(connection, deadline):
                return connection
        return None

    def open(
        self,
        deadline: float,
        cancel_token: CancelToken,
        *,
        on_tick: Callable[[], None] | None = None,
    ) -> Connection:
        """Return a new connection, however long that takes; as `acquire`.

        *on_tick* is called now and then while its peer does not answer, and may raise.
        """

        def on_wait(waitable: Waitable) -> None:
            if isinstance(waitable, Opening | PlainStream):
                waitable.on_tick = on_tick
            self._register(waitable)
            cancel_token.attach(waitable.shut_down)

        silence = self.silent_connections.begin_silence()
        try:
            stream = self._connect(deadline, on_wait)
        finally:
            self.silent_connections.end_silence(silence, is_proven=False)
            cancel_token.detach()
        try:
            stream.end_opening()
            return Connection(stream, self._budget)
        except BaseException:  # raised again
            stream.close()
            raise

    def header_deadline(self, deadline: float) -> float:
        """Return when the header of a response must be here: one that drips is as good as none."""
        return min(deadline, self.now() + self._idle_timeout)

    def prove(self, connection: Connection) -> None:
        """Account for the first response over *connection*."""
        connection.is_proven = True
        with self._lock:
            self._proven += 1

    @property
    def proven_count(self) -> int:
        """The connections over which a response has come, idle or not."""
        return self._proven

    def begin_move(self, age: float) -> bool:
        """Whether a request leaves a connection that is silent for *age* seconds.

        Not if so much of its time has passed that a slow response may come too late when it is sent
        again. If it does, `silent_connections.end_move` follows.
        """
        is_early = age <= self._idle_timeout / MOVED_WITHIN
        return is_early and self._proven > 0 and self.silent_connections.begin_move(age)

    def release(self, connection: Connection) -> None:
        """Keep *connection* for the next exchange; it is new, or was left clean."""
        connection.was_idle = True
        with self._lock:
            closing = self._pop_expired()
            if self._is_closed:
                closing.append(connection)
            elif self._waiters and connection.is_proven:
                self._waiters.popleft().wake(connection)
            else:
                self._idle.append((self.now(), connection))
        for each in closing:
            self.discard(each)

    def discard(self, connection: Connection) -> None:
        """Close *connection*, which serves nobody any more; again does nothing."""
        connection.close()
        with self._lock:
            if not connection.is_proven:
                return
            connection.is_proven = False
            self._proven -= 1
            if self._waiters:
                self._waiters.popleft().wake(None)
            while self._waiters and not self._proven:
                self._waiters.popleft().wake(None)

    def drop_idle(self, most: int | None = None) -> int:
        """Close all idle connections, or *most* of them, the oldest; return how many.

        If there is none left, the next exchange opens a new one.
        """
        with self._lock:
            count = len(self._idle) if most is None else min(most, len(self._idle))
            idle = [self._idle.popleft() for _ in range(count)]
        for _, connection in idle:
            self.discard(connection)
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
            self.discard(each)
        return connection

    def _pop_expired(self) -> list[Connection]:
        expired = []
        horizon = self.now() - IDLE_LIMIT
        while self._idle and self._idle[0][0] <= horizon:
            expired.append(self._idle.popleft()[1])
        return expired

    def _is_alive(self, connection: Connection, deadline: float) -> bool:
        """Whether *connection*, which was idle, seems alive; if not, it is closed."""
        connection.set_deadline(deadline)
        is_reusable = False
        try:
            is_reusable = connection.is_reusable()
        except OSError:  # then it is not reusable either
            pass
        finally:
            if not is_reusable:
                self.discard(connection)
        return is_reusable

    def _add_waiter(self, waiter: "_Waiter") -> bool:
        """Let *waiter* wait, if there is anything to wait for; False if a connection is idle."""
        with self._lock:
            if any(each.is_proven for _, each in self._idle):
                return False
            if self._proven and not self._is_closed:
                self._waiters.append(waiter)
                self._waitables.add(waiter)
            else:
                waiter.shut_down()
            return True

    def _remove_waiter(self, waiter: "_Waiter") -> Connection | None:
        """Let *waiter* wait no longer; return what it was handed."""
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            return waiter.connection

    def _register(self, waitable: Waitable) -> None:
        with self._lock:
            if self._is_closed:
                raise ConnectionAbortedError("the store was closed")
            self._waitables.add(waitable)


class _Waiter:
    """`Waitable`: a request that waits for a proven connection."""

    def __init__(self) -> None:
        self._is_awake = threading.Event()
        self.connection: Connection | None = None

    def wait(self, seconds: float) -> bool:
        """Wait until it is woken; return False if that takes more than *seconds*."""
        return self._is_awake.wait(max(0.0, seconds))

    def wake(self, connection: Connection | None) -> None:
        """Hand it *connection*; None: it is to open one."""
        self.connection = connection
        self._is_awake.set()

    def shut_down(self) -> None:
        self._is_awake.set()
