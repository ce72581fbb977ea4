"""The protocol between S3 operations and the transports that send their requests.

Knows HTTP, not S3: an operation builds a `StoreRequest` and validates its response. A transport
signs, sends, frames the response and keeps connections; it validates nothing and retries nothing,
except for a kept-alive connection that the peer had closed. Deadlines are in `time.monotonic()`
seconds: no call blocks past its deadline by more than a second.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import Final, NamedTuple, Protocol, TypeVar

from s3mount.errors import S3MountError
from s3mount.frozen_dataclass import dataclass
from s3mount.s3.model import Reason
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.unawaited import ExpectedError

T_co = TypeVar("T_co", covariant=True)

Fields = tuple[tuple[str, str], ...]
"""Names and values, neither encoded nor quoted."""

READS: Final = frozenset({"GET", "HEAD"})  # methods of requests that change nothing
RESTORE: Final = "RestoreObject"  # the one operation that is not a read
IDENTITY: Final = "identity"
GZIP: Final = "gzip"


class Destination(Protocol):
    """Peer of a transport, as `Endpoint` describes it."""

    @property
    def scheme(self) -> str: ...

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def origin(self) -> str: ...

    @property
    def proxy(self) -> str | None: ...

    @property
    def verify_ssl(self) -> bool: ...

    @property
    def keys_over_http(self) -> bool: ...


class RequestKey(Protocol):
    """Customer key (SSE-C) of a request, which shows itself to nothing but a transport."""

    def fields_for(self, destination: Destination, url: str | None = None) -> Fields:
        """Return the headers that carry the key to *destination*, when the request is encoded.

        *url* is where the request goes, if that was decided elsewhere. AccessDenied if others could
        read the key there.
        """
        ...


class StoreRequest(NamedTuple):
    """One request for an object, or for the bucket if *key* is None, before it is signed.

    Over the transport of an account, one without a key is for all its buckets.

    *operation* is its name in the S3 API. *query* is sorted by name. Names of headers are in lower
    case; *signed_headers* are part of the signature, as S3 demands of each `x-amz-` header.
    *accept_encoding* never is: Google's front end changes it before the signature is checked.
    *reason* is for the request log, and so is *bucket*: "" if the mount has only one. The headers
    of *customer_key* are signed as well. Only a restore has a *body*, and another *method* than GET
    or HEAD: see `is_allowed`.
    """

    operation: str
    key: str | None
    query: Fields = ()
    headers: Fields = ()
    signed_headers: Fields = ()
    method: str = "GET"
    accept_encoding: str = IDENTITY
    reason: Reason = Reason.READ
    bucket: str = ""
    customer_key: RequestKey | None = None
    body: bytes = b""


def is_allowed(request: StoreRequest, method: str) -> bool:
    """Whether *request* may be sent by *method*: it reads, or asks for a restore.

    Each transport asks this of all that it sends, so no defect elsewhere can change a bucket.
    """
    if method in READS:
        return not request.body
    is_restore = (request.operation, request.query[:1]) == (RESTORE, (("restore", ""),))
    return is_restore and method == request.method == "POST" and request.key is not None


class ForbiddenRequestError(Exception):
    """A request that would change the bucket: a bug, and nothing is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorResponse:
    """An S3 error response. *code* is "" if there is none (the response to a HEAD has no body).

    *is_html*: the body is HTML or JSON, so a gateway or a proxy sent it. *region* and *date* are
    the bucket's region and the store's clock, if the response has them. *redirect* says of a
    redirect where it leads, and why it is not followed.
    """

    status: int
    code: str = ""
    request_id: str | None = None
    is_html: bool = False
    region: str | None = None
    date: str | None = None
    redirect: str | None = None


class ErrorResponseError(Exception):
    """Refusal of a request by the store with *response*, which has been read."""

    def __init__(self, response: ErrorResponse) -> None:
        super().__init__(f"HTTP {response.status} {response.code}".rstrip())
        self.response = response


class InvalidResponseError(Exception):
    """A response that breaks HTTP, or that no operation accepts; the text says why."""


class CutShortError(InvalidResponseError):
    """A body that ends before its announced end: the bytes before may be right."""


class Retryable(ExpectedError):
    """A failed attempt that another may mend: throttled, 5xx, network, timeout, corrupt.

    *failure* is what to raise when attempts are used up. *is_throttle*: the store asks for fewer
    requests (503 SlowDown, 429). *is_stale_credentials*: the store refused the credentials as
    expired. *is_unsent*: this host has no thread for the attempt. *is_invalid*: the response was
    none that S3 sends, which seldom passes. *is_adapted*: the next request differs, so it is sent
    at once.

    Of a read whose buffer the attempt had: the first *filled* bytes of it are of the version.
    *is_corrupt*: none are, since the bytes have failed their check.
    """

    def __init__(
        self,
        failure: S3MountError,
        *,
        is_throttle: bool = False,
        is_stale_credentials: bool = False,
        is_unsent: bool = False,
        is_invalid: bool = False,
        is_adapted: bool = False,
        is_corrupt: bool = False,
        filled: int = 0,
    ) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.is_throttle = is_throttle
        self.is_stale_credentials = is_stale_credentials
        self.is_unsent = is_unsent
        self.is_invalid = is_invalid
        self.is_adapted = is_adapted
        self.is_corrupt = is_corrupt
        self.filled = filled


