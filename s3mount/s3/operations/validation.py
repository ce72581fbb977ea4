"""What is believed of an answer: the checks that stand between a store's words and our values, for both sides of the door.

Pure: headers (names in lower case) and fields in, values out. Whatever is missing, malformed or not what was asked for is a
InvalidResponseError, never a guess.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from s3mount.s3.limits import (
    DOCUMENT_LIMIT,
    LARGE_DOCUMENT,
    MARKUP_LIMIT,
    ROWS_LIMIT,
    SMALL_DOCUMENT,
    TEXT_LIMIT,
    WORD_LIMIT,
)
from s3mount.s3.model import ByteRange, ListedObject, ListPage, ListQuery, ObjectStat, ObjectVersion

Headers = Mapping[str, str]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LARGEST = (
    1 << 63
) - 1  # bytes or nanoseconds that the kernel, and the tables of the tree, can hold
_CONTENT_RANGE = re.compile(
    r"\s*bytes\s+(\d{1,19})\s*-\s*(\d{1,19})\s*/\s*(\d{1,19})\s*", re.ASCII | re.IGNORECASE
)


class InvalidResponseError(Exception):
    """An answer that is none; the text says why."""


class ContentRange(NamedTuple):
    """Which bytes of an object a body brings, and how many the whole object has."""

    span: ByteRange
    size: int


def part_of(status: int, headers: Headers) -> ContentRange:
    """What the body of a GET holds, by its head. A 200 with a Content-Range is a part too: rclone says it so."""
    length = content_length(headers)
    content_range = headers.get("content-range")
    if content_range is None:
        if status != 200 or length is None:
            raise InvalidResponseError(f"HTTP {status} that does not say which bytes it brings")
        return ContentRange(ByteRange(0, length), length)
    part = _read_content_range(content_range)
    if length is not None and length != len(part.span):
        raise InvalidResponseError(f"{length} bytes for Content-Range {content_range!r}")
    return part


def check_covers(part: ContentRange, span: ByteRange) -> None:
    """That *part* is what was asked for, or the whole object."""
    if part.span not in (span, ByteRange(0, part.size)):
        raise InvalidResponseError(
            f"bytes {part.span.start}-{part.span.stop - 1} instead of {span.start}-{span.stop - 1}"
        )


def is_version(version: ObjectVersion, headers: Headers, size: int) -> bool:
    """Whether an answer about an object of *size* bytes is about *version*, whatever the store made of If-Match."""
    if is_synthetic(version.etag):
        return synthetic_etag(_last_modified_ns(headers), size) == version.etag
    etag = plain_etag(headers.get("etag"))
    if not etag:
        raise InvalidResponseError("no ETag")
    return (etag, size) == (version.etag, version.size)


def object_stat(bucket: str, key: str, headers: Headers, size: int) -> ObjectStat:
    """What the head of an answer says of an object of *size* bytes.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    """
    if size > _LARGEST:
        raise InvalidResponseError(f"an object of {size} bytes")
    mtime_ns = _last_modified_ns(headers)
    storage_class = check_word(headers.get("x-amz-storage-class")) or "STANDARD"
    etag = plain_etag(check_word(headers.get("etag"))) or synthetic_etag(mtime_ns, size)
    return ObjectStat(
        version=ObjectVersion(bucket, key, etag, size),
        mtime_ns=mtime_ns,
        storage_class=storage_class,
        version_id=version_id(headers),
        is_archived=_is_archived(storage_class, headers),
    )


def version_id(headers: Headers) -> str | None:
    """The version id, where there is one to go back to: "null" is overwritten in place."""
    told = check_word(headers.get("x-amz-version-id"))
    return None if told == "null" else told


def content_length(headers: Headers) -> int | None:
    """Content-Length; None where the store sends without (chunked)."""
    raw = headers.get("content-length")
    if raw is None:
        return None
    if not (raw.isascii() and raw.isdigit() and len(raw) < 20):
        raise InvalidResponseError(f"Content-Length {raw[:40]!r}")
    return int(raw)


def listed_object(
    key: str, size: int, modified: datetime, etag: str | None, storage_class: str | None
) -> ListedObject:
    """One element of a listing."""
    if not 0 <= size <= _LARGEST:
        raise InvalidResponseError(f"{size} bytes in {key!r}")
    mtime_ns = checked_moment((modified - _EPOCH) // _MICROSECOND * 1000)
    etag = plain_etag(check_word(etag)) or synthetic_etag(mtime_ns, size)
    return ListedObject(key, size, mtime_ns, etag, check_word(storage_class) or "STANDARD")


def check_word(word: str | None) -> str | None:
    """*word*, an ETag, version id or storage class, if it is no longer than it may be: the mount keeps many."""
    if word is not None and len(word) > WORD_LIMIT:
        raise InvalidResponseError(f"a word of {len(word)} bytes: {word[:40]!r}")
    return word


def checked_moment(mtime_ns: int) -> int:
    """*mtime_ns*, where 64 bits hold it: nothing was modified after the year 2262."""
    if abs(mtime_ns) > _LARGEST:
        raise InvalidResponseError(f"modified {mtime_ns} ns after 1970")
    return mtime_ns


def list_page(
    query: ListQuery,
    objects: list[ListedObject],
    prefixes: list[str],
    *,
    is_truncated: bool | None,
    next_token: str | None,
) -> ListPage:
    """A page, if it answers *query*. *is_truncated* None: not said, so this is no listing at all."""
    if is_truncated is None:
        raise InvalidResponseError("no listing")
    if is_truncated and not next_token:
        raise InvalidResponseError("a listing that is cut off without a continuation token")
    if is_truncated and next_token == query.token:
        raise InvalidResponseError("a listing that comes back to the same page")
    if max(len(objects), len(prefixes)) > ROWS_LIMIT:
        raise InvalidResponseError(
            f"a page of {len(objects)} objects and {len(prefixes)} common prefixes"
        )
    for listed in objects:
        _check_key(listed.key, query)
    for prefix in prefixes:
        _check_common_prefix(prefix, query)
    return ListPage(objects, prefixes, next_token if is_truncated else None)


def decoded(text: str, *, is_encoded: bool) -> str:
    """A key out of a listing with `encoding-type=url`: "+" is a space in Amazon's and SeaweedFS's, %20 in moto's; "+" is %2B in all."""
    if not is_encoded or ("%" not in text and "+" not in text):
        return text
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "surrogateescape")


