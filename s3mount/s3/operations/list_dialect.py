"""Dialects of the LIST operation: the request, the page in the response, the next position."""

import re
from html import unescape
from typing import Protocol

from s3mount.s3.limits import TEXT_LIMIT
from s3mount.s3.model import ListPage, ListQuery
from s3mount.s3.operations.list_parser import read_page
from s3mount.s3.transport import StoreRequest

_TOKEN = re.compile(rb"<NextContinuationToken>([^<]{1,%d})</NextContinuationToken>" % TEXT_LIMIT)


class ListDialect(Protocol):
    """One way in which stores list a bucket."""

    def request(self, query: ListQuery) -> StoreRequest:
        """Return the request for the page that *query* describes."""
        ...

    def next_position(self, body: bytes) -> str | None:
        """Return where the next page begins, as a hint, without reading the page."""
        ...

    def read_page(self, body: bytes, query: ListQuery) -> ListPage:
        """Return the page; an ErrorResponseError or InvalidResponseError if *body* is none."""
        ...


class ListObjectsV2:
    """`ListDialect` of ListObjectsV2.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
    """

    def request(self, query: ListQuery) -> StoreRequest:
        parameters = (
            ("continuation-token", query.token),
            ("delimiter", query.delimiter),
            ("encoding-type", "url"),
            ("list-type", "2"),
            ("max-keys", str(query.max_keys)),
            # an empty one, too: a policy may allow LIST only with a prefix in the query
            ("prefix", query.prefix),
            ("start-after", query.start_after),
        )
        given = tuple(
            (name, value or "") for name, value in parameters if value or name == "prefix"
        )
        return StoreRequest("ListObjectsV2", None, given)

    def next_position(self, body: bytes) -> str | None:
        if b"<IsTruncated>true</IsTruncated>" not in body:
            return None
        tokens = _TOKEN.findall(body)
        if len(tokens) != 1:
            return None
        try:
            return unescape(tokens[0].decode())
        except ValueError:  # not UTF-8, or a character reference too long for Python to convert
            return None

    def read_page(self, body: bytes, query: ListQuery) -> ListPage:
        return read_page(body, query)
