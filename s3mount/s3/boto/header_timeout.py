"""urllib3 connections that read the header of a response, as a whole, within a time limit.

http.client waits anew for each piece of a header, or of a chunk's size, and reads trailers without
end. A response that arrives byte by byte would keep a thread for hours.
"""

import contextlib
import heapq
import http.client
import itertools
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

INFORMATIONAL_LIMIT = 8  # 1xx responses before the final one
LINGER = 5.0  # seconds

OnWait = Callable[[socket.socket], None]
"""Called, in the requesting thread, with the socket that it waits for from now on."""


OnAcquire = Callable[[Any], None]
"""Called, in the requesting thread, with the connection that its request is to be sent over."""


OnSent = Callable[[], None]
"""Called, in the requesting thread, when its request has been sent."""


Connect = Callable[[str, int, float], socket.socket]
"""Connects to a host and a port within a number of seconds; OSErrors."""


def limit_header_time(
    pools: PoolManager,
    watchdog: "Watchdog",
    *,
    handshake_timeout: Callable[[], float],
    on_acquire: OnAcquire,
    on_sent: OnSent,
    on_wait: OnWait,
    connect: Connect,
) -> None:
    """Have the connections of *pools* read a header within the read timeout of its request.

    *handshake_timeout* returns how long TLS, and a proxy's tunnel before it, may take in all.
    *on_acquire* is called before the request is sent, *on_sent* after it. *on_wait* is called
    before a handshake and before the header is read, and what it raises ends the request. *connect*
    opens the connections.
    """

    def open_socket(connection: HTTPConnection) -> tuple[socket.socket, "_Handshake"]:
        sock = _connected(connection, connect)
        try:
            return sock, _Handshake(sock, handshake_timeout(), watchdog, on_wait)
        except BaseException:  # raised again
            sock.close()
            raise

    kinds: dict[str, tuple[Any, Any]] = {
        "http": (HTTPConnection, HTTPConnectionPool),
        "https": (HTTPSConnection, HTTPSConnectionPool),
    }
    pools.pool_classes_by_scheme = {
        scheme: _pool_class(
            pool, _connection_class(connection, watchdog, on_sent, on_wait, open_socket), on_acquire
        )
        for scheme, (connection, pool) in kinds.items()
    }


def _connection_class(
    base: Any,
    watchdog: "Watchdog",
    on_sent: OnSent,
    on_wait: OnWait,
    open_socket: Callable[[HTTPConnection], "tuple[socket.socket, _Handshake]"],
) -> Any:
    class Connection(base):  # type: ignore[misc]  # one of urllib3's two
        response_class = _FinalResponse
        handshake: "_Handshake | None" = None  # while the connection is being opened

        def _new_conn(self) -> socket.socket:
            sock, self.handshake = open_socket(self)
            return sock

        def connect(self) -> None:
            try:
                super().connect()
            except BaseException as exc:  # raised again, or as what it comes from
                if self.handshake is not None and self.handshake.is_late:
                    raise TimeoutError("the handshake did not end in time") from exc
                raise
            finally:
                if self.handshake is not None:
                    self.handshake.end()
                    self.handshake = None

        def getresponse(self) -> HTTPResponse:
            on_sent()
            on_wait(self.sock)
            return _read_header(super().getresponse, self.timeout, self.sock, watchdog)

    return Connection


class _FinalResponse(http.client.HTTPResponse):
    """Response that takes no 1xx for the final one; http.client does, except for 100."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(INFORMATIONAL_LIMIT):
            version, status, reason = super()._read_status()  # type: ignore[misc]  # its own
            if not 101 < status < 200:
                break
            http.client._read_headers(self.fp)  # type: ignore[attr-defined]  # noqa: SLF001
        return version, status, reason


def _pool_class(base: Any, connection_class: Any, on_acquire: OnAcquire) -> Any:
    class Pool(base):  # type: ignore[misc]  # one of urllib3's two
        ConnectionCls = connection_class

        def _get_conn(self, timeout: float | None = None) -> Any:
            connection = super()._get_conn(timeout)
            on_acquire(connection)
            return connection

    return Pool


def _connected(connection: HTTPConnection, connect: Connect) -> socket.socket:
    """Return a new socket of *connection*; raises what urllib3's own `_new_conn` does."""
    host, seconds = connection._dns_host, connection.timeout  # noqa: SLF001 - as urllib3 does
    try:
        sock = connect(host, connection.port, seconds)  # type: ignore[arg-type]  # always a number
        for option in connection.socket_options or ():
            sock.setsockopt(*option)
    except socket.gaierror as exc:
        raise NameResolutionError(connection.host, connection, exc) from exc
    except TimeoutError as exc:
        raise ConnectTimeoutError(connection, f"no connection within {seconds} s") from exc
    except OSError as exc:
        raise NewConnectionError(connection, f"no connection: {exc}") from exc
    return sock