class ReceiveState(Enum):
    """Progress of a response; FALLBACK if only blocking calls can receive the rest."""

    PARTIAL = "partial"
    COMPLETE = "complete"
    FALLBACK = "fallback"


class Receiving(Protocol):
    """A request that was sent without waiting. For one thread at a time."""

    @property
    def has_begun(self) -> bool:
        """Whether any byte of the response has been received."""
        ...

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when there is more to receive."""
        ...

    def receive_available(self) -> ReceiveState:
        """Receive what has arrived, without waiting. Raises nothing; the blocking calls do."""
        ...


class PendingResponse(Receiving, Protocol[T_co]):
    """The response to a request that was sent without waiting."""

    def finish(self) -> T_co:
        """Return the validated response; call once.

        Blocks as a blocking request does, except after COMPLETE or a cancellation.
        """
        ...


class Response(Protocol):
    """The status and headers of a response (names in lower case), and a body to read once.

    What reads the body raises InvalidResponseError and OSErrors.
    """

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def received(self) -> int:
        """The bytes of the body read so far, those of a call that raised included."""
        ...

    def read_into(self, buffer: memoryview) -> None:
        """Fill *buffer*, in order; an error if the body ends before."""
        ...

    def read_all(self, limit: int) -> bytes:
        """Read the rest of the body; an error if it is longer than *limit* bytes."""
        ...

    def skip(self, count: int) -> None:
        """Read and drop *count* bytes."""
        ...

    def is_at_end(self) -> bool:
        """Whether the body has been read to its end; may wait for the peer."""
        ...


class Exchange(Protocol):
    """One request and its response: a context manager, to be entered once.

    Entering sends the request, unless it was sent, and reads the response's header. Leaving it by
    another exception than an S3MountError or an ErrorResponseError closes the connection.
    Raises OSErrors, InvalidResponseError, RequestCancelledError, what credentials raise, and
    ErrorResponseError if the store refuses what has to precede the request (a session).
    """

    def __enter__(self) -> Response: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


class SentExchange(Exchange, Receiving, Protocol):
    """An exchange whose request was sent without waiting."""


class Transport(Protocol):
    """Sends requests to one bucket, from any thread."""

    def send(
        self, request: StoreRequest, *, deadline: float, cancel_token: CancelToken | None = None
    ) -> Exchange:
        """Return the exchange that will send *request*. *cancel_token* ends it, with any error."""
        ...

    def send_nowait(
        self, request: StoreRequest, length: int, *, deadline: float, cancel_token: CancelToken
    ) -> SentExchange | None:
        """Send *request*, whose response's body should have *length* bytes, without waiting.

        Returns None, and sends nothing, if it would have to wait or the body is a large one.
        """
        ...

    def preconnect(self, *, deadline: float) -> None:
        """Open a connection for a later request, if the transport can. Raises nothing."""
        ...

    def renew_credentials(self, since: float, deadline: float, *, is_expired: bool) -> bool:
        """Have the credential chain look again; see `Credentials.renew`."""
        ...

    def adjust_clock(self, date: str | None) -> bool:
        """Sign by the store's clock from now on, as *date* (HTTP) gives it.

        Returns False if the clock is as before, or cannot be adjusted.
        """
        ...

    def close(self) -> None:
        """Wake every thread that waits for the store, with an error."""
        ...


def content_length(headers: Mapping[str, str]) -> int | None:
    """Return Content-Length, or None if there is none (chunked)."""
    raw = headers.get("content-length")
    if raw is None:
        return None
    if "," in raw:  # told several times: RFC 9110, section 8.6
        raw = join_values([each.strip() for each in raw.split(",")])
    if not (raw.isascii() and raw.isdigit() and len(raw) < 20):
        raise InvalidResponseError(f"Content-Length {raw[:40]!r}")
    return int(raw)


def join_values(values: Sequence[str]) -> str:
    """Return the value of a header field that was sent several times.

    A value that a proxy repeats counts once; others are joined, see RFC 9110, section 5.3.
    """
    return values[0] if len(set(values)) == 1 else ", ".join(values)


def is_chunked(headers: Mapping[str, str]) -> bool:
    """Whether a body comes in chunks. InvalidResponseError if that would be a guess.

    HTTP/1.0's `identity` means nothing. A length beside chunks is how requests are smuggled.
    """
    raw = headers.get("transfer-encoding")
    if raw is None:
        return False
    words = (word.strip() for word in raw.lower().split(","))
    coding = ", ".join(word for word in words if word != "identity")
    if not coding:
        return False
    length = headers.get("content-length")
    if coding != "chunked" or length is not None:
        raise InvalidResponseError(f"Transfer-Encoding {coding[:40]!r}, Content-Length {length!r}")
    return True
