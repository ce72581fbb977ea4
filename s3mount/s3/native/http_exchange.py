"""One HTTP request and its response, over a connection of the pool.

A kept-alive connection that the peer had closed is no failure: the request is sent once more, over
a new connection.
"""

import contextlib
from types import TracebackType

from s3mount.errors import S3MountError
from s3mount.s3.native.connection import Connection, Response, StaleConnectionError
from s3mount.s3.native.connection_pool import ConnectionPool
from s3mount.s3.native.request_encoding import RequestEncoder
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import (
    ErrorResponseError,
    InvalidResponseError,
    ReceiveState,
    StoreRequest,
)


class HttpExchange:
    """`SentExchange` if there is a *connection*, over which *request* was sent; else `Exchange`.

    *length* is that of the body of the response, if the request was sent.
    """

    __slots__ = (
        "_cancel_token",
        "_connection",
        "_deadline",
        "_encoder",
        "_length",
        "_pool",
        "_request",
        "_response",
    )

    def __init__(
        self,
        pool: ConnectionPool,
        encoder: RequestEncoder,
        request: StoreRequest,
        deadline: float,
        cancel_token: CancelToken,
        *,
        connection: Connection | None = None,
        length: int = 0,
    ) -> None:
        self._pool = pool
        self._encoder = encoder
        self._request = request
        self._deadline = deadline
        self._cancel_token = cancel_token
        # the connection over which the request was sent; the response from __enter__ to __exit__
        self._connection = connection
        self._length = length
        self._response: Response | None = None

    @property
    def has_begun(self) -> bool:
        connection = self._connection  # None: another thread has just ended the exchange
        return connection is None or connection.has_begun

    def fileno(self) -> int:
        return self._sent_over.fileno()

    def receive_available(self) -> ReceiveState:
        return self._sent_over.receive_available(self._length)

    def __enter__(self) -> Response:
        try:
            message = None
            if self._connection is None:
                message = self._encode()
                self._connection = self._pool.acquire(self._deadline, self._cancel_token)
            self._response = self._receive_header(self._connection, message)
        except StaleConnectionError:
            self._cancel_token.check()  # else the token closed it
            message = self._encode()  # before there is a connection, since credentials may fail
            self._connection = self._pool.open(self._deadline, self._cancel_token)
            self._response = self._receive_header(self._connection, message)
        return self._response

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self._cancel_token.untie()
        connection, response = self._connection, self._response
        self._connection = self._response = None
        assert connection is not None
        assert response is not None
        # after any other exception the end of the response is unknown
        if exc is None or isinstance(exc, S3MountError | ErrorResponseError):
            with contextlib.suppress(OSError, InvalidResponseError):
                if response.allows_reuse and response.is_at_end():
                    self._pool.release(connection)
                    return
        connection.close()

    @property
    def _sent_over(self) -> Connection:
        assert self._connection is not None
        return self._connection

    def _encode(self) -> bytes:
        return self._encoder.encode_waiting(self._request, self._deadline, self._cancel_token)

    def _receive_header(self, connection: Connection, message: bytes | None) -> Response:
        """Send *message* unless it is None, and read the header of the response."""
        try:
            self._cancel_token.tie(connection.shut_down)
            response = connection.exchange(
                message,
                deadline=self._pool.header_deadline(self._deadline),
                is_bodiless=self._request.method == "HEAD",
            )
        except BaseException as exc:  # raised again
            self._cancel_token.untie()
            connection.close()
            if isinstance(exc, TimeoutError):
                self._pool.drop_idle()  # a link that lost its state lost it for all that are idle
            raise
        connection.set_deadline(self._deadline)
        return response
