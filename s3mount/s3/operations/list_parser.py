"""Parser of LIST pages: bytes → ParsedPage, fast, and strict about the page as a whole.

Raises InvalidResponseError for what is no whole listing of what was requested: HTML, a page cut
short, a document type (without one there are no entities), a count that is above the rows, rows
that are all outside of the prefix. Odd rows are read by `list_rows`.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

import re
from collections.abc import Mapping
from operator import le
from typing import NamedTuple
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from s3mount.s3.limits import pages_in
from s3mount.s3.model import ListPage, ListQuery, RowOddity
from s3mount.s3.operations import validation
from s3mount.s3.operations.list_fast_parser import PARTS, Columns, take_columns
from s3mount.s3.operations.list_rows import PageRows, read_rows
from s3mount.s3.operations.xml_document import child_text, parse_document
from s3mount.s3.transport import ErrorResponse, ErrorResponseError, InvalidResponseError

_ROOT = re.compile("List(?:Bucket|Objects)(?:V2)?(?:Result|Response|Output)")
_TRUNCATED = {"true": True, "1": True, "false": False, "0": False, "": None}
_LONGEST = 10  # digits of a count
_ESCAPES_AT_ONCE = 64 * 1024  # `unquote` needs 230 bytes for each
_PARTS_OF_EMPTY = ("IsTruncated", "Name", "Prefix", "KeyCount", "MaxKeys")
_STRAY_OCTET = re.compile("[\udc80-\udcff]")


class ParsedPage(NamedTuple):
    """One LIST page, before a dialect decides where the next one begins.

    *is_truncated* is None if the store does not say. *last_row* is the key or common prefix that
    comes last, None without any; *next_marker* comes no later. *has_marker*: the page is written as
    version 1 of the API has it. *row_count* counts odd rows too. *is_ordered* is only found out
    if the next page begins behind a row. *is_plus_literal*: as `parse_page` has it.
    """

    rows: PageRows
    bucket: str
    is_truncated: bool | None
    token: str | None
    next_marker: str | None
    last_row: str | None
    has_marker: bool
    row_count: int
    is_ordered: bool
    is_plus_literal: bool

    def at(self, next_token: str | None) -> ListPage:
        """Return the page, which *next_token* continues."""
        rows = self.rows
        return ListPage(
            rows.objects,
            rows.prefixes,
            next_token,
            odd_rows=rows.odd_rows,
            incomplete=rows.incomplete,
            is_partial=rows.is_partial,
        )


def parse_page(
    body: bytes, query: ListQuery, *, after: str | None = None, is_plus_literal: bool = False
) -> ParsedPage:
    """Return the page in *body*, if it is one that *query* describes, of rows behind *after*.

    *is_plus_literal*: earlier pages have shown that the store writes a plus for a plus, no space.
    Raises ErrorResponseError for an error document: S3 may send one under a 200 that it had begun.
    """
    pages = pages_in(query.max_keys)
    columns, root = _parse_fast(body, query, pages) or _parse_full(body, query, pages)
    is_encoded = encoding_type(root) == "url"
    prefixes = [each.text or "" for each in root.iterfind("CommonPrefixes/Prefix") if not len(each)]
    rows_as_sent = [*columns.keys, *prefixes]
    if is_encoded:
        echo = child_text(root, "Prefix") or ""
        is_plus_literal = is_plus_literal or shows_literal_plus(rows_as_sent, echo, query.prefix)
        decoded = decode_keys(rows_as_sent, is_plus_literal=is_plus_literal)
    else:
        decoded = rows_as_sent
    count = len(decoded)
    keys, prefixes = decoded[: len(columns.keys)], decoded[len(columns.keys) :]
    _check_count(root, count, query)
    rows = read_rows(query, columns, keys, prefixes, after)
    if not (rows.objects or rows.prefixes or rows.incomplete):
        _check_empty(root, query, dict(rows.odd_rows))
    last_row = _last_row(keys, prefixes, query.prefix)
    token, is_truncated = child_text(root, "NextContinuationToken") or None, read_truncated(root)
    is_followed_by_row = token is None and is_truncated is not False
    return ParsedPage(
        rows,
        (child_text(root, "Name") or "").strip(),
        is_truncated,
        token,
        _next_marker(root, decoded, last_row, query, after) if is_followed_by_row else None,
        last_row,
        child_text(root, "NextMarker") is not None or child_text(root, "Marker") is not None,
        count,
        not is_followed_by_row or _is_ordered(keys, prefixes, query.prefix),
        is_plus_literal,
    )


def encoding_type(root: ET.Element) -> str | None:
    """Return how keys are encoded; the second name is Tencent's (COS)."""
    return child_text(root, "EncodingType") or child_text(root, "Encoding-Type")


