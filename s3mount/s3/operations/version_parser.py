"""Parser of pages of versions (ListObjectVersions): bytes → VersionPage.

Strict about what decides which version was current when: a row without a time or a size makes the
page invalid. Tolerant about what it may leave out: rows outside of the prefix, a missing id (null),
a missing ETag. Versions and delete markers keep the order in which the document has them.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html
"""

import re
from xml.etree import ElementTree as ET

from s3mount.s3.limits import ROWS_LIMIT
from s3mount.s3.model import NULL_VERSION, ListedVersion, VersionMarker, VersionPage, VersionQuery
from s3mount.s3.operations import validation
from s3mount.s3.operations.list_parser import (
    decode_keys,
    encoding_type,
    read_truncated,
    shows_literal_plus,
)
from s3mount.s3.operations.timestamps import parse_time
from s3mount.s3.operations.xml_document import child_text, parse_document
from s3mount.s3.transport import ErrorResponse, ErrorResponseError, InvalidResponseError

_ROOT = re.compile("List(?:Bucket|Object)?Versions(?:Result|Response|Output)")
_PLAIN_ROOT = re.compile("List(?:Bucket|Objects)(?:V2)?(?:Result|Response|Output)")
_ROWS = ("Version", "DeleteMarker")
_SIZE = re.compile("[0-9]{1,18}", re.ASCII)


def parse_versions(body: bytes, query: VersionQuery) -> VersionPage:
    """Return the page in *body*, which answers *query*.

    Raises InvalidResponseError, or ErrorResponseError for an error document under a 200.
    """
    root = _root(body)
    rows = [row for row in root if row.tag in _ROWS]
    prefixes = [each.text or "" for each in root.iterfind("CommonPrefixes/Prefix")]
    if max(len(rows), len(prefixes)) > ROWS_LIMIT:
        raise InvalidResponseError(f"a page of {len(rows)} versions, {len(prefixes)} prefixes")
    next_key = child_text(root, "NextKeyMarker") or ""
    texts = [*(child_text(row, "Key") or "" for row in rows), *prefixes, next_key]
    if encoding_type(root) == "url":
        echo = child_text(root, "Prefix") or ""
        is_plus_literal = shows_literal_plus(texts, echo, query.prefix)
        texts = decode_keys(texts, is_plus_literal=is_plus_literal)
    keys, prefixes, next_key = texts[: len(rows)], texts[len(rows) : -1], texts[-1]
    versions = [
        _version(row, key)
        for row, key in zip(rows, keys, strict=True)
        if key and key.startswith(query.prefix)
    ]
    below = [each for each in prefixes if _is_below(each, query)]
    if (rows or prefixes) and not (versions or below):
        raise InvalidResponseError(f"a listing of other versions than those of {query.prefix!r}")
    return VersionPage(versions, below, _next_marker(root, next_key, query))


def _root(body: bytes) -> ET.Element:
    root = parse_document(body)
    if root.tag == "Error":
        raise ErrorResponseError(ErrorResponse(status=200, code=root.findtext("Code", "")))
    if _PLAIN_ROOT.fullmatch(root.tag):  # a store that passes over what it does not know
        raise ErrorResponseError(ErrorResponse(status=501, code="NotImplemented"))
    if not _ROOT.fullmatch(root.tag):
        raise InvalidResponseError(f"a document <{root.tag[:40]}>")
    return root


def _version(row: ET.Element, key: str) -> ListedVersion:
    version_id = validation.check_word(child_text(row, "VersionId")) or NULL_VERSION
    is_latest = (child_text(row, "IsLatest") or "").strip().lower() == "true"
    mtime_ns = parse_time(child_text(row, "LastModified") or "")
    if mtime_ns is None:
        raise InvalidResponseError("a version without a time")
    if row.tag == "DeleteMarker":
        return ListedVersion(key, version_id, is_latest, True, mtime_ns)
    text = (child_text(row, "Size") or "").strip()
    if not _SIZE.fullmatch(text):
        raise InvalidResponseError("a version without a size")
    size = int(text)
    etag = validation.plain_etag(validation.check_word(child_text(row, "ETag")))
    return ListedVersion(
        key,
        version_id,
        is_latest,
        False,
        mtime_ns,
        size,
        etag or validation.synthetic_etag(mtime_ns, size),
        validation.check_word(child_text(row, "StorageClass")) or "STANDARD",
    )


def _is_below(prefix: str, query: VersionQuery) -> bool:
    """Whether *prefix* is a common prefix of what *query* lists."""
    is_longer = prefix.startswith(query.prefix) and prefix != query.prefix
    return is_longer and bool(query.delimiter) and prefix.endswith(query.delimiter)


def _next_marker(root: ET.Element, key: str, query: VersionQuery) -> VersionMarker | None:
    """Return where the next page begins; None after the last one."""
    is_truncated = read_truncated(root)
    if not (is_truncated or (is_truncated is None and key)):
        return None
    if not key:  # gofakes3: no way to the rest
        raise InvalidResponseError("a listing of versions that is cut off without a marker")
    version_id = validation.check_word(child_text(root, "NextVersionIdMarker")) or None
    marker = VersionMarker(key, version_id)
    if marker == query.marker:
        raise InvalidResponseError("a listing of versions that comes back to the same page")
    return marker
