"""HTTP client over urllib3, with the caller's deadline over every byte.

Follows no redirect, decodes no content, and retries nothing, except on a kept-alive connection that
the peer had closed. What urllib3 raises leaves as an OSError.
"""

import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import InsecureRequestWarning, ProtocolError
from urllib3.util import Timeout, make_headers

from s3mount.s3.boto.header_timeout import (
    Watchdog,
    limit_header_time,
    shut_down,
)
from s3mount.s3.boto.http_response import HttpResponse, OnEnd, os_errors
from s3mount.s3.endpoint.resolve import Endpoint, allowed_addresses
from s3mount.s3.endpoint.tls import tls_context
from s3mount.s3.request_log import RequestLog
from s3mount.s3.request_records import RequestRecord
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.tcp_connect import TcpConnector, Waitable
from s3mount.s3.transport import ForbiddenRequestError, StoreRequest, is_allowed


class Call(threading.local):
    """The call that this thread makes. botocore and urllib3 pass none of this on.

    *body* is what botocore is to sign with the request of *operation*.
    *has_sent*: botocore has sent a request by itself, before that of *operation*. *is_reused*: the
    last request was sent over a kept-alive connection. *is_repeat*: the next one must not be.
    *request* is for the request log, *record* that of the log, once the request was sent.
    """

    operation = ""
    body = b""
    request: StoreRequest | None = None
    record: RequestRecord | None = None
    has_sent = False
    is_reused = False
    is_repeat = False
    deadline = 0.0
    cancel_token = CancelToken()


class HttpClient:
    """A pool of connections, for many threads; *call* has each thread's deadline.

    *log* is told of each request that leaves it.
    """

    def __init__(
        self,
        store: Endpoint,
        call: Call,
        log: RequestLog,
        *,
        connections: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect_timeout = store.connect_timeout
        self._idle_timeout = store.idle_timeout
        self._call = call
        self._log = log
        self._clock = clock
        self._watchdog = Watchdog()
        self._tcp = TcpConnector(choose=allowed_addresses(store), clock=clock)
        self._pool = _open_pool(store, connections)
        limit_header_time(
            self._pool,
            self._watchdog,
            handshake_timeout=self._handshake_timeout,
            on_acquire=self._acquired,
            on_sent=self._sent,
            on_wait=self._attach,
            connect=self._connect,
        )

    def send(self, request: Any, logged: StoreRequest) -> HttpResponse:
        """Return the response to one of botocore's prepared requests, with its body to be read.

        It is that of *logged*. ForbiddenRequestError if it is neither a read nor a restore.
        """
        if not is_allowed(logged, request.method):
            raise ForbiddenRequestError(f"{request.method} {logged.operation}")
        call = self._call
        call.request = logged
        try:
            return self._send_once(request)
        except ConnectionError as exc:
            if not self._is_stale(exc):
                raise
        call.cancel_token.check()  # else the token closed the connection
        call.is_repeat = True
        try:
            return self._send_once(request)
        finally:
            call.is_repeat = False

    def _send_once(self, request: Any) -> HttpResponse:
        call = self._call
        call.record = None
        try:
            return self._send(request)
        except BaseException as exc:  # raised again
            if call.record is not None:
                is_cancelled = call.cancel_token.is_cancelled
                if self._is_stale(exc) and not is_cancelled:
                    self._log.end_repeated(call.record)
                else:
                    self._log.end(call.record, None, exc, is_cancelled=is_cancelled)
            raise

    def _is_stale(self, exc: BaseException) -> bool:
        """Whether *exc* says that the peer had closed the connection, which was kept alive."""
        return self._call.is_reused and isinstance(exc, ConnectionError) and _is_unanswered(exc)

    def _send(self, request: Any) -> HttpResponse:
        deadline = self._call.deadline
        left = deadline - self._clock()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        url: str = request.url
        parts = urlsplit(url)
        is_forwarded = isinstance(self._pool, urllib3.ProxyManager) and parts.scheme == "http"
        with os_errors():
            response = self._pool.connection_from_url(url).urlopen(
                request.method,
                url if is_forwarded else url[url.index("/", len(parts.scheme) + 3) :],
                body=request.body or None,
                headers=request.headers,
                timeout=Timeout(
                    connect=min(self._connect_timeout, left), read=min(self._idle_timeout, left)
                ),
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                decode_content=False,
            )
        framed = HttpResponse(
            response,
            self._call.cancel_token,
            deadline,
            on_end=self._on_end(),
            idle_timeout=self._idle_timeout,
            watchdog=self._watchdog,
            clock=self._clock,
        )
        try:
            framed.check_framing(is_bodiless=request.method == "HEAD")
        except BaseException:  # raised again
            framed.close()
            raise
        return framed

    def close(self) -> None:
        """Close the idle connections, and the others with their responses."""
        pools: Any = self._pool.pools
        for key in pools.keys():  # noqa: SIM118 - urllib3's container cannot be iterated
            pools[key].close()  # `clear` leaves that to the garbage collector
        self._pool.clear()

    def _sent(self) -> None:
        assert self._call.request is not None
        self._call.record = self._log.begin(self._call.request)

    def _on_end(self) -> OnEnd:
        """Return what tells the log of the end of this thread's request."""
        record, cancel_token = self._call.record, self._call.cancel_token
        assert record is not None

        def on_end(response: HttpResponse, exc: BaseException | None) -> None:
            is_cancelled = exc is not None and cancel_token.is_cancelled
            self._log.end(record, response, exc, is_cancelled=is_cancelled)

        return on_end

    def _acquired(self, connection: Any) -> None:
        """Have the repeat of a request open a new connection; note whether another request did."""
        call = self._call
        if call.is_repeat:
            connection.close()
        call.is_reused = not connection.is_closed

    def _connect(self, host: str, port: int, seconds: float) -> socket.socket:
        def on_wait(waitable: Waitable) -> None:
            self._call.cancel_token.attach(waitable.shut_down)

        return self._tcp.connect(host, port, self._clock() + seconds, on_wait)

    def _handshake_timeout(self) -> float:
        left = self._call.deadline - self._clock()
        return min(self._idle_timeout, max(left, 0.001))  # 0 would not wait at all

    def _attach(self, sock: Any) -> None:
        """Have this thread's cancel token shut *sock* down."""
        self._call.cancel_token.attach(partial(shut_down, sock))


def _is_unanswered(exc: ConnectionError) -> bool:
    """Whether the connection ended before there was a response."""
    cause = exc.__cause__  # as urllib3 reports what http.client raised
    return isinstance(cause, ProtocolError) and isinstance(cause.args[-1], ConnectionError)


def _open_pool(store: Endpoint, connections: int) -> urllib3.PoolManager:
    options: dict[str, Any] = {"maxsize": connections, "block": False}
    if store.scheme == "https":
        options["ssl_context"] = tls_context(ca_bundle=store.ca_bundle, verify_ssl=store.verify_ssl)
        if not store.verify_ssl:
            urllib3.disable_warnings(InsecureRequestWarning)  # the configuration asks for it
    if store.proxy is None:
        return urllib3.PoolManager(**options)
    if store.proxy.startswith("https:"):
        options["proxy_ssl_context"] = tls_context(
            ca_bundle=store.ca_bundle, verify_ssl=store.verify_ssl
        )
    return _open_proxy(store.proxy, options)


def _open_proxy(url: str, options: dict[str, Any]) -> urllib3.PoolManager:
    proxy = urlsplit(url)
    headers = None
    if proxy.username is not None:
        headers = make_headers(
            proxy_basic_auth=f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        )
    return urllib3.ProxyManager(url, proxy_headers=headers, **options)
