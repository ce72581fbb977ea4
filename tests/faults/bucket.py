"""Bucket in memory, and the correct S3 response to each request.

Knows requests and responses, never sockets; `hostile_store` decides what is sent.
"""

import base64
import bisect
import email.utils
import hashlib
import itertools
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit
from xml.sax.saxutils import escape

XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"
DOMAIN = "s3.test"  # of virtual-hosted requests
REASONS = {
    200: "OK",
    206: "Partial Content",
    304: "Not Modified",
    404: "Not Found",
    412: "Precondition Failed",
}


class Kind(StrEnum):
    """Operation that a request calls."""

    HEAD = "HEAD"
    GET = "GET"
    LIST = "LIST"
    BUCKET = "BUCKET"


@dataclass(frozen=True, slots=True)
class Request:
    """Request as received; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def bucket(self) -> str:
        return self._segments[0]

    @property
    def key(self) -> str:
        return self._segments[1]

    @property
    def query(self) -> dict[str, str]:
        return dict(
            parse_qsl(urlsplit(self.target).query, keep_blank_values=True, errors="surrogateescape")
        )

    @property
    def kind(self) -> Kind:
        if self.key:
            return Kind(self.method)
        is_of_bucket = not {"location", "session"}.isdisjoint(self.query)
        is_listing = self.method == "GET" and self.bucket and not is_of_bucket
        return Kind.LIST if is_listing else Kind.BUCKET

    @property
    def key_or_prefix(self) -> str:
        """The requested key, or the listed prefix."""
        return self.query.get("prefix", "") if self.kind is Kind.LIST else self.key

    def with_query(self, changes: Mapping[str, str | None]) -> "Request":
        """Return a copy with these query parameters set, or removed if None."""
        query = {
            name: value for name, value in {**self.query, **changes}.items() if value is not None
        }
        return replace(
            self,
            target=f"{urlsplit(self.target).path}?{urlencode(query, errors='surrogateescape')}",
        )

    @property
    def is_virtual_hosted(self) -> bool:
        return self._host.endswith(f".{DOMAIN}")

    @property
    def _host(self) -> str:
        return self.headers.get("host", "").partition(":")[0]

    @property
    def _segments(self) -> tuple[str, str]:
        path = urlsplit(self.target).path.removeprefix("/")
        if self.is_virtual_hosted:
            return self._host.removesuffix(f".{DOMAIN}"), unquote(path, errors="surrogateescape")
        bucket, _, key = path.partition("/")
        return unquote(bucket), unquote(key, errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class Response:
    """HTTP response; the body of a response to HEAD is never sent."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    is_bodiless: bool = False  # to a HEAD: Content-Length is set, the body is not sent
    cut_after: int | None = None  # bytes of the body, then the connection is closed

    def with_header(self, name: str, value: str | None) -> "Response":
        """Return a copy with this header set, or removed if *value* is None."""
        others = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return replace(self, headers=others if value is None else (*others, (name, value)))

    def with_body(self, body: bytes) -> "Response":
        """Return a copy with this body and its length."""
        return replace(self, body=body).with_header("Content-Length", str(len(body)))

    def header(self, name: str) -> str:
        return next(value for key, value in self.headers if key.lower() == name.lower())

    @property
    def status_line(self) -> bytes:
        return f"HTTP/1.1 {self.status} {REASONS.get(self.status, 'Because')}\r\n".encode()

    @property
    def head(self) -> bytes:
        fields = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return self.status_line + fields.encode("latin-1", "surrogateescape") + b"\r\n"

    @property
    def sent_body(self) -> bytes:
        return b"" if self.is_bodiless else self.body[: self.cut_after]


@dataclass(frozen=True, slots=True)
class Blob:
    """One version of an object."""

    body: bytes
    etag: str
    version_id: str
    extra: tuple[tuple[str, str], ...] = ()  # headers of the object's own
    mtime: float = field(default_factory=lambda: float(int(time.time())))

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (
            ("ETag", self.etag),
            ("Last-Modified", email.utils.formatdate(self.mtime, usegmt=True)),
            ("Accept-Ranges", "bytes"),
            ("Content-Type", "binary/octet-stream"),
            *self.extra,
        )


