"""The reader of listing pages: bytes → ListPage, quickly, and refusing what is no listing.

Gives what botocore's parser gives for every page that is well formed and complete, and a InvalidResponseError for everything
else: HTML, a page cut short, a document type (the only door to entity tricks), an element with a part missing or twice.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

import re
from datetime import UTC, datetime
from html import unescape
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from s3mount.s3.limits import TEXT_LIMIT
from s3mount.s3.model import ListedObject, ListPage, ListQuery
from s3mount.s3.operations import validation
from s3mount.s3.operations.list_fast_parser import PARTS, Columns, take_columns
from s3mount.s3.operations.validation import InvalidResponseError

_DECLARED_ROOT = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
_BARE_ROOT = b"<ListBucketResult>"
_TOKEN = re.compile(rb"<NextContinuationToken>([^<]{1,%d})</NextContinuationToken>" % TEXT_LIMIT)
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DECODED_AT_ONCE = 64 * 1024  # escapes; `unquote` needs 230 bytes for each
_SIZE_DIGITS = 18  # the most that a file offset is sure to hold


class ErrorDocument(Exception):
    """An <Error> where a listing was asked for; S3 may send one under a 200 that it had begun already."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def read_page(body: bytes, query: ListQuery) -> ListPage:
    """The page in *body*, if it answers *query*; ErrorDocument or InvalidResponseError if it does not."""
    columns, root = _parse_fast(body) or _parse_full(body)
    is_encoded = _text(root, "EncodingType") == "url"
    truncated = _text(root, "IsTruncated")
    if truncated not in ("true", "false"):
        raise InvalidResponseError("no listing")
    return validation.list_page(
        query,
        _objects(columns, is_encoded=is_encoded),
        _decoded(
            [_text(each, "Prefix") or "" for each in root.iterfind("CommonPrefixes")],
            is_encoded=is_encoded,
        ),
        is_truncated=truncated == "true",
        next_token=_text(root, "NextContinuationToken"),
    )


def next_token_of(body: bytes) -> str | None:
    """Where the next page begins, as a page's bytes say before they are read: a hint, which only `read_page` confirms."""
    if b"<IsTruncated>true</IsTruncated>" not in body:
        return None
    tokens = _TOKEN.findall(body)
    if len(tokens) != 1:
        return None
    try:
        return unescape(tokens[0].decode())
    except ValueError:  # not UTF-8, or a character reference of more digits than Python converts
        return None


def read_error(body: bytes) -> tuple[str, str | None]:
    """Code and request id of an error document; "" where there is none."""
    try:
        root = _parsed(body)
    except InvalidResponseError:
        return "", None
    error = root if root.tag == "Error" else root.find("Error")
    if error is None:
        return "", None
    return (error.findtext("Code") or "").strip(), error.findtext("RequestId")


def _parsed(body: bytes) -> ET.Element:
    """The document, its names without a namespace."""
    validation.check_document(body)
    before = body[: max(body.find(_DECLARED_ROOT), 0)]
    is_markup = b"<!" not in before  # else this may stand in a comment
    bare = body.replace(_DECLARED_ROOT, _BARE_ROOT, 1) if is_markup else body
    parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - without a document type there are no entities to expand
    try:
        parser.feed(bare)
        root: ET.Element = parser.close()
    except (ET.ParseError, ValueError) as exc:
        raise InvalidResponseError("no whole XML document") from exc
    if b"xmlns" in bare:
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    return root


def _text(parent: ET.Element, name: str) -> str | None:
    """The text of the only child *name*; None where there is none."""
    found = parent.findall(name)
    if not found:
        return None
    if len(found) > 1 or len(found[0]):
        raise InvalidResponseError(f"more than one {name}")
    return found[0].text or ""


def _parse_fast(body: bytes) -> tuple[Columns, ET.Element] | None:
    """A page's objects, and the root with the rest; None where it has to be read thoroughly."""
    taken = take_columns(body)
    if taken is None:
        return None
    columns, rest = taken
    try:
        root = _parsed(rest)
    except InvalidResponseError:
        return None
    is_whole = root.tag == "ListBucketResult" and len(root.findall("Contents")) == len(columns.keys)
    return (columns, root) if is_whole else None


def _parse_full(body: bytes) -> tuple[Columns, ET.Element]:
    root = _parsed(body)
    if root.tag == "Error":
        raise ErrorDocument(root.findtext("Code", ""))
    if root.tag != "ListBucketResult":
        raise InvalidResponseError(f"a document <{root.tag[:40]}>")
    contents = root.findall("Contents")
    keys, sizes, stamps, etags, classes = (
        [_text(each, name) or "" for each in contents] for name in PARTS
    )
    for word in (*etags, *classes):
        validation.check_word(word)
    return Columns(
        keys, sizes, stamps, [validation.plain_etag(etag) for etag in etags], classes
    ), root


def _objects(columns: Columns, *, is_encoded: bool) -> list[ListedObject]:
    mtimes = {stamp: _mtime_ns(stamp) for stamp in set(columns.stamps)}
    classes = {
        name: name or "STANDARD" for name in columns.storage_classes
    }  # one string for all that are equal
    return [
        ListedObject(
            key,
            size,
            mtimes[stamp],
            etag or validation.synthetic_etag(mtimes[stamp], size),
            classes[name],
        )
        for key, size, stamp, etag, name in zip(
            _decoded(columns.keys, is_encoded=is_encoded),
            _sizes(columns.sizes),
            columns.stamps,
            columns.etags,
            columns.storage_classes,
            strict=True,
        )
    ]


def _decoded(texts: list[str], *, is_encoded: bool) -> list[str]:
    """Keys out of a page, all at once. NUL parts them: XML cannot carry one, and an encoded one is told apart."""
    joined = "\0".join(texts)
    if not texts or not is_encoded or not ("%" in joined or "+" in joined):
        return texts
    spaced = joined.replace("+", " ").replace(
        "%2F", "/"
    )  # nearly all there is to decode in most buckets
    if "%00" in spaced or spaced.count("%") > _DECODED_AT_ONCE:
        return [validation.decoded(text, is_encoded=True) for text in texts]
    return unquote(spaced, "utf-8", "surrogateescape").split("\0")


def _sizes(texts: list[str]) -> list[int]:
    if texts and not (all(texts) and (joined := "".join(texts)).isascii() and joined.isdecimal()):
        raise InvalidResponseError("a size that is no number")
    if max(map(len, texts), default=0) > _SIZE_DIGITS:
        raise InvalidResponseError("a size that no file can have")
    return [int(text) for text in texts]


def _mtime_ns(text: str) -> int:
    """ISO 8601 in the one form that S3 has; Python's own reader knows more, and some that are none. No time zone is UTC."""
    if not _STAMP.fullmatch(text):
        raise InvalidResponseError(f"LastModified {text[:40]!r}")
    try:
        modified = datetime.fromisoformat(text)
        since = (modified if modified.tzinfo else modified.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError) as exc:
        raise InvalidResponseError(f"LastModified {text[:40]!r}") from exc
    return validation.checked_moment(
        (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
    )
