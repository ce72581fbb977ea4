"""Records of HTTP requests: in flight, and ended.

Values of the request log, and what they are made of. Knows requests and responses, never bodies.
"""

from enum import StrEnum
from typing import Final

from s3mount.errors import S3MountError
from s3mount.frozen_dataclass import dataclass
from s3mount.printable import printable
from s3mount.s3.model import ByteRange, Reason
from s3mount.s3.scheduling.cancel_token import RequestCancelledError
from s3mount.s3.transport import (
    RESTORE,
    ErrorResponseError,
    Response,
    Retryable,
    StoreRequest,
)

NO_STATUS: Final = -1  # there was no response
_NO_FAILURE: Final = ("", "")
_ABSENCES: Final = (Reason.LOOKUP, Reason.REVALIDATE)  # a 404 is what these want to know


class RequestKind(StrEnum):
    """Kind of a request, by which stores bill and relays count."""

    GET = "GET"
    HEAD = "HEAD"
    LIST = "LIST"
    RESTORE = "RESTORE"


class Outcome(StrEnum):
    """Outcome of a request that has ended.

    SUCCEEDED: its response was used, be it that a name is absent (404 of a lookup) or that a
    version is current (304). FAILED: the store refused it, or its response was unusable or broke
    off. TIMED_OUT: a deadline or `--idle-timeout` passed. CANCELLED: its bytes are not needed any
    more. REPEATED: its kept-alive connection had been closed by the peer, and it was sent again.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed-out"
    CANCELLED = "cancelled"
    REPEATED = "repeated"


class RequestRecord:
    """One HTTP request from when it is sent. Times are monotonic; a transport makes one for each.

    *status* is NO_STATUS without a response, *received* counts the bytes of its body. *outcome* is
    None while the request is in flight. *is_counted* is the request log's.
    """

    __slots__ = (
        *("ended_at", "failure", "is_charged", "is_counted", "outcome", "received", "request"),
        *("request_id", "sent_at", "status"),
    )

    def __init__(self, request: StoreRequest, sent_at: float) -> None:
        self.request = request
        self.sent_at = sent_at
        self.outcome: Outcome | None = None
        self.is_counted = False

    # set at its end; the failure is its S3 code, and what is said of it; charged: to the requester
    ended_at: float
    status: int
    received: int
    request_id: str | None
    is_charged: bool
    failure: tuple[str, str]

    @property
    def kind(self) -> RequestKind:
        request = self.request
        if request.method == "HEAD":
            return RequestKind.HEAD
        if request.key is None and request.operation.startswith("List"):
            return RequestKind.LIST
        return RequestKind.RESTORE if request.operation == RESTORE else RequestKind.GET

    @property
    def key(self) -> str:
        """The key, or the prefix of a LIST; after the bucket if the mount has several."""
        request = self.request
        key = dict(request.query).get("prefix", "") if request.key is None else request.key
        return f"{request.bucket}/{key}" if request.bucket else key

    @property
    def byte_range(self) -> ByteRange | None:
        """The requested bytes; None for all of them."""
        first, _, last = dict(self.request.headers).get("range", "").partition("-")
        return ByteRange(int(first.removeprefix("bytes=")), int(last) + 1) if last else None

    def end(
        self,
        now: float,
        response: Response | None,
        exc: BaseException | None,
        *,
        is_cancelled: bool,
    ) -> None:
        """Record the end, at *now*, of what was read of *response*; *exc* if that failed.

        *is_cancelled*: its cancel token was used, which is why it failed.
        """
        self.ended_at = now
        if response is None:
            self.status, self.received, self.request_id = NO_STATUS, 0, None
            self.is_charged = False
        else:
            self.status = response.status
            self.received = response.received
            self.request_id = response.headers.get("x-amz-request-id")
            self.is_charged = "x-amz-request-charged" in response.headers
        self.failure = _NO_FAILURE
        if exc is None:
            self.outcome = Outcome.SUCCEEDED
        else:
            self.outcome = self._outcome_of(exc, is_cancelled=is_cancelled)

    def end_repeated(self, now: float) -> None:
        """Record that it was sent in vain, and is sent once more."""
        self.end(now, None, None, is_cancelled=False)
        self.outcome = Outcome.REPEATED

    def _outcome_of(self, exc: BaseException, *, is_cancelled: bool) -> Outcome:
        if is_cancelled or isinstance(exc, RequestCancelledError):
            return Outcome.CANCELLED
        if isinstance(exc, ErrorResponseError):
            is_absence = self.kind is RequestKind.HEAD or self.request.reason in _ABSENCES
            if exc.response.status == 404 and is_absence:
                return Outcome.SUCCEEDED
        cause = exc.__cause__ if isinstance(exc, Retryable) and exc.__cause__ else exc
        self.failure = code_of(cause), _message(exc)
        self.request_id = _request_id_of(exc) or self.request_id
        return Outcome.TIMED_OUT if isinstance(cause, TimeoutError) else Outcome.FAILED


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A request in flight, *seconds* after it was sent; *key* is the prefix of a LIST."""

    kind: RequestKind
    key: str
    byte_range: ByteRange | None
    reason: Reason
    seconds: float

    @classmethod
    def of(cls, record: RequestRecord, now: float) -> "PendingRequest":
        """Return *record* as it is *now*, of its own clock."""
        reason, seconds = record.request.reason, now - record.sent_at
        return cls(record.kind, record.key, record.byte_range, reason, seconds)