class Bucket:
    """Objects by key, with every version of each; thread-safe."""

    def __init__(self, name: str, *, page_size: int = 1000, is_versioned: bool = False) -> None:
        self.name = name
        self.page_size = page_size
        self._is_versioned = is_versioned
        # The versions of each key, oldest first, None for a delete marker; all keys in S3's order.
        self._versions: dict[str, list[Blob | None]] = {}
        self._order: list[bytes] = []
        self._serial = itertools.count(1)
        self._lock = threading.RLock()

    def put(self, key: str, body: bytes, *headers: tuple[str, str]) -> None:
        with self._lock:
            etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
            blob = Blob(body, f'"{etag}"', f"v{next(self._serial)}", headers)
            if key not in self._versions:
                bisect.insort(self._order, _raw(key))
            self._versions.setdefault(key, []).append(blob)

    def delete(self, key: str) -> None:
        with self._lock:
            self._versions[key].append(None)

    def every_key(self) -> list[str]:
        """Return every key that was ever put."""
        with self._lock:
            return list(self._versions)

    def bodies(self, key: str) -> list[bytes]:
        """Return every body that *key* ever had, oldest first."""
        return [blob.body for blob in self._versions[key] if blob]

    def respond(self, request: Request) -> Response:
        with self._lock:
            return replace(self._respond(request), is_bodiless=request.method == "HEAD")

    def _respond(self, request: Request) -> Response:
        match request.kind:
            case Kind.LIST:
                return self._list(request)
            case Kind.BUCKET:
                return self._bucket(request)
            case _:
                return self._object(request)

    def _current(self, key: str) -> Blob | None:
        return self._versions.get(key, [None])[-1]

    def _bucket(self, request: Request) -> Response:
        if request.bucket and request.bucket != self.name:
            return failure(404, "NoSuchBucket", "The specified bucket does not exist")
        if "location" in request.query:
            return document("LocationConstraint", "")
        return xml("").with_header("x-amz-bucket-region", "us-east-1")

    def _object(self, request: Request) -> Response:
        blob = self._asked_version(request)
        if blob is None:
            return failure(404, "NoSuchKey", "The specified key does not exist")
        if request.headers.get("if-match", blob.etag) not in (blob.etag, "*"):
            return failure(
                412, "PreconditionFailed", "At least one of the pre-conditions did not hold"
            )
        if request.headers.get("if-none-match") == blob.etag:
            return Response(304, blob.headers)
        return self._body_of(blob, request)

    def _asked_version(self, request: Request) -> Blob | None:
        version_id = request.query.get("versionId")
        if version_id is None:
            return self._current(request.key)
        return next(
            (
                blob
                for blob in self._versions.get(request.key, ())
                if blob and blob.version_id == version_id
            ),
            None,
        )

    def _body_of(self, blob: Blob, request: Request) -> Response:
        size = len(blob.body)
        start, stop = _range(request.headers.get("range"), size)
        if start >= stop and size:
            return failure(
                416, "InvalidRange", "The requested range is not satisfiable"
            ).with_header("Content-Range", f"bytes */{size}")
        headers = blob.headers + (
            (("x-amz-version-id", blob.version_id),) if self._is_versioned else ()
        )
        body = blob.body[start:stop]
        response = Response(200, (*headers, ("Content-Length", str(len(body)))), body)
        if "range" in request.headers and size:
            response = replace(response, status=206).with_header(
                "Content-Range", f"bytes {start}-{stop - 1}/{size}"
            )
        return _with_checksum(response, blob, request)

    def _list(self, request: Request) -> Response:
        query = request.query
        if "list-type" not in query:
            query["start-after"] = query.pop("marker", "")
        if not query.get("continuation-token", _token("")).startswith(_token("")[:8]):
            return failure(400, "InvalidArgument", "The continuation token provided is incorrect")
        limit = min(int(query.get("max-keys", "1000")), self.page_size)
        items = list(itertools.islice(self._items(query), limit + 1))
        page, is_truncated = items[:limit], len(items) > limit
        rest = (
            f"<Name>{self.name}</Name><Prefix>{_encoded(query.get('prefix', ''), query)}</Prefix>"
        )
        rest += f"<KeyCount>{len(page)}</KeyCount>" if "list-type" in query else ""
        rest += f"<MaxKeys>{limit}</MaxKeys>"
        rest += "<EncodingType>url</EncodingType>" if query.get("encoding-type") == "url" else ""
        rest += f"<IsTruncated>{str(is_truncated).lower()}</IsTruncated>"
        if is_truncated:
            rest += _next_page(page[-1][0], query)
        return document(
            "ListBucketResult", rest + "".join(_element(item, blob, query) for item, blob in page)
        )

    def _items(self, query: Mapping[str, str]) -> Iterator[tuple[str, Blob | None]]:
        """Yield keys with their objects, and common prefixes with None, from the query's start."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        begin = (
            _untoken(query["continuation-token"])
            if "continuation-token" in query
            else query.get("start-after", "")
        )
        last = begin if delimiter and begin.endswith(delimiter) and _is_exclusive(query) else None
        for key in self._keys_after(max(begin, prefix, key=_raw), prefix):
            blob = self._current(key)
            head, found, _ = (
                key.removeprefix(prefix).partition(delimiter) if delimiter else (key, "", "")
            )
            common = prefix + head + found if found else None
            if blob is None or (common is not None and common == last) or _raw(key) <= _raw(begin):
                continue
            last = common
            yield (common, None) if common else (key, blob)

    def _keys_after(self, begin: str, prefix: str) -> Iterator[str]:
        for raw in self._order[bisect.bisect_left(self._order, _raw(begin)) :]:
            if raw.startswith(_raw(prefix)):
                yield raw.decode(errors="surrogateescape")
            elif raw > _raw(prefix):
                return


def xml(text: str, status: int = 200) -> Response:
    body = (
        ('<?xml version="1.0" encoding="UTF-8"?>\n' + text).encode(errors="surrogateescape")
        if text
        else b""
    )
    return Response(
        status, (("Content-Type", "application/xml"), ("Content-Length", str(len(body)))), body
    )


def document(root: str, inside: str) -> Response:
    return xml(f'<{root} xmlns="{XMLNS}">{inside}</{root}>')


def failure(status: int, code: str, message: str) -> Response:
    """Return S3's error document; the store fills in its request id."""
    return xml(
        f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>@REQUEST@</RequestId></Error>",
        status,
    )


