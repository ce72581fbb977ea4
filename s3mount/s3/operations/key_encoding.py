"""Encoding of keys in listings: what `encoding-type=url` has made of them, decoded page by page.

Pure. A space is "+" in some stores' pages, and %20 in those of others, where a plus is a plus.
"""

from urllib.parse import unquote
from xml.etree import ElementTree as ET

from s3mount.s3.operations import validation
from s3mount.s3.operations.xml_document import child_text

_ESCAPES_AT_ONCE = 64 * 1024  # `unquote` needs 230 bytes for each


def encoding_type(root: ET.Element) -> str | None:
    """Return how keys are encoded; the second name is Tencent's (COS)."""
    return child_text(root, "EncodingType") or child_text(root, "Encoding-Type")


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
