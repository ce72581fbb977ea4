"""The lean side of the store's door: each question one request of our own, each answer checked before it is believed.

Knows what to ask and whom to believe. What an answer must look like is in `answers`, what a refusal means in `translate`.
"""

import threading
import time
from collections.abc import Callable

from s3mount.errors import StoreError
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.limits import DOCUMENT_LIMIT, LARGE_DOCUMENT
from s3mount.s3.model import (
    ByteRange,
    ListPage,
    ListQuery,
    Modified,
    NotModified,
    ObjectStat,
    ObjectVersion,
    Revalidation,
)
from s3mount.s3.native.connection import GATHER_LIMIT, Connection, Response
from s3mount.s3.native.http_exchange import FAULTS, HttpExchange, HttpRequest
from s3mount.s3.native.list_parser import next_token_of, read_page
from s3mount.s3.native.request_encoding import (
    condition_line,
    has_sendable_etag,
    list_query,
    object_path,
    range_line,
    version_query,
)
from s3mount.s3.object_store import OnToken
from s3mount.s3.operations import error_mapping, validation
from s3mount.s3.operations.error_mapping import Operation, RequestFailure
from s3mount.s3.operations.validation import InvalidResponseError
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import PendingResponse, ReceiveState, Retryable

WORTH_DRAINING = 64 * 1024  # less than a new connection costs


