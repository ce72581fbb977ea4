"""Parser of ListObjectsV2 pages: bytes → ListPage, fast, and strict.

Returns what botocore's parser returns for every page that is well formed and complete. Raises
InvalidResponseError for everything else: HTML, a page cut short, a document type (without one
there are no entities), an element with a part missing or twice.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

import re
from datetime import UTC, datetime
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from s3mount.s3.model import ListedObject, ListPage, ListQuery
from s3mount.s3.operations import validation
from s3mount.s3.operations.list_fast_parser import PARTS, Columns, take_columns
from s3mount.s3.operations.xml_document import child_text, parse_document
from s3mount.s3.transport import ErrorResponse, ErrorResponseError, InvalidResponseError

_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)?", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ESCAPES_AT_ONCE = 64 * 1024  # `unquote` needs 230 bytes for each
_SIZE_DIGITS = 18  # the most that a file offset is sure to hold


def read_page(body: bytes, query: ListQuery) -> ListPage:
    """Return the page in *body*, if it is one that *query* describes.

    Raises ErrorResponseError for an error document: S3 may send one under a 200 that it had begun.
    """
    columns, root = _parse_fast(body) or _parse_full(body)
    is_encoded = child_text(root, "EncodingType") == "url"
    truncated = child_text(root, "IsTruncated") or ""
    prefixes = [child_text(each, "Prefix") or "" for each in root.iterfind("CommonPrefixes")]
    return validation.list_page(
        query,
        _objects(columns, is_encoded=is_encoded),
        _decode_keys(prefixes) if is_encoded else prefixes,
        is_truncated={"true": True, "false": False}.get(truncated),
        next_token=child_text(root, "NextContinuationToken"),
    )


def _parse_fast(body: bytes) -> tuple[Columns, ET.Element] | None:
    """Return a page's objects, and the root with the rest; None if only `_parse_full` can."""
    taken = take_columns(body)
    if taken is None:
        return None
    columns, rest = taken
    try:
        root = parse_document(rest)
    except InvalidResponseError:
        return None
    is_whole = root.tag == "ListBucketResult" and len(root.findall("Contents")) == len(columns.keys)
    return (columns, root) if is_whole else None


def _parse_full(body: bytes) -> tuple[Columns, ET.Element]:
    root = parse_document(body)
    if root.tag == "Error":
        raise ErrorResponseError(ErrorResponse(status=200, code=root.findtext("Code", "")))
    if root.tag != "ListBucketResult":
        raise InvalidResponseError(f"a document <{root.tag[:40]}>")
    contents = root.findall("Contents")
    keys, sizes, mtimes, etags, classes = (
        [child_text(each, name) or "" for each in contents] for name in PARTS
    )
    for word in (*etags, *classes):
        validation.check_word(word)
    etags = [validation.plain_etag(etag) for etag in etags]
    return Columns(keys, sizes, mtimes, etags, classes), root


def _objects(columns: Columns, *, is_encoded: bool) -> list[ListedObject]:
    mtimes = {text: _mtime_ns(text) for text in set(columns.mtimes)}
    # one string for all that are equal
    classes = {name: name or "STANDARD" for name in columns.storage_classes}
    return [
        ListedObject(
            key,
            size,
            mtimes[mtime],
            etag or validation.synthetic_etag(mtimes[mtime], size),
            classes[name],
        )
        for key, size, mtime, etag, name in zip(
            _decode_keys(columns.keys) if is_encoded else columns.keys,
            _sizes(columns.sizes),
            columns.mtimes,
            columns.etags,
            columns.storage_classes,
            strict=True,
        )
    ]


def _decode_keys(texts: list[str]) -> list[str]:
    """Decode the keys of a page all at once, joined by NUL, which XML cannot carry."""
    joined = "\0".join(texts)
    if not texts or not ("%" in joined or "+" in joined):
        return texts
    # %2F is nearly all there is to decode in most buckets
    spaced = joined.replace("+", " ").replace("%2F", "/")
    if "%00" in spaced or spaced.count("%") > _ESCAPES_AT_ONCE:
        return [validation.decode_key(text) for text in texts]
    return unquote(spaced, "utf-8", "surrogateescape").split("\0")


def _sizes(texts: list[str]) -> list[int]:
    if texts and not (all(texts) and (joined := "".join(texts)).isascii() and joined.isdecimal()):
        raise InvalidResponseError("a size that is no number")
    if max(map(len, texts), default=0) > _SIZE_DIGITS:
        raise InvalidResponseError("a size that no file can have")
    return [int(text) for text in texts]


def _mtime_ns(text: str) -> int:
    """Convert ISO 8601 in the one form that S3 sends; without a time zone it is UTC.

    `datetime.fromisoformat` accepts more forms, and some that are no time.
    """
    if not _TIMESTAMP.fullmatch(text):
        raise InvalidResponseError(f"LastModified {text[:40]!r}")
    try:
        modified = datetime.fromisoformat(text)
        since = (modified if modified.tzinfo else modified.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError) as exc:
        raise InvalidResponseError(f"LastModified {text[:40]!r}") from exc
    return validation.check_mtime(
        (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    )
