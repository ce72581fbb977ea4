"""Request head of HTTP/1.x, as far as a client of the metrics needs it: method, path and Host.

Pure. Other header fields are read over, and a body is not read: no request has one. See RFC 9112.
"""

import re
from typing import Final

from s3mount.exposition.host_check import HostCheck

HEAD_MAX: Final = 8 * 1024  # bytes of a request line and its header fields
PATH: Final = b"/metrics"

_END: Final = re.compile(rb"\r?\n\r?\n")
_HOST: Final = re.compile(rb"^host[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_LINE: Final = re.compile(rb"([!-~]+) (/[!-~]*) HTTP/1\.[01]")


class RequestError(Exception):
    """A request that is refused, with a status line."""


class RequestHead:
    """A request that arrives in pieces; its head ends at *_end*, or has not ended if that is 0."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._end = 0

    def feed(self, piece: bytes) -> bool:
        """Take *piece*; return whether the head is complete. Raises RequestError."""
        start = max(0, len(self._received) - 3)  # the end may have begun in the piece before
        self._received += piece
        end = _END.search(self._received, start)
        self._end = end.end() if end else 0
        if (end.end() if end else len(self._received)) > HEAD_MAX:
            raise RequestError("431 Request Header Fields Too Large")
        return end is not None

    def check(self, is_host_allowed: HostCheck) -> bool:
        """Return whether only the header is wanted (HEAD). Raises RequestError if it is refused.

        A request without Host is served: no browser sends one.
        """
        first, _, fields = bytes(self._received[: self._end]).partition(b"\n")
        line = _LINE.fullmatch(first.removesuffix(b"\r"))
        if line is None:
            raise RequestError("400 Bad Request")
        method, target = line.groups()
        if target.partition(b"?")[0] != PATH:
            raise RequestError("404 Not Found")
        if method not in (b"GET", b"HEAD"):
            raise RequestError("405 Method Not Allowed")
        hosts = _HOST.findall(fields)
        if len(hosts) > 1:
            raise RequestError("400 Bad Request")
        if hosts and not is_host_allowed(hosts[0].decode("latin-1")):
            raise RequestError("421 Misdirected Request")
        return method == b"HEAD"
