"""urllib3's connections, with a limit to the head of an answer as a whole.

http.client waits for each piece of a head anew, so that one which comes byte by byte would keep a thread for hours.
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
        with _shut_down_after(self.timeout, self.sock):
            return super().getresponse()


class _PromptSecureConnection(HTTPSConnection):
    def begin_wait(self) -> None: ...

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's own has this type too
        self.begin_wait()
        with _shut_down_after(self.timeout, self.sock):
            return super().getresponse()


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


@contextlib.contextmanager
def _shut_down_after(seconds: Any, sock: Any) -> Iterator[None]:
    """TimeoutError where the block did not end in time, whatever it made of the end of its connection."""
    is_late = threading.Event()

    def shut_down() -> None:
        is_late.set()
        with contextlib.suppress(OSError):  # it has ended already
            sock.shutdown(socket.SHUT_RDWR)

    alarm = threading.Timer(seconds, shut_down)
    alarm.daemon = True
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()
        if is_late.is_set():
            raise TimeoutError("the head of the answer did not come in time")
