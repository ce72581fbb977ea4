"""The meaning of failures: error responses, invalid responses and network errors → our errors.

Matches on status and S3 code, never on a message, and repeats no message: it may quote what was
sent. A code that is shown is escaped and cut, since it may be anything.
"""

from enum import Enum
from typing import Final

from s3mount.errors import (
    AccessDenied,
    Archived,
    CredentialsRefused,
    NotFound,
    S3MountError,
    StaleVersion,
    StoreError,
    Unreachable,
)
from s3mount.printable import printable
from s3mount.s3.model import ObjectVersion
from s3mount.s3.region_redirect import redirect_reason
from s3mount.s3.transport import ErrorResponse, Retryable

RequestFailure = S3MountError | Retryable


class Operation(Enum):
    """An operation, as far as it decides what an error response means."""

    HEAD = "HEAD"
    LIST = "LIST"
    GET = "GET"  # of one version
    REVALIDATION = "revalidation"
    RESTORE = "restore"


# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_THROTTLES = {
    *("SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "ThrottledException"),
    *("RequestLimitExceeded", "TooManyRequests", "TooManyRequestsException"),
    *("BandwidthLimitExceeded", "Busy"),
}
_TRANSIENT = {
    *("InternalError", "InternalFailure", "InternalServerError", "BadGateway"),
    *("RequestTimeout", "RequestTimeoutException", "IncompleteBody", "OperationAborted"),
    *("ConditionalRequestConflict", "TemporaryRedirect"),
}
_STALE_CREDENTIALS = {
    *("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"),
}
# perhaps replaced meanwhile: the credential chain may know the new ones
_REFUSED_CREDENTIALS = {  # see docs/decisions/refused-keys.md
    *("InvalidToken", "InvalidTokenId", "InvalidAccessKeyId", "InvalidAccessKey"),
    *("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch"),
    *("AuthFailure", "NotSignedUp", "AccessDenied", "AccessDeniedException"),
    "XAdminUserNotFound",  # versitygw's, with 404
}
# of a request without the key of SSE-C: AWS and MinIO; Ceph and SeaweedFS, and on a GET much else
VAGUE_KEY_REFUSAL: Final = "InvalidArgument"
_NEEDS_KEY = {
    ("InvalidRequest", Operation.HEAD),
    ("InvalidRequest", Operation.GET),
    ("InvalidRequest", Operation.REVALIDATION),
    (VAGUE_KEY_REFUSAL, Operation.REVALIDATION),
}
KEY_REFUSALS: Final = frozenset(code for code, _ in _NEEDS_KEY)
_DENIED = {
    *("AllAccessDisabled", "AccountProblem", "RequestTimeTooSkewed"),
    *("InvalidPayer", "UnauthorizedAccess"),
}
_NOTHING_LISTED = {"NoSuchBucket", "NoSuchKey"}
ARCHIVED: Final = "InvalidObjectState"  # the code of a read of an archived object
_WITHOUT_BODY = (Operation.HEAD, Operation.REVALIDATION)
_PERMANENT_5XX = {501, 505, 508, 510, 511}
_TRANSIENT_4XX = {408, 425, 429}

_REASONS = {
    ARCHIVED: (
        "it is archived, and has to be restored before it can be read: s3mountctl restore PATH"
    ),
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "InvalidAccessKeyId": "the access key is unknown to the store",
    "InvalidTokenId": "the access key or the token is unknown to the store",
    "NoSuchBucket": "the bucket does not exist",
}


def from_error_response(
    response: ErrorResponse, operation: Operation, *, bucket: str, key: str
) -> RequestFailure:
    """Return what *response* to *operation* on *key* (for LIST: the prefix) means."""

    def make(kind: type[S3MountError]) -> S3MountError:
        return kind(
            _message(response, operation),
            bucket=bucket,
            key=key,
            status=response.status,
            code=response.code or None,
            request_id=response.request_id,
        )

    if response.redirect is not None:
        return make(StoreError)
    if response.code in _STALE_CREDENTIALS:
        return Retryable(make(AccessDenied), is_stale_credentials=True)
    if response.status == 400 and not response.code and operation in _WITHOUT_BODY:
        # perhaps an expired token; the response to a GET had no code either
        return Retryable(make(StoreError), is_stale_credentials=True)
    if is_throttle(response):
        return Retryable(make(StoreError), is_throttle=True)
    if _is_transient(response, operation):
        return Retryable(make(StoreError))
    return make(_kind(response, operation))


