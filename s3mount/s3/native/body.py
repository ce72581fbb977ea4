"""Message bodies: where a body ends, by its length, its chunks, or the connection's end.

See RFC 9112, section 6. Knows no sockets. A body returns what belongs to it and not a byte more.
What breaks its framing is an InvalidResponseError, what breaks the connection an OSError.
"""

import re
from typing import Protocol

from s3mount.s3.limits import PIECE_LEAST, PIECES_LIMIT
from s3mount.s3.native.response_header import ResponseHeader
from s3mount.s3.transport import InvalidResponseError, content_length

LINE_LIMIT = 8 * 1024  # bytes of a chunk's size with its extensions, or of a trailer
TRAILER_LIMIT = 64  # lines

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\0\r\n]*)?")


class Source(Protocol):
    """The bytes of a connection, in order."""

    def receive(self, into: memoryview) -> int:
        """Receive at least a byte; return 0 at the end."""
        ...

    def fill(self, into: memoryview) -> None:
        """Receive all of *into*; ConnectionError if the source ends before."""
        ...

    def read_line(self, limit: int) -> bytes:
        """Return what precedes the next CRLF.

        Raises InvalidResponseError if that is longer than *limit*, or ends with a bare LF.
        """
        ...


class Body(Protocol):
    """The body of one response. *is_delimited*: its end is known without the connection's."""

    is_delimited: bool

    def read(self, into: memoryview) -> int:
        """Fill *into*; return fewer bytes only if the body ends."""
        ...

    def is_at_end(self) -> bool:
        """Whether all has been read; may wait for the peer."""
        ...


class ContentLengthBody:
    """A body with a Content-Length, or no body at all."""

    __slots__ = ("_left", "_source")
    is_delimited = True

    def __init__(self, source: Source, length: int) -> None:
        self._source = source
        self._left = length

    def read(self, into: memoryview) -> int:
        count = min(len(into), self._left)
        if count:
            self._source.fill(into[:count])
            self._left -= count
        return count

    def is_at_end(self) -> bool:
        return self._left == 0


class ChunkedBody:
    """A body with Transfer-Encoding: chunked. Extensions and trailers are read and ignored."""

    is_delimited = True

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 0  # bytes of this chunk
        # how many chunks have begun, the bytes in them, and whether the last one has ended
        self._chunks = 0
        self._bytes = 0
        self._has_ended = False

    def read(self, into: memoryview) -> int:
        count = 0
        while count < len(into) and not self.is_at_end():
            step = min(len(into) - count, self._left)
            self._source.fill(into[count : count + step])
            count += step
            self._left -= step
        return count

    def is_at_end(self) -> bool:
        if self._left == 0 and not self._has_ended:
            self._start_chunk()
        return self._has_ended

    def _start_chunk(self) -> None:
        if self._chunks and self._source.read_line(LINE_LIMIT):
            raise InvalidResponseError("a chunk is longer than it says")
        line = self._source.read_line(LINE_LIMIT)
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise InvalidResponseError(f"no size of a chunk: {line[:20]!r}")
        self._left = int(size[1], 16)
        self._chunks += 1
        self._bytes += self._left
        if self._chunks > PIECES_LIMIT and self._bytes < self._chunks * PIECE_LEAST:
            raise InvalidResponseError("a body in too many chunks")
        if self._left == 0:
            self._skip_trailers()
            self._has_ended = True

    def _skip_trailers(self) -> None:
        for _ in range(TRAILER_LIMIT):
            if not self._source.read_line(LINE_LIMIT):
                return
        raise InvalidResponseError("trailers without end")


class CloseDelimitedBody:
    """A body that ends with the connection.

    Its end looks like a cut, so its length must be known from elsewhere.
    """

    is_delimited = False

    def __init__(self, source: Source) -> None:
        self._source = source
        self._has_ended = False

    def read(self, into: memoryview) -> int:
        count = 0
        while count < len(into) and not self._has_ended:
            step = self._source.receive(into[count:])
            count += step
            self._has_ended = step == 0
        return count

    def is_at_end(self) -> bool:
        if not self._has_ended:
            self._has_ended = self._source.receive(memoryview(bytearray(1))) == 0
        return self._has_ended


def body_of(header: ResponseHeader, source: Source, *, is_bodiless: bool) -> Body:
    """Return the body that follows *header*. *is_bodiless*: it is the response to a HEAD."""
    raw_coding = header.headers.get("transfer-encoding")
    coding = None if raw_coding is None else _coding(raw_coding)
    length = content_length(header.headers)
    if is_bodiless or header.status in (204, 304):
        return ContentLengthBody(source, 0)
    if coding is None:
        return CloseDelimitedBody(source) if length is None else ContentLengthBody(source, length)
    if coding != "chunked" or length is not None:  # both: how requests are smuggled
        raise InvalidResponseError(f"Transfer-Encoding {coding[:40]!r}, Content-Length {length}")
    return ChunkedBody(source)


def _coding(value: str) -> str | None:
    """Return the transfer codings in lower case; None for HTTP/1.0's `identity`."""
    words = [word.strip() for word in value.lower().split(",")]
    return ", ".join(word for word in words if word != "identity") or None
