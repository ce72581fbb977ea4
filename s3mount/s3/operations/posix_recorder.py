"""Recorder of the POSIX attributes that responses bring: `--posix-metadata`, over any transport.

It sends no request. The recorders of an account's buckets share one table. Invariants:

1. Attributes are those of the version that the same response tells, by its ETag and size. What is
   requested by version id is recorded for versions that are read by that id, and for no other:
   versions of equal bytes have an ETag in common, and metadata of their own.
2. At most ATTRIBUTES_MAX versions have some, in bounded memory, however long keys and targets are.
   The newest response to a version counts; what came first goes first.
3. A response is recorded before an operation sees it, and is what it is without the recorder.
"""

import threading
from collections.abc import Mapping
from hashlib import blake2b
from sys import getsizeof
from types import TracebackType
from typing import Final

from s3mount.s3.model import ObjectStat, ObjectVersion, PosixAttributes
from s3mount.s3.operations import validation
from s3mount.s3.operations.posix_metadata import posix_attributes
from s3mount.s3.operations.timestamps import parse_time
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import (
    Exchange,
    InvalidResponseError,
    Response,
    SentExchange,
    StoreRequest,
    Transport,
    content_length,
)

ATTRIBUTES_MAX: Final = 65_536  # versions; some 25 MB
TARGETS_MAX: Final = 8 << 20  # bytes of the targets of symbolic links among them
_PLAIN: Final = PosixAttributes()
_SECOND: Final = 1_000_000_000  # ns
_OPERATIONS: Final = ("HeadObject", "GetObject")


class PosixTable:
    """`PosixSource`: the attributes that were recorded, by version. Thread-safe.

    *has_links*: it tells symbolic links from files. So targets are kept, and the times of uploads,
    and also versions whose metadata tells nothing.
    """

    def __init__(
        self,
        attributes_max: int = ATTRIBUTES_MAX,
        targets_max: int = TARGETS_MAX,
        *,
        has_links: bool = False,
    ) -> None:
        self._attributes_max = attributes_max
        self._targets_max = targets_max
        self.has_links = has_links
        self._attributes: dict[bytes, PosixAttributes] = {}
        self._targets_size = 0  # bytes of memory
        self._lock = threading.Lock()

    def posix_attributes(self, version: ObjectVersion) -> PosixAttributes | None:
        """See `PosixSource`."""
        if not self._attributes:
            return None
        version_id = version.version_id if version.is_replaced else None
        return self._attributes.get(_digest(version, version_id))

    def put(
        self,
        version: ObjectVersion,
        requested_id: str | None,
        attributes: PosixAttributes | None,
        *,
        uploaded_at: int = 0,
    ) -> None:
        """Keep the *attributes* of *version*; None: it has none.

        It was read by the version id *requested_id*, or was current without one.
        """
        digest = _digest(version, requested_id)
        kept = self._kept(attributes or _PLAIN, uploaded_at)
        with self._lock:
            self._remove(digest)
            if kept is None:
                return
            self._attributes[digest] = kept
            self._targets_size += _target_size(kept)
            while self._is_full():
                self._remove(next(iter(self._attributes)))

    def _kept(self, found: PosixAttributes, uploaded_at: int) -> PosixAttributes | None:
        """What is kept of *found*; None if nothing."""
        if self.has_links:
            return found._replace(uploaded_at=uploaded_at)
        found = found._replace(target=None)
        return None if found == _PLAIN else found

    def _is_full(self) -> bool:
        is_over = self._targets_size > self._targets_max
        return is_over or len(self._attributes) > self._attributes_max

    def _remove(self, digest: bytes) -> None:
        removed = self._attributes.pop(digest, None)
        if removed is not None:
            self._targets_size -= _target_size(removed)


