"""Dialects of the LIST operation: the request, the page in the response, the next position.

Stores without continuation tokens list behind a key: version 1 calls it marker, version 2
start-after. A position of ours in such a listing is that key behind a NUL, which no token can have.
Invariants:

1. `prefix` is always sent, empty too: policies may allow nothing else.
2. A page that is cut off is never taken for the last one. Its successor begins behind its last row,
   or where the store says; a successor that leads back is invalid.
3. What a store pages by is found out once. It is certain when a second page has gone forward. A
   store that refuses version 2 before any page gets version 1.
"""

import html
import logging
import re
from dataclasses import replace
from enum import Enum
from typing import Literal, NoReturn, Protocol

from s3mount.s3.limits import TEXT_LIMIT
from s3mount.s3.model import PAGE_SIZE, ListPage, ListQuery
from s3mount.s3.operations.list_parser import ParsedPage, parse_page
from s3mount.s3.transport import InvalidResponseError, StoreRequest

log = logging.getLogger(__name__)

ListVersion = Literal["auto", "1", "2"]

_TOKEN = re.compile(rb"<NextContinuationToken>([^<]{1,%d})</NextContinuationToken>" % TEXT_LIMIT)
_BEHIND = "\0"  # begins a position that is a key
_REFUSED = (400, 405, 501)  # statuses
_REFUSALS = {"InvalidArgument", "InvalidRequest", "MethodNotAllowed", "NotImplemented"}
_CUT_OFF = "a listing that is cut off without a continuation token"
_LAST = "\U0010ffff"  # comes after all that names in a directory begin with


class ListDialect(Protocol):
    """Dialect of LIST: one way in which stores list a bucket."""

    def request(self, query: ListQuery) -> StoreRequest:
        """Return the request for the page that *query* describes."""
        ...

    def next_position(self, body: bytes) -> str | None:
        """Return where the next page begins, as a hint, without reading the page."""
        ...

    def read_page(
        self, body: bytes, query: ListQuery, sent: StoreRequest | None = None
    ) -> ListPage:
        """Return the page that answers *sent*, by default the request for *query* as of now.

        Raises ErrorResponseError or InvalidResponseError if *body* is no such page.
        """
        ...

    def is_to_repeat(
        self, status: int | None, code: str | None, sent: StoreRequest | None = None
    ) -> bool:
        """Whether *sent*, which the store refused, is to be sent anew, written otherwise."""
        ...


class Paging(Enum):
    """Parameter that a page begins at; the value is for the log."""

    TOKEN = "continuation tokens"  # noqa: S105 - no password
    START_AFTER = "start-after"
    MARKER = "marker"