def socket_of(response: Any) -> socket.socket:
    """Return the socket of *response*, also if its connection has let go of it."""
    sock: socket.socket = response.socket
    return sock


class PutBack(Protocol):
    """Call that puts a connection back into its pool, closed unless *is_reusable*; once."""

    def __call__(self, *, is_reusable: bool) -> None: ...


def detach_connection(response: Any) -> PutBack:
    """Have *response* keep its connection out of the pool until the result is called."""
    connection, pool = response._connection, response._pool  # noqa: SLF001 - no other way
    response._connection = None  # noqa: SLF001

    def put_back(*, is_reusable: bool) -> None:
        if not is_reusable:
            connection.close()
        pool._put_conn(connection)  # noqa: SLF001

    return put_back


def shut_down(sock: socket.socket) -> None:
    """Wake the thread that waits for *sock*, with an error."""
    with contextlib.suppress(OSError, TypeError):  # it has ended already; or is TLS within TLS
        # SSLSocket's own would let its reader continue without TLS
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class ShutdownTimer:
    """Timer of one socket, until it is cancelled."""

    __slots__ = ("_socket", "has_fired")

    def __init__(self, sock: socket.socket) -> None:
        self._socket: socket.socket | None = sock
        self.has_fired = False

    def cancel(self) -> None:
        self._socket = None

    def fire(self) -> None:
        if (sock := self._socket) is not None:
            self.has_fired = True
            shut_down(sock)


class Watchdog:
    """Thread that shuts sockets down when their time is up, one for all of them.

    A `threading.Timer` for each is a third of the CPU of a request. The thread starts with the
    first timer, and ends when there has been none for LINGER seconds.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # under the condition: the timers by the time when they fire, with a number that makes each
        # unique; until when the thread sleeps, None if there is no thread
        self._timers: list[tuple[float, int, ShutdownTimer]] = []
        self._numbers = itertools.count()
        self._sleeps_until: float | None = None

    def start(self, seconds: float, sock: socket.socket) -> ShutdownTimer:
        """Shut *sock* down after *seconds*; OSError if there is no thread for that."""
        timer, fires_at = ShutdownTimer(sock), time.monotonic() + seconds
        with self._changed:
            if self._sleeps_until is None:
                self._start_thread()
            elif fires_at < self._sleeps_until:
                self._changed.notify()
            heapq.heappush(self._timers, (fires_at, next(self._numbers), timer))
        return timer

    def _start_thread(self) -> None:
        try:
            threading.Thread(target=self._run, name="watchdog", daemon=True).start()
        except RuntimeError as exc:  # how `threading` reports that the system has no more threads
            raise OSError("no thread could be started to watch the response") from exc
        self._sleeps_until = 0.0

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                while self._timers and self._timers[0][0] <= now:
                    heapq.heappop(self._timers)[2].fire()
                self._sleeps_until = self._timers[0][0] if self._timers else now + LINGER
                if not self._changed.wait(self._sleeps_until - now) and not self._timers:
                    self._sleeps_until = None
                    return


class _Handshake:
    """Time limit of what precedes the first request over *sock*: a tunnel, and TLS.

    The peer may send it byte by byte, and TLS takes the descriptor of *sock* over, so another one
    of the same socket is shut down, by *watchdog* and by whom *on_wait* tells.
    """

    def __init__(
        self, sock: socket.socket, seconds: float, watchdog: Watchdog, on_wait: OnWait
    ) -> None:
        sock.settimeout(seconds)
        self._twin = sock.dup()
        try:
            on_wait(self._twin)
            self._timer = watchdog.start(seconds, self._twin)
        except BaseException:  # raised again
            self._twin.close()
            raise

    @property
    def is_late(self) -> bool:
        return self._timer.has_fired

    def end(self) -> None:
        self._timer.cancel()
        self._twin.close()


def _read_header(
    read: Callable[[], HTTPResponse], seconds: Any, sock: Any, watchdog: Watchdog
) -> HTTPResponse:
    """TimeoutError if *read* did not end in time, whatever it made of the connection's end."""
    timer = watchdog.start(seconds, sock)
    late = TimeoutError("the header of the response did not arrive in time")
    try:
        response = read()
    except BaseException as exc:  # raised again, or as what it comes from
        if timer.has_fired:
            raise late from exc
        raise
    finally:
        timer.cancel()
    if timer.has_fired:
        response.close()
        raise late
    response.socket = sock  # type: ignore[attr-defined]  # see `socket_of`
    return response
