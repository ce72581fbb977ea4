"""Parser of HTTP/1.1 heads, as far as a relay needs one.

Finds where a message ends and which S3 operation a request calls, never what it means.
"""

from dataclasses import dataclass

# Query parameters of ListObjects, v1 or v2; any other is a subresource (?location, ?versioning).
_LIST_QUERY = frozenset(
    [
        "list-type",
        "prefix",
        "delimiter",
        "marker",
        "start-after",
        "continuation-token",
        "max-keys",
        "encoding-type",
        "fetch-owner",
        "x-id",
    ]
)


@dataclass(frozen=True, slots=True)
class Sized:
    """Body of *length* bytes; 0 if there is none."""

    length: int


@dataclass(frozen=True, slots=True)
class Chunked:
    """Chunked body, which contains its own length (RFC 9112, 7.1)."""


@dataclass(frozen=True, slots=True)
class UntilClose:
    """Body that ends with its connection."""


Body = Sized | Chunked | UntilClose


@dataclass(frozen=True, slots=True)
class Request:
    """Head of a request; *kind* is what it is counted as."""

    method: str
    kind: str
    body: Body


@dataclass(frozen=True, slots=True)
class Response:
    """Head of a response; *closes* is whether its connection ends with it."""

    status: int
    body: Body
    closes: bool


def read_request(head: bytes) -> Request:
    """Parse *head*, its empty line included; raises ValueError if it is no request."""
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    return Request(method, kind_of(method, target), _body(_fields(head), otherwise=Sized(0)))


def read_response(head: bytes, method: str) -> Response:
    """Parse the *head* of the response to a *method*; raises ValueError if it is no response."""
    status = int(head.split(b" ", 2)[1])
    fields = _fields(head)
    is_bare = method == "HEAD" or status in {204, 304} or status < 200
    body = Sized(0) if is_bare else _body(fields, otherwise=UntilClose())
    closes = b"close" in fields.get(b"connection", b"").lower() or isinstance(body, UntilClose)
    return Response(status, body, closes)


def kind_of(method: str, target: str) -> str:
    """Return the kind of a path-style S3 request: LIST, BUCKETS, a subresource, or its method."""
    path, _, query = target.partition("?")
    bucket, _, key = path.strip("/").partition("/")
    if method != "GET" or key:
        return method
    if not bucket:
        return "BUCKETS"
    names = {part.partition("=")[0] for part in query.split("&") if part}
    return "?" + min(names - _LIST_QUERY) if names - _LIST_QUERY else "LIST"


def _fields(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _body(fields: dict[bytes, bytes], otherwise: Body) -> Body:
    if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
        return Chunked()
    if b"content-length" in fields:
        return Sized(int(fields[b"content-length"]))
    return otherwise