def check_document(body: bytes) -> None:
    """That parsing *body* costs a bounded amount of memory; to be called before anything parses it."""
    if b"<!DOCTYPE" in body:  # without one there are no entities to expand
        raise InvalidResponseError("a document type")
    if len(body) <= SMALL_DOCUMENT:
        return
    if len(body) > DOCUMENT_LIMIT:
        raise InvalidResponseError("a document without end")
    # an attribute costs as much as an element, and has an equals sign
    if body.count(b"<") > MARKUP_LIMIT or body.count(b"=") > MARKUP_LIMIT:
        raise InvalidResponseError("a document of too many elements")
    if len(body) > LARGE_DOCUMENT and max(map(len, body.split(b"<"))) > TEXT_LIMIT:
        raise InvalidResponseError("a document with a text that is too long")


# ETags

_STAND_IN = "s3mount-stand-in-"


def plain_etag(raw: str | None) -> str:
    """An ETag without `W/` and quotes; "" where there is none. Stores quote them in one answer and not in the next."""
    return (raw or "").strip().removeprefix("W/").strip('"')


def synthetic_etag(mtime_ns: int, size: int) -> str:
    """What identifies a version in a store without ETags: whole seconds, since an HTTP date has no more, and the size."""
    return f"{_STAND_IN}{mtime_ns // 1_000_000_000}-{size}"


def is_synthetic(etag: str) -> bool:
    """Whether *etag* is of our own making, and so never to be sent."""
    return etag.startswith(_STAND_IN)


def _check_key(key: str, query: ListQuery) -> None:
    if not key.startswith(query.prefix) or not key:
        raise InvalidResponseError(f"{key!r} in a listing of {query.prefix!r}")
    if (
        query.delimiter
        and query.delimiter in key[len(query.prefix) :]
        and not key.endswith(query.delimiter)
    ):
        raise InvalidResponseError(f"{key!r} in a listing by {query.delimiter!r}")
    if key == query.start_after:
        raise InvalidResponseError(f"{key!r} in a listing of what comes after it")


def _check_common_prefix(prefix: str, query: ListQuery) -> None:
    is_below = len(prefix) > len(query.prefix) and prefix.startswith(query.prefix)
    if not (is_below and query.delimiter and prefix.endswith(query.delimiter)):
        raise InvalidResponseError(f"common prefix {prefix!r} in a listing of {query.prefix!r}")


def _read_content_range(raw: str) -> ContentRange:
    match = _CONTENT_RANGE.fullmatch(raw)
    if match is None:
        raise InvalidResponseError(f"Content-Range {raw[:80]!r}")
    first, last, size = map(int, match.groups())
    if not first <= last < size:
        raise InvalidResponseError(f"Content-Range {raw!r}")
    return ContentRange(ByteRange(first, last + 1), size)


def _last_modified_ns(headers: Headers) -> int:
    try:
        mtime_ns = int(parsedate_to_datetime(headers["last-modified"]).timestamp()) * 1_000_000_000
    except (KeyError, ValueError, OverflowError) as exc:
        raise InvalidResponseError(
            f"Last-Modified {headers.get('last-modified', 'missing')[:40]!r}"
        ) from exc
    return checked_moment(mtime_ns)


def _is_archived(storage_class: str, headers: Headers) -> bool:
    """GLACIER_IR is read at once; Intelligent-Tiering says by x-amz-archive-status that an object went to an archive."""
    is_restored = 'ongoing-request="false"' in headers.get("x-amz-restore", "")
    is_in_archive = (
        storage_class in ("GLACIER", "DEEP_ARCHIVE") or "x-amz-archive-status" in headers
    )
    return is_in_archive and not is_restored
