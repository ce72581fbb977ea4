"""GET of a byte range of one object version.

A read has one `ReadState` and a sender for each place from which it goes on. The request takes the
form that the store understands: see `store_traits`.
"""

from typing import NamedTuple

from s3mount.s3.model import ByteRange, ObjectVersion, Reason
from s3mount.s3.operations import validation
from s3mount.s3.operations.checksum import CHECKSUM_MODE
from s3mount.s3.operations.content_coding import TransformedBodyError
from s3mount.s3.operations.error_mapping import VAGUE_KEY_REFUSAL, Operation
from s3mount.s3.operations.etag_probe import EtagProbe
from s3mount.s3.operations.head_object import HeadObject
from s3mount.s3.operations.operation_runner import OperationRunner, read_error
from s3mount.s3.operations.read_state import ReadState
from s3mount.s3.operations.read_verification import Probe
from s3mount.s3.operations.request_form import RequestForm
from s3mount.s3.operations.request_headers import match_header, range_header, version_query
from s3mount.s3.operations.response_body import (
    WORTH_DRAINING,
    check_body_ends,
    is_as_stored,
    is_sized,
)
from s3mount.s3.operations.store_traits import StoreTraits
from s3mount.s3.operations.validation import ContentRange
from s3mount.s3.scheduling.attempt import GetBuffer
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import (
    Exchange,
    Fields,
    InvalidResponseError,
    ReceiveState,
    Response,
    Retryable,
    SentExchange,
    StoreRequest,
)


