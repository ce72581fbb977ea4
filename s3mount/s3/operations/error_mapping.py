"""What a store's refusals mean: (status, S3 code) → an S3MountError, or a Retryable.

One table for both sides of the store's door. Knows answers, never libraries; matches on codes, never on messages, and
repeats none: a message may quote what was sent. A code that is shown is escaped and cut: it may be anything.
"""

from dataclasses import dataclass
from enum import Enum

from s3mount.errors import AccessDenied, NotFound, S3MountError, StaleVersion, StoreError
from s3mount.printable import printable
from s3mount.s3.transport import Retryable

RequestFailure = S3MountError | Retryable


class Operation(Enum):
    """What was asked, as far as it matters to what a refusal means."""

    OBJECT = "HEAD"
    LISTING = "LIST"
    VERSION = "GET"  # bytes of one version
    CHANGE = "revalidation"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorResponse:
    """What the store said instead of answering. *code* is "" where it named none (a HEAD has no body).

    *is_page*: it was said in HTML, which is not how S3 speaks; a gateway or a proxy does.
    """

    status: int
    code: str = ""
    request_id: str | None = None
    is_page: bool = False


# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_THROTTLES = {
    *("SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "ThrottledException"),
    *(
        "RequestLimitExceeded",
        "TooManyRequests",
        "TooManyRequestsException",
        "BandwidthLimitExceeded",
        "Busy",
    ),
}
_PASSING = {
    *(
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "RequestTimeout",
        "RequestTimeoutException",
    ),
    *(
        "IncompleteBody",
        "OperationAborted",
        "ConditionalRequestConflict",
        "TemporaryRedirect",
        "BadGateway",
    ),
}
_STALE = {
    *("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"),
    *(
        "InvalidToken",
        "InvalidAccessKeyId",
    ),  # rotated away, perhaps: the chain may know the new ones
}
_DENIED = {
    *(
        "AccessDenied",
        "AccessDeniedException",
        "AllAccessDisabled",
        "AccountProblem",
        "InvalidObjectState",
    ),
    *(
        "SignatureDoesNotMatch",
        "RequestTimeTooSkewed",
        "InvalidPayer",
        "NotSignedUp",
        "UnauthorizedAccess",
    ),
}
_LASTING_5XX = {501, 505, 508, 510, 511}
_PASSING_4XX = {408, 425, 429}

_WHY = {
    "InvalidObjectState": "it is archived, and has to be restored before it can be read",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "InvalidAccessKeyId": "the access key is unknown to the store",
    "NoSuchBucket": "the bucket does not exist",
}


def from_error_response(
    refusal: ErrorResponse, asked: Operation, *, bucket: str, key: str
) -> RequestFailure:
    """What *refusal* means to whoever asked for *key* (for a listing: its prefix)."""

    def because(kind: type[S3MountError]) -> S3MountError:
        return kind(
            _sentence(refusal, asked),
            bucket=bucket,
            key=key,
            status=refusal.status,
            code=refusal.code or None,
            request_id=refusal.request_id,
        )

    if refusal.code in _STALE:
        return Retryable(because(AccessDenied), is_stale_credentials=True)
    if refusal.status == 400 and not refusal.code and asked is Operation.OBJECT:
        return Retryable(
            because(StoreError), is_stale_credentials=True
        )  # how a HEAD learns of an expired token
    if is_throttle(refusal):
        return Retryable(because(StoreError), is_throttle=True)
    if _is_passing(refusal, asked):
        return Retryable(because(StoreError))
    return because(_kind(refusal, asked))


def is_throttle(refusal: ErrorResponse) -> bool:
    """Whether the store asks for fewer requests."""
    return refusal.code in _THROTTLES or refusal.status in (429, 503)


def from_network_error(
    reason: Exception, asked: Operation, *, bucket: str, key: str, is_timeout: bool
) -> Retryable:
    """No answer, or a part of one: the network failed. A timeout counts as a wish for fewer requests."""
    failure = StoreError(
        f"{asked.value} not answered ({type(reason).__name__})", bucket=bucket, key=key
    )
    return Retryable(failure, is_throttle=is_timeout)


def from_invalid_response(
    what: str, asked: Operation, *, bucket: str, key: str, request_id: str | None = None
) -> Retryable:
    """An answer that is none: cut short, corrupt, or to another question."""
    failure = StoreError(
        f"{asked.value} answered wrongly: {printable(what)}",
        bucket=bucket,
        key=key,
        request_id=request_id,
    )
    return Retryable(failure)


def from_replacement(
    version_key: str, *, bucket: str, request_id: str | None = None
) -> StaleVersion:
    """The store has another version by now."""
    message = "the version being read was replaced"
    return StaleVersion(message, bucket=bucket, key=version_key, request_id=request_id)


def _is_passing(refusal: ErrorResponse, asked: Operation) -> bool:
    if refusal.code in _PASSING:
        return True
    if (
        refusal.status == 404
    ):  # absence is believed only from a store; a HEAD has no body to tell one by
        return (refusal.is_page and asked is not Operation.OBJECT) or (
            asked is Operation.LISTING and not refusal.code
        )
    if refusal.status >= 500:
        return refusal.status not in _LASTING_5XX
    return refusal.status in _PASSING_4XX or refusal.status < 300


def _kind(refusal: ErrorResponse, asked: Operation) -> type[S3MountError]:
    match refusal.status, asked:
        case _ if refusal.code in _DENIED or refusal.code.startswith("KMS."):
            return AccessDenied
        case 401 | 403, _:
            return AccessDenied
        case 404, Operation.VERSION:
            return NotFound if refusal.code == "NoSuchBucket" else StaleVersion
        case 404, _:
            return NotFound
        case (
            (405 | 412 | 416),
            Operation.VERSION,
        ):  # a delete marker; another ETag; shorter than it was
            return StaleVersion
    return StoreError


def _sentence(refusal: ErrorResponse, asked: Operation) -> str:
    why = (
        _WHY.get(refusal.code)
        or printable(refusal.code)
        or ("answered by something that is not S3" if refusal.is_page else "")
    )
    return (
        f"{asked.value} refused: {why} (HTTP {refusal.status})"
        if why
        else f"{asked.value} refused (HTTP {refusal.status})"
    )
