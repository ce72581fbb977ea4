"""`Transport` that gives requests for objects the customer keys (SSE-C) that they need.

Invariants:

1. Only GetObject and HeadObject carry a key, and at most one. Where to it may be sent, the
   transport below decides.
2. The response that an operation gets is that to the last request, unchanged. A refusal of a key
   is read, and given to the operation only if no other key opens the object.
3. Nothing is searched for in the event loop: a refusal is never COMPLETE, so a thread finishes it;
   while another searches, nothing is sent without waiting.
"""

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Final

from s3mount.s3.endpoint.customer_key import ALGORITHM, CustomerKey
from s3mount.s3.limits import ERROR_LIMIT
from s3mount.s3.operations.customer_keys import (
    CustomerKeys,
    ObjectId,
    refuses_key,
)
from s3mount.s3.operations.key_search import Search, SharedSearches
from s3mount.s3.operations.operation_runner import read_error
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import (
    CutShortError,
    ErrorResponseError,
    Exchange,
    InvalidResponseError,
    Response,
    SentExchange,
    StoreRequest,
    Transport,
)

log = logging.getLogger(__name__)

_OPERATIONS: Final = ("GetObject", "HeadObject")
_REFUSALS: Final = (400, 403, 501)
_SUCCESSES: Final = (200, 206)
_NOT_MODIFIED: Final = 304  # to the right key, since others were refused; may tell no encryption


class KeyedTransport:
    """`Transport` over *transport* that sends requests for objects with *keys*."""

    def __init__(self, transport: Transport, keys: CustomerKeys) -> None:
        self.transport = transport
        self.keys = keys
        self.searches = SharedSearches["ReadResponse"]()
        self.preconnect = transport.preconnect
        self.renew_credentials = transport.renew_credentials
        self.adjust_clock = transport.adjust_clock
        self.close = transport.close

    def send(
        self, request: StoreRequest, *, deadline: float, cancel_token: CancelToken | None = None
    ) -> Exchange:
        if request.operation not in _OPERATIONS:
            return self.transport.send(request, deadline=deadline, cancel_token=cancel_token)
        return KeyedExchange(self, request, deadline, cancel_token or CancelToken())

    def send_nowait(
        self, request: StoreRequest, length: int, *, deadline: float, cancel_token: CancelToken
    ) -> SentExchange | None:
        if request.operation not in _OPERATIONS:
            return self.transport.send_nowait(
                request, length, deadline=deadline, cancel_token=cancel_token
            )
        if self.searches.is_searching(shape_of(request)):
            return None
        key = self.keys.guess(item_of(request))
        sent = self.transport.send_nowait(
            request._replace(customer_key=key),
            length,
            deadline=deadline,
            cancel_token=cancel_token,
        )
        if sent is None:
            return None
        return SentKeyedExchange(self, request, deadline, cancel_token, sent=sent, key=key)