class PosixRecorder:
    """`Transport` that records in *table* what *transport* receives of objects in *bucket*."""

    def __init__(self, transport: Transport, bucket: str, table: PosixTable) -> None:
        self._transport = transport
        self._bucket = bucket
        self._table = table
        self.preconnect = transport.preconnect
        self.renew_credentials = transport.renew_credentials
        self.adjust_clock = transport.adjust_clock
        self.close = transport.close

    def send(
        self, request: StoreRequest, *, deadline: float, cancel_token: CancelToken | None = None
    ) -> Exchange:
        exchange = self._transport.send(request, deadline=deadline, cancel_token=cancel_token)
        if request.operation not in _OPERATIONS or request.key is None:
            return exchange
        return RecordedExchange(self, exchange, request.key, _requested_id(request))

    def send_nowait(
        self, request: StoreRequest, length: int, *, deadline: float, cancel_token: CancelToken
    ) -> SentExchange | None:
        exchange = self._transport.send_nowait(
            request, length, deadline=deadline, cancel_token=cancel_token
        )
        if exchange is None or request.operation not in _OPERATIONS or request.key is None:
            return exchange
        return SentRecordedExchange(self, exchange, request.key, _requested_id(request))

    def record(self, key: str, requested_id: str | None, response: Response) -> None:
        """Record what *response* tells of *key*, current or of *requested_id*.

        Nothing if it is not about one version.
        """
        if response.status not in (200, 206):
            return
        headers = response.headers
        stat = _stat(self._bucket, key, headers)
        if stat is not None:
            uploaded_at = _uploaded_at(stat, headers) if self._table.has_links else 0
            attributes = posix_attributes(headers)
            self._table.put(stat.version, requested_id, attributes, uploaded_at=uploaded_at)


class RecordedExchange:
    """`Exchange` about *key*, current or of *requested_id*, whose response *recorder* records."""

    def __init__(
        self, recorder: PosixRecorder, exchange: Exchange, key: str, requested_id: str | None
    ) -> None:
        self._recorder = recorder
        self._exchange = exchange
        self._key = key
        self._requested_id = requested_id

    def __enter__(self) -> Response:
        response = self._exchange.__enter__()
        try:
            self._recorder.record(self._key, self._requested_id, response)
        except BaseException as exc:  # raised again
            self._exchange.__exit__(type(exc), exc, None)
            raise
        return response

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        self._exchange.__exit__(kind, exc, traceback)


class SentRecordedExchange(RecordedExchange):
    """`SentExchange` about *key* whose response *recorder* records."""

    def __init__(
        self, recorder: PosixRecorder, sent: SentExchange, key: str, requested_id: str | None
    ) -> None:
        super().__init__(recorder, sent, key, requested_id)
        self._sent = sent
        self.fileno = sent.fileno
        self.receive_available = sent.receive_available

    @property
    def has_begun(self) -> bool:
        return self._sent.has_begun


def _stat(bucket: str, key: str, headers: Mapping[str, str]) -> ObjectStat | None:
    """What *headers* tell of a version; None if they tell no size or no identity."""
    try:
        size = content_length(headers)
        if validation.tells_range(headers):
            size = validation.content_range(206, headers, size).size
        return None if size is None else validation.object_stat(bucket, key, headers, size)
    except InvalidResponseError:  # its operation says so
        return None


def _requested_id(request: StoreRequest) -> str | None:
    return next((value for name, value in request.query if name == "versionId"), None)


def _uploaded_at(stat: ObjectStat, headers: Mapping[str, str]) -> int:
    """The second up to which all uploads are older than the response, or what it is about."""
    uploaded_at = stat.mtime_ns // _SECOND
    sent_ns = parse_time(headers.get("date", ""))
    # another upload may have followed in the second of the response
    return uploaded_at if sent_ns is None else min(uploaded_at, sent_ns // _SECOND - 1)


def _target_size(attributes: PosixAttributes) -> int:
    """The bytes of memory of a target."""
    return getsizeof(attributes.target) if attributes.target else 0


def _digest(version: ObjectVersion, version_id: str | None) -> bytes:
    """128 bits that stand for a version: the current one unless it has a *version_id*."""
    identity = "\0".join((*map(str, version), version_id or ""))
    return blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=16).digest()
