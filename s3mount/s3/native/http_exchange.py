"""One question and its answer: signed, sent over a connection of the pool, and the connection sorted out afterwards.

Whatever the network or our checks raise comes out as one of ours. A kept-alive connection that the peer had closed is no
failure: the question is asked once more, on a new one.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from s3mount.errors import S3MountError
from s3mount.s3.endpoint.credentials import ANONYMOUS, FrozenCredentials
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.limits import ERROR_LIMIT
from s3mount.s3.native.connection import Connection, Response, StaleConnectionError
from s3mount.s3.native.connection_pool import ConnectionPool
from s3mount.s3.native.connector import Connector, forwarding_lines
from s3mount.s3.native.sigv4 import Signer
from s3mount.s3.operations import error_mapping
from s3mount.s3.operations.error_mapping import ErrorResponse, Operation, RequestFailure
from s3mount.s3.operations.list_parser import ErrorDocument, read_error
from s3mount.s3.operations.validation import InvalidResponseError
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.transport import Retryable

FAULTS = (
    ErrorDocument,
    InvalidResponseError,
    OSError,
)  # what a network, or our checks of an answer, raise
SKEW = 300.0  # seconds by which clocks differ before that can be the reason of a refusal; S3 allows 900


class HttpRequest(NamedTuple):
    """One request: *path* and *query* encoded, *lines* its headers beside those of every request, *key* for failures."""

    asked: Operation
    key: str
    path: str
    query: str = ""
    lines: str = ""
    method: str = "GET"


class HttpExchange:
    """Asks one store, from any thread. *clock* is monotonic, *wall_clock* in seconds since 1970."""

    def __init__(
        self,
        store: Endpoint,
        *,
        connections: int,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._pool = ConnectionPool(
            Connector(store, connections=connections, clock=clock).dial, clock=clock
        )
        self._signer = Signer(store.host_header, store.region, store.service, store.headers)
        self._standing = f"User-Agent: {store.user_agent}\r\nAccept-Encoding: identity\r\n{forwarding_lines(store)}"
        self._origin = (
            store.origin if store.proxy and store.scheme == "http" else ""
        )  # what a forwarding proxy wants
        self._skew = 0.0  # seconds: the store's clock less ours, learnt where it refuses for that

    @contextmanager
    def ask(
        self,
        question: HttpRequest,
        deadline: float,
        cord: CancelToken | None = None,
        connection: Connection | None = None,
    ) -> Iterator[Response]:
        """The answer, whose body is to be read in the block. Raises as `Transport` does, and so does the block.

        *cord* ends it, until then. It was sent already where there is a *connection*.
        """
        cord = cord or CancelToken()
        try:
            connection, answer = self._send(question, deadline, cord, connection)
            try:
                try:
                    yield answer
                finally:
                    cord.untie()
            except (S3MountError, Retryable):
                self._part(connection, answer)
                raise
            except (
                BaseException
            ):  # raised again; where the answer ends is not known, so none may follow
                connection.close()
                raise
            self._part(connection, answer)
        except FAULTS as exc:
            raise self.told(exc, question) from exc

    def begin(self, question: HttpRequest, deadline: float, cord: CancelToken) -> Connection | None:
        """Send *question* without waiting, where that can be: the connection for `ask` to go on with."""
        credentials = self._store.credentials.frozen_nowait()
        if credentials is not None:
            with contextlib.suppress(
                *FAULTS, S3MountError, Retryable, RequestCancelledError
            ):  # `ask` will tell
                return self._begin(question, credentials, deadline, cord)
        return None

    def prepare(self, deadline: float) -> None:
        """Have one connection more ready, if there is one to be had: if not, the next question will tell why."""
        with contextlib.suppress(OSError):
            self._pool.give_back(self._pool.open(deadline, CancelToken()))

    def told(self, fault: Exception, question: HttpRequest) -> RequestFailure:
        """One of FAULTS, as a failure of *question*."""
        where = {"bucket": self._store.bucket, "key": question.key}
        match fault:
            case ErrorDocument(code=code):
                return error_mapping.from_error_response(
                    ErrorResponse(status=200, code=code), question.asked, **where
                )
            case OSError():
                is_timeout = isinstance(fault, TimeoutError)
                return error_mapping.from_network_error(
                    fault, question.asked, **where, is_timeout=is_timeout
                )
            case _:
                return error_mapping.from_invalid_response(str(fault), question.asked, **where)

    def refused(self, answer: Response, question: HttpRequest) -> RequestFailure:
        """What it means that *answer* has a status that does not answer *question*."""
        code, request_id = _said(answer)
        refusal = ErrorResponse(
            status=answer.status,
            code=code,
            request_id=answer.headers.get("x-amz-request-id") or request_id,
            is_page=_is_page(answer),
        )
        fault = error_mapping.from_error_response(
            refusal, question.asked, bucket=self._store.bucket, key=question.key
        )
        if isinstance(fault, S3MountError) and self._learns_skew(refusal, answer):
            return Retryable(fault)
        return fault

    def close(self) -> None:
        """Wake every thread that waits for the store."""
        self._pool.close()

    def _begin(
        self,
        question: HttpRequest,
        credentials: FrozenCredentials,
        deadline: float,
        cord: CancelToken,
    ) -> Connection | None:
        request = self._written(question, credentials)
        connection = self._pool.borrow_idle(deadline)
        if connection is None:
            return None
        try:
            cord.tie(connection.shut_down)
            connection.send(request, deadline=deadline)
        except BaseException:  # raised again
            cord.untie()
            connection.close()
            raise
        return connection

    def _send(
        self, question: HttpRequest, deadline: float, cord: CancelToken, begun: Connection | None
    ) -> tuple[Connection, Response]:
        try:
            if begun is not None:
                return begun, self._read_head(begun, None, question, deadline, cord)
            request = self._written(question, self._store.credentials.frozen(deadline, cord))
            connection = self._pool.borrow(deadline, cord)
            return connection, self._read_head(connection, request, question, deadline, cord)
        except StaleConnectionError:
            cord.check()  # else it was us who ended it
            # before there is a connection, since credentials may fail
            request = self._written(question, self._store.credentials.frozen(deadline, cord))
            connection = self._pool.open(deadline, cord)
            return connection, self._read_head(connection, request, question, deadline, cord)

    def _read_head(
        self,
        connection: Connection,
        request: bytes | None,
        question: HttpRequest,
        deadline: float,
        cord: CancelToken,
    ) -> Response:
        head_by = min(
            deadline, self._clock() + self._store.idle_timeout
        )  # a head that drips is as good as none
        try:
            cord.tie(connection.shut_down)
            answer = connection.ask(
                request, deadline=head_by, is_bodiless=question.method == "HEAD"
            )
        except (
            BaseException
        ) as exc:  # raised again; a connection that has not answered serves nobody any more
            cord.untie()
            connection.close()
            if isinstance(
                exc, TimeoutError
            ):  # a link that lost its state lost it for all that are idle
                self._pool.drop_idle()
            raise
        connection.wait_until(deadline)
        return answer

    def _part(self, connection: Connection, answer: Response) -> None:
        """Keep the connection if the next answer will begin where this one ends."""
        with contextlib.suppress(OSError, InvalidResponseError):
            if answer.leaves_clean and answer.is_at_end():
                self._pool.give_back(connection)
                return
        connection.close()

    def _written(self, question: HttpRequest, credentials: FrozenCredentials) -> bytes:
        target = f"{question.path}?{question.query}" if question.query else question.path
        if credentials is ANONYMOUS:
            lines = self._signer.unsigned_lines()
        else:
            now = self._wall_clock() + self._skew
            lines = self._signer.header_lines(
                credentials, question.method, question.path, question.query, now
            )
        head = f"{question.method} {self._origin}{target} HTTP/1.1\r\n{lines}{self._standing}{question.lines}\r\n"
        return head.encode()

    def _learns_skew(self, refusal: ErrorResponse, answer: Response) -> bool:
        """Whether the refusal can come from our clock, which then goes by the store's. A HEAD is refused without a code."""
        if refusal.code not in ("RequestTimeTooSkewed", "") or refusal.status != 403:
            return False
        try:
            theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()
        except (KeyError, ValueError, OverflowError):
            return False
        skew = theirs - self._wall_clock()
        is_news = abs(skew - self._skew) > SKEW
        if is_news:
            self._skew = skew
        return is_news


def _said(answer: Response) -> tuple[str, str | None]:
    """Code and request id of a refusal. A server error is one however little of it arrives; an absence must be said in full."""
    try:
        body = answer.read_all(ERROR_LIMIT)
    except (OSError, InvalidResponseError):
        if answer.status < 500:
            raise
        return "", None
    code, request_id = read_error(body)
    return code or answer.headers.get(
        "x-minio-error-code", ""
    ), request_id  # MinIO tells it to a HEAD too


def _is_page(answer: Response) -> bool:
    """Whether HTML or JSON was sent. moto says text/html of an empty body."""
    content_type = answer.headers.get("content-type", "").lower()
    return (
        content_type.startswith(("text/html", "application/json"))
        and answer.headers.get("content-length") != "0"
    )
