"""GET of a byte range of one object version."""

from typing import NamedTuple

from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.operations import error_mapping, validation
from s3mount.s3.operations.error_mapping import Operation
from s3mount.s3.operations.operation_runner import OperationRunner, read_error
from s3mount.s3.scheduling.attempt import GetBuffer
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import (
    Exchange,
    InvalidResponseError,
    ReceiveState,
    Response,
    SentExchange,
    StoreRequest,
)

WORTH_DRAINING = 64 * 1024  # bytes of a body; reading less costs less than a new connection


class GetRange:
    """`Sender` of *byte_range* of *version*, in any number of attempts.

    Raises StaleVersion if the store has another version, by the ETag and size of its response.
    If-Match only spares the body of another version, so a read may do without it.
    """

    __slots__ = ("_deadline", "_range", "_request", "_runner", "_version")

    def __init__(
        self,
        runner: OperationRunner,
        version: ObjectVersion,
        byte_range: ByteRange,
        *,
        version_id: str | None,
        deadline: float,
        is_conditional: bool = True,
    ) -> None:
        self._runner = runner
        self._version = version
        self._range = byte_range
        self._deadline = deadline
        headers = range_header(byte_range)
        if not version_id and is_conditional:
            headers += condition_header("if-match", version)
        query = (("versionId", version_id),) if version_id else ()
        self._request = StoreRequest("GetObject", version.key, query, headers)

    def send(self, into: GetBuffer, cancel_token: CancelToken) -> str | None:
        exchange = self._runner.transport.send(
            self._request, deadline=self._deadline, cancel_token=cancel_token
        )
        return self.receive(exchange, into)

    def send_nowait(self, into: GetBuffer, cancel_token: CancelToken) -> "PendingRange | None":
        exchange = self._runner.transport.send_nowait(
            self._request, len(self._range), deadline=self._deadline, cancel_token=cancel_token
        )
        return None if exchange is None else PendingRange(self, exchange, into)

    def receive(self, exchange: Exchange, into: GetBuffer) -> str | None:
        """Return the version id from the response of *exchange*, and the bytes in the buffer."""
        return self._runner.run(Operation.GET, self._version.key, self._receive, exchange, into)

    def _receive(self, exchange: Exchange, into: GetBuffer) -> str | None:
        with exchange as response:
            if response.status not in (200, 206):
                raise self._error(response)
            headers = response.headers
            content = validation.content_range(response.status, headers, self._version.size)
            if not validation.is_version(self._version, headers, content.size):
                raise error_mapping.from_replacement(
                    self._version, request_id=headers.get("x-amz-request-id")
                )
            validation.check_covers(content, self._range)
            response.skip(self._range.start - content.start)
            response.read_into(into())
            check_body_ends(response, content.stop - self._range.stop)
            return validation.version_id(headers)

    def _error(self, response: Response) -> Exception:
        """Return what *response* means; a 416 is valid only if the object has another size."""
        size = response.headers.get("content-range", "").removeprefix("bytes */")
        if response.status == 416 and size == str(self._version.size):
            return InvalidResponseError("a range that the object has was refused")
        return read_error(response)


class PendingRange(NamedTuple):
    """`PendingResponse` to one attempt of *operation*."""

    operation: GetRange
    exchange: SentExchange
    into: GetBuffer

    @property
    def has_begun(self) -> bool:
        return self.exchange.has_begun

    def fileno(self) -> int:
        return self.exchange.fileno()

    def receive_available(self) -> ReceiveState:
        return self.exchange.receive_available()

    def finish(self) -> str | None:
        return self.operation.receive(self.exchange, self.into)


def range_header(byte_range: ByteRange) -> tuple[tuple[str, str], ...]:
    """Return the Range header for *byte_range*, which is not empty."""
    return (("range", f"bytes={byte_range.start}-{byte_range.stop - 1}"),)


def condition_header(name: str, version: ObjectVersion) -> tuple[tuple[str, str], ...]:
    """Return If-Match or If-None-Match for *version*; nothing if its ETag cannot be sent."""
    return ((name, f'"{version.etag}"'),) if validation.has_sendable_etag(version) else ()


def check_body_ends(response: Response, rest: int) -> None:
    """Raise InvalidResponseError unless the body ends *rest* bytes from here.

    A long rest is not read, and costs the connection.
    """
    if rest > WORTH_DRAINING:
        return
    response.skip(rest)
    if not response.is_at_end():
        raise InvalidResponseError("the body is longer than it should be")