def is_throttle(response: ErrorResponse) -> bool:
    """Whether the store asks for fewer requests."""
    return response.code in _THROTTLES or response.status in (429, 503)


def from_network_error(exc: OSError, operation: Operation, *, bucket: str, key: str) -> Retryable:
    """Return the failure for no response, or a part of one. A timeout counts as a throttle."""
    is_timeout = isinstance(exc, TimeoutError)
    reason = "in time, see --idle-timeout" if is_timeout else f"({type(exc).__name__})"
    failure = Unreachable(f"no response to {operation.value} {reason}", bucket=bucket, key=key)
    return Retryable(failure, is_throttle=is_timeout)


def from_invalid_response(
    reason: str, operation: Operation, *, is_cut: bool = False, bucket: str, key: str
) -> Retryable:
    """Return the failure for a response that is cut short, corrupt, or to another request."""
    message = f"invalid response to {operation.value}: {printable(reason)}"
    kind = Unreachable if is_cut else StoreError
    return Retryable(kind(message, bucket=bucket, key=key), is_invalid=not is_cut)


def from_replacement(version: ObjectVersion, *, request_id: str | None = None) -> StaleVersion:
    """Return the failure for a store that has another version than *version*."""
    return StaleVersion(
        "the version being read was replaced",
        bucket=version.bucket,
        key=version.key,
        request_id=request_id,
    )


def _is_transient(response: ErrorResponse, operation: Operation) -> bool:
    if response.code in _TRANSIENT:
        return True
    if response.status == 404:
        # Only S3 itself may report an absence; a HEAD has no body that would show who it was.
        is_from_a_gateway = response.is_html and operation is not Operation.HEAD
        return is_from_a_gateway or (operation is Operation.LIST and not response.code)
    if response.status >= 500:
        return response.status not in _PERMANENT_5XX
    return response.status in _TRANSIENT_4XX or response.status < 300


def _kind(response: ErrorResponse, operation: Operation) -> type[S3MountError]:
    if response.code == ARCHIVED or _is_denied(response, operation):
        return Archived if response.code == ARCHIVED else AccessDenied
    if response.status in (401, 403) or response.code in _REFUSED_CREDENTIALS:
        return CredentialsRefused
    match response.status, operation:
        case 404, Operation.GET:
            return NotFound if response.code == "NoSuchBucket" else StaleVersion
        case 404, _ if operation is not Operation.LIST or response.code in _NOTHING_LISTED:
            return NotFound
        # a delete marker; another ETag; shorter than it was
        case ((405 | 412 | 416), Operation.GET):
            return StaleVersion
    return StoreError


def _is_denied(response: ErrorResponse, operation: Operation) -> bool:
    """Whether no other credentials would help."""
    is_denied = response.code in _DENIED or response.code.startswith("KMS.")
    return is_denied or _needs_customer_key(response, operation)


def _needs_customer_key(response: ErrorResponse, operation: Operation) -> bool:
    """Whether the object is encrypted with a key of the customer's (SSE-C), as far as we know."""
    return response.status == 400 and (response.code, operation) in _NEEDS_KEY


def _message(response: ErrorResponse, operation: Operation) -> str:
    reason = _REASONS.get(response.code) or printable(response.code)
    if _needs_customer_key(response, operation):
        reason = f"encrypted with a customer key (SSE-C), see --sse-c-key-file: {response.code}"
    if not reason and response.is_html:
        reason = "the response is not from S3"
    if response.redirect is not None:
        reason = f"the store redirects {response.redirect}"
    refused = f"{operation.value} refused"
    if response.redirect is None and (elsewhere := redirect_reason(response)) is not None:
        reason = elsewhere
    return f"{refused}{reason and f': {reason}'} (HTTP {response.status})"
