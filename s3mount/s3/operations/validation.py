"""Checks that stand between a response and our values.

Pure: headers (names in lower case) and fields in, values out. Whatever is missing, malformed or
not what was requested is an InvalidResponseError, never a guess. Only a time may be missing: it
tells nothing of the bytes, unless it has to stand for an ETag.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from s3mount.s3.archive import ArchiveState, archive_state
from s3mount.s3.limits import WORD_LIMIT
from s3mount.s3.model import (
    STANDARD,
    SYNTHETIC_ETAG,
    ByteRange,
    ObjectStat,
    ObjectVersion,
    is_same_etag,
)
from s3mount.s3.operations.content_coding import UnlocatedPartError
from s3mount.s3.operations.timestamps import parse_time
from s3mount.s3.transport import InvalidResponseError, content_length

Headers = Mapping[str, str]
_INT64_MAX = (1 << 63) - 1  # bytes or nanoseconds; neither the kernel nor our tables hold more
_CONTENT_RANGE = re.compile(
    r"\s*bytes\s+(\d{1,19})\s*-\s*(\d{1,19})\s*/\s*(\d{1,19}|\*)\s*", re.ASCII | re.IGNORECASE
)


class ContentRange(NamedTuple):
    """The bytes of an object that a body brings, half-open, and the size of the whole object."""

    start: int
    stop: int
    size: int


def content_range(status: int, headers: Headers, size: int | None = None) -> ContentRange:
    """Return the bytes that the body of a GET brings.

    *size* is the object's, for a response that does not tell it ("bytes 0-9/*"). rclone sends a
    part as 200 with a Content-Range; S3 itself was seen to name it x-amz-content-range.
    """
    length = content_length(headers)
    raw = _told_range(headers)
    if raw is None:
        if status == 206:
            raise UnlocatedPartError("a part that does not say which one it is")
        if status != 200 or length is None:
            raise InvalidResponseError(f"HTTP {status} that does not say which bytes it brings")
        return ContentRange(0, length, length)
    content = _parse_content_range(raw, size)
    if length is not None and length != content.stop - content.start:
        raise InvalidResponseError(f"{length} bytes for Content-Range {raw!r}")
    return content


def check_covers(content: ContentRange, byte_range: ByteRange) -> None:
    """Raise InvalidResponseError unless *content* is *byte_range*, or the whole object."""
    start, stop, size = content
    is_requested = start == byte_range.start and stop == byte_range.stop
    if not is_requested and (start, stop) != (0, size):
        raise InvalidResponseError(
            f"bytes {start}-{stop - 1} instead of {byte_range.start}-{byte_range.stop - 1}"
        )


def is_version(version: ObjectVersion, headers: Headers, size: int) -> bool:
    """Whether a response about an object of *size* bytes is about *version*.

    Checked whatever the store made of If-Match.
    """
    if is_synthetic(version.etag):
        return _synthetic_etag_of(headers, size) == version.etag
    etag = plain_etag(headers.get("etag"))
    if not etag:
        raise InvalidResponseError("no ETag")
    return size == version.size and (etag == version.etag or is_same_etag(etag, version.etag))


def tells_version(version: ObjectVersion, headers: Headers) -> bool:
    """Whether the headers have an ETag, if *version* has one of the store's."""
    return is_synthetic(version.etag) or bool(plain_etag(headers.get("etag")))


def is_odd_length(version: ObjectVersion, headers: Headers) -> bool:
    """Whether nothing but Content-Length shows another version than *version*."""
    is_same = is_same_etag(plain_etag(headers.get("etag")), version.etag)
    return is_same and "content-range" not in headers


def tells_size(headers: Headers, size: int, requested: int) -> bool:
    """Whether a response of *size* to the first *requested* bytes tells the size of its object.

    Content-Range may leave it out ("bytes 0-9/*"), and lakeFS sends a part as if it were all.
    """
    raw = _told_range(headers)
    return size != requested if raw is None else not raw.rstrip().endswith("*")


def check_not_modified(version: ObjectVersion, headers: Headers) -> None:
    """Raise InvalidResponseError if the ETag of a 304 is not that of *version*."""
    etag = plain_etag(headers.get("etag"))
    if etag and not is_same_etag(etag, version.etag):
        raise InvalidResponseError("not modified, but another ETag")


