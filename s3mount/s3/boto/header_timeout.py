"""urllib3 connections that read the header of a response, as a whole, within a time limit.

http.client waits anew for each piece of a header, or of a chunk's size, and reads trailers without
end. A response that arrives byte by byte would keep a thread for hours.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

OnWait = Callable[[socket.socket], None]
"""Called, in the requesting thread, with the socket that it waits for from now on."""


def limit_header_time(pools: PoolManager, on_wait: OnWait) -> None:
    """Have the connections of *pools* read a header within the read timeout of its request.

    *on_wait* is called before that; what it raises ends the request.
    """

    class Connection(HTTPConnection):
        def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's own has this type too
            on_wait(self.sock)
            return _read_header(super().getresponse, self.timeout, self.sock)

    class SecureConnection(HTTPSConnection):
        def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's own has this type too
            on_wait(self.sock)
            return _read_header(super().getresponse, self.timeout, self.sock)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    pools.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}


def socket_of(response: Any) -> socket.socket:
    """Return the socket of *response*, also if its connection has let go of it."""
    sock: socket.socket = response.socket
    return sock


def shut_down(sock: socket.socket) -> None:
    """Wake the thread that waits for *sock*, with an error."""
    with contextlib.suppress(OSError, TypeError):  # it has ended already; or is TLS within TLS
        # SSLSocket's own would let its reader continue without TLS
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class ShutdownTimer:
    """Shuts *sock* down after *seconds*, unless cancelled. OSError if there is no thread for it."""

    def __init__(self, seconds: float, sock: socket.socket) -> None:
        self.has_fired = False
        self._socket = sock
        self._timer = threading.Timer(seconds, self._fire)
        self._timer.daemon = True
        try:
            self._timer.start()
        except RuntimeError as exc:  # how `threading` reports that the system has no more threads
            raise OSError("no thread could be started to watch the response") from exc

    def cancel(self) -> None:
        self._timer.cancel()

    def _fire(self) -> None:
        self.has_fired = True
        shut_down(self._socket)


def _read_header(read: Callable[[], HTTPResponse], seconds: Any, sock: Any) -> HTTPResponse:
    """TimeoutError if *read* did not end in time, whatever it made of the connection's end."""
    timer = ShutdownTimer(seconds, sock)
    late = TimeoutError("the header of the response did not arrive in time")
    try:
        response = read()
    except BaseException as exc:
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