class GetRange:
    """`Sender` of *byte_range* of *version* without its first *offset* bytes, which are there.

    Raises StaleVersion if the store has another version, by the ETag and size of its response.
    A condition only spares the body of another version, so a read may do without it.
    """

    __slots__ = (
        *("_condition", "_deadline", "_head_object", "_is_whole", "_missing", "_offset", "_probe"),
        "_query",
        *("_range", "_reason", "_runner", "_state", "_traits", "_version"),
    )

    def __init__(
        self,
        runner: OperationRunner,
        traits: StoreTraits,
        version: ObjectVersion,
        byte_range: ByteRange,
        *,
        version_id: str | None,
        deadline: float,
        probe: EtagProbe,
        head_object: HeadObject,
        is_conditional: bool = True,
        reason: Reason = Reason.READ,
    ) -> None:
        self._runner = runner
        self._traits = traits
        self._version = version
        self._range = self._missing = byte_range
        self._deadline = deadline
        self._probe = probe
        self._head_object = head_object
        self._reason = reason
        self._offset = 0
        self._is_whole = byte_range.stop - byte_range.start == version.size
        self._query: Fields = version_query(version_id)
        self._condition: Fields = ()
        if is_conditional and not version_id:
            self._condition = match_header(version)
        self._state = ReadState()

    def resume(self, filled: int) -> "GetRange":
        missing = ByteRange(self._range.start + filled, self._range.stop)
        return self._copy(_offset=filled, _missing=missing)

    def hedged(self) -> "GetRange":
        return self._copy(_reason=Reason.HEDGE)

    def send(self, into: GetBuffer, cancel_token: CancelToken) -> str | None:
        form = self._state.form or self._traits.form
        exchange = self._runner.transport.send(
            self._request(form), deadline=self._deadline, cancel_token=cancel_token
        )
        return self.receive(exchange, form, into, self._probe)

    def send_nowait(self, into: GetBuffer, cancel_token: CancelToken) -> "PendingRange | None":
        if self._state.has_mismatched:
            return None
        form = self._state.form or self._traits.form
        exchange = self._runner.transport.send_nowait(
            self._request(form),
            self._missing.stop - self._missing.start,
            deadline=self._deadline,
            cancel_token=cancel_token,
        )
        return None if exchange is None else PendingRange(self, exchange, form, into)

    def receive(
        self, exchange: Exchange, form: RequestForm, into: GetBuffer, probe: Probe | None = None
    ) -> str | None:
        """Return the version id from the response of *exchange*, and the bytes in the buffer.

        Without a *probe* nothing may block.
        """
        return self._runner.run(
            Operation.GET, self._version.key, self._receive, exchange, form, into, probe
        )

    def _copy(self, **changed: object) -> "GetRange":
        sender = object.__new__(GetRange)
        for name in GetRange.__slots__:
            setattr(sender, name, changed.get(name, getattr(self, name)))
        return sender

    @property
    def _requests_whole(self) -> bool:
        return self._is_whole and not self._offset and not self._state.has_odd_length

    def _request(self, form: RequestForm) -> StoreRequest:
        """Return the request; one for a whole object has no Range, with which S3 tells no checksum.

        https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
        """
        headers: Fields = self._condition
        signed: Fields = ()
        if self._requests_whole:
            signed = CHECKSUM_MODE if form.checksums else ()
        elif form.ranges:
            headers = range_header(self._missing) + headers
        return StoreRequest(
            "GetObject",
            self._version.key,
            self._query,
            headers,
            signed,
            accept_encoding=form.accept_encoding,
            reason=self._reason,
        )

    def _receive(
        self, exchange: Exchange, form: RequestForm, into: GetBuffer, probe: Probe | None
    ) -> str | None:
        state = self._state
        with exchange as response:
            status, headers = response.status, response.headers
            if status not in (200, 206):
                raise self._refused(response, form)
            try:
                has_length = "content-length" in headers and "content-encoding" not in headers
                if not has_length:
                    state.check_coding(self._version, headers, form)
                    has_length = is_sized(response)
                size = self._version.size
                if has_length:
                    content = validation.content_range(status, headers, size)
                else:
                    content = ContentRange(0, size, size)  # `_check_end` proves it
                if not validation.tells_version(
                    self._version, headers
                ) or not validation.is_version(self._version, headers, content.size):
                    raise state.other_version(self._version, self._missing, headers, content)
                validation.check_covers(content, self._missing)
                buffer = self._fill(response, content, into)
                self._check_end(response, content, has_length=has_length)
            except TransformedBodyError as exc:
                raise self._adapted(exc, form) from exc
            if state.checksum is not None:
                state.check(buffer, self._version, self._traits, probe, deadline=self._deadline)
            if state.form is form:
                self._traits.learn(form, is_certain=state.says_unknown)
            elif self._traits.has_refusals:
                self._record_accepted(form, status)
            return validation.version_id(headers)

    def _record_accepted(self, form: RequestForm, status: int) -> None:
        if self._requests_whole:
            if form.checksums:
                self._traits.record_accepted("checksums")
        elif form.ranges and status == 206:
            self._traits.record_accepted("ranges")

    def _fill(self, response: Response, content: ContentRange, into: GetBuffer) -> memoryview:
        """Return the buffer, filled. What arrived before a failure is there for the next try."""
        before = self._missing.start - content.start
        if before:
            response.skip(before)
        buffer = into()
        if self._is_whole and self._traits.verifies:
            self._state.expect(self._traits, response)
        try:
            response.read_into(buffer[self._offset :] if self._offset else buffer)
        except (OSError, InvalidResponseError) as exc:
            if not is_sized(response) and isinstance(exc, InvalidResponseError):
                raise TransformedBodyError("the body is shorter than the object") from exc
            failure = self._runner.failure(exc, Operation.GET, self._version.key)
            if isinstance(failure, Retryable) and is_as_stored(response):
                failure.filled = self._offset + response.received - before
            raise failure from exc
        return buffer

    def _check_end(self, response: Response, content: ContentRange, *, has_length: bool) -> None:
        rest = content.stop - self._range.stop
        if rest > WORTH_DRAINING or content.start < self._missing.start:
            self._traits.record_range(is_part=False)
        elif response.status == 206:
            self._traits.record_range(is_part=True)
        if has_length:
            check_body_ends(response, rest)
            return
        try:
            response.skip(rest)
            is_whole = response.is_at_end()
        except InvalidResponseError:
            is_whole = False
        if not is_whole:
            raise TransformedBodyError("the body is as long as another object")

    def _adapted(self, exc: Exception, form: RequestForm) -> Exception:
        return self._state.adapted(
            self._version, exc, form, self._runner, is_whole=self._requests_whole
        )

    def _refused(self, response: Response, form: RequestForm) -> Exception:
        """Return what *response* means; a 416 is valid only if the object has another size.

        Raises AccessDenied if the object is encrypted with a customer key.
        """
        size = response.headers.get("content-range", "").removeprefix("bytes */")
        error = read_error(response)
        if "x-amz-delete-marker" in response.headers:
            return error
        if response.status != 416 or size in ("", str(self._version.size)):
            adapted = self._adapted(error, form)
            if adapted is not error:
                return adapted
            if size:
                return InvalidResponseError("a range that the object has was refused")
            if error.response.code == VAGUE_KEY_REFUSAL:
                version_id = dict(self._query).get("versionId")
                self._head_object.check_encryption(
                    self._version.key, deadline=self._deadline, version_id=version_id
                )
        return error


class PendingRange(NamedTuple):
    """`PendingResponse` to one attempt of *operation*."""

    operation: GetRange
    exchange: SentExchange
    form: RequestForm
    into: GetBuffer

    @property
    def has_begun(self) -> bool:
        return self.exchange.has_begun

    def fileno(self) -> int:
        return self.exchange.fileno()

    def receive_available(self) -> ReceiveState:
        return self.exchange.receive_available()

    def finish(self) -> str | None:
        return self.operation.receive(self.exchange, self.form, self.into)
