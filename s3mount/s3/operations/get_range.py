"""GET of a byte range of one object version.

A read has one `ReadState` and a sender for each place from which it goes on. The request takes the
form that the store understands: see `store_traits`.
"""

from collections.abc import Mapping
from typing import NamedTuple

from s3mount.errors import StoreError, UnknownVersion
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.operations import error_mapping, validation
from s3mount.s3.operations.checksum import CHECKSUM_MODE
from s3mount.s3.operations.content_coding import (
    TransformedBodyError,
    UnlocatedPartError,
    check_stored,
)
from s3mount.s3.operations.error_mapping import Operation
from s3mount.s3.operations.etag_probe import EtagProbe
from s3mount.s3.operations.operation_runner import OperationRunner, read_error
from s3mount.s3.operations.read_verification import Probe, ReadVerification
from s3mount.s3.operations.request_form import (
    RequestForm,
    is_final,
    other_form,
    says_unknown,
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

TRANSFORMED = 4  # responses with other bytes than are stored, after which the read fails
WORTH_DRAINING = 64 * 1024  # bytes of a body; reading less costs less than a new connection


class ReadState(ReadVerification):
    """State that the attempts at one read share.

    *form* is that of its requests, once it differs from the mount's, after those of *tried*. The
    store *says_unknown* of what it leaves out.
    *transformed* counts responses with other bytes than are stored. *has_odd_length*: only the
    length of a response has shown another version; a response to Range would tell the size twice.
    *has_no_etag*: a response had none, though the version has.
    """

    form: RequestForm | None = None
    tried: tuple[RequestForm, ...] = ()
    says_unknown = False
    transformed = 0
    has_odd_length = False
    has_no_etag = False
    has_unlocated_part = False


class GetRange:
    """`Sender` of *byte_range* of *version* without its first *offset* bytes, which are there.

    Raises StaleVersion if the store has another version, by the ETag and size of its response.
    If-Match only spares the body of another version, so a read may do without it.
    """

    __slots__ = (
        *("_condition", "_deadline", "_is_whole", "_missing", "_offset", "_probe", "_query"),
        *("_range", "_runner", "_state", "_traits", "_version"),
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
        is_conditional: bool = True,
    ) -> None:
        self._runner = runner
        self._traits = traits
        self._version = version
        self._range = self._missing = byte_range
        self._deadline = deadline
        self._probe = probe
        self._offset = 0
        self._is_whole = byte_range.stop - byte_range.start == version.size
        self._query: Fields = (("versionId", version_id),) if version_id else ()
        self._condition: Fields = ()
        if is_conditional and not version_id:
            self._condition = condition_header("if-match", version)
        self._state = ReadState()

    def resume(self, filled: int) -> "GetRange":
        sender = object.__new__(GetRange)
        for name in GetRange.__slots__:
            setattr(sender, name, getattr(self, name))
        sender._offset = filled
        sender._missing = ByteRange(self._range.start + filled, self._range.stop)
        return sender

    def send(self, into: GetBuffer, cancel_token: CancelToken) -> str | None:
        form = self._state.form or self._traits.form
        exchange = self._runner.transport.send(
            self._request(form), deadline=self._deadline, cancel_token=cancel_token
        )
        return self.receive(exchange, form, into, self._probe_etags)

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

    def _probe_etags(self, version: ObjectVersion, content: memoryview) -> bool | None:
        return self._probe.has_md5_etags(version, content, deadline=self._deadline)

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
                is_sized = "content-length" in headers and "content-encoding" not in headers
                if not is_sized:
                    self._check_coding(headers, form)
                    is_sized = has_size(response)
                size = self._version.size
                if is_sized:
                    content = validation.content_range(status, headers, size)
                else:
                    content = ContentRange(0, size, size)  # `_check_end` proves it
                if not validation.tells_version(
                    self._version, headers
                ) or not validation.is_version(self._version, headers, content.size):
                    raise self._other_version(headers, content)
                validation.check_covers(content, self._missing)
                buffer = self._fill(response, content, into)
                self._check_end(response, content, is_sized=is_sized)
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

    def _check_coding(self, headers: Mapping[str, str], form: RequestForm) -> None:
        """Raise TransformedBodyError for a body that was packed, unless it is in both forms."""
        if all(each.accept_encoding == form.accept_encoding for each in self._state.tried):
            check_stored(headers, self._version)

    def _other_version(self, headers: Mapping[str, str], content: ContentRange) -> Exception:
        if self._lacks_etag(headers):
            version = self._version
            message = "a response without ETag"
            return UnknownVersion(message, bucket=version.bucket, key=version.key)
        self._check_part(headers, content)
        if self._is_odd_length(headers):
            return self._repeated(f"a length of {content.size} bytes under the same ETag")
        return error_mapping.from_replacement(
            self._version, request_id=headers.get("x-amz-request-id")
        )

    def _lacks_etag(self, headers: Mapping[str, str]) -> bool:
        """Whether the ETag is missing for the second time; then the version is found out anew."""
        if validation.tells_version(self._version, headers):
            return False
        is_first, self._state.has_no_etag = not self._state.has_no_etag, True
        if is_first:
            raise self._repeated("no ETag")
        return True

    def _check_part(self, headers: Mapping[str, str], content: ContentRange) -> None:
        """Raise UnlocatedPartError for a part that is sent as a whole object, as lakeFS does."""
        is_part_long = content.size == len(self._missing) and "content-range" not in headers
        if (
            is_part_long
            and not self._state.has_no_etag
            and validation.is_version(self._version, headers, self._version.size)
        ):
            raise UnlocatedPartError("a part that does not say which one it is")

    def _is_odd_length(self, headers: Mapping[str, str]) -> bool:
        """Whether nothing but the length, for the first time, shows another version."""
        is_first, self._state.has_odd_length = not self._state.has_odd_length, True
        return is_first and validation.is_odd_length(self._version, headers)

    def _repeated(self, message: str) -> Retryable:
        """Return the failure after which the same request is sent once more, at once."""
        version = self._version
        return Retryable(
            StoreError(message, bucket=version.bucket, key=version.key), is_adapted=True
        )

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
            if not has_size(response) and isinstance(exc, InvalidResponseError):
                raise TransformedBodyError("the body is shorter than the object") from exc
            failure = self._runner.failure(exc, Operation.GET, self._version.key)
            if isinstance(failure, Retryable) and _is_as_stored(response):
                failure.filled = self._offset + response.received - before
            raise failure from exc
        return buffer

    def _check_end(self, response: Response, content: ContentRange, *, is_sized: bool) -> None:
        rest = content.stop - self._range.stop
        if rest > WORTH_DRAINING or content.start < self._missing.start:
            self._traits.record_range(is_part=False)
        elif response.status == 206:
            self._traits.record_range(is_part=True)
        if is_sized:
            check_body_ends(response, rest)
            return
        try:
            response.skip(rest)
            is_whole = response.is_at_end()
        except InvalidResponseError:
            is_whole = False
        if not is_whole:
            raise TransformedBodyError("the body is as long as another object")

    def _refused(self, response: Response, form: RequestForm) -> Exception:
        """Return what *response* means; a 416 is valid only if the object has another size."""
        size = response.headers.get("content-range", "").removeprefix("bytes */")
        error = read_error(response)
        if "x-amz-delete-marker" in response.headers:
            return error
        if response.status != 416 or size in ("", str(self._version.size)):
            adapted = self._adapted(error, form)
            if size and adapted is error:
                return InvalidResponseError("a range that the object has was refused")
            return adapted
        return error

    def _adapted(self, exc: Exception, form: RequestForm) -> Exception:
        """Return the failure after which another form is tried at once; *exc* if there is none."""
        state = self._state
        if isinstance(exc, UnlocatedPartError) and not state.has_unlocated_part:
            state.has_unlocated_part = True
            return self._repeated(str(exc))
        if isinstance(exc, TransformedBodyError):
            state.transformed += 1
            if state.transformed > TRANSFORMED:
                return StoreError(str(exc), bucket=self._version.bucket, key=self._version.key)
        other = other_form(form, exc, is_whole=self._requests_whole)
        if other is None or other in state.tried:
            if state.form is form and is_final(exc):  # the form was not why: nothing is learned
                state.tried = (*state.tried, form)
                state.form = None
            return exc
        state.tried = (*state.tried, form)
        state.form = other
        state.says_unknown = says_unknown(exc)
        failure = self._runner.failure(exc, Operation.GET, self._version.key)
        return Retryable(
            StoreError(str(failure), bucket=self._version.bucket, key=self._version.key),
            is_adapted=True,
        )


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
    if rest:
        response.skip(rest)
    if not response.is_at_end():
        raise InvalidResponseError("the body is longer than it should be")


def has_size(response: Response) -> bool:
    """Whether the header says how long the body is; else only its end does."""
    headers = response.headers
    return response.status != 200 or "content-length" in headers or "content-range" in headers


def _is_as_stored(response: Response) -> bool:
    """Whether each byte of the body is one of the object: nothing can have packed it unnoticed."""
    headers = response.headers
    return "content-length" in headers or (has_size(response) and "content-encoding" not in headers)
