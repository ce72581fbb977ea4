"""urllib3's connections, with a limit to the head of an answer as a whole, and to its chunks.

http.client waits for each piece of a head anew, and for each piece of a chunk's size, and reads trailers for as long as there are any: what
comes byte by byte, or never ends, would keep a thread for hours.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

OnWait = Callable[[socket.socket], None]
"""Is told, in the thread that asks, which socket it waits for from now on."""


class _PromptConnection(HTTPConnection):
    def begin_wait(self) -> None: ...

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's own has this type too
        self.begin_wait()
        sock = self.sock
        with _shut_down_after(self.timeout, sock):
            return _with_socket(super().getresponse(), sock)


class _PromptSecureConnection(HTTPSConnection):
    def begin_wait(self) -> None: ...

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's own has this type too
        self.begin_wait()
        sock = self.sock
        with _shut_down_after(self.timeout, sock):
            return _with_socket(super().getresponse(), sock)


def make_prompt(pools: PoolManager, on_wait: OnWait) -> None:
    """Have the connections of *pools* read the head of an answer within the read timeout of its request.

    *on_wait* is told of each before that; what it raises ends the request.
    """

    class Connection(_PromptConnection):
        def begin_wait(self) -> None:
            on_wait(self.sock)

    class SecureConnection(_PromptSecureConnection):
        def begin_wait(self) -> None:
            on_wait(self.sock)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    pools.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}


def socket_of(answer: Any) -> socket.socket:
    """What *answer* comes by, also if its connection has let go of it because none may follow."""
    sock: socket.socket = answer.socket
    return sock


class Alarm:
    """Shuts *sock* down after *seconds*, unless it is cancelled before. OSError if no thread can be had for it."""

    def __init__(self, seconds: float, sock: socket.socket) -> None:
        self.has_rung = False
        self._socket = sock
        self._timer = threading.Timer(seconds, self._ring)
        self._timer.daemon = True
        try:
            self._timer.start()
        except RuntimeError as exc:  # how `threading` says that the system gives no more
            raise OSError("no thread could be started to watch the answer") from exc

    def cancel(self) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        self.has_rung = True
        with contextlib.suppress(OSError, TypeError):  # it has ended already; or is TLS within TLS
            socket.socket.shutdown(
                self._socket, socket.SHUT_RDWR
            )  # SSLSocket's own has its reader go on without TLS


def _with_socket(answer: HTTPResponse, sock: Any) -> HTTPResponse:
    answer.socket = sock  # type: ignore[attr-defined]  # see `socket_of`
    return answer


@contextlib.contextmanager
def _shut_down_after(seconds: Any, sock: Any) -> Iterator[None]:
    """TimeoutError where the block did not end in time, whatever it made of the end of its connection."""
    alarm = Alarm(seconds, sock)
    try:
        yield
    finally:
        alarm.cancel()
        if alarm.has_rung:
            raise TimeoutError("the head of the answer did not come in time")
