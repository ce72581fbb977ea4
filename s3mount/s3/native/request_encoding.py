"""Encoding of a request: its path, query, header and body, signed.

Knows how S3 wants requests written, nothing of connections.
"""

from base64 import b64encode
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from hashlib import md5, sha256
from urllib.parse import quote

from s3mount.s3.endpoint.credentials import ANONYMOUS, FrozenCredentials
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.native.connector import forwarding_lines
from s3mount.s3.native.sigv4 import EMPTY_SHA256, Signer
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import (
    READS,
    Fields,
    ForbiddenRequestError,
    StoreRequest,
    is_allowed,
)

SKEW = 300.0  # seconds between two clocks that may explain a refusal; S3 allows 900


class RequestEncoder:
    """Encoder of requests to *store*, from any thread. *wall_clock* is in seconds since 1970."""

    def __init__(self, store: Endpoint, wall_clock: Callable[[], float]) -> None:
        self._endpoint = store
        self._credentials = store.credentials
        self._base_path = store.base_path
        self._wall_clock = wall_clock
        self._signer = Signer(store.host_header, store.region, store.service, store.headers)
        self._standing = f"User-Agent: {store.user_agent}\r\n{forwarding_lines(store)}"
        # a proxy that forwards wants whole URLs
        self._origin = store.origin if store.proxy and store.scheme == "http" else ""
        self._skew = 0.0  # seconds: the store's clock less ours, if the store refused ours

    def encode_waiting(
        self, request: StoreRequest, deadline: float, cancel_token: CancelToken
    ) -> bytes:
        """As `encode`, with credentials that may have to be waited for."""
        return self.encode(request, self._credentials.frozen(deadline, cancel_token))

    def encode(self, request: StoreRequest, credentials: FrozenCredentials) -> bytes:
        """Return *request* as it is sent; AccessDenied if credentials or a key cannot be sent.

        ForbiddenRequestError for a request that is neither a read nor a restore.
        """
        path = object_path(self._base_path, request.key)
        query = encode_query(request.query)
        signed, payload = request.signed_headers, EMPTY_SHA256
        if request.customer_key is not None:
            signed += request.customer_key.fields_for(self._endpoint)
        if request.body or request.method not in READS:
            signed, payload = _with_body(request)
        if credentials is ANONYMOUS:
            lines = self._signer.unsigned_lines(signed)
        else:
            lines = self._signer.header_lines(
                credentials,
                request.method,
                path,
                query,
                self._wall_clock() + self._skew,
                headers=signed,
                payload=payload,
            )
        others = "".join([f"{name}: {value}\r\n" for name, value in request.headers])
        target = f"{path}?{query}" if query else path
        return (
            f"{request.method} {self._origin}{target} HTTP/1.1\r\n"
            f"{lines}{self._standing}Accept-Encoding: {request.accept_encoding}\r\n{others}\r\n"
        ).encode() + request.body

    def adjust_clock(self, date: str | None) -> bool:
        """Sign by the store's clock, which *date* gives; False if it is known, or no date."""
        try:
            skew = parsedate_to_datetime(date or "").timestamp() - self._wall_clock()
        except (ValueError, OverflowError):
            return False
        is_news = abs(skew - self._skew) > SKEW
        if is_news:
            self._skew = skew
        return is_news


def _with_body(request: StoreRequest) -> tuple[Fields, str]:
    """Return what *request*, which is not a read, has to sign: its headers, and its body's hash.

    S3 demands a checksum of the body of a restore.
    """
    if not is_allowed(request, request.method):
        raise ForbiddenRequestError(f"{request.method} {request.operation}")
    body = request.body
    digest = b64encode(md5(body, usedforsecurity=False).digest()).decode()
    described = (
        ("content-length", str(len(body))),
        ("content-md5", digest),
        ("content-type", "application/xml"),
    )
    return request.signed_headers + described, sha256(body).hexdigest()


def object_path(base_path: str, key: str | None) -> str:
    """Return the path of an object, or of the bucket if *key* is None.

    Dots and empty parts in a key are the key's own, and stay.
    """
    return base_path or "/" if key is None else f"{base_path}/{_quoted(key, '/')}"


def encode_query(query: Fields) -> str:
    """Return *query*, which is sorted, as SigV4 wants it."""
    return "&".join([f"{name}={_quoted(value)}" for name, value in query]) if query else ""


def _quoted(text: str, safe: str = "") -> str:
    """Encode *text* once, as SigV4 and S3 both want it: all but letters, digits, `-_.~`, *safe*."""
    return quote(text, safe, "utf-8", "surrogateescape")