def _parse_fast(body: bytes, query: ListQuery, pages: int) -> tuple[Columns, ET.Element] | None:
    """Return a page's objects, and the root with the rest; None if only `_parse_full` can."""
    taken = take_columns(body, has_owners=query.has_owners)
    if taken is None:
        return None
    columns, rest = taken
    try:
        root = parse_document(rest, pages)
    except InvalidResponseError:
        return None
    is_whole = root.tag == "ListBucketResult" and len(root.findall("Contents")) == len(columns.keys)
    return (columns, root) if is_whole else None


def _parse_full(body: bytes, query: ListQuery, pages: int) -> tuple[Columns, ET.Element]:
    root = parse_document(body, pages)
    if root.tag == "Error":
        raise ErrorResponseError(ErrorResponse(status=200, code=root.findtext("Code", "")))
    if not _ROOT.fullmatch(root.tag):
        raise InvalidResponseError(f"a document <{root.tag[:40]}>")
    contents = root.findall("Contents")
    keys, sizes, mtimes, etags, classes = ([_part(row, name) for row in contents] for name in PARTS)
    owners = [*map(_owner_of, contents)] if query.has_owners else []
    for word in (*etags, *classes, *owners):
        validation.check_word(word)
    # of two ETags none tells the version: without a size, it is found out by itself
    sizes = [
        "" if len(row.findall("ETag")) > 1 else size
        for row, size in zip(contents, sizes, strict=True)
    ]
    if encoding_type(root) and any(map(_STRAY_OCTET.search, keys)):
        raise InvalidResponseError("octets that are not UTF-8 in a listing with encoded keys")
    plain_etags = list(map(validation.plain_etag, etags))
    return Columns(keys, sizes, mtimes, plain_etags, classes, owners), root


def _owner_of(row: ET.Element) -> str:
    """Return the id of the owner of *row*; "" if it has none, or contradicts itself."""
    found = row.findall("Owner/ID")
    return found[0].text or "" if len(found) == 1 else ""


def _part(row: ET.Element, name: str) -> str:
    """Return the text of a part of *row*; "" if it has none, or contradicts itself."""
    found = row.findall(name)
    return found[0].text or "" if len(found) == 1 and not len(found[0]) else ""


def read_truncated(root: ET.Element) -> bool | None:
    text = (child_text(root, "IsTruncated") or "").strip().lower()
    if text not in _TRUNCATED:
        raise InvalidResponseError(f"IsTruncated {text[:40]!r}")
    return _TRUNCATED[text]


def _check_count(root: ET.Element, count: int, query: ListQuery) -> None:
    """Raise InvalidResponseError if the page lacks rows that it counts.

    A count above what a page may have is not about this page: s3ninja counts the whole bucket.
    """
    counted = _read_number(root, "KeyCount")
    limit = min(query.max_keys, _read_number(root, "MaxKeys") or query.max_keys)
    if counted is not None and count < counted <= limit:
        raise InvalidResponseError(f"{count} rows in a page that counts {counted}")


def _read_number(root: ET.Element, name: str) -> int | None:
    text = (child_text(root, name) or "").strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _LONGEST else None