class ListObjects:
    """`ListDialect` of ListObjectsV2, and of ListObjects (version 1) where a store needs it.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html
    """

    def __init__(self, version: ListVersion = "auto", *, fetch_owner: bool = False) -> None:
        self._fetch_owner = fetch_owner  # of each object; version 1 tells it in any case
        # Called from several threads. What an answer tells is of the request that was sent, which
        # another thread may have made the former way.
        self._paging = Paging.MARKER if version == "1" else Paging.TOKEN
        self._is_certain = version != "auto"  # what the store pages by
        self._has_listed = False
        self._is_plus_literal = False  # in keys with encoding-type=url
        self._bucket = ""  # as the store names it in its listings

    def request(self, query: ListQuery) -> StoreRequest:
        after = position_key(query)
        token = None if after is not None else query.token
        is_by_marker = self._paging is Paging.MARKER and token is None
        after = query.start_after if after is None else after
        parameters = (
            ("continuation-token", token),
            ("delimiter", query.delimiter),
            ("encoding-type", "url"),
            ("fetch-owner", "true" if self._fetch_owner and not is_by_marker else None),
            ("list-type", "" if is_by_marker else "2"),
            ("marker", after if is_by_marker else None),
            ("max-keys", str(query.max_keys)),
            # an empty one, too: a policy may allow LIST only with a prefix in the query
            ("prefix", query.prefix),
            ("start-after", None if is_by_marker else after),
        )
        given = tuple(
            (name, value or "") for name, value in parameters if value or name == "prefix"
        )
        operation = "ListObjects" if is_by_marker else "ListObjectsV2"
        return StoreRequest(operation, None, given, reason=query.reason)

    def next_position(self, body: bytes) -> str | None:
        if b"<IsTruncated>true</IsTruncated>" not in body or self._paging is Paging.MARKER:
            return None
        tokens = _TOKEN.findall(body)
        if len(tokens) != 1:
            return None
        try:
            return html.unescape(tokens[0].decode())
        except ValueError:  # not UTF-8, or a character reference too long for Python to convert
            return None

    def read_page(
        self, body: bytes, query: ListQuery, sent: StoreRequest | None = None
    ) -> ListPage:
        paging = self._paging_of(sent)
        behind = position_key(query)
        page = parse_page(
            body,
            replace(query, has_owners=True) if self._fetch_owner else query,
            after=query.start_after if behind is None else behind,
            is_plus_literal=self._is_plus_literal,
        )
        self._is_plus_literal = self._is_plus_literal or page.is_plus_literal
        self._check_bucket(page)
        self._has_listed = True
        if behind is not None:
            self._check_forward(page, behind, paging)
        if not _goes_on(page, query):
            return page.at(None)
        if page.token is not None and paging is not Paging.MARKER:
            if page.token == query.token:
                raise InvalidResponseError("a listing that comes back to the same page")
            return page.at(page.token)
        return page.at(_BEHIND + self._next_key(page, query, behind, paging))

    def _paging_of(self, sent: StoreRequest | None) -> Paging:
        """Return what *sent* pages by."""
        if sent is None:
            return self._paging
        if sent.operation == "ListObjects":
            return Paging.MARKER
        return Paging.START_AFTER if self._paging is Paging.MARKER else self._paging

    def _next_key(
        self, page: ParsedPage, query: ListQuery, behind: str | None, paging: Paging
    ) -> str:
        """Return the key that the next page begins behind; *behind* is that of this page."""
        key = page.next_marker or page.last_row
        if self._paging is Paging.TOKEN and self._is_certain:
            raise InvalidResponseError(f"{_CUT_OFF}, which --list-version 2 needs")
        if key is None:
            raise InvalidResponseError(_CUT_OFF)
        if page.next_marker is None and not page.is_ordered:  # rows might be passed over
            raise InvalidResponseError("a listing that is cut off, in no order, without a token")
        if self._paging is Paging.TOKEN:
            self._paging = Paging.MARKER if page.has_marker else Paging.START_AFTER
        is_directory = query.delimiter and key.endswith("/") and key != query.prefix
        if key == behind and is_directory:
            return key + _LAST  # the store lists what is in a directory behind its prefix
        if behind is not None and _is_at_or_before(key, behind):
            self._fail(behind, paging)
        return key

    def _check_forward(self, page: ParsedPage, behind: str, paging: Paging) -> None:
        """Raise InvalidResponseError if all rows are before *behind*; the row itself may come."""
        last = page.last_row
        if last is None or last == behind:
            return
        if _is_at_or_before(last, behind):
            self._fail(behind, paging)
        if not self._is_certain:
            self._paging, self._is_certain = paging, True
            log.info("the store pages listings by %s, not by tokens", self._paging.value)

    def _fail(self, behind: str, paging: Paging) -> NoReturn:
        self._use_other(paging)
        raise InvalidResponseError(f"a listing that comes back to {behind!r}")

    def is_to_repeat(
        self, status: int | None, code: str | None, sent: StoreRequest | None = None
    ) -> bool:
        if self._is_certain or status not in _REFUSED or (code or "") not in {"", *_REFUSALS}:
            return False
        if status == 400 and not code:  # more often a redirect, or a refused signature
            return False
        if self._has_listed and self._paging is Paging.TOKEN:  # it knows version 2
            return False
        self._use_other(self._paging_of(sent))
        return True

    def _use_other(self, failed: Paging) -> None:
        """Let the next attempt page by the other parameter than *failed*, unless one is certain."""
        if not self._is_certain:
            is_by_marker = failed is Paging.MARKER
            self._paging = Paging.START_AFTER if is_by_marker else Paging.MARKER

    def _check_bucket(self, page: ParsedPage) -> None:
        """Raise InvalidResponseError if *page* names another bucket than the pages before.

        The first name may be another than ours: that of an alias, or without its tenant.
        """
        if page.bucket and self._bucket not in ("", page.bucket):
            raise InvalidResponseError(f"a listing of the bucket {page.bucket[:80]!r}")
        if page.bucket and page.row_count:
            self._bucket = page.bucket


def position_key(query: ListQuery) -> str | None:
    """Return the key that the page of *query* begins behind, if its token is a position of ours."""
    token = query.token
    return token[1:] if token is not None and token.startswith(_BEHIND) else None


def _goes_on(page: ParsedPage, query: ListQuery) -> bool:
    """Whether more pages follow. A full page whose store does not say is not taken for the last.

    A store may send PAGE_SIZE rows though more are requested.
    """
    if page.is_truncated is not None:
        return page.is_truncated
    has_position = page.token is not None or page.next_marker is not None
    return has_position or page.row_count >= min(query.max_keys, PAGE_SIZE)


def _is_at_or_before(key: str, behind: str) -> bool:
    """Whether *key* is no later than *behind*, in both orders that stores list in."""
    first, second = (each.encode("utf-8", "surrogateescape") for each in (key, behind))
    is_before = first.replace(b"/", b"\0") < second.replace(b"/", b"\0")
    return first == second or (first < second and is_before)
