"""Signature Version 4, over headers and the hash of a body.

Pure, and cheap enough for each of a million requests: what only changes with the day and the
credentials is kept, so a request costs two hashes.
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

import hmac
import time
from collections.abc import Mapping
from hashlib import sha256

from s3mount.errors import AccessDenied
from s3mount.frozen_dataclass import dataclass
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.transport import Fields

# As botocore sends it with every GET and HEAD, over TLS or not. UNSIGNED-PAYLOAD saves nothing if
# there is no payload.
EMPTY_SHA256 = sha256(b"").hexdigest()
_DATE = "x-amz-date"


@dataclass(frozen=True, slots=True, repr=False)
class _Scope:
    """All of a signature that holds for a day, one set of credentials and one set of headers.

    *canonical* and *sent* are the header lines before and after the value of x-amz-date, as hashed
    and as sent.
    """

    valid_for: tuple[FrozenCredentials, str]  # the credentials and the day
    scope: str
    key: bytes
    signed_names: str
    canonical: tuple[str, str]
    sent: tuple[str, str]


class Signer:
    """Signer for one host and region; *headers* (names in lower case) go with every request.

    Thread-safe.
    """

    def __init__(self, host: str, region: str, service: str, headers: Mapping[str, str]) -> None:
        self._region = region
        self._service = service
        self._headers = {"host": host, **headers}
        # of the last request with each set of headers; replaced whole, so threads need no lock
        self._scopes: dict[Fields, _Scope] = {}
        self._stamp = (0, "19700101T000000Z")  # the second of the last request, as it is sent

    def header_lines(
        self,
        credentials: FrozenCredentials,
        method: str,
        path: str,
        query: str,
        now: float,
        *,
        headers: Fields = (),
        payload: str = EMPTY_SHA256,
    ) -> str:
        """Return every signed header, *headers* among them, and Authorization, as header lines.

        *path* and *query* are encoded, *query* is sorted. *now* is the store's time, in seconds
        since 1970. *payload* is the SHA-256 of the body. AccessDenied if the credentials cannot be
        sent.
        """
        second, stamp = self._stamp
        if second != int(now):
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
            self._stamp = (int(now), stamp)
        scope = self._scopes.get(headers) if payload is EMPTY_SHA256 else None
        if scope is None or scope.valid_for != (credentials, stamp[:8]):
            scope = self._open_scope(credentials, stamp[:8], headers, payload)
            if payload is EMPTY_SHA256:  # bodies are few, and each has a hash of its own
                self._scopes[headers] = scope
        before, after = scope.canonical
        canonical = (
            f"{method}\n{path}\n{query}\n{before}{stamp}{after}\n{scope.signed_names}\n{payload}"
        )
        to_sign = (
            f"AWS4-HMAC-SHA256\n{stamp}\n{scope.scope}\n{sha256(canonical.encode()).hexdigest()}"
        )
        signature = hmac.digest(scope.key, to_sign.encode(), "sha256").hex()
        before, after = scope.sent
        return f"{before}{stamp}{after}{signature}\r\n"

    def unsigned_lines(self, headers: Fields = ()) -> str:
        """Return the same header lines for a request that is not signed."""
        return "".join(f"{name}: {value}\r\n" for name, value in self._all(headers).items())

    def _all(self, headers: Fields) -> dict[str, str]:
        return {**self._headers, **dict(headers)}

    def _open_scope(
        self, credentials: FrozenCredentials, day: str, given: Fields, payload: str
    ) -> _Scope:
        headers = {**self._all(given), "x-amz-content-sha256": payload, _DATE: ""}
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
            valid_for=(credentials, day),
            scope=scope,
            key=_signing_key(credentials.secret_key, scope),
            signed_names=signed_names,
            canonical=_around_date(
                "".join(f"{name}:{_trimmed(headers[name])}\n" for name in names), f"{_DATE}:"
            ),
            sent=(sent[0], sent[1] + authorization),
        )


def _check_sendable(credentials: FrozenCredentials) -> None:
    """Raise AccessDenied if a line break of a credential process would become one of a request."""
    sent = credentials.access_key + (credentials.token or "")
    if not (sent.isascii() and sent.isprintable()):
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