def _check_empty(root: ET.Element, query: ListQuery, odd_rows: Mapping[RowOddity, int]) -> None:
    """Raise InvalidResponseError if *root*, without usable rows, does not say that there are none.

    It may be no listing, or one of another prefix. One row outside of the prefix is an odd row; of
    more, or without the prefix as it was requested, the page is believed to be another one.
    """
    if all(root.find(name) is None for name in _PARTS_OF_EMPTY):
        raise InvalidResponseError("no listing")
    raw = child_text(root, "Prefix") or ""
    echoes = {raw, validation.decode_key(raw), unquote(raw, errors="surrogateescape")}
    if RowOddity.OUTSIDE in odd_rows:
        foreign = odd_rows[RowOddity.OUTSIDE] + odd_rows.get(RowOddity.OWN_PREFIX, 0)
        is_other = query.prefix not in echoes or foreign > 1
    elif odd_rows:
        is_other = bool(raw) and query.prefix not in echoes
    else:
        is_other = bool(raw) and query.prefix.strip("/") not in {each.strip("/") for each in echoes}
    if is_other:
        raise InvalidResponseError(f"a listing of {raw[:80]!r} instead of {query.prefix!r}")


def decode_keys(texts: list[str], *, is_plus_literal: bool) -> list[str]:
    """Decode the keys of a page all at once, joined by NUL, which well-formed XML cannot carry."""
    joined = "\0".join(texts)
    if not texts or not ("%" in joined or "+" in joined):
        return texts
    # %2F is nearly all there is to decode in most buckets
    plain = joined.replace("%2F", "/")
    spaced = plain if is_plus_literal else plain.replace("+", " ")
    has_nul = "%00" in spaced or joined.count("\0") >= len(texts)
    if has_nul or spaced.count("%") > _ESCAPES_AT_ONCE:
        return [
            validation.decode_key(text.replace("+", "%2B") if is_plus_literal else text)
            for text in texts
        ]
    return unquote(spaced, "utf-8", "surrogateescape").split("\0")


def shows_literal_plus(texts: list[str], echo: str, prefix: str) -> bool:
    """Whether the store shows that it leaves a plus as it is, instead of writing it for a space.

    It does if it writes %20 for a space, also in the prefix that it echoes, or if else the keys
    were not below *prefix*.
    """
    first = texts[0] if texts else ""
    if "%20" in echo or "%20" in "\0".join(texts):
        return True
    is_below = "+" not in first or validation.decode_key(first).startswith(prefix)
    return not is_below and unquote(first, errors="surrogateescape").startswith(prefix)


def _last_row(keys: list[str], prefixes: list[str], prefix: str) -> str | None:
    last = [
        next((each for each in reversed(column) if each.startswith(prefix)), "")
        for column in (keys, prefixes)
    ]
    return max(last, key=_bytes) or None


def _is_ordered(keys: list[str], prefixes: list[str], prefix: str) -> bool:
    """Whether the rows below *prefix* rise, as bytes or by the components of their paths."""
    columns = [[_bytes(row) for row in each if row.startswith(prefix)] for each in (keys, prefixes)]
    by_component = [[row.replace(b"/", b"\0") for row in column] for column in columns]
    return any(
        all(all(map(le, column, column[1:])) for column in each) for each in (columns, by_component)
    )


def _next_marker(
    root: ET.Element, rows: list[str], last_row: str | None, query: ListQuery, after: str | None
) -> str | None:
    """Return the store's marker of the next page; None if it could pass rows over or lead back.

    It is the last row of the page. After a page without rows it is how far the store has come.
    moto tells a token, which may be anywhere among the keys. It counts no common prefixes, so its
    pages may end before their last row: raises InvalidResponseError if such a token is of no use.
    """
    marker = child_text(root, "NextMarker")
    if marker and encoding_type(root) == "url":
        key = validation.decode_key(marker)  # some stores encode keys, and not this one
        marker = key if key in rows or marker not in rows else marker
    if not marker or marker in rows:
        return marker or None
    if last_row is None:
        return marker if marker.startswith(query.prefix) else None
    first = min(_bytes(row) for row in rows if row.startswith(query.prefix))
    is_new = after is None or _bytes(marker) > _bytes(after)
    if is_new and first <= _bytes(marker) <= _bytes(last_row):
        return marker
    if len(rows) > query.max_keys:
        raise InvalidResponseError("a listing that is cut off before its last row")
    return None


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")
