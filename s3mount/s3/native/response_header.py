"""Parser of response headers: bytes → status and headers, strictly.

Pure. A header that RFC 9112 does not allow is an InvalidResponseError: a guess here would decide
where a body ends.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from s3mount.s3.transport import InvalidResponseError, join_values

END = b"\r\n\r\n"
HEADER_LIMIT = 64 * 1024  # bytes; S3 sends at most 8 KiB of headers, metadata included

# No space before a colon, no lone CR or LF, no NUL.
_SHAPE = re.compile(
    rb"HTTP/1\.[01] [1-5][0-9]{2}(?: [^\0\r\n]*)?\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\0\r\n]*\r\n)*"
)

# The look-behind: else a run of spaces is searched anew from each of them.
_FOLD = re.compile(rb"(?<![ \t])[ \t]*\r\n[ \t]+(?=[^ \t\r\n])")


class ResponseHeader(NamedTuple):
    """The status line and the header fields of a response.

    *headers* have names in lower case; repeated ones are joined with a comma. *is_persistent*:
    another request may follow on the connection.
    """

    status: int
    headers: dict[str, str]
    is_persistent: bool


def parse_header(block: bytes) -> ResponseHeader:
    """Parse *block*, which ends with the line break of its last field."""
    if not _SHAPE.fullmatch(block):
        block = _unfolded(block)
    status_line, *lines = block.decode("latin-1").split("\r\n")[:-1]
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip(" \t")
    if len(headers) < len(lines):
        headers = _joined(lines)
    return ResponseHeader(
        int(status_line[9:12]), headers, _is_persistent(status_line, headers.get("connection"))
    )


def _unfolded(block: bytes) -> bytes:
    """Return *block* with each field on one line, as RFC 9112, section 5.2, says."""
    status_line, line_end, fields = block.partition(b"\r\n")
    unfolded = status_line + line_end + _FOLD.sub(b" ", fields)
    if not _SHAPE.fullmatch(unfolded):
        raise InvalidResponseError(f"no header of a response: {block[:40]!r}")
    return unfolded


def _joined(lines: Iterable[str]) -> dict[str, str]:
    """Join the values of each name."""
    values: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        values.setdefault(name.lower(), []).append(value.strip(" \t"))
    return {name: join_values(each) for name, each in values.items()}


def _is_persistent(status_line: str, connection: str | None) -> bool:
    is_http_1_1 = status_line.startswith("HTTP/1.1")
    if connection is None:
        return is_http_1_1
    words = {word.strip() for word in connection.lower().split(",")}
    return "close" not in words and (is_http_1_1 or "keep-alive" in words)
