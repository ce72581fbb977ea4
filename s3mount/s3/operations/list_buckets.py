"""LIST of the buckets of an account (ListBuckets): its request, and a page of its response.

A bucket is a common prefix, as a directory is in the listing of a bucket. A name that no bucket can
have is skipped, and counted as an odd row: it becomes part of an address, and of a path.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from s3mount.errors import StoreError
from s3mount.s3.limits import DOCUMENT_LIMIT
from s3mount.s3.model import ListPage, ListQuery, RowOddity
from s3mount.s3.operations.error_mapping import Operation
from s3mount.s3.operations.operation_runner import OperationRunner, read_error
from s3mount.s3.operations.xml_document import child_text, parse_document
from s3mount.s3.transport import InvalidResponseError, StoreRequest

PAGE_MAX: Final = 10_000  # buckets; with a limit in the request, S3 tells their regions
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", re.ASCII)
_REGION: Final = re.compile(r"[A-Za-z0-9-]{1,63}", re.ASCII)  # it becomes a label of a host name
_REFUSED: Final = (400, 405, 501)  # statuses of a parameter that a store does not know


class BucketPage(NamedTuple):
    """One page of buckets; *regions* has those that the store tells, by bucket."""

    page: ListPage
    regions: Mapping[str, str]


class ListBuckets:
    """Pages of buckets, requested over *runner*, from any thread."""

    def __init__(self, runner: OperationRunner) -> None:
        self._runner = runner
        self._has_limit = True  # a request has, until a store has refused one and not the other

    def list_page(self, query: ListQuery, *, deadline: float) -> BucketPage:
        """Return the page at the token of *query*; of the rest, only its reason counts."""
        try:
            return self._list(query, deadline, has_limit=self._has_limit)
        except StoreError as exc:
            if not self._has_limit or query.token is not None or exc.status not in _REFUSED:
                raise
        page = self._list(query, deadline, has_limit=False)
        self._has_limit = False
        return page

    def _list(self, query: ListQuery, deadline: float, *, has_limit: bool) -> BucketPage:
        limit = str(PAGE_MAX) if has_limit else None
        fields = (("continuation-token", query.token), ("max-buckets", limit))
        given = tuple((name, value) for name, value in fields if value)
        request = StoreRequest("ListBuckets", None, given, reason=query.reason)

        def receive() -> BucketPage:
            with self._runner.transport.send(request, deadline=deadline) as response:
                if response.status != 200:
                    raise read_error(response)
                return read_buckets(response.read_all(DOCUMENT_LIMIT))

        return self._runner.run(Operation.LIST, "", receive)


def read_buckets(body: bytes) -> BucketPage:
    """Return the buckets in *body*. Raises InvalidResponseError if it is no list of buckets."""
    root = parse_document(body)
    if root.tag != "ListAllMyBucketsResult":
        raise InvalidResponseError(f"a document <{root.tag[:40]}> instead of a list of buckets")
    lists = root.findall("Buckets")
    if len(lists) > 1:
        raise InvalidResponseError("more than one list of buckets")
    rows = [dict(_parts(row)) for each in lists for row in each.findall("Bucket")]
    named = [row for row in rows if _NAME.fullmatch(row["Name"])]
    odd_rows = ((RowOddity.NO_BUCKET, len(rows) - len(named)),) if len(named) < len(rows) else ()
    regions = {row["Name"]: row["BucketRegion"] for row in named}
    token = child_text(root, "ContinuationToken") or None
    return BucketPage(
        ListPage([], [f"{name}/" for name in regions], token, odd_rows),
        {name: region for name, region in regions.items() if _REGION.fullmatch(region)},
    )


def _parts(row: Element) -> Iterator[tuple[str, str]]:
    for name in ("Name", "BucketRegion"):
        found = row.findall(name)
        yield name, (found[0].text or "").strip() if len(found) == 1 else ""
