"""Probe whether the ETags of a store are MD5s, when an object's is not the MD5 of its bytes.

ETags that only look like MD5s come from directory buckets, gateways that encrypt or compress, and
from copies that a backup restored. A wrong byte looks the same. So the bytes are believed only if
they arrive alike in two pieces, which a fault on the way would change elsewhere, and if other
objects behave in the same way. An empty object tells it by itself: its bytes cannot be wrong.
One with the MD5 of nothing tells less, since a gateway may leave it as it is.
"""

import re
from typing import Final

from s3mount.errors import S3MountError
from s3mount.s3.model import PAGE_SIZE, ByteRange, ListedObject, ListQuery, ObjectVersion, Reason
from s3mount.s3.operations.checksum import EMPTY_MD5, md5, md5_of_etag
from s3mount.s3.operations.list_dialect import ListDialect
from s3mount.s3.operations.operation_runner import read_error
from s3mount.s3.operations.request_headers import range_header
from s3mount.s3.transport import (
    ErrorResponseError,
    InvalidResponseError,
    StoreRequest,
    Transport,
    content_length,
)

SAMPLES: Final = 2  # other objects whose ETag is not their MD5 either
TRIED: Final = 8  # objects that are requested one after another
SAMPLE_LIMIT: Final = 64 * 1024  # bytes of each
LISTED: Final = 100  # keys, among which they are
DOCUMENT_LIMIT: Final = 1024 * 1024  # bytes of that listing

_LOOKS_LIKE_MD5 = re.compile(r"[0-9a-f]{32}", re.ASCII | re.IGNORECASE)


class EtagProbe:
    """Requests over *transport*, each of which blocks. *prefix* is the mount's."""

    def __init__(
        self, transport: Transport, dialect: ListDialect, prefix: str, page_size: int = PAGE_SIZE
    ) -> None:
        self._transport = transport
        self._dialect = dialect
        self._prefix = prefix
        self._max_keys = min(LISTED, page_size)

    def has_md5_etags(
        self, version: ObjectVersion, content: memoryview, deadline: float
    ) -> bool | None:
        """Return whether ETags are MD5s, though that of *version* is not the MD5 of *content*.

        None if nothing tells. Raises nothing that a store may cause.
        """
        try:
            is_md5 = self._evidence(version, deadline)
            if is_md5 is False and self._in_pieces(version.key, version.size, deadline) != content:
                is_md5 = None
        except (ErrorResponseError, InvalidResponseError, OSError, S3MountError):
            return None
        return is_md5

    def arrives_alike(self, version: ObjectVersion, content: memoryview, deadline: float) -> bool:
        """Return whether two ranges bring *content*, too. Raises nothing that a store may cause."""
        try:
            return self._in_pieces(version.key, version.size, deadline) == content
        except (ErrorResponseError, InvalidResponseError, OSError, S3MountError):
            return False

    def _evidence(self, version: ObjectVersion, deadline: float) -> bool | None:
        """Return whether the ETags of other objects are MD5s; None if too few tell."""
        strangers, evidence, tried = 0, None, 0
        for listed in self._listed(deadline):
            if listed.key == version.key or not _LOOKS_LIKE_MD5.fullmatch(listed.etag):
                continue
            if not listed.size:
                evidence = listed.etag.lower() == EMPTY_MD5
                if not evidence:
                    return False
            if not 0 < listed.size <= SAMPLE_LIMIT:
                continue
            if tried == TRIED:
                break
            tried += 1
            is_md5 = self._is_md5(listed.key, deadline)
            if is_md5:
                return True
            strangers += is_md5 is False
            if strangers == SAMPLES:
                return False
        return evidence

    def _listed(self, deadline: float) -> list[ListedObject]:
        """Return some objects, the empty ones first."""
        query = ListQuery(self._prefix, delimiter="", max_keys=self._max_keys, reason=Reason.CHECK)
        body = self._body(self._dialect.request(query), DOCUMENT_LIMIT, deadline)
        objects = self._dialect.read_page(body, query).objects
        return sorted(objects, key=lambda listed: listed.size)

    def _is_md5(self, key: str, deadline: float) -> bool | None:
        """Return whether the ETag of *key* is its MD5; None if its bytes are not certain.

        By the size that GET tells: a listing may tell another, as may its ETag.
        """
        request = StoreRequest("GetObject", key, reason=Reason.CHECK)
        with self._transport.send(request, deadline=deadline) as response:
            if response.status != 200:
                raise read_error(response)
            told = md5_of_etag(response.headers.get("etag"), response.headers)
            whole = response.read_all(SAMPLE_LIMIT)
            is_complete = content_length(response.headers) == len(whole)
        if told is None or not whole or not is_complete:
            return None
        if told.expected == md5(memoryview(whole)):
            return True
        return False if self._in_pieces(key, len(whole), deadline) == whole else None

    def _in_pieces(self, key: str, size: int, deadline: float) -> bytes:
        """Return the object *key*, of *size* bytes, as two ranges bring it."""
        middle = (size + 1) // 2
        whole = b""
        for piece in (ByteRange(0, middle), ByteRange(middle, size)):
            if len(piece):
                request = StoreRequest(
                    "GetObject", key, headers=range_header(piece), reason=Reason.CHECK
                )
                whole += self._body(request, len(piece), deadline, status=206)
        return whole

    def _body(
        self, request: StoreRequest, limit: int, deadline: float, *, status: int = 200
    ) -> bytes:
        with self._transport.send(request, deadline=deadline) as response:
            if response.status != status:
                raise read_error(response)
            return response.read_all(limit)
