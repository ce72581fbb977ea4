"""urllib3's connections, with a limit to the head of an answer as a whole.

http.client waits for each piece of a head anew, so that one which comes byte by byte would keep a thread for hours.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection


class _PromptConnection(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's own has this type too
        with _shut_down_after(self.timeout, self.sock):
            return super().getresponse()


class _PromptSecureConnection(HTTPSConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # urllib3's own has this type too
        with _shut_down_after(self.timeout, self.sock):
            return super().getresponse()


class _PromptPool(HTTPConnectionPool):
    ConnectionCls = _PromptConnection


class _PromptSecurePool(HTTPSConnectionPool):
    ConnectionCls = _PromptSecureConnection


def make_prompt(pools: PoolManager) -> None:
    """Have the connections of *pools* read the head of an answer within the read timeout of its request."""
    pools.pool_classes_by_scheme = {"http": _PromptPool, "https": _PromptSecurePool}


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
    try:
        alarm.start()
    except RuntimeError as exc:  # how `threading` says that the system gives no more
        raise OSError("no thread could be started to watch the answer") from exc
    try:
        yield
    finally:
        alarm.cancel()
        if is_late.is_set():
            raise TimeoutError("the head of the answer did not come in time")
