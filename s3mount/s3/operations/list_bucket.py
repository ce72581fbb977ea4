"""LIST: one page of a listing, requested in the dialect of the store."""

import time
from collections.abc import Callable
from dataclasses import replace

from s3mount.errors import StoreError
from s3mount.s3.limits import DOCUMENT_LIMIT, pages_in
from s3mount.s3.model import PAGE_SIZE, ListPage, ListQuery
from s3mount.s3.object_store import OnToken
from s3mount.s3.operations.error_mapping import Operation
from s3mount.s3.operations.head_object import HeadObject
from s3mount.s3.operations.list_dialect import ListDialect
from s3mount.s3.operations.modification_time import ModificationTimes
from s3mount.s3.operations.operation_runner import OperationRunner, read_error
from s3mount.s3.operations.page_completion import complete_page
from s3mount.s3.operations.xml_document import DocumentTurns
from s3mount.s3.transport import InvalidResponseError, Response, StoreRequest


class ListBucket:
    """Listing pages, requested over *runner* in *dialect*, and completed by *head_object*.

    A page has *page_size* rows at most, unless a query wants fewer.
    """

    def __init__(
        self,
        runner: OperationRunner,
        dialect: ListDialect,
        head_object: HeadObject,
        times: ModificationTimes,
        clock: Callable[[], float] = time.monotonic,
        *,
        page_size: int = PAGE_SIZE,
    ) -> None:
        self._runner = runner
        self._dialect = dialect
        self._head_object = head_object
        self._times = times
        self._page_size = page_size
        self._turns = DocumentTurns(clock)

    def list_page(
        self, query: ListQuery, *, deadline: float, on_token: OnToken | None = None
    ) -> ListPage:
        """See `Operations.list_page`."""
        query = self._sized(query)
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
        if not page.incomplete:
            return page
        return complete_page(page, self._head_object, deadline, query.reason)

    def _sized(self, query: ListQuery) -> ListQuery:
        """Return *query* for as many rows as the store is asked for."""
        size = self._page_size
        if query.max_keys == size:
            return query
        return replace(
            query, max_keys=size if query.max_keys == PAGE_SIZE else min(query.max_keys, size)
        )

    def _list(self, query: ListQuery, request: StoreRequest, deadline: float) -> bytes:
        def receive() -> bytes:
            with self._runner.transport.send(request, deadline=deadline) as response:
                if response.status != 200:
                    raise read_error(response)
                self._times.record_listing(response.headers.get("date"))
                return _read_document(response, DOCUMENT_LIMIT * pages_in(query.max_keys))

        return self._runner.run(Operation.LIST, query.prefix, receive)

    def _read_page(
        self, body: bytes, query: ListQuery, sent: StoreRequest, deadline: float
    ) -> ListPage:
        with self._turns.turn(body, deadline):
            return self._dialect.read_page(body, query, sent)


def _read_document(response: Response, limit: int) -> bytes:
    """Read a document. One that the connection's end cuts is as invalid as half a document."""
    try:
        return response.read_all(limit)
    except ConnectionError as exc:
        raise InvalidResponseError("a document that ends early") from exc
