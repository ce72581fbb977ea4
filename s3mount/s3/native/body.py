"""Where a body ends: by its length, by its chunks, or with the connection (RFC 9112, section 6).

Knows no sockets. A body gives what belongs to it and not a byte more; what breaks its framing is a InvalidResponseError, what
breaks the connection an OSError.
"""

import re
from typing import Protocol

from s3mount.s3.limits import PIECE_LEAST, PIECES_LIMIT
from s3mount.s3.native.response_header import ResponseHead
from s3mount.s3.operations import validation
from s3mount.s3.operations.validation import InvalidResponseError

LINE_LIMIT = 8 * 1024  # bytes; a chunk's size with its extensions, or a trailer
TRAILER_LIMIT = 64  # lines

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\0\r\n]*)?")


class Source(Protocol):
    """The bytes of a connection, as they come."""

    def receive(self, into: memoryview) -> int:
        """At least a byte; 0 at the end."""
        ...

    def fill(self, into: memoryview) -> None:
        """All of *into*; ConnectionError where the source ends before."""
        ...

    def line(self, limit: int) -> bytes:
        """Up to the next CRLF, and without it; InvalidResponseError where it is longer than *limit*, or ends with a bare LF."""
        ...


class Body(Protocol):
    """The body of one response. *is_delimited*: its end is known without the connection's."""

    is_delimited: bool

    def read(self, into: memoryview) -> int:
        """Fill *into*; fewer bytes only where the body ends."""
        ...

    def is_at_end(self) -> bool:
        """Whether all was read; may wait for the peer to say so."""
        ...


class ContentLengthBody:
    """A body with a Content-Length, or none at all."""

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
    """A body with Transfer-Encoding: chunked. Extensions and trailers are read and left aside."""

    is_delimited = True

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 0  # of this chunk
        self._chunks = 0  # and the bytes in them
        self._bytes = 0
        self._is_first = True
        self._is_over = False

    def read(self, into: memoryview) -> int:
        count = 0
        while count < len(into) and not self.is_at_end():
            step = min(len(into) - count, self._left)
            self._source.fill(into[count : count + step])
            count += step
            self._left -= step
        return count

    def is_at_end(self) -> bool:
        if self._left == 0 and not self._is_over:
            self._begin_chunk()
        return self._is_over

    def _begin_chunk(self) -> None:
        if not self._is_first and self._source.line(LINE_LIMIT):
            raise InvalidResponseError("a chunk is longer than it says")
        self._is_first = False
        line = self._source.line(LINE_LIMIT)
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise InvalidResponseError(f"no size of a chunk: {line[:20]!r}")
        self._left = int(size[1], 16)
        self._chunks += 1
        self._bytes += self._left
        if self._chunks > PIECES_LIMIT and self._bytes < self._chunks * PIECE_LEAST:
            raise InvalidResponseError("a body in too many chunks")
        if self._left == 0:
            self._pass_trailers()
            self._is_over = True

    def _pass_trailers(self) -> None:
        for _ in range(TRAILER_LIMIT):
            if not self._source.line(LINE_LIMIT):
                return
        raise InvalidResponseError("trailers without end")


class CloseDelimitedBody:
    """A body that ends with the connection: no cut can be told from an end, so its length must be known from elsewhere."""

    is_delimited = False

    def __init__(self, source: Source) -> None:
        self._source = source
        self._is_over = False

    def read(self, into: memoryview) -> int:
        count = 0
        while count < len(into) and not self._is_over:
            step = self._source.receive(into[count:])
            count += step
            self._is_over = step == 0
        return count

    def is_at_end(self) -> bool:
        if not self._is_over:
            self._is_over = self._source.receive(memoryview(bytearray(1))) == 0
        return self._is_over


def body_of(head: ResponseHead, source: Source, *, is_bodiless: bool) -> Body:
    """The body that follows *head*. *is_bodiless*: it answers a HEAD."""
    coding = head.headers.get("transfer-encoding")
    length = validation.content_length(head.headers)
    if is_bodiless or head.status in (204, 304):
        return ContentLengthBody(source, 0)
    if coding is None:
        return CloseDelimitedBody(source) if length is None else ContentLengthBody(source, length)
    if coding.lower() != "chunked" or length is not None:  # both: how requests are smuggled
        raise InvalidResponseError(f"Transfer-Encoding {coding[:40]!r}, Content-Length {length}")
    return ChunkedBody(source)
