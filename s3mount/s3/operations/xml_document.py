"""XML documents that S3 sends, parsed within bounds."""

from xml.etree import ElementTree as ET

from s3mount.s3.limits import (
    DOCUMENT_LIMIT,
    LARGE_DOCUMENT,
    MARKUP_LIMIT,
    SMALL_DOCUMENT,
    TEXT_LIMIT,
)
from s3mount.s3.transport import InvalidResponseError

_DECLARED_ROOT = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
_BARE_ROOT = b"<ListBucketResult>"


def parse_document(body: bytes) -> ET.Element:
    """Return the root of *body*; no name in it has a namespace."""
    check_document(body)
    before = body[: max(body.find(_DECLARED_ROOT), 0)]
    is_markup = b"<!" not in before  # else this may stand in a comment
    bare = body.replace(_DECLARED_ROOT, _BARE_ROOT, 1) if is_markup else body
    parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - no document type, no entities to expand
    try:
        parser.feed(bare)
        root: ET.Element = parser.close()
    except (ET.ParseError, ValueError) as exc:
        raise InvalidResponseError("no whole XML document") from exc
    if b"xmlns" in bare:
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    return root


def check_document(body: bytes) -> None:
    """Raise InvalidResponseError if parsing *body* could cost unbounded memory."""
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


def child_text(parent: ET.Element, name: str) -> str | None:
    """Return the text of the only child *name*, or None if there is no such child."""
    found = parent.findall(name)
    if not found:
        return None
    if len(found) > 1 or len(found[0]):
        raise InvalidResponseError(f"more than one {name}")
    return found[0].text or ""


def read_error_document(body: bytes) -> tuple[str, str | None, str | None]:
    """Return code, request id and region of an error document; "" and None if it has none.

    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
    """
    try:
        root = parse_document(body)
    except InvalidResponseError:
        return "", None, None
    error = root if root.tag == "Error" else root.find("Error")
    if error is None:
        return "", None, None
    code = (error.findtext("Code") or "").strip()
    return code, error.findtext("RequestId"), error.findtext("Region")
