"""Recorder of the POSIX attributes that responses bring: `--posix-metadata`, over any transport.

It sends no request. The recorders of an account's buckets share one table. Invariants:

1. Attributes are those of the version that the same response tells, by its ETag and size. What is
   requested by version id is recorded for versions that are read by that id, and for no other:
   versions of equal bytes have an ETag in common, and metadata of their own.
2. At most ATTRIBUTES_MAX versions have some, in bounded memory, however long keys are. The newest
   response to a version counts; what came first goes first.
3. A response is recorded before an operation sees it, and is what it is without the recorder.
"""

import threading
from collections.abc import Mapping
from hashlib import blake2b
from types import TracebackType
from typing import Final

from s3mount.s3.model import ObjectVersion, PosixAttributes
from s3mount.s3.operations import validation
from s3mount.s3.operations.posix_metadata import posix_attributes
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
_PLAIN: Final = PosixAttributes()
_OPERATIONS: Final = ("HeadObject", "GetObject")


class PosixTable:
    """`PosixSource`: the attributes that were recorded, by version. Thread-safe.

    *keeps_plain*: also those of versions whose metadata tells none are kept, as empty ones.
    """

    def __init__(self, attributes_max: int = ATTRIBUTES_MAX, *, keeps_plain: bool = False) -> None:
        self._attributes_max = attributes_max
        self._plain = _PLAIN if keeps_plain else None
        self._attributes: dict[bytes, PosixAttributes] = {}
        self._lock = threading.Lock()

    def posix_attributes(self, version: ObjectVersion) -> PosixAttributes | None:
        """See `PosixSource`."""
        if not self._attributes:
            return None
        version_id = version.version_id if version.is_replaced else None
        return self._attributes.get(_digest(version, version_id))

    def put(
        self, version: ObjectVersion, requested_id: str | None, attributes: PosixAttributes | None
    ) -> None:
        """Keep the *attributes* of *version*; None: it has none.

        It was read by the version id *requested_id*, or was current without one.
        """
        digest, attributes = _digest(version, requested_id), attributes or self._plain
        with self._lock:
            self._attributes.pop(digest, None)
            if attributes is not None:
                self._attributes[digest] = attributes
                if len(self._attributes) > self._attributes_max:
                    del self._attributes[next(iter(self._attributes))]


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
        version = _version(self._bucket, key, headers)
        if version is not None:
            self._table.put(version, requested_id, posix_attributes(headers))


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


def _version(bucket: str, key: str, headers: Mapping[str, str]) -> ObjectVersion | None:
    """The version that *headers* are about; None if they tell no size or no identity."""
    try:
        size = content_length(headers)
        if validation.tells_range(headers):
            size = validation.content_range(206, headers, size).size
        return None if size is None else validation.object_stat(bucket, key, headers, size).version
    except InvalidResponseError:  # its operation says so
        return None


def _requested_id(request: StoreRequest) -> str | None:
    return next((value for name, value in request.query if name == "versionId"), None)


def _digest(version: ObjectVersion, version_id: str | None) -> bytes:
    """128 bits that stand for a version: the current one unless it has a *version_id*."""
    identity = "\0".join((*map(str, version), version_id or ""))
    return blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=16).digest()
