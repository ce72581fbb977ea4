"""Connections to the hosts that a store redirects to, and unsigned requests over them.

Invariants:

1. Requests to another URL have no signature and no header but those that choose bytes: no
   Authorization, no token, no key of a customer, no cookie.
2. A connection is opened only to addresses that the policy admits.
3. The connections of ORIGINS_MAX hosts are kept; those of others are closed after each exchange.
"""

import logging
import threading
import weakref
from collections.abc import Callable, Sequence

from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.location import Url
from s3mount.s3.native.connection_pool import ConnectionPool
from s3mount.s3.native.connector import Connector, forwarding_lines
from s3mount.s3.native.http_exchange import HttpExchange
from s3mount.s3.native.idle_limit import IdleLimit
from s3mount.s3.native.redirect_policy import RedirectPolicy
from s3mount.s3.native.socket_stream import Stream
from s3mount.s3.request_log import RequestLog
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.tcp_connect import Address, OnWait, TcpConnector
from s3mount.s3.transport import READS, ForbiddenRequestError, StoreRequest

log = logging.getLogger(__name__)

ORIGINS_MAX = 16  # of which connections are kept; others open one for each request
_SENT = {"range", "if-match", "if-none-match"}


class RedirectOrigins:
    """Connections to the hosts that *policy* admits, *connections* to each. Thread-safe.

    *log* is told of each request. *idle_limit* is that of several stores together; without one, all
    these hosts together keep as many idle connections.
    """

    def __init__(
        self,
        policy: RedirectPolicy,
        log: RequestLog,
        connections: int,
        clock: Callable[[], float],
        idle_limit: IdleLimit | None = None,
    ) -> None:
        self.policy = policy
        self._log = log
        self._idle_limit = idle_limit or IdleLimit(connections)
        self._connections = connections
        self._clock = clock
        self._lock = threading.Lock()
        # under the lock: the pools that are kept, by origin; all pools; whether they were closed;
        # the origins that the log names
        self._kept: dict[str, _Origin] = {}
        self._pools: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()
        self._is_closed = False
        self._announced: set[str] = set()

    def exchange(
        self, url: Url, request: StoreRequest, deadline: float, cancel_token: CancelToken
    ) -> HttpExchange:
        """Return the exchange of *request*, unsigned, with *url*. Raises LocationError."""
        origin = self._origin(url)
        encoder = UnsignedEncoder(url, origin.endpoint)
        return HttpExchange(origin.pool, encoder, request, deadline, cancel_token, self._log)

    def announce(self, url: Url) -> None:
        """Log, once, that *url*'s host answers what the store was asked."""
        with self._lock:
            is_news = url.origin not in self._announced and len(self._announced) < ORIGINS_MAX
            if is_news:
                self._announced.add(url.origin)
        if is_news:
            log.info("the store redirects to %r, which is followed", url.origin)

    def release(self, exchange: HttpExchange) -> None:
        """Close the connection of *exchange*, which has ended, unless its pool is kept."""
        with self._lock:
            is_kept = any(each.pool is exchange.pool for each in self._kept.values())
        if not is_kept:
            exchange.pool.drop_idle()
        else:
            self._idle_limit.record_use(exchange.pool)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            pools = list(self._pools)
        for pool in pools:
            pool.close()

    def _origin(self, url: Url) -> "_Origin":
        with self._lock:
            origin = self._kept.get(url.origin)
            if origin is None:
                endpoint = self.policy.endpoint_of(url)
                origin = _Origin(endpoint, self.policy, self._connections, self._clock)
                self._pools.add(origin.pool)
                if len(self._kept) < ORIGINS_MAX:
                    self._kept[url.origin] = origin
            if self._is_closed:
                origin.pool.close()
        return origin


class _Origin:
    """Connections to *endpoint*, as far as *policy* admits its addresses."""

    def __init__(
        self,
        endpoint: Endpoint,
        policy: RedirectPolicy,
        connections: int,
        clock: Callable[[], float],
    ) -> None:
        self.endpoint = endpoint
        self._policy = policy
        tcp = TcpConnector(choose=None if endpoint.proxy else self._choose, clock=clock)
        self._connector = Connector(endpoint, connections=connections, clock=clock, tcp=tcp)
        self.pool = ConnectionPool(self._connect, idle_timeout=endpoint.idle_timeout, clock=clock)

    def _choose(self, addresses: Sequence[Address]) -> Sequence[Address]:
        return self._policy.choose(self.endpoint, addresses)

    def _connect(self, deadline: float, on_wait: OnWait) -> Stream:
        if self.endpoint.proxy:
            self._policy.check_name(self.endpoint, deadline, on_wait)
        return self._connector.connect(deadline, on_wait)


class UnsignedEncoder:
    """Encoder of requests to *url*, without a signature, for connections to *endpoint*."""

    def __init__(self, url: Url, endpoint: Endpoint) -> None:
        self._url = url
        self._endpoint = endpoint

    def encode_waiting(
        self,
        request: StoreRequest,
        deadline: float,  # noqa: ARG002 - nothing has to be waited for
        cancel_token: CancelToken,  # noqa: ARG002
    ) -> bytes:
        if request.method not in READS:
            raise ForbiddenRequestError(f"{request.method} to another host")
        url, endpoint = self._url, self._endpoint
        is_forwarded = endpoint.proxy is not None and url.scheme == "http"
        fields = {"accept-encoding": request.accept_encoding}
        fields |= {name: value for name, value in request.headers if name in _SENT}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return (
            f"{request.method} {url.origin if is_forwarded else ''}{url.target} HTTP/1.1\r\n"
            f"Host: {url.authority}\r\nUser-Agent: {endpoint.user_agent}\r\n"
            f"{forwarding_lines(endpoint)}{lines}\r\n"
        ).encode("latin-1")