def _element(item: str, blob: Blob | None, query: Mapping[str, str]) -> str:
    if blob is None:
        return f"<CommonPrefixes><Prefix>{_encoded(item, query)}</Prefix></CommonPrefixes>"
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(blob.mtime))
    return (
        f"<Contents><Key>{_encoded(item, query)}</Key><LastModified>{stamp}</LastModified>"
        f"<ETag>{escape(blob.etag)}</ETag><Size>{len(blob.body)}</Size>"
        f"<StorageClass>STANDARD</StorageClass></Contents>"
    )


def _is_exclusive(query: Mapping[str, str]) -> bool:
    """Whether a common prefix that the page begins at was on an earlier page."""
    return "continuation-token" in query or "list-type" not in query


def _next_page(last: str, query: Mapping[str, str]) -> str:
    """Return the element that says where the next page begins: in version 1, a marker."""
    if "list-type" in query:
        return f"<NextContinuationToken>{_token(last)}</NextContinuationToken>"
    return f"<NextMarker>{_encoded(last, query)}</NextMarker>" if "delimiter" in query else ""


def _encoded(key: str, query: Mapping[str, str]) -> str:
    return quote(_raw(key), safe="/") if query.get("encoding-type") == "url" else escape(key)


def _range(text: str | None, size: int) -> tuple[int, int]:
    if text is None:
        return 0, size
    first, _, last = text.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(int(last) + 1, size) if last else size


def _with_checksum(response: Response, blob: Blob, request: Request) -> Response:
    """Add the checksum if *request* asks for it and the response holds the whole object."""
    if request.headers.get("x-amz-checksum-mode") != "ENABLED" or len(response.body) != len(
        blob.body
    ):
        return response
    checksum = base64.b64encode(zlib.crc32(blob.body).to_bytes(4, "big")).decode()
    return response.with_header("x-amz-checksum-crc32", checksum).with_header(
        "x-amz-checksum-type", "FULL_OBJECT"
    )


def _raw(key: str) -> bytes:
    return key.encode(errors="surrogateescape")


def _token(key: str) -> str:
    return base64.b64encode(b"after " + _raw(key)).decode()


def _untoken(token: str) -> str:
    return base64.b64decode(token)[6:].decode(errors="surrogateescape")
