"""`Transport` over connections of our own."""

import contextlib
import time
from collections.abc import Callable

from s3mount.errors import S3MountError
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.native.connection_pool import ConnectionPool
from s3mount.s3.native.connector import Connector
from s3mount.s3.native.http_exchange import HttpExchange
from s3mount.s3.native.receive_buffer import SMALL_BODY
from s3mount.s3.native.request_encoding import RequestEncoder
from s3mount.s3.request_log import RequestLog
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.silent_connections import SilentConnections
from s3mount.s3.transport import Retryable, StoreRequest


class NativeTransport:
    """`Transport` to *store* over up to *connections* HTTP/1.1 connections at once.

    *clock* is monotonic, *wall_clock* in seconds since 1970. *log* is told of each request. *pool*
    is one that other transports to the same host use, too; `close` leaves it open. Without one,
    *silent_connections* are those of its own pool.
    """

    def __init__(
        self,
        store: Endpoint,
        log: RequestLog | None = None,
        *,
        connections: int = 32,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        pool: ConnectionPool | None = None,
        silent_connections: SilentConnections | None = None,
    ) -> None:
        self._log = log or RequestLog()
        self._credentials = store.credentials
        self._has_own_pool = pool is None
        self._pool = pool or ConnectionPool(
            Connector(store, connections=connections, clock=clock).connect,
            idle_timeout=store.idle_timeout,
            clock=clock,
            silent_connections=silent_connections,
        )
        self._encoder = RequestEncoder(store, wall_clock)
        self.adjust_clock = self._encoder.adjust_clock

    def send(
        self, request: StoreRequest, *, deadline: float, cancel_token: CancelToken | None = None
    ) -> HttpExchange:
        return HttpExchange(
            self._pool, self._encoder, request, deadline, cancel_token or CancelToken(), self._log
        )

    def send_nowait(
        self, request: StoreRequest, length: int, *, deadline: float, cancel_token: CancelToken
    ) -> HttpExchange | None:
        if length > SMALL_BODY or (credentials := self._credentials.frozen_nowait()) is None:
            return None
        try:
            message = self._encoder.encode(request, credentials)
            connection = self._pool.acquire_idle(deadline)
            if connection is None:
                return None
            try:
                cancel_token.attach(connection.shut_down)
                connection.send(message, deadline=deadline)
            except BaseException:  # raised again
                cancel_token.detach()
                self._pool.discard(connection)
                raise
        except (OSError, S3MountError, Retryable, RequestCancelledError):
            return None  # the blocking call reports it
        return HttpExchange(
            self._pool,
            self._encoder,
            request,
            deadline,
            cancel_token,
            self._log,
            connection,
            length,
            self._log.begin(request),
        )

    def preconnect(self, *, deadline: float) -> None:
        with contextlib.suppress(OSError):  # the next request reports it
            self._pool.release(self._pool.open(deadline, CancelToken()))

    def renew_credentials(self, since: float, deadline: float, *, is_expired: bool) -> bool:
        return self._credentials.renew(since, deadline, is_expired=is_expired)

    def close(self) -> None:
        if self._has_own_pool:
            self._pool.close()
