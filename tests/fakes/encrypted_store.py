"""Store in memory with customer keys (SSE-C), as a `Transport`; it knows how stores refuse them."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import NamedTuple

from s3mount.s3.endpoint.customer_key import ALGORITHM, CustomerKey
from s3mount.s3.operations.keyed_transport import ReadResponse
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import RequestKey, StoreRequest

DATE = "Sun, 22 Nov 2026 12:31:47 GMT"


@dataclass(frozen=True)
class Dialect:
    """How a store refuses a request without a key, with another key, and with a needless one."""

    missing: tuple[int, str] = (400, "InvalidRequest")
    wrong: tuple[int, str] = (403, "AccessDenied")
    needless: tuple[int, str] | None = (400, "InvalidRequest")
    has_echo: bool = True  # whether a response tells the algorithm


AWS = Dialect()
SEAWEEDFS = Dialect(missing=(400, "InvalidArgument"), needless=None)
CEPH = Dialect((400, "InvalidArgument"), (400, "InvalidRequest"), None)
SILENT = Dialect(has_echo=False)
WITHOUT_SSE_C = Dialect(needless=(501, "NotImplemented"))
DIALECTS = {"aws": AWS, "seaweedfs": SEAWEEDFS, "ceph": CEPH, "silent": SILENT}


class Stored(NamedTuple):
    """An object: its bytes, the key that it needs, its ETag."""

    body: bytes
    key: CustomerKey | None
    etag: str


@dataclass
class EncryptedStore:
    """Objects, and the *requests* for them as they came.

    *before* is called with each request, in the thread that sends it; what it returns is the
    response.
    """

    dialect: Dialect = AWS
    objects: dict[str, Stored] = field(default_factory=dict)
    requests: list[StoreRequest] = field(default_factory=list)
    before: Callable[[StoreRequest], tuple[int, str] | None] = lambda _: None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _versions: int = 0

    def put(self, name: str, body: bytes, key: CustomerKey | None = None) -> None:
        self._versions += 1
        self.objects[name] = Stored(body, key, f"{self._versions:x}")

    def taken(self) -> list[tuple[str, str | None, str | None]]:
        """Return method, key and fingerprint of the requests since the last call."""
        with self._lock:
            taken, self.requests = self.requests, []
        return [(each.method, each.key, fingerprint(each.customer_key)) for each in taken]

    def send(
        self, request: StoreRequest, *, deadline: float, cancel_token: CancelToken | None = None
    ) -> "StoreExchange":
        del deadline, cancel_token
        return StoreExchange(self, request)

    def send_nowait(self, *_: object, **__: object) -> None: ...

    def preconnect(self, *, deadline: float) -> None: ...

    def renew_credentials(self, since: float, deadline: float, *, is_expired: bool) -> bool:
        del since, deadline, is_expired
        return False

    def adjust_clock(self, date: str | None) -> bool:
        del date
        return False

    def close(self) -> None: ...

    def respond(self, request: StoreRequest) -> ReadResponse:
        with self._lock:
            self.requests.append(request)
        refusal = self.before(request)
        stored = self.objects.get(request.key or "")
        if refusal is None:
            refusal = (404, "NoSuchKey") if stored is None else self._refusal(request, stored)
        if refusal is not None:
            return _error(request, *refusal)
        assert stored is not None
        return self._success(request, stored)

    def _refusal(self, request: StoreRequest, stored: Stored) -> tuple[int, str] | None:
        given = request.customer_key
        assert given is None or isinstance(given, CustomerKey)
        if stored.key is None:
            refusal = self.dialect.needless if given else None
        elif given is None:
            refusal = self.dialect.missing
        else:
            refusal = None if given.is_same(stored.key) else self.dialect.wrong
        if refusal is None and _condition(request, "if-match") not in (None, stored.etag):
            refusal = (412, "PreconditionFailed")
        if refusal is None and _condition(request, "if-none-match") == stored.etag:
            refusal = (304, "")
        return refusal

    def _success(self, request: StoreRequest, stored: Stored) -> ReadResponse:
        headers = {"etag": f'"{stored.etag}"', "last-modified": DATE}
        if stored.key is not None and self.dialect.has_echo:
            headers[ALGORITHM] = "AES256"
        body, status = stored.body, 200
        asked = dict(request.headers).get("range")
        if asked is not None:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1, len(body))
            headers["content-range"] = f"bytes {start}-{stop - 1}/{len(body)}"
            body, status = body[start:stop], 206
        headers["content-length"] = str(len(body))
        return ReadResponse(status, headers, b"" if request.method == "HEAD" else body)


@dataclass
class StoreExchange:
    """`Exchange` with *store*."""

    store: EncryptedStore
    request: StoreRequest

    def __enter__(self) -> ReadResponse:
        return self.store.respond(self.request)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...


def fingerprint(key: RequestKey | None) -> str | None:
    return key.fingerprint if isinstance(key, CustomerKey) else None


def _condition(request: StoreRequest, name: str) -> str | None:
    value = dict(request.headers).get(name)
    return value and value.strip('"')


def _error(request: StoreRequest, status: int, code: str) -> ReadResponse:
    body = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
    headers: Mapping[str, str] = {"content-type": "application/xml"}
    response = ReadResponse(status, headers, body)
    return replace(response, body=b"") if request.method == "HEAD" else response
