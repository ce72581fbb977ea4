"""Redirects of a store, followed: `--follow-redirects`, over either transport.

A store could aim the mount at any address, so this is off by default, and bounded. The operation
validates the response at the end as it validates every response.

Invariants:

1. Requests to another URL have no signature and no header but those that choose bytes: no
   Authorization, no token, no key of a customer, no cookie.
2. At most REDIRECTS_MAX are followed, to http and https only, and never from https to http.
3. No connection is opened to a loopback, link-local or multicast address, whatever the name says,
   unless the endpoint itself has such an address; and never to a metadata service.
   A proxy resolves names itself; a name that this machine resolves to such an address is refused.
4. Nothing is followed in the event loop: a response that is a redirect is never COMPLETE, so a
   thread finishes it; a cancelled request follows nothing.
5. The date and the region that another host tells do not count.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType

from s3mount.errors import SetupError
from s3mount.s3.endpoint.proxy import proxy_for
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.limits import ERROR_LIMIT
from s3mount.s3.location import LocationError, Url, is_redirect, next_url
from s3mount.s3.native.address_rules import allowed, kinds_of
from s3mount.s3.native.connection import Response as NativeResponse
from s3mount.s3.native.connection_pool import ConnectionPool
from s3mount.s3.native.connector import Connector, forwarding_lines
from s3mount.s3.native.http_exchange import HttpExchange
from s3mount.s3.native.request_encoding import encode_query, object_path
from s3mount.s3.native.socket_stream import Stream
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.tcp_connect import Address, OnWait, TcpConnector, resolve_name
from s3mount.s3.transport import (
    ErrorResponse,
    ErrorResponseError,
    Exchange,
    InvalidResponseError,
    Response,
    SentExchange,
    StoreRequest,
    Transport,
)

log = logging.getLogger(__name__)

REDIRECTS_MAX = 3
ORIGINS_MAX = 16  # of which connections are kept; others open one for each request
_CLAIMS = ("date", "x-amz-bucket-region")  # of which only those of the store count
_SENT = {"range", "if-match", "if-none-match"}


class RedirectFollower:
    """`Transport` that follows what *transport*, which sends to *endpoint*, is redirected to."""

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        *,
        connections: int = 32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._origins = _Origins(endpoint, connections, clock)
        self.preconnect = transport.preconnect
        self.renew_credentials = transport.renew_credentials
        self.adjust_clock = transport.adjust_clock

    def send(
        self, request: StoreRequest, *, deadline: float, cancel_token: CancelToken | None = None
    ) -> "FollowingExchange":
        token = cancel_token or CancelToken()
        exchange = self._transport.send(request, deadline=deadline, cancel_token=token)
        return FollowingExchange(exchange, request, self._origins, deadline, token)

    def send_nowait(
        self, request: StoreRequest, length: int, *, deadline: float, cancel_token: CancelToken
    ) -> "SentFollowingExchange | None":
        exchange = self._transport.send_nowait(
            request, length, deadline=deadline, cancel_token=cancel_token
        )
        if exchange is None:
            return None
        return SentFollowingExchange(exchange, request, self._origins, deadline, cancel_token)

    def close(self) -> None:
        self._transport.close()
        self._origins.close()


class FollowingExchange:
    """`Exchange` that begins with *exchange*, which sends *request* to the endpoint."""

    def __init__(
        self,
        exchange: Exchange,
        request: StoreRequest,
        origins: "_Origins",
        deadline: float,
        cancel_token: CancelToken,
    ) -> None:
        self._request = request
        self._origins = origins
        self._deadline = deadline
        self._cancel_token = cancel_token
        # the exchange that was entered last; the same if it is with another host
        self._exchange = exchange
        self._hop: HttpExchange | None = None

    def __enter__(self) -> Response:
        response = self._exchange.__enter__()
        if not is_redirect(response.status, response.headers):
            return response
        return self._follow(response)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self._exchange.__exit__(kind, exc, traceback)
        if self._hop is not None:
            self._origins.release(self._hop)

    def _follow(self, response: Response) -> Response:
        url = self._origins.first_url(self._request)
        for _ in range(REDIRECTS_MAX):
            status, location = response.status, response.headers["location"]
            self._leave(response)
            self._cancel_token.check()
            try:
                url = next_url(location, url)
                response = found = self._enter(url)
            except LocationError as exc:
                raise _refused(status, str(exc)) from exc
            self._origins.announce(url)
            if not is_redirect(found.status, found.headers):
                for name in _CLAIMS:
                    found.headers.pop(name, None)
                return found
        status = response.status
        self._leave(response)
        raise _refused(status, f"more than {REDIRECTS_MAX} times")

    def _enter(self, url: Url) -> NativeResponse:
        self._exchange = self._hop = self._origins.exchange(
            url, self._request, self._deadline, self._cancel_token
        )
        return self._hop.__enter__()

    def _leave(self, response: Response) -> None:
        """End the exchange of *response*; the connection is kept if its body can be read."""
        try:
            response.read_all(ERROR_LIMIT)
        except (OSError, InvalidResponseError) as exc:
            self.__exit__(type(exc), exc, None)
        except BaseException as exc:  # raised again
            self.__exit__(type(exc), exc, None)
            raise
        else:
            self.__exit__(None, None, None)


class SentFollowingExchange(FollowingExchange):
    """`SentExchange` that begins with *sent*, which was sent without waiting."""

    def __init__(
        self,
        sent: SentExchange,
        request: StoreRequest,
        origins: "_Origins",
        deadline: float,
        cancel_token: CancelToken,
    ) -> None:
        super().__init__(sent, request, origins, deadline, cancel_token)
        self._sent = sent
        self.fileno = sent.fileno
        self.receive_available = sent.receive_available

    @property
    def has_begun(self) -> bool:
        return self._sent.has_begun


class _Origins:
    """Connections to the other hosts. Thread-safe."""

    def __init__(self, endpoint: Endpoint, connections: int, clock: Callable[[], float]) -> None:
        self._endpoint = endpoint
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
        return HttpExchange(origin.pool, encoder, request, deadline, cancel_token)

    def first_url(self, request: StoreRequest) -> Url:
        """Return the URL that *request* is sent to at the endpoint."""
        endpoint = self._endpoint
        path, query = object_path(endpoint.base_path, request.key), encode_query(request.query)
        target = f"{path}?{query}" if query else path
        return Url(endpoint.scheme, endpoint.host, endpoint.port, target)

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
                origin = self._open(url)
                self._pools.add(origin.pool)
                if len(self._kept) < ORIGINS_MAX:
                    self._kept[url.origin] = origin
            if self._is_closed:
                origin.pool.close()
        return origin

    def _open(self, url: Url) -> "_Origin":
        try:
            proxy = proxy_for(url.origin)
        except SetupError as exc:
            raise LocationError(f"to {url.origin}, but {exc}") from exc
        endpoint = replace(
            self._endpoint,
            scheme=url.scheme,
            host=url.host,
            port=url.port,
            base_path="",
            headers={},
            proxy=proxy,
        )
        return _Origin(endpoint, self._endpoint, self._connections, self._clock)


class _Origin:
    """Connections to *endpoint*, which *source* redirects to."""

    def __init__(
        self,
        endpoint: Endpoint,
        source: Endpoint,
        connections: int,
        clock: Callable[[], float],
    ) -> None:
        self.endpoint = endpoint
        self._source = source
        self._clock = clock
        tcp = TcpConnector(choose=None if endpoint.proxy else self._choose, clock=clock)
        self._connector = Connector(endpoint, connections=connections, clock=clock, tcp=tcp)
        self.pool = ConnectionPool(self._connect, idle_timeout=endpoint.idle_timeout, clock=clock)

    def _connect(self, deadline: float, on_wait: OnWait) -> Stream:
        if self.endpoint.proxy:
            self._check_name(deadline, on_wait)
        return self._connector.connect(deadline, on_wait)

    def _check_name(self, deadline: float, on_wait: OnWait) -> None:
        """Refuse a name that leads to a forbidden address here; the proxy may know others."""
        host, port = self.endpoint.host, self.endpoint.port
        addresses: Sequence[Address] = ()
        with suppress(OSError):
            addresses = resolve_name(host, port, deadline - self._clock(), on_wait)
        if addresses:
            self._choose(addresses)

    def _choose(self, addresses: Sequence[Address]) -> Sequence[Address]:
        if not (forbidden := kinds_of(addresses)):
            return addresses
        chosen = allowed(addresses, self._kinds_of_source())
        if not chosen:
            kind = min(forbidden)
            raise LocationError(f"to {self.endpoint.origin}, which has a {kind} address")
        return chosen

    def _kinds_of_source(self) -> set[str]:
        source = self._source
        try:
            timeout = source.connect_timeout
            return kinds_of(resolve_name(source.host, source.port, timeout, lambda _: None))
        except OSError:
            return set()


class UnsignedEncoder:
    """Encodes requests to *url*, without a signature, for connections to *endpoint*."""

    def __init__(self, url: Url, endpoint: Endpoint) -> None:
        self._url = url
        self._endpoint = endpoint

    def encode_waiting(
        self,
        request: StoreRequest,
        deadline: float,  # noqa: ARG002 - nothing has to be waited for
        cancel_token: CancelToken,  # noqa: ARG002
    ) -> bytes:
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


def _refused(status: int, redirect: str) -> ErrorResponseError:
    return ErrorResponseError(ErrorResponse(status=status, redirect=redirect))
