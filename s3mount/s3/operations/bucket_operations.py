"""The operations on one bucket: HEAD, LIST, GET of a range, and revalidation."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from s3mount.errors import NotFound, S3MountError, StoreError
from s3mount.s3.limits import DOCUMENT_LIMIT, LARGE_DOCUMENT
from s3mount.s3.model import (
    ByteRange,
    ListedObject,
    ListPage,
    ListQuery,
    Modified,
    NotModified,
    ObjectStat,
    ObjectVersion,
    Revalidation,
    RowOddity,
)
from s3mount.s3.object_store import OnToken
from s3mount.s3.operations import validation
from s3mount.s3.operations.checksum import CHECKSUM_MODE
from s3mount.s3.operations.content_coding import TransformedBodyError, check_stored
from s3mount.s3.operations.error_mapping import Operation
from s3mount.s3.operations.etag_probe import EtagProbe
from s3mount.s3.operations.get_range import (
    GetRange,
    check_body_ends,
    condition_header,
    has_size,
    range_header,
)
from s3mount.s3.operations.list_dialect import ListDialect, ListObjects
from s3mount.s3.operations.operation_runner import OperationRunner, read_error
from s3mount.s3.operations.read_verification import expected_checksum
from s3mount.s3.operations.request_form import RequestForm
from s3mount.s3.operations.store_traits import StoreTraits, try_forms
from s3mount.s3.scheduling.attempt import Sender
from s3mount.s3.transport import (
    InvalidResponseError,
    Response,
    Retryable,
    StoreRequest,
    Transport,
    content_length,
)

COMPLETED_MAX = 100  # objects of one page that are requested by themselves, one after another
USELESS_HEADS_MAX = 5  # then none is sent any more
_REFUSALS_OF_HEAD = (405, 501)  # by gateways that have GET only
_REFUSALS_OF_CONDITIONS = (400, 405, 412, 501)  # to an If-None-Match


class Operations(Protocol):
    """Single attempts at the operations of `ObjectStore`, from any thread.

    Every call blocks, until *deadline* (`time.monotonic()` seconds) at most, and raises
    S3MountErrors that no retry would mend, and Retryable.
    """

    def head(self, key: str, *, deadline: float) -> ObjectStat:
        """Return the attributes of *key* (HeadObject)."""
        ...

    def head_by_get(self, key: str, *, deadline: float, is_whole: bool = False) -> ObjectStat:
        """Return the attributes of *key* from the response to a GET of its first byte, or of all.

        No body is read.
        """
        ...

    def list_page(
        self, query: ListQuery, *, deadline: float, on_token: OnToken | None = None
    ) -> ListPage:
        """Return one page of a listing.

        *on_token* is called in this thread, at most once, before the page is parsed. What it gets
        is a hint; only the page itself is validated.
        """
        ...

    def get_range(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        *,
        version_id: str | None,
        deadline: float,
        is_conditional: bool = True,
    ) -> Sender[str | None]:
        """Return the sender of GETs for *byte_range* of *version*; nothing is sent yet.

        It requests *version_id* if that is given, and else sends If-Match if *is_conditional*.
        """
        ...

    def revalidate(
        self, version: ObjectVersion, head_size: int, *, deadline: float
    ) -> Revalidation:
        """Return whether *version* is current, and else the first *head_size* bytes of the new.

        It has none of them if the store refused the condition.
        """
        ...

    def has_ranges(self) -> bool:
        """Whether the store sends parts of objects, as far as is known."""
        ...

    def preconnect(self, *, deadline: float) -> None: ...

    def renew_credentials(self, since: float, deadline: float, *, is_expired: bool) -> bool: ...

    def close(self) -> None: ...


class BucketOperations:
    """`Operations` on *bucket*, over *transport*; *prefix* is the mount's."""

    def __init__(
        self,
        transport: Transport,
        bucket: str,
        *,
        dialect: ListDialect | None = None,
        traits: StoreTraits | None = None,
        prefix: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._bucket = bucket
        self._runner = OperationRunner(transport, bucket)
        self._dialect = dialect or ListObjects()
        self._traits = traits or StoreTraits()
        self._probe = EtagProbe(transport, self._dialect, prefix)
        self._clock = clock
        self._parsing = threading.Lock()  # held while a large page is parsed
        self._useless_heads = 0  # in a row, of objects that a GET then described
        # the transport's own calls, for whoever holds the operations
        self.preconnect = transport.preconnect
        self.renew_credentials = transport.renew_credentials
        self.close = transport.close

    def head(self, key: str, *, deadline: float) -> ObjectStat:
        if self._useless_heads >= USELESS_HEADS_MAX:
            return self.head_by_get(key, deadline=deadline)
        try:
            stat = self._head(key, deadline)
        except S3MountError as exc:
            if exc.status not in _REFUSALS_OF_HEAD:
                raise
            stat = None
        if stat is None:
            stat = self.head_by_get(key, deadline=deadline)
            self._useless_heads += 1
        else:
            self._useless_heads = 0
        return stat

    def head_by_get(self, key: str, *, deadline: float, is_whole: bool = False) -> ObjectStat:
        stat = None if is_whole else self._head_of_get(key, deadline, is_whole=False)
        if stat is None:  # an empty object has no range, and some stores tell no size with one
            stat = self._head_of_get(key, deadline, is_whole=True)
        if stat is None:
            raise Retryable(StoreError("GET tells no size", bucket=self._bucket, key=key))
        return stat

    def _head(self, key: str, deadline: float) -> ObjectStat | None:
        """Return what HEAD tells; None if only a GET tells it."""

        def receive(form: RequestForm) -> ObjectStat | None:
            request = StoreRequest(
                "HeadObject", key, method="HEAD", accept_encoding=form.accept_encoding
            )
            with self._transport.send(request, deadline=deadline) as response:
                if response.status != 200:
                    return self._refused_head(response)
                headers = response.headers
                check_stored(headers, None)
                size = content_length(headers)
                if size is None:
                    raise TransformedBodyError("no Content-Length")
                return validation.object_stat(self._bucket, key, headers, size)

        def attempt() -> ObjectStat | None:
            try:
                return try_forms(self._traits, receive, is_whole=None)
            except TransformedBodyError:  # in each form
                return None

        return self._runner.run(Operation.HEAD, key, attempt)

    def _head_of_get(self, key: str, deadline: float, *, is_whole: bool) -> ObjectStat | None:
        """Return what the header of a GET tells; None if it has no size or no such range."""

        def receive(form: RequestForm) -> ObjectStat | None:
            is_part = form.ranges and not is_whole
            request = StoreRequest(
                "GetObject",
                key,
                headers=range_header(ByteRange(0, 1)) if is_part else (),
                accept_encoding=form.accept_encoding,
            )
            with self._transport.send(request, deadline=deadline) as response:
                headers = response.headers
                if response.status == 416 or headers.get("content-range", "").endswith("/*"):
                    return None
                if response.status not in (200, 206):
                    raise read_error(response)
                check_stored(headers, None)
                content = validation.content_range(response.status, headers)
                if is_part and response.status == 200 and content.size == 1:
                    return None  # the object, or a part of it that is sent as a whole
                check_body_ends(response, content.stop - content.start)
                stat = validation.object_stat(self._bucket, key, headers, content.size)
                if is_part and content.stop > 1 and "etag" in headers:
                    self._traits.record_ignored_range()  # a page of a portal has no ETag
                return stat

        return self._runner.run(
            Operation.REVALIDATION, key, try_forms, self._traits, receive, is_whole=is_whole
        )

    def list_page(
        self, query: ListQuery, *, deadline: float, on_token: OnToken | None = None
    ) -> ListPage:
        sent = self._dialect.request(query)
        try:
            body = self._list(query, sent, deadline)
        except StoreError as exc:
            if not self._dialect.is_to_repeat(exc.status, exc.code, sent):
                raise
            sent = self._dialect.request(query)
            body = self._list(query, sent, deadline)
        if on_token is not None:
            on_token(self._dialect.next_position(body))
        page = self._runner.run(
            Operation.LIST, query.prefix, self._read_page, body, query, sent, deadline
        )
        return self._completed(page, deadline) if page.incomplete else page

    def get_range(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        *,
        version_id: str | None,
        deadline: float,
        is_conditional: bool = True,
    ) -> GetRange:
        return GetRange(
            self._runner,
            self._traits,
            version,
            byte_range,
            version_id=version_id,
            deadline=deadline,
            probe=self._probe,
            is_conditional=is_conditional,
        )

    def revalidate(
        self, version: ObjectVersion, head_size: int, *, deadline: float
    ) -> Revalidation:
        outcome = None
        if head_size:  # a range of no bytes cannot be requested

            def receive(form: RequestForm) -> Revalidation | None:
                request = _revalidation(version, head_size, form)
                with self._transport.send(request, deadline=deadline) as response:
                    return self._read_revalidation(response, version, head_size, deadline)

            is_whole = version.size <= head_size
            try:
                outcome = self._runner.run(
                    Operation.REVALIDATION,
                    version.key,
                    try_forms,
                    self._traits,
                    receive,
                    is_whole=is_whole,
                )
            except S3MountError as exc:
                if exc.status not in _REFUSALS_OF_CONDITIONS:
                    raise
                head_size = 0
        return outcome or self._compare(version, head_size, deadline)

    def has_ranges(self) -> bool:
        return self._traits.has_ranges

    def _list(self, query: ListQuery, request: StoreRequest, deadline: float) -> bytes:
        def receive() -> bytes:
            with self._transport.send(request, deadline=deadline) as response:
                if response.status != 200:
                    raise read_error(response)
                return _read_document(response)

        return self._runner.run(Operation.LIST, query.prefix, receive)

    @staticmethod
    def _refused_head(response: Response) -> None:
        """Raise the refusal of a HEAD; return if only a GET says what it means.

        S3 refuses a HEAD with 400 for an expired token, and for an object under SSE-C. A page of a
        gateway, whose 404 is no absence, may have no body either.
        """
        error = read_error(response)
        is_of_a_gateway = response.status == 404 and error.response.is_html
        if error.response.code or not (response.status == 400 or is_of_a_gateway):
            raise error

    def _read_page(
        self, body: bytes, query: ListQuery, sent: StoreRequest, deadline: float
    ) -> ListPage:
        """Parse one large page at a time: each may cost 60 MiB, and the GIL admits one anyway."""
        if len(body) <= LARGE_DOCUMENT:
            return self._dialect.read_page(body, query, sent)
        if not self._parsing.acquire(timeout=max(0, deadline - self._clock())):
            raise TimeoutError("the deadline has passed")
        try:
            return self._dialect.read_page(body, query, sent)
        finally:
            self._parsing.release()

    def _completed(self, page: ListPage, deadline: float) -> ListPage:
        """Return *page* with the objects whose size or version it does not tell."""
        objects, lost = page.objects.copy(), max(0, len(page.incomplete) - COMPLETED_MAX)
        for index, key in reversed(page.incomplete[:COMPLETED_MAX]):
            try:
                stat = self._listed_stat(key, deadline)
            except NotFound:
                continue
            except (S3MountError, Retryable):  # the lookup of its name will tell why
                lost += 1
                continue
            size, etag = stat.version.size, stat.version.etag
            objects.insert(index, ListedObject(key, size, stat.mtime_ns, etag, stat.storage_class))
        if not lost:
            return replace(page, objects=objects, incomplete=())
        odd_rows = (*page.odd_rows, (RowOddity.NOT_FOUND_OUT, lost))
        return replace(page, objects=objects, odd_rows=odd_rows, incomplete=(), is_partial=True)

    def _listed_stat(self, key: str, deadline: float) -> ObjectStat:
        """Return the attributes of a listed *key*. A refused HEAD, also 404, is not believed."""
        try:
            return self.head(key, deadline=deadline)
        except S3MountError:
            return self.head_by_get(key, deadline=deadline)

    def _read_revalidation(
        self, response: Response, version: ObjectVersion, head_size: int, deadline: float
    ) -> Revalidation | None:
        """Return None for 416: an empty object has no range, be it the old one or the new."""
        match response.status:
            case 200 | 206:
                return self._read_modified(response, version, head_size, deadline)
            case 304 if validation.has_sendable_etag(version):
                validation.check_not_modified(version, response.headers)
                return NotModified()
            case 416:
                return None
            case _:
                raise read_error(response)

    def _read_modified(
        self, response: Response, version: ObjectVersion, head_size: int, deadline: float
    ) -> Revalidation:
        check_stored(response.headers, None)
        if not has_size(response):
            return self._compare(version, 0, deadline)
        content = validation.content_range(response.status, response.headers, version.size)
        if validation.is_version(version, response.headers, content.size):
            return NotModified()  # from a store that ignores If-None-Match
        is_odd = validation.is_odd_length(version, response.headers)
        if is_odd or not validation.tells_size(response.headers, content.size, head_size):
            return self._compare(version, 0, deadline)
        head = bytearray(min(head_size, content.size))
        validation.check_covers(content, ByteRange(0, len(head)))
        response.read_into(memoryview(head))
        check_body_ends(response, content.stop - len(head))
        stat = validation.object_stat(self._bucket, version.key, response.headers, content.size)
        if len(head) == content.size and not self._is_intact(response, head):
            return Modified(stat, b"")  # its reader requests it again, and verifies it
        return Modified(stat, bytes(head))

    def _is_intact(self, response: Response, whole: bytearray) -> bool:
        """Whether *whole* has the checksum that *response* tells, if it tells one."""
        if not self._traits.verifies:
            return True
        checksum = expected_checksum(self._traits, response)
        return checksum is None or checksum.of(memoryview(whole)) == checksum.expected

    def _compare(self, version: ObjectVersion, head_size: int, deadline: float) -> Revalidation:
        """Revalidate by HEAD, if no range or no condition can be requested."""
        stat = self.head(version.key, deadline=deadline)
        if stat.version.is_same(version):
            return NotModified()
        if head_size and stat.version.size:
            failure = StoreError(
                "replaced during its revalidation", bucket=self._bucket, key=version.key
            )
            raise Retryable(failure)
        return Modified(stat, b"")


def _read_document(response: Response) -> bytes:
    """Read a document. One that the connection's end cuts is as invalid as half a document."""
    try:
        return response.read_all(DOCUMENT_LIMIT)
    except ConnectionError as exc:
        raise InvalidResponseError("a document that ends early") from exc


def _revalidation(version: ObjectVersion, head_size: int, form: RequestForm) -> StoreRequest:
    """Return the request for what replaced *version*, which is probably as small or as large.

    A small one is requested without Range, since a part has no checksum.
    """
    headers = condition_header("if-none-match", version)
    if version.size > head_size and form.ranges:
        headers = range_header(ByteRange(0, head_size)) + headers
    signed = CHECKSUM_MODE if form.checksums and version.size <= head_size else ()
    return StoreRequest(
        "GetObject", version.key, (), headers, signed, accept_encoding=form.accept_encoding
    )
