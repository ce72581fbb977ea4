"""One HTTP request and its response, over a connection of the pool.

A kept-alive connection that the peer had closed is no failure: the request is sent once more, over
a new connection.
"""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from s3mount.errors import S3MountError
from s3mount.s3.native.connection import Connection, Response, StaleConnectionError
from s3mount.s3.native.connection_pool import ConnectionPool
from s3mount.s3.request_log import RequestLog
from s3mount.s3.request_records import RequestRecord
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import (
    ErrorResponseError,
    InvalidResponseError,
    ReceiveState,
    StoreRequest,
)


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

    @property
    def has_begun(self) -> bool:
        connection = self.connection  # None: another thread has just ended the exchange
        return connection is None or connection.has_begun

    def fileno(self) -> int:
        return self._sent_over.fileno()

    def receive_available(self) -> ReceiveState:
        return self._sent_over.receive_available(self.length)

    def __enter__(self) -> Response:
        try:
            message = None
            if self.connection is None:
                message = self._encode()
                self.connection = self.pool.acquire(self.deadline, self.cancel_token)
            self.response = self._receive_header(self.connection, message)
        except StaleConnectionError:
            self.cancel_token.check()  # else the token closed it
            message = self._encode()  # before there is a connection, since credentials may fail
            self.connection = self.pool.open(self.deadline, self.cancel_token)
            self.response = self._receive_header(self.connection, message)
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
            connection.close()

    @property
    def _sent_over(self) -> Connection:
        assert self.connection is not None
        return self.connection

    def _encode(self) -> bytes:
        return self.encoder.encode_waiting(self.request, self.deadline, self.cancel_token)

    def _receive_header(self, connection: Connection, message: bytes | None) -> Response:
        """Send *message* unless it is None, and read the header of the response."""
        try:
            self.cancel_token.attach(connection.shut_down)
            if message is not None:
                self.record = self.log.begin(self.request)
            response = connection.exchange(
                message,
                deadline=self.pool.header_deadline(self.deadline),
                is_bodiless=self.request.method == "HEAD",
            )
        except BaseException as exc:  # raised again
            self.cancel_token.detach()
            connection.close()
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
        if isinstance(exc, StaleConnectionError) and not is_cancelled:
            self.log.end_repeated(record)
        else:
            self.log.end(record, response, exc, is_cancelled=is_cancelled)


def _is_clean(response: Response) -> bool:
    """Whether a request may follow on the connection of *response*."""
    try:
        return response.allows_reuse and response.is_at_end()
    except (OSError, InvalidResponseError):
        return False
