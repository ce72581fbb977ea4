"""Signature Version 4, for requests without a body: pure, and cheap enough to be done for each of a million requests.

The key of a day and everything that only changes with the credentials are kept; a request costs two hashes.
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from s3mount.errors import AccessDenied
from s3mount.s3.endpoint.credentials import FrozenCredentials

# As botocore does for every GET and HEAD, over TLS or not: UNSIGNED-PAYLOAD saves nothing where there is no payload.
EMPTY_SHA256 = sha256(b"").hexdigest()
_DATE = "x-amz-date"


@dataclass(frozen=True, slots=True, repr=False)
class _Scope:
    """All of a signature that holds for a day and one set of credentials.

    *canonical* and *sent* are the header lines before and after the stamp of x-amz-date, as hashed and as sent.
    """

    credentials: FrozenCredentials
    day: str
    scope: str
    key: bytes
    signed_names: str
    canonical: tuple[str, str]
    sent: tuple[str, str]


class Signer:
    """Signs for one host and region; *headers* (names in lower case) go with every request. Thread-safe."""

    def __init__(self, host: str, region: str, service: str, headers: Mapping[str, str]) -> None:
        self._region = region
        self._service = service
        self._headers = {"host": host, **headers}
        self._scope: _Scope | None = (
            None  # of the last request: replaced whole, so threads need no lock
        )

    def header_lines(
        self, credentials: FrozenCredentials, method: str, path: str, query: str, now: float
    ) -> str:
        """Every signed header and Authorization, as lines of a request head. *path* and *query* are encoded, *query* sorted.

        *now* is the store's time, in seconds since 1970. AccessDenied where the credentials cannot be sent.
        """
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        scope = self._scope
        if scope is None or scope.day != stamp[:8] or scope.credentials != credentials:
            scope = self._scope = self._open_scope(credentials, stamp[:8])
        before, after = scope.canonical
        canonical = f"{method}\n{path}\n{query}\n{before}{stamp}{after}\n{scope.signed_names}\n{EMPTY_SHA256}"
        to_sign = (
            f"AWS4-HMAC-SHA256\n{stamp}\n{scope.scope}\n{sha256(canonical.encode()).hexdigest()}"
        )
        signature = hmac.digest(scope.key, to_sign.encode(), "sha256").hex()
        before, after = scope.sent
        return f"{before}{stamp}{after}{signature}\r\n"

    def unsigned_lines(self) -> str:
        """The same headers for a request that is not signed."""
        return "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())

    def _open_scope(self, credentials: FrozenCredentials, day: str) -> _Scope:
        headers = {**self._headers, "x-amz-content-sha256": EMPTY_SHA256, _DATE: ""}
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        _check_sendable(credentials)
        names = sorted(headers)
        signed_names = ";".join(names)
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        sent = _around_date("".join(f"{name}: {headers[name]}\r\n" for name in names), f"{_DATE}: ")
        authorization = (
            f"Authorization: AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={signed_names}, Signature="
        )
        return _Scope(
            credentials=credentials,
            day=day,
            scope=scope,
            key=_signing_key(credentials.secret_key, scope),
            signed_names=signed_names,
            canonical=_around_date(
                "".join(f"{name}:{_trimmed(headers[name])}\n" for name in names), f"{_DATE}:"
            ),
            sent=(sent[0], sent[1] + authorization),
        )


def _check_sendable(credentials: FrozenCredentials) -> None:
    """A line break out of a credential process must not become one of a request."""
    shown = credentials.access_key + (credentials.token or "")
    if not (shown.isascii() and shown.isprintable()):
        raise AccessDenied("the credentials hold characters that no request can carry")


def _around_date(lines: str, date: str) -> tuple[str, str]:
    before, date, after = lines.partition(date)
    return before + date, after


def _trimmed(value: str) -> str:
    return " ".join(value.split())


def _signing_key(secret: str, scope: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    return key
