"""The reader of listing pages: bytes → ListPage, quickly, and refusing what is no listing.

Gives what botocore's parser gives for every page that is well formed and complete, and a WrongAnswerError for everything
else: HTML, a page cut short, a document type (the only door to entity tricks), an element with a part missing or twice.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from html import unescape
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from s3mount.s3 import answers
from s3mount.s3.answers import WrongAnswerError
from s3mount.s3.values import ListedObject, ListPage, ListQuery

_DECLARED_ROOT = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
_BARE_ROOT = b"<ListBucketResult>"
_FIELDS = ("Key", "Size", "LastModified", "ETag", "StorageClass")
_TOKEN = re.compile(rb"<NextContinuationToken>([^<]+)</NextContinuationToken>")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIZE_DIGITS = 18  # the most that a file offset is sure to hold


class ErrorDocument(Exception):  # noqa: N818 - a document, said in place of an answer; what it means is decided elsewhere
    """An <Error> where a listing was asked for; S3 may send one under a 200 that it had begun already."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def read_page(body: bytes, query: ListQuery) -> ListPage:
    """The page in *body*, if it answers *query*; ErrorDocument or WrongAnswerError if it does not."""
    root = _parsed(body)
    if root.tag == "Error":
        raise ErrorDocument(root.findtext("Code", ""))
    if root.tag != "ListBucketResult":
        raise WrongAnswerError(f"a document <{root.tag[:40]}>")
    is_encoded = _text(root, "EncodingType") == "url"
    truncated = _text(root, "IsTruncated")
    if truncated not in ("true", "false"):
        raise WrongAnswerError("no listing")
    return answers.list_page(
        query,
        _objects(root.findall("Contents"), is_encoded=is_encoded),
        _decoded((_text(each, "Prefix") for each in root.iterfind("CommonPrefixes")), is_encoded=is_encoded),
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
    except UnicodeDecodeError:
        return None


def read_error(body: bytes) -> tuple[str, str | None]:
    """Code and request id of an error document; "" where there is none."""
    try:
        root = _parsed(body)
    except WrongAnswerError:
        return "", None
    error = root if root.tag == "Error" else root.find("Error")
    if error is None:
        return "", None
    return (error.findtext("Code") or "").strip(), error.findtext("RequestId")


def _parsed(body: bytes) -> ET.Element:
    """The document, its names without a namespace."""
    if b"<!DOCTYPE" in body:
        raise WrongAnswerError("a document type")
    is_plain = b"<!" not in body  # else this may stand in a comment or a CDATA section
    bare = body.replace(_DECLARED_ROOT, _BARE_ROOT, 1) if is_plain else body
    parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - without a document type there are no entities to expand
    try:
        parser.feed(bare)
        root: ET.Element = parser.close()
    except (ET.ParseError, ValueError) as exc:
        raise WrongAnswerError("no whole XML document") from exc
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
        raise WrongAnswerError(f"more than one {name}")
    return found[0].text or ""


def _objects(contents: list[ET.Element], *, is_encoded: bool) -> list[ListedObject]:
    rows = []
    for element in contents:
        fields = {child.tag: child.text for child in element}
        if len(fields) != len(element) or any(map(len, element)):
            _check_parts(element)
        rows.append(fields)
    try:
        keys = _decoded((fields["Key"] for fields in rows), is_encoded=is_encoded)
        sizes = _sizes([fields["Size"] for fields in rows])
        return [
            _listed(key, size, _mtime_ns(fields["LastModified"]), fields.get("ETag"), fields.get("StorageClass"))
            for key, size, fields in zip(keys, sizes, rows, strict=True)
        ]
    except KeyError as exc:
        raise WrongAnswerError(f"an object without {exc.args[0]}") from exc


def _listed(key: str, size: int, mtime_ns: int, etag: str | None, storage_class: str | None) -> ListedObject:
    plain = answers.plain_etag(etag) or answers.stand_in_etag(mtime_ns, size)
    return ListedObject(key, size, mtime_ns, plain, storage_class or "STANDARD")


def _check_parts(element: ET.Element) -> None:
    """That no part we read is there twice, or has parts itself; an Owner may."""
    for name in _FIELDS:
        _text(element, name)


def _decoded(texts: Iterable[str | None], *, is_encoded: bool) -> list[str]:
    """Keys out of a page, all at once. NUL parts them: XML cannot carry one, and an encoded one is told apart."""
    parts = [text or "" for text in texts]
    joined = "\0".join(parts)
    if not parts or not is_encoded or not ("%" in joined or "+" in joined):
        return parts
    if "%00" in joined:
        return [answers.decoded(text, is_encoded=True) for text in parts]
    spaced = joined.replace("+", " ").replace("%2F", "/")  # nearly all there is to decode in most buckets
    return unquote(spaced, "utf-8", "surrogateescape").split("\0")


def _sizes(texts: list[str | None]) -> list[int]:
    digits = [text or "" for text in texts]
    if not all(digits) or not (joined := "".join(digits)).isascii() or (digits and not joined.isdecimal()):
        raise WrongAnswerError("a size that is no number")
    if any(len(text) > _SIZE_DIGITS for text in digits):
        raise WrongAnswerError("a size that no file can have")
    return [int(text) for text in digits]


def _mtime_ns(text: str | None) -> int:
    """ISO 8601 with dashes and colons, the one form S3 has. What has no time zone is UTC."""
    if text is None or len(text) < 19 or not (text[4] == text[7] == "-" and text[10] == "T" and text[13] == ":"):
        raise WrongAnswerError(f"LastModified {(text or '')[:40]!r}")
    try:
        modified = datetime.fromisoformat(text)
        since = (modified if modified.tzinfo else modified.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError) as exc:
        raise WrongAnswerError(f"LastModified {text[:40]!r}") from exc
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
