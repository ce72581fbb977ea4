"""One HTTP request and its response, over a connection of the pool.

A kept-alive connection that the peer had closed is no failure: the request is sent once more, over
a new connection. Nor is a new connection that stays silent while others have responses: a read is
sent once more, over one of those, or over a new one if all of those are busy for long. It is so
moved once. Thus a request is sent four times at most:
over a closed connection, a silent one, the closed one that it was moved to, and a new one.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Protocol

from s3mount.errors import S3MountError
from s3mount.s3.native.connection import (
    Connection,
    Response,
    SilentConnectionError,
    StaleConnectionError,
)
from s3mount.s3.native.connection_pool import AllBusyError, ConnectionPool
from s3mount.s3.request_log import RequestLog
from s3mount.s3.request_records import RequestRecord
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import (
    READS,
    ErrorResponseError,
    InvalidResponseError,
    ReceiveState,
    StoreRequest,
)

PATIENCE_STEP: Final = 0.25  # seconds between two looks at whether a request may be moved


class Encoder(Protocol):
    """Encoder of requests for the connections of one pool."""

    def encode_waiting(
        self, request: StoreRequest, deadline: float, cancel_token: CancelToken
    ) -> bytes:
        """Return the header of *request*; raises what credentials raise."""
        ...


@dataclass(slots=True, eq=False)
class HttpExchange:
    """`SentExchange` if there is a *connection*, over which *request* was sent; else `Exchange`.

    *length* is the length of the body to expect, and *record* that of *log*, if it was sent.
    """

    pool: ConnectionPool
    encoder: Encoder
    request: StoreRequest
    deadline: float
    cancel_token: CancelToken
    log: RequestLog
    connection: Connection | None = None
    length: int = 0
    record: RequestRecord | None = None  # while the request is in flight
    response: Response | None = None  # from `__enter__` to `__exit__`
    may_move: bool = True  # once
    silent_for: float | None = None  # seconds, of the connection that it was moved off

    @property
    def has_begun(self) -> bool:
        connection = self.connection  # None: another thread ended the exchange, or sends it again
        return connection is None or connection.has_begun

    def fileno(self) -> int:
        return self._sent_over.fileno()

    def receive_available(self) -> ReceiveState:
        return self._sent_over.receive_available(self.length)

    def __enter__(self) -> Response:
        # a message before there is a connection, since credentials may fail
        message = self._encode() if self.connection is None else None
        acquire = self.pool.acquire
        try:
            while self.response is None:
                try:
                    if self.connection is None:
                        self.connection = acquire(self.deadline, self.cancel_token)
                    self.response = self._receive_header(self.connection, message)
                except StaleConnectionError:
                    self.cancel_token.check()  # else the token closed it
                    acquire = self._acquire_new
                    self.connection, message = None, self._encode()
                except SilentConnectionError as exc:
                    self.may_move, self.silent_for = False, exc.age
                    acquire = self._acquire_proven
                    self.connection, message = None, self._encode()
        finally:
            if self.response is None:
                self._end_move(None)
        return self.response

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self.cancel_token.detach()
        connection, response = self.connection, self.response
        self.connection = self.response = None
        assert connection is not None
        assert response is not None
        self._record_end(response, exc)
        # after any other exception the end of the response is unknown
        is_read = exc is None or isinstance(exc, S3MountError | ErrorResponseError)
        if is_read and _is_clean(response):
            self.pool.release(connection)
        else:
            self.pool.discard(connection)

    def _acquire_new(self, deadline: float, cancel_token: CancelToken) -> Connection:
        """Return a new connection; one that is waited for as long as need be, after a move."""
        acquire = self.pool.acquire_new if self.may_move else self.pool.open
        return acquire(deadline, cancel_token)

    def _acquire_proven(self, deadline: float, cancel_token: CancelToken) -> Connection:
        """Return a proven connection; a new one if all are busy for long, and it moved in vain."""
        try:
            return self.pool.acquire_proven(deadline, cancel_token)
        except AllBusyError:
            self._end_move(math.inf)
            return self.pool.open(deadline, cancel_token)

    @property
    def _sent_over(self) -> Connection:
        assert self.connection is not None
        return self.connection

    def _encode(self) -> bytes:
        return self.encoder.encode_waiting(self.request, self.deadline, self.cancel_token)

    def _receive_header(self, connection: Connection, message: bytes | None) -> Response:
        """Send *message* unless it is None, and read the header of the response."""
        if not connection.is_proven:
            return self._receive_first_header(connection, message)
        began = self.pool.now() if message is not None else None
        response = self._exchange(connection, message)
        if began is not None:
            seconds = self.pool.now() - began
            self.pool.silent_connections.record_response(seconds)
            self._end_move(seconds)
        return response

    def _receive_first_header(self, connection: Connection, message: bytes | None) -> Response:
        """As `_receive_header`; SilentConnectionError if the request is to be moved."""
        silent_connections, began = self.pool.silent_connections, self.pool.now()
        silence = silent_connections.begin_silence()
        try:
            response = self._exchange(
                connection, message, partial(self._wait_patiently, connection, began)
            )
            self.pool.prove(connection)
        finally:
            silent_connections.end_silence(silence, is_proven=connection.is_proven)
            seconds = self.pool.now() - began
            if self.cancel_token.has_lost and not connection.has_begun:
                silent_connections.record_lost(seconds, self.pool.proven_count)
        silent_connections.record_response(seconds)
        self._end_move(None)  # a new connection tells nothing of those that are proven
        return response

    def _wait_patiently(self, connection: Connection, began: float) -> None:
        """Wait until some of the response is here, or the request is to be moved."""
        is_movable = self.may_move and self.request.method in READS
        until = self.pool.header_deadline(self.deadline)
        while is_movable and not connection.wait_response(PATIENCE_STEP):
            now = self.pool.now()
            if now >= until:
                return
            if self.pool.begin_move(now - began):
                raise SilentConnectionError(now - began)

    def _end_move(self, seconds: float | None) -> None:
        """Account for the end of a move, if there was one: *seconds* until the response."""
        age, self.silent_for = self.silent_for, None
        if age is not None:
            self.pool.silent_connections.end_move(age, seconds, self.pool.proven_count)

    def _exchange(
        self,
        connection: Connection,
        message: bytes | None,
        on_sent: Callable[[], None] | None = None,
    ) -> Response:
        try:
            self.cancel_token.attach(connection.shut_down)
            if message is not None:
                self.record = self.log.begin(self.request)
            response = connection.exchange(
                message,
                deadline=self.pool.header_deadline(self.deadline),
                is_bodiless=self.request.method == "HEAD",
                on_sent=on_sent,
            )
        except BaseException as exc:  # raised again
            self.cancel_token.detach()
            self.pool.discard(connection)
            self._record_end(None, exc)
            if isinstance(exc, TimeoutError):
                self.pool.drop_idle()  # a link that lost its state lost it for all that are idle
            raise
        connection.set_deadline(self.deadline)
        return response

    def _record_end(self, response: Response | None, exc: BaseException | None) -> None:
        """Have the log record the end of the request, if it was sent; *exc*, if it failed."""
        record, self.record = self.record, None
        if record is None:
            return
        is_cancelled = exc is not None and self.cancel_token.is_cancelled
        is_repeated = isinstance(exc, StaleConnectionError | SilentConnectionError)
        if is_repeated and not is_cancelled:
            self.log.end_repeated(record)
        else:
            self.log.end(record, response, exc, is_cancelled=is_cancelled)


def _is_clean(response: Response) -> bool:
    """Whether a request may follow on the connection of *response*."""
    try:
        return response.allows_reuse and response.is_at_end()
    except (OSError, InvalidResponseError):
        return False