class NativeTransport:
    """`Transport` over connections of our own, of which there will be *connections* at once. *clock* is monotonic, *wall_clock*
    seconds since 1970.
    """

    def __init__(
        self,
        store: Endpoint,
        *,
        connections: int = 32,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._bucket = store.bucket
        self._clock = clock
        self._parsing = threading.Lock()  # one large page at a time
        self._exchange = HttpExchange(
            store, connections=connections, clock=clock, wall_clock=wall_clock
        )

    def head(self, key: str, *, deadline: float) -> ObjectStat:
        question = HttpRequest(
            asked=Operation.OBJECT,
            key=key,
            path=object_path(self._store.base_path, key),
            method="HEAD",
        )
        with self._exchange.ask(question, deadline) as answer:
            if answer.status != 200:
                raise self._exchange.refused(answer, question)
            size = validation.content_length(answer.headers)
            if size is None:
                raise InvalidResponseError("no Content-Length")
            return validation.object_stat(self._bucket, key, answer.headers, size)

    def list_page(
        self, query: ListQuery, *, deadline: float, on_token: OnToken | None = None
    ) -> ListPage:
        """A page. *on_token* is told where the next one begins as soon as the bytes are here, before they are read.

        It is called in this thread, at most once, and may have been told wrongly: only the page itself is to be believed.
        """
        question = HttpRequest(
            asked=Operation.LISTING,
            key=query.prefix,
            path=self._store.base_path or "/",
            query=list_query(query),
        )
        with self._exchange.ask(question, deadline) as answer:
            if answer.status != 200:
                raise self._exchange.refused(answer, question)
            body = answer.read_all(DOCUMENT_LIMIT)
        if on_token is not None:
            on_token(next_token_of(body))
        try:
            return self._read_page(body, query, deadline)
        except FAULTS as exc:
            raise self._exchange.told(exc, question) from exc

    def get_range(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: Callable[[], memoryview],
        *,
        version_id: str | None,
        deadline: float,
        cord: CancelToken | None = None,
    ) -> str | None:
        question = self._of_range(version, span, version_id)
        with self._exchange.ask(question, deadline, cord) as answer:
            return self._read_range(answer, question, version, span, into)

    def begin_range(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: Callable[[], memoryview],
        *,
        version_id: str | None,
        deadline: float,
        cord: CancelToken,
    ) -> PendingResponse[str | None] | None:
        if len(span) > GATHER_LIMIT:
            return None
        question = self._of_range(version, span, version_id)
        connection = self._exchange.begin(question, deadline, cord)
        if connection is None:
            return None

        def finish() -> str | None:
            with self._exchange.ask(question, deadline, cord, connection) as answer:
                return self._read_range(answer, question, version, span, into)

        return _SentRange(connection, len(span), finish)

    def revalidate(
        self, version: ObjectVersion, head_size: int, *, deadline: float
    ) -> Revalidation:
        if head_size == 0:  # a range of no bytes cannot be asked for
            return self._compare(version, head_size, deadline)
        question = HttpRequest(
            asked=Operation.CHANGE,
            key=version.key,
            path=object_path(self._store.base_path, version.key),
            lines=range_line(ByteRange(0, head_size)) + condition_line("If-None-Match", version),
        )
        with self._exchange.ask(question, deadline) as answer:
            match answer.status:
                case 200 | 206:
                    return self._changed(answer, version, head_size)
                case 304 if has_sendable_etag(version) and _is_same(answer, version):
                    return NotModified()
                case 416:  # an empty object has no range, whether it is the old one or the new
                    pass
                case _:
                    raise self._exchange.refused(answer, question)
        return self._compare(version, head_size, deadline)

    def prepare(self, *, deadline: float) -> None:
        self._exchange.prepare(deadline)

    def renew_credentials(self) -> None:
        self._store.credentials.invalidate()

    def close(self) -> None:
        self._exchange.close()

    def _read_page(self, body: bytes, query: ListQuery, deadline: float) -> ListPage:
        """Large pages one after another: each may cost 60 MiB, and the interpreter reads no two at once anyway."""
        if len(body) <= LARGE_DOCUMENT:
            return read_page(body, query)
        if not self._parsing.acquire(timeout=max(0, deadline - self._clock())):
            raise TimeoutError("the deadline has passed")
        try:
            return read_page(body, query)
        finally:
            self._parsing.release()

    def _of_range(
        self, version: ObjectVersion, span: ByteRange, version_id: str | None
    ) -> HttpRequest:
        return HttpRequest(
            asked=Operation.VERSION,
            key=version.key,
            path=object_path(self._store.base_path, version.key),
            query=version_query(version_id),
            lines=range_line(span) + ("" if version_id else condition_line("If-Match", version)),
        )

    def _read_range(
        self,
        answer: Response,
        question: HttpRequest,
        version: ObjectVersion,
        span: ByteRange,
        into: Callable[[], memoryview],
    ) -> str | None:
        if answer.status not in (200, 206):
            raise self._refused_range(answer, question, version)
        part = validation.part_of(answer.status, answer.headers)
        if not validation.is_version(version, answer.headers, part.size):
            raise error_mapping.from_replacement(
                version.key, bucket=self._bucket, request_id=answer.headers.get("x-amz-request-id")
            )
        validation.check_covers(part, span)
        answer.skip(span.start - part.span.start)
        answer.read_into(into())
        _check_length(answer, part.span.stop - span.stop)
        return validation.version_id(answer.headers)

    def _refused_range(
        self, answer: Response, question: HttpRequest, version: ObjectVersion
    ) -> RequestFailure:
        """A 416 is believed where the object has another size by now: we asked for what this version has."""
        is_same_size = answer.headers.get("content-range", "").removeprefix("bytes */") == str(
            version.size
        )
        if answer.status == 416 and is_same_size:
            raise InvalidResponseError("a range that the object has was refused")
        return self._exchange.refused(answer, question)

    def _changed(self, answer: Response, version: ObjectVersion, head_size: int) -> Revalidation:
        part = validation.part_of(answer.status, answer.headers)
        if validation.is_version(version, answer.headers, part.size):
            return NotModified()  # from a store that does not know If-None-Match
        head = bytearray(min(head_size, part.size))
        validation.check_covers(part, ByteRange(0, len(head)))
        answer.read_into(memoryview(head))
        _check_length(answer, len(part.span) - len(head))
        return Modified(
            validation.object_stat(self._bucket, version.key, answer.headers, part.size),
            bytes(head),
        )

    def _compare(self, version: ObjectVersion, head_size: int, deadline: float) -> Revalidation:
        """By a HEAD, for what no range can be asked of."""
        stat = self.head(version.key, deadline=deadline)
        if stat.version == version:
            return NotModified()
        if head_size and stat.version.size:
            failure = StoreError(
                "replaced while it was asked for", bucket=self._bucket, key=version.key
            )
            raise Retryable(failure)
        return Modified(stat, b"")


class _SentRange:
    """`PendingResponse`, of a range of *length* bytes over *connection*."""

    __slots__ = ("_connection", "_length", "finish")

    def __init__(
        self, connection: Connection, length: int, finish: Callable[[], str | None]
    ) -> None:
        self._connection = connection
        self._length = length
        self.finish = finish

    @property
    def has_begun(self) -> bool:
        return self._connection.is_answering

    def fileno(self) -> int:
        return self._connection.fileno()

    def gather(self) -> ReceiveState:
        return self._connection.gather(self._length)


def _check_length(answer: Response, rest: int) -> None:
    """That the body ends *rest* bytes from here; a long rest is not worth the reading, and costs the connection."""
    if rest > WORTH_DRAINING:
        return
    answer.skip(rest)
    if not answer.is_at_end():
        raise InvalidResponseError("the body is longer than it should be")


def _is_same(answer: Response, version: ObjectVersion) -> bool:
    """Whether a 304 is about *version*, as far as it says."""
    etag = validation.plain_etag(answer.headers.get("etag"))
    if etag not in ("", version.etag):
        raise InvalidResponseError("not modified, but another ETag")
    return True