class KeyedExchange:
    """`Exchange` of *request*, with the key that its object needs, over *transport*."""

    def __init__(
        self,
        transport: KeyedTransport,
        request: StoreRequest,
        deadline: float,
        cancel_token: CancelToken,
    ) -> None:
        self._transport = transport
        self._request = request
        self._item = item_of(request)
        self._deadline = deadline
        self._cancel_token = cancel_token
        # the exchange that has not ended, and the key of the last one
        self._exchange: Exchange | None = None
        self._key: CustomerKey | None = None

    def __enter__(self) -> Response:
        searches, name = self._transport.searches, shape_of(self._request)
        while True:
            if self._exchange is None:
                failure = searches.wait(name, self._deadline, self._cancel_token)
                if failure is not None:
                    return replace(failure)
                self._send(self._transport.keys.guess(self._item))
            response = self._receive()
            if not self._is_refused(response):
                self._account(response)
                return response
            self._end_refused(response)
            with searches.leading(name) as search:
                if search is not None:
                    return self._search(response, search)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.__exit__(kind, exc, traceback)

    def _search(self, refused: Response, search: Search["ReadResponse"]) -> Response:
        """Return the first response that is no refusal of its key, else that without a key."""
        keys, unkeyed = self._transport.keys, refused
        for key in keys.candidates(self._key):
            self._cancel_token.check()
            self._send(key)
            response = self._receive()
            if not self._is_refused(response):
                if response.status in _SUCCESSES:
                    keys.record_found(self._item, key, is_told=ALGORITHM in response.headers)
                elif response.status == _NOT_MODIFIED:
                    keys.record_found(self._item, key, is_told=None)
                return response
            self._end_refused(response)
            if key is None:
                unkeyed = response
        assert isinstance(unkeyed, ReadResponse)
        self._record_failure(unkeyed, search)
        return replace(unkeyed)

    def _send(self, key: CustomerKey | None) -> None:
        self._key = key
        self._exchange = self._transport.transport.send(
            self._request._replace(customer_key=key),
            deadline=self._deadline,
            cancel_token=self._cancel_token,
        )

    def _receive(self) -> Response:
        """Return the response, which has been read if it may refuse the key."""
        exchange = self._exchange
        assert exchange is not None
        response = exchange.__enter__()
        if response.status not in _REFUSALS:
            return response
        try:
            return ReadResponse(response.status, response.headers, response.read_all(ERROR_LIMIT))
        except BaseException as exc:  # raised again
            self.__exit__(type(exc), exc, None)
            raise

    def _is_refused(self, response: Response) -> bool:
        error = response.error if isinstance(response, ReadResponse) else None
        return error is not None and refuses_key(error.response, self._key)

    def _end_refused(self, response: Response) -> None:
        error = response.error if isinstance(response, ReadResponse) else None
        self.__exit__(ErrorResponseError if error else None, error, None)

    def _account(self, response: Response) -> None:
        """Account for an object that its store sends without the key that was sent."""
        if (
            self._key is not None
            and response.status in _SUCCESSES
            and ALGORITHM not in response.headers
        ):
            self._transport.keys.record_unencrypted(self._item)

    def _record_failure(self, unkeyed: "ReadResponse", search: Search["ReadResponse"]) -> None:
        search.result = unkeyed
        error = unkeyed.error
        has_reason = error is not None and error.response.code  # a HEAD has none
        if has_reason and self._transport.keys.record_unopened(self._item):
            log.info(
                "%r is encrypted with a customer key (SSE-C) that no --sse-c-key-file has, or "
                "cannot be read at all; fingerprints of the keys that were tried: %s",
                self._item.key,
                ", ".join(self._transport.keys.fingerprints()),
            )


class SentKeyedExchange(KeyedExchange):
    """`SentExchange` that begins with *sent*, which was sent with *key*, without waiting."""

    def __init__(
        self,
        transport: KeyedTransport,
        request: StoreRequest,
        deadline: float,
        cancel_token: CancelToken,
        *,
        sent: SentExchange,
        key: CustomerKey | None,
    ) -> None:
        super().__init__(transport, request, deadline, cancel_token)
        self._exchange = self._sent = sent
        self._key = key
        self.fileno = sent.fileno
        self.receive_available = sent.receive_available

    @property
    def has_begun(self) -> bool:
        return self._sent.has_begun


@dataclass(slots=True)
class ReadResponse:
    """`Response` whose *body* has been read; *received* counts the bytes that were taken of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received: int = field(default=0, init=False)

    @property
    def error(self) -> ErrorResponseError | None:
        """What it says; None if that cannot be understood."""
        try:
            return read_error(replace(self))
        except InvalidResponseError:
            return None

    def read_into(self, buffer: memoryview) -> None:
        piece = self.body[self.received : self.received + len(buffer)]
        buffer[: len(piece)] = piece
        self.received += len(piece)
        if len(piece) < len(buffer):
            raise CutShortError("the body is cut short")

    def read_all(self, limit: int) -> bytes:
        rest = self.body[self.received :]
        self.received = len(self.body)
        if len(rest) > limit:
            raise InvalidResponseError("a document without end")
        return rest

    def skip(self, count: int) -> None:
        self.read_into(memoryview(bytearray(count)))

    def is_at_end(self) -> bool:
        return self.received == len(self.body)


def shape_of(request: StoreRequest) -> Hashable:
    """Return what requests have in common whose refusals mean the same: all but values. Pure."""
    names = tuple(name for name, _ in (*request.headers, *request.signed_headers))
    return (request.method, request.key, request.query, names)


def item_of(request: StoreRequest) -> ObjectId:
    """Return the object that *request*, of one object, is for. Pure."""
    assert request.key is not None
    return ObjectId(request.key, dict(request.query).get("versionId"))
