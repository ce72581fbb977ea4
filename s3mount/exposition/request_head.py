"""Request head of HTTP/1.x, as far as a client of the metrics needs it: method and path.

Pure. Header fields are read over, and a body is not read: no request has one. See RFC 9112.
"""

import re
from typing import Final

HEAD_MAX: Final = 8 * 1024  # bytes of a request line and its header fields
PATH: Final = b"/metrics"

_END: Final = re.compile(rb"\r?\n\r?\n")
_LINE: Final = re.compile(rb"([!-~]+) (/[!-~]*) HTTP/1\.[01]")


class RequestError(Exception):
    """A request that is refused, with a status line."""


class RequestHead:
    """A request that arrives in pieces."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, piece: bytes) -> bool:
        """Take *piece*; return whether the head is complete. Raises RequestError."""
        start = max(0, len(self._received) - 3)  # the end may have begun in the piece before
        self._received += piece
        end = _END.search(self._received, start)
        if (end.end() if end else len(self._received)) > HEAD_MAX:
            raise RequestError("431 Request Header Fields Too Large")
        return end is not None

    def check(self) -> bool:
        """Return whether only the header is wanted (HEAD). Raises RequestError if it is refused."""
        line = _LINE.fullmatch(bytes(self._received).partition(b"\n")[0].removesuffix(b"\r"))
        if line is None:
            raise RequestError("400 Bad Request")
        method, target = line.groups()
        if target.partition(b"?")[0] != PATH:
            raise RequestError("404 Not Found")
        if method not in (b"GET", b"HEAD"):
            raise RequestError("405 Method Not Allowed")
        return method == b"HEAD"
