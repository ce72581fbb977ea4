"""Messages for users about the failure of the bucket check: what is wrong, and what to do.

They repeat no text of a store or a library, which may contain a secret or line breaks.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from functools import cache

from s3mount.config import StoreConfig
from s3mount.errors import DeadlineExceeded, S3MountError, SetupError
from s3mount.printable import printable
from s3mount.s3.endpoint.proxy import ProxyError
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.transport import (
    ErrorResponseError,
    InvalidResponseError,
    Retryable,
)


def setup_error(
    config: StoreConfig, endpoint: Endpoint, failure: S3MountError | Retryable
) -> SetupError:
    """Return the SetupError for *failure*, whose `__cause__` is the exception of the library."""
    error = failure.failure if isinstance(failure, Retryable) else failure
    redirect = _redirect(failure.__cause__)
    # AWS redirects who asks for all buckets without credentials to a page about S3
    is_unsigned = config.is_account and not config.sign_requests
    if redirect is not None and not is_unsigned:
        message = _redirected(endpoint, redirect)
    elif isinstance(failure.__cause__, ErrorResponseError):
        response = failure.__cause__.response
        is_page = response.is_html and not response.code and response.status in (401, 403)
        message = (
            _blocked(endpoint, response.status)
            if is_page
            else _error_response(config, endpoint, error)
        )
    elif isinstance(failure, Retryable) and failure.__cause__ is not None:
        message = _network_error(endpoint, failure.__cause__)
    else:
        message = str(error)
    message = _as_named(endpoint, message)
    return SetupError(message, bucket=config.bucket, status=error.status, code=error.code)


def _redirect(cause: BaseException | None) -> str | None:
    return cause.response.redirect if isinstance(cause, ErrorResponseError) else None


def _redirected(endpoint: Endpoint, redirect: str) -> str:
    is_to_https = re.match(rf"to https://{re.escape(endpoint.host)}\b", redirect)
    if endpoint.scheme == "http" and is_to_https:
        return f"{endpoint.origin} wants https: write https:// in --endpoint-url"
    return f"{endpoint.origin} redirects {redirect}: check --endpoint-url, too"


def no_response(endpoint: Endpoint, seconds: float) -> str:
    message = (
        f"no answer from {endpoint.origin} within {seconds:g} s (--timeout): "
        "check --endpoint-url, the network and its firewalls"
    )
    return _as_named(endpoint, message)


def _as_named(endpoint: Endpoint, message: str) -> str:
    """Return *message* with the name of the variable or setting that gives the endpoint."""
    return message.replace("--endpoint-url", endpoint.named_by)


def no_credentials(failure: DeadlineExceeded, seconds: float) -> SetupError:
    return SetupError(
        f"no credentials within {seconds:g} s: {failure}; try it by hand, or allow more (--timeout)"
    )


_EXPIRED = "the credentials have expired: renew them (for SSO: aws sso login)"
_WRONG_REGION = (
    "bucket {bucket!r} is not at {origin}, but elsewhere: check --region and --endpoint-url"
)

_UNKNOWN_KEY = (
    "{origin} does not know this access key: check the credentials (and --profile, --endpoint-url)"
)
_VIRTUAL_ONLY = "{origin} wants the bucket in the host name: use --addressing-style virtual"

# Alibaba OSS, Tencent COS, Volcengine TOS, Huawei OBS
VIRTUAL_ONLY_CODES = {
    *("SecondLevelDomainForbidden", "PathStyleDomainForbidden"),
    *("InvalidPathAccess", "VirtualHostDomainRequired"),
}

_BY_CODE = {
    **dict.fromkeys(VIRTUAL_ONLY_CODES, _VIRTUAL_ONLY),
    "PermanentRedirect": _WRONG_REGION,
    "TemporaryRedirect": _WRONG_REGION,
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "IllegalLocationConstraintException": _WRONG_REGION,
    "NoSuchBucket": (
        "bucket {bucket!r} does not exist at {origin}: check its name (and --endpoint-url)"
    ),
    "InvalidBucketName": "no bucket can be named {bucket!r}: check its spelling",
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "SignatureDoesNotMatch": (
        "the secret key does not match the access key: check the credentials (and --profile)"
    ),
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "RequestExpired": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "InvalidTokenId": "the session token, or the access key, is not valid: renew the credentials",
    "InvalidClientTokenId": _UNKNOWN_KEY,
    "UnrecognizedClientException": _UNKNOWN_KEY,
    "InvalidAccessKey": _UNKNOWN_KEY,
    "AuthFailure": _UNKNOWN_KEY,
    "XAdminUserNotFound": _UNKNOWN_KEY,  # versitygw's
    "InvalidToken": "the session token is not valid: renew the credentials",
    "RequestTimeTooSkewed": (
        "the clock of this machine is wrong, so its requests are refused: "
        "set it (timedatectl set-ntp true)"
    ),
}

# codes for a bucket or a key that the store does not find, or signs otherwise
_MISPLACED = {"NoSuchBucket", "NoSuchKey", "SignatureDoesNotMatch", *VIRTUAL_ONLY_CODES}
_NAMED_TWICE = "; does --endpoint-url contain the name of the bucket, too?"
_PATH_INSTEAD = ", or use --addressing-style path"
_IN_HOST_ONLY = re.compile(r"\.s3(-accelerate|express-[^.]+)\.")  # take no bucket in the path

# OpenSSL's reasons for a certificate that is not trusted, see openssl/x509_vfy.h
_BY_VERIFY_CODE = {
    10: "the certificate of {origin} has expired: it must be renewed, or the clock set",
    62: "the certificate of {origin} has no such host among its names: check --endpoint-url",
    64: "the certificate of {origin} has no such address among its names: use its host's name",
}
_OLD_TLS = {
    *("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
    *("DH_KEY_TOO_SMALL", "UNSAFE_LEGACY_RENEGOTIATION_DISABLED"),
}

_UNTRUSTED = (
    "the certificate of {origin} is not trusted: "
    "name its certificate authority with --ca-bundle FILE (or AWS_CA_BUNDLE)"
)
_UNKNOWN_HOST = "the host {host!r} is not known: check --endpoint-url, and the network (DNS)"
_PROXY_REFUSES = (
    "the proxy (HTTPS_PROXY, HTTP_PROXY) refuses the connection: check it, or set NO_PROXY"
)
_NO_ANSWER = (
    "no answer from {origin} in time (--connect-timeout, --idle-timeout): "
    "check --endpoint-url, the network and its firewalls"
)
_NOT_HTTP = (
    "{origin} closes the connection, or does not speak HTTP: is it https://? Check --endpoint-url"
)

Row = tuple[tuple[type[BaseException], ...], str]


@cache
def _by_cause() -> tuple[Row, ...]:
    """Return exceptions and what they mean; the first row that fits counts."""
    # urllib3 takes time to import, and a mount whose bucket answers needs no message
    from urllib3 import exceptions as urllib3  # noqa: PLC0415

    return (
        (
            (ssl.SSLCertVerificationError,),
            _UNTRUSTED,
        ),
        (
            (ssl.SSLError,),
            "{origin} does not speak TLS correctly: is it http://? Check --endpoint-url",
        ),
        (
            (urllib3.ProxyError, ProxyError),
            _PROXY_REFUSES,
        ),
        (
            (socket.gaierror, urllib3.NameResolutionError),
            _UNKNOWN_HOST,
        ),
        (
            (ConnectionRefusedError,),
            "{origin} refuses connections: is the server running, and --endpoint-url right?",
        ),
        (
            (urllib3.TimeoutError, TimeoutError),
            _NO_ANSWER,
        ),
        (
            (urllib3.NewConnectionError,),
            "{origin} cannot be reached: check --endpoint-url and the network",
        ),
        (
            (urllib3.ProtocolError, ConnectionError),
            _NOT_HTTP,
        ),
    )


_PROXY_WANTS_USER = (
    "the proxy (HTTPS_PROXY, HTTP_PROXY) wants a password: "
    "name it as http://USER:PASSWORD@HOST:PORT"
)
_FEW_NAMES = 100  # that any store lists at once
_NOT_S3 = "{origin} does not answer like S3 ({how}): check --endpoint-url"


def _error_response(config: StoreConfig, endpoint: Endpoint, error: S3MountError) -> str:
    if config.is_account and (error.code not in _BY_CODE or "{bucket" in _BY_CODE[error.code]):
        return _account_refused(config, endpoint, error)
    names = {"bucket": config.bucket, "origin": endpoint.origin}
    hint = _NAMED_TWICE if error.code in _MISPLACED and _is_named_twice(endpoint) else ""
    if config.list_version != "auto" and error.status in (400, 405, 501):
        hint += (
            f"; it may know another version of the API than --list-version {config.list_version}"
        )
    if error.code == "InvalidArgument" and config.list_page_size > _FEW_NAMES:
        hint += f"; it may list fewer names at once: try --list-page-size {_FEW_NAMES}"
    if error.code in _BY_CODE:
        return _BY_CODE[error.code].format_map(names) + hint
    if error.status in (401, 403):
        return _access_denied(config)
    if error.status == 407:
        return _PROXY_WANTS_USER
    if error.code is None:
        is_tls = endpoint.scheme == "http" and error.status == 400
        how = f"HTTP {error.status}{'; is it https://?' if is_tls else ''}"
        return _NOT_S3.format(how=how, **names)
    return (
        f"{endpoint.origin} refuses to list bucket {config.bucket!r}: "
        f"{error.code[:60]!r} (HTTP {error.status}){hint}"
    )


_UNSIGNED_REFUSED = (301, 302, 303, 307, 308, 401, 403)


def _account_refused(config: StoreConfig, endpoint: Endpoint, error: S3MountError) -> str:
    """Return what is said of the refusal to list the buckets of the account."""
    named = "name buckets instead: --buckets NAME,NAME"
    if error.status in _UNSIGNED_REFUSED and not config.sign_requests:
        return (
            f"the buckets cannot be listed without credentials: omit --no-sign-request, or {named}"
        )
    if error.status in (401, 403):
        return (
            f"listing the buckets is denied: the credentials need s3:ListAllMyBuckets; or {named}"
        )
    code = f"{error.code[:60]!r}, " if error.code else ""
    return (
        f"{endpoint.origin} does not list its buckets ({code}HTTP {error.status}): "
        f"check --endpoint-url, or {named}"
    )


def _blocked(endpoint: Endpoint, status: int) -> str:
    """Return what is said of a refusal that a firewall or a proxy made, not S3."""
    how = f"HTTP {status} with a page for browsers"
    others = "the proxy (HTTPS_PROXY, HTTP_PROXY)" if endpoint.proxy else "firewalls before it"
    return f"{_NOT_S3.format(origin=endpoint.origin, how=how)}, and {others}"


def _is_named_twice(endpoint: Endpoint) -> bool:
    """Whether the URL of an endpoint had the bucket in it before the bucket was put there."""
    labels, parts = endpoint.host.split("."), endpoint.base_path.split("/")
    bucket = endpoint.bucket
    if not bucket:
        return False
    return (labels + parts).count(bucket) > 1 and bucket in (labels[0], *parts[:-1])


def _access_denied(config: StoreConfig) -> str:
    where = f"{config.bucket}/{config.prefix}"
    if not config.sign_requests:
        return f"access to {where!r} is denied: it is not public, so omit --no-sign-request"
    hints = ["the credentials need s3:ListBucket (for this prefix) and s3:GetObject"]
    if not config.requester_pays:
        hints.append("or --requester-pays if the bucket requires it")
    if config.expected_bucket_owner is not None:
        hints.append(
            f"and its owner must be {config.expected_bucket_owner} (--expected-bucket-owner)"
        )
    return f"access to {where!r} is denied: {', '.join(hints)}"


def _network_error(endpoint: Endpoint, cause: BaseException) -> str:
    reasons = tuple(causes_of(cause))
    names = {"origin": endpoint.origin, "host": endpoint.host}
    for kinds, sentence in _by_cause():
        reason = next((each for each in reasons if isinstance(each, kinds)), None)
        if reason is not None:
            return _more_exactly(reason, sentence).format_map(names) + _hint(endpoint, sentence)
    if isinstance(cause, OSError):
        return f"{endpoint.origin} cannot be reached: check --endpoint-url and the network"
    how = printable(str(cause)) if isinstance(cause, InvalidResponseError) else type(cause).__name__
    return _NOT_S3.format(origin=endpoint.origin, how=how)


def _more_exactly(reason: BaseException, sentence: str) -> str:
    """Return what is to be said of *reason*; *sentence* if nothing more is known."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(reason.verify_code, sentence)
    if isinstance(reason, ssl.SSLError) and reason.reason in _OLD_TLS:
        return "{origin} speaks no TLS that is still safe (version, ciphers): it must be updated"
    return sentence


def _hint(endpoint: Endpoint, sentence: str) -> str:
    """Return what else may help: a host with the bucket's name in it may be none."""
    is_about_host = sentence in (_UNKNOWN_HOST, _UNTRUSTED)
    is_virtual = endpoint.host.startswith(f"{endpoint.bucket.lower()}.")
    is_virtual = is_virtual and not _IN_HOST_ONLY.search(endpoint.host)
    if is_about_host and _is_named_twice(endpoint):
        return _NAMED_TWICE
    return _PATH_INSTEAD if is_about_host and is_virtual else ""


def causes_of(cause: BaseException | None) -> Iterator[BaseException]:
    """Yield *cause* and what it wraps; urllib3 has some of that in `reason` only."""
    while cause is not None:
        yield cause
        inner = getattr(cause, "reason", None)
        cause = inner if isinstance(inner, BaseException) else cause.__cause__ or cause.__context__