@dataclass(frozen=True, slots=True)
class EndedRequest:
    """A request that has ended, at *time* in seconds since 1970, after *seconds*.

    *key* is the prefix of a LIST. *status* is None without a response. *code* is that of S3, ""
    if there is none. *received* counts the bytes of the body. *message* says what failed, "" if
    nothing did: it quotes nothing that was sent.
    """

    time: float
    kind: RequestKind
    key: str
    byte_range: ByteRange | None
    reason: Reason
    outcome: Outcome
    status: int | None
    code: str
    request_id: str | None
    received: int
    seconds: float
    message: str

    @property
    def is_error(self) -> bool:
        """Whether the store, or the network to it, failed."""
        return is_error(self.outcome)

    @classmethod
    def of(cls, record: RequestRecord, clock_offset: float) -> "EndedRequest":
        """Return *record*, ended; *clock_offset* is from its clock to seconds since 1970."""
        assert record.outcome is not None
        code, message = record.failure
        return cls(
            time=record.ended_at + clock_offset,
            kind=record.kind,
            key=record.key,
            byte_range=record.byte_range,
            reason=record.request.reason,
            outcome=record.outcome,
            status=None if record.status == NO_STATUS else record.status,
            code=code,
            request_id=record.request_id,
            received=record.received,
            seconds=record.ended_at - record.sent_at,
            message=message,
        )


def is_error(outcome: Outcome | None) -> bool:
    """Whether *outcome* is a failure of the store, or of the network to it."""
    return outcome in (Outcome.FAILED, Outcome.TIMED_OUT)


def code_of(exc: BaseException) -> str:
    """Return the S3 code of *exc*, escaped; "" if there is none."""
    match exc:
        case ErrorResponseError(response=response):
            return printable(response.code)
        case S3MountError(code=str(code)):
            return printable(code)
        case Retryable(failure=S3MountError(code=str(code))):
            return printable(code)
    return ""


def _request_id_of(exc: BaseException) -> str | None:
    return exc.response.request_id if isinstance(exc, ErrorResponseError) else None


def _message(exc: BaseException) -> str:
    """Return what *exc* says, if it is of ours; else its class, since it may quote anything."""
    match exc:
        case TimeoutError():
            return "no response in time"
        case OSError():
            return type(exc).__name__
    return printable(str(exc)) or type(exc).__name__
