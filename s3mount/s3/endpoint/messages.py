"""What the failure of a mount's first request means to whoever typed the command: one line, what is wrong and what to do.

Knows causes, and says nothing that a store or a library said, since that may quote a secret or break the line.
"""

import socket
import ssl
from collections.abc import Iterator

from urllib3 import exceptions as urllib3

from s3mount.config import StoreConfig
from s3mount.errors import S3MountError, SetupError
from s3mount.printable import printable
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.transport import ErrorResponseError, InvalidResponseError, Retryable


def setup_error(
    config: StoreConfig, store: Endpoint, fault: S3MountError | Retryable
) -> SetupError:
    """*fault*, told to a person. Its `__cause__` is what the library raised."""
    failure = fault.failure if isinstance(fault, Retryable) else fault
    if isinstance(fault.__cause__, ErrorResponseError):
        message = _refused(config, store, failure)
    elif isinstance(fault, Retryable) and fault.__cause__ is not None:
        message = _unanswered(store, fault.__cause__)
    else:
        message = str(failure)
    return SetupError(message, bucket=config.bucket, status=failure.status, code=failure.code)


def no_answer(store: Endpoint, seconds: float) -> str:
    """The store was silent for so long."""
    return f"no answer from {store.origin} within {seconds:.0f} s: check --endpoint-url, the network and its firewalls"


_EXPIRED = "the credentials have expired: renew them (for SSO: aws sso login)"
_BAD_NAME = "no bucket can be named {bucket!r}: check how it is spelt"

_ELSEWHERE = "bucket {bucket!r} is not to be had at {origin}, but elsewhere: check --region and --endpoint-url"

_BY_CODE = {
    "PermanentRedirect": _ELSEWHERE,
    "TemporaryRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
    "NoSuchBucket": "bucket {bucket!r} does not exist at {origin}: check its name (and --endpoint-url)",
    "InvalidBucketName": _BAD_NAME,
    "InvalidAccessKeyId": "{origin} does not know this access key: check the credentials (and --profile, --endpoint-url)",
    "SignatureDoesNotMatch": "the secret key does not fit the access key: check the credentials (and --profile)",
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "RequestExpired": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidToken": "the session token is not valid: renew the credentials",
    "RequestTimeTooSkewed": (
        "the clock of this machine is wrong, and its requests are refused for that: set it (timedatectl set-ntp true)"
    ),
}

_BY_CAUSE: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    (
        (ssl.SSLCertVerificationError,),
        "the certificate of {origin} is not trusted: name who signed it with --ca-bundle FILE (or AWS_CA_BUNDLE)",
    ),
    (
        (ssl.SSLError,),
        "{origin} does not speak TLS as it should: is it http:// there? Check --endpoint-url",
    ),
    (
        (urllib3.ProxyError,),
        "the proxy (HTTPS_PROXY, HTTP_PROXY) does not let through: check it, or set NO_PROXY",
    ),
    (
        (socket.gaierror, urllib3.NameResolutionError),
        "the host {host!r} is not known: check --endpoint-url, and the network (DNS)",
    ),
    (
        (ConnectionRefusedError,),
        "{origin} refuses connections: is the server running, and --endpoint-url right?",
    ),
    (
        (urllib3.TimeoutError, TimeoutError),
        "no answer from {origin} in time: check --endpoint-url, the network and its firewalls",
    ),
    (
        (urllib3.NewConnectionError,),
        "{origin} cannot be reached: check --endpoint-url and the network",
    ),
    (
        (urllib3.ProtocolError,),
        "{origin} breaks off, or speaks no HTTP: is it https:// there? Check --endpoint-url",
    ),
)

_NOT_S3 = "{origin} does not answer like S3 ({how}): check --endpoint-url"


def _refused(config: StoreConfig, store: Endpoint, failure: S3MountError) -> str:
    names = {"bucket": config.bucket, "origin": store.origin}
    if failure.code in _BY_CODE:
        return _BY_CODE[failure.code].format_map(names)
    if failure.status in (401, 403):
        return _denied(config)
    if failure.code is None:
        return _NOT_S3.format(how=f"HTTP {failure.status}", **names)
    return f"{store.origin} refuses to list bucket {config.bucket!r}: {failure.code[:60]!r} (HTTP {failure.status})"


def _denied(config: StoreConfig) -> str:
    where = f"{config.bucket}/{config.prefix}"
    if not config.sign_requests:
        return f"access to {where!r} is denied: it is not public, so leave --no-sign-request away"
    hints = ["the credentials need s3:ListBucket (for this prefix) and s3:GetObject"]
    if not config.requester_pays:
        hints.append("or --requester-pays where the bucket asks for it")
    if config.expected_bucket_owner is not None:
        hints.append(
            f"and its owner must be {config.expected_bucket_owner} (--expected-bucket-owner)"
        )
    return f"access to {where!r} is denied: {', '.join(hints)}"


def _unanswered(store: Endpoint, cause: BaseException) -> str:
    reasons = tuple(_chain(cause))
    for kinds, sentence in _BY_CAUSE:
        if any(isinstance(reason, kinds) for reason in reasons):
            return sentence.format(origin=store.origin, host=store.host)
    how = printable(str(cause)) if isinstance(cause, InvalidResponseError) else type(cause).__name__
    return _NOT_S3.format(origin=store.origin, how=how)


def _chain(cause: BaseException | None) -> Iterator[BaseException]:
    """*cause* and all that it wraps; urllib3 keeps some of that in `reason` only."""
    while cause is not None:
        yield cause
        inner = getattr(cause, "reason", None)
        cause = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__
