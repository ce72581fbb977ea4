"""XML documents that S3 sends, parsed within bounds.

XML has no control characters, and UTF-8 no stray octets. Keys have both, and not every store
encodes them. A document that only they spoil is read with placeholders for them.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks
# of Unicode's last private plane, which nobody has seen in a key
_CONTROL, _OCTET, _NONCHARACTER = 0x10F000, 0x10F100, 0x10F200
_PLACEHOLDERS = {
    **{_CONTROL + code: chr(code) for code in range(0x20) if chr(code) not in "\t\n\r"},
    **{_OCTET + code: chr(0xDC00 + code) for code in range(0x80, 0x100)},
    **{_NONCHARACTER + code: chr(0xFFFE + code) for code in range(2)},
}
_PLACEHOLDER_OF = {char: chr(code) for code, char in _PLACEHOLDERS.items()}
_PLACEHOLDER = re.compile(f"[{chr(_CONTROL)}-{chr(_NONCHARACTER + 1)}]")
_SPOILT = re.compile(
    "[\0-\x08\x0b\x0c\x0e-\x1f\udc80-\udcff\ufffe\uffff]|&#(x?)([0-9A-Fa-f]{1,7});"
)


class DocumentTurns:
    """Turns at parsing: each large document may cost 60 MiB, and the GIL admits one anyway."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._parsing = threading.Lock()  # held while a large document is parsed

    @contextmanager
    def turn(self, body: bytes, deadline: float) -> Iterator[None]:
        """Wait for a turn, if *body* is large. Raises TimeoutError at the *deadline*."""
        if len(body) <= LARGE_DOCUMENT:
            yield
            return
        if not self._parsing.acquire(timeout=max(0, deadline - self._clock())):
            raise TimeoutError("the deadline has passed")
        try:
            yield
        finally:
            self._parsing.release()


def parse_document(body: bytes, pages: int = 1) -> ET.Element:
    """Return the root of *body*, of so many *pages* at most; no name in it has a namespace."""
    check_document(body, pages)
    if body[:1] != b"<":
        body = body.removeprefix(_BOM).lstrip()
    if b"\0" in body[:2] or body.startswith(_UTF_16):
        # the parser would read it as UTF-16, whatever it was told, and `check_document` saw nothing
        raise InvalidResponseError("a document that is not UTF-8")
    before = body[: max(body.find(_DECLARED_ROOT), 0)]
    is_markup = b"<!" not in before  # else this may stand in a comment
    bare = body.replace(_DECLARED_ROOT, _BARE_ROOT, 1) if is_markup else body
    try:
        root = _parse(bare)
    except (ET.ParseError, ValueError) as exc:
        root = _parse_spoilt(bare, exc)
    if b"xmlns" in bare:
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    return root


def check_document(body: bytes, pages: int = 1) -> None:
    """Raise InvalidResponseError if parsing *body* could cost more memory than *pages* pages."""
    if b"<!DOCTYPE" in body:  # without one there are no entities to expand
        raise InvalidResponseError("a document type")
    if len(body) <= SMALL_DOCUMENT:
        return
    if len(body) > DOCUMENT_LIMIT * pages:
        raise InvalidResponseError("a document without end")
    # an attribute costs as much as an element, and has an equals sign
    if max(body.count(b"<"), body.count(b"=")) > MARKUP_LIMIT * pages:
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


def _parse(body: bytes) -> ET.Element:
    parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - no document type, no entities to expand
    parser.feed(body)
    root: ET.Element = parser.close()
    return root


def _parse_spoilt(body: bytes, failure: Exception) -> ET.Element:
    """Parse *body*, which has failed to parse, if characters that XML forbids are all that it has.

    A text keeps them as they were sent, and stray octets as `surrogateescape` has them.
    """
    text = body.decode("utf-8", "surrogateescape") if len(body) <= LARGE_DOCUMENT else ""
    mended = "" if _PLACEHOLDER.search(text) else _SPOILT.sub(_placeholder, text)
    if mended == text:
        raise InvalidResponseError("no whole XML document") from failure
    try:
        root = _parse(mended.encode())
    except (ET.ParseError, ValueError) as exc:
        raise InvalidResponseError("no whole XML document") from exc
    for element in root.iter():
        element.text = element.text and element.text.translate(_PLACEHOLDERS)
    return root


def _placeholder(match: re.Match[str]) -> str:
    """Return what stands for a forbidden character, be it plain or a character reference."""
    if match[2] is None:
        return _PLACEHOLDER_OF[match[0]]
    try:
        character = chr(int(match[2], 16 if match[1] else 10))
    except ValueError:  # no number, or no character
        return match[0]
    is_surrogate = "\ud800" <= character <= "\udfff"  # which no reference can mean
    return match[0] if is_surrogate else _PLACEHOLDER_OF.get(character, match[0])


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