def object_stat(bucket: str, key: str, headers: Headers, size: int) -> ObjectStat:
    """Return what the headers say of an object of *size* bytes.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
    """
    if size > _INT64_MAX:
        raise InvalidResponseError(f"an object of {size} bytes")
    mtime_ns = parse_time(headers.get("last-modified", ""))
    storage_class = check_word(headers.get("x-amz-storage-class")) or STANDARD
    etag = plain_etag(check_word(headers.get("etag"))) or _synthetic_etag_of(headers, size)
    return ObjectStat(
        version=ObjectVersion(bucket, key, etag, size),
        mtime_ns=mtime_ns or 0,
        storage_class=storage_class,
        version_id=version_id(headers),
        is_archived=_is_archived(storage_class, headers),
    )


def version_id(headers: Headers) -> str | None:
    """Return the version id; None for "null", since that version is overwritten in place."""
    raw = check_word(headers.get("x-amz-version-id"))
    return None if raw == "null" else raw


def check_word(word: str | None) -> str | None:
    """Return *word* (an ETag, a version id, a storage class) unless it is too long to keep many."""
    if word is not None and len(word) > WORD_LIMIT:
        raise InvalidResponseError(f"a word of {len(word)} bytes: {word[:40]!r}")
    return word


def decode_key(text: str) -> str:
    """Return a key of a listing with `encoding-type=url`.

    A space is "+" in Amazon's and SeaweedFS's, and %20 in moto's; "+" is %2B in all.
    """
    if "%" not in text and "+" not in text:
        return text
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "surrogateescape")


# ETags

_SYNTHETIC_ETAG = re.compile(rf"{SYNTHETIC_ETAG}(-?\d{{1,10}})-\d+", re.ASCII)


def plain_etag(raw: str | None) -> str:
    """Return an ETag without `W/` and quotes, or "". One response quotes it, another does not."""
    return (raw or "").strip().removeprefix("W/").strip('"')


def synthetic_etag(mtime_ns: int, size: int) -> str:
    """Return an identity of a version for stores without ETags.

    It has whole seconds, since an HTTP date has no more, and the size.
    """
    return f"{SYNTHETIC_ETAG}{mtime_ns // 1_000_000_000}-{size}"


def is_synthetic(etag: str) -> bool:
    """Whether *etag* is our own, and so is never sent."""
    return etag.startswith(SYNTHETIC_ETAG)


def synthetic_seconds(etag: str) -> int | None:
    """Return the time of a synthetic ETag, in seconds since 1970; None if *etag* is none."""
    match = _SYNTHETIC_ETAG.fullmatch(etag) if is_synthetic(etag) else None
    return None if match is None else int(match[1])


def has_sendable_etag(version: ObjectVersion) -> bool:
    """Whether the ETag is the store's own and fits a header: a listing can bring line breaks."""
    etag = version.etag
    return (
        bool(etag)
        and etag.isascii()
        and etag.isprintable()
        and '"' not in etag
        and not is_synthetic(etag)
    )


def tells_range(headers: Headers) -> bool:
    """Whether *headers* say which bytes of an object of which size the body has."""
    return _told_range(headers) is not None


def _told_range(headers: Headers) -> str | None:
    return headers.get("content-range") or headers.get("x-amz-content-range")


def _parse_content_range(raw: str, known_size: int | None) -> ContentRange:
    match = _CONTENT_RANGE.fullmatch(raw)
    if match is None or (match[3] == "*" and known_size is None):
        raise InvalidResponseError(f"Content-Range {raw[:80]!r}")
    first, last = int(match[1]), int(match[2])
    size = int(match[3]) if match[3] != "*" else known_size or 0
    if not first <= last < size:
        raise InvalidResponseError(f"Content-Range {raw!r}")
    return ContentRange(first, last + 1, size)


def _synthetic_etag_of(headers: Headers, size: int) -> str:
    """Raise InvalidResponseError without a time: the size alone tells no two versions apart."""
    mtime_ns = parse_time(headers.get("last-modified", ""))
    if mtime_ns is None:
        last_modified = headers.get("last-modified", "missing")[:40]
        raise InvalidResponseError(f"no ETag, and Last-Modified {last_modified!r}")
    return synthetic_etag(mtime_ns, size)


def _is_archived(storage_class: str, headers: Headers) -> bool:
    """Whether the object has to be restored before it can be read."""
    if storage_class == STANDARD and "x-amz-archive-status" not in headers:
        return False  # most objects
    state = archive_state(storage_class, headers)
    return state in (ArchiveState.ARCHIVED, ArchiveState.RESTORING)
