"""Buffer of what a connection receives: a header and what arrives with it, then the stream.

A buffer has BUFFER bytes. It has more while a header is larger, and from the first body on that is
received beside its header, if the `BufferBudget` of all connections has so much left. It returns
what it reserved when it is closed; until then it uses that again.
"""

import re
import threading

from s3mount.s3.native.response_header import END, HEADER_LIMIT
from s3mount.s3.native.socket_stream import Stream
from s3mount.s3.transport import InvalidResponseError, ReceiveState

SMALL_BODY = 256 * 1024  # bytes received beside a header at most: a random read, most small files
BUFFER = 16 * 1024  # bytes
_HEADER_ROOM = 4 * 1024  # bytes beside a small body; a thread reads a longer header
_BUFFER_STEP = 64 * 1024  # bytes; bodies of other lengths then seldom need another buffer
_SUCCESS = re.compile(rb"HTTP/1\.1 20[06] ")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)


class BufferBudget:
    """The bytes that all connections to a store may have beyond BUFFER each. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._left = size

    def reserve(self, count: int) -> bool:
        """Reserve *count* bytes; return False if there are not so many."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def release(self, count: int) -> None:
        with self._lock:
            self._left += count


class ReceiveBuffer:
    """`Source`: what arrived with one receive, then the stream; large bodies bypass the buffer."""

    def __init__(self, stream: Stream, budget: BufferBudget) -> None:
        self._stream = stream
        self._budget = budget
        self._reserved = 0  # bytes of the budget
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        # the bytes received and not yet read; has_begun: some arrived since `start_exchange`;
        # delivered: bytes of the body that were read since then
        self._start = 0
        self._stop = 0
        self.has_begun = False
        self.delivered = 0

    @property
    def is_empty(self) -> bool:
        return self._start == self._stop

    def start_exchange(self) -> None:
        size = BUFFER + self._reserved
        if len(self._buffer) > size and self._stop - self._start <= size:
            self._resize(size)  # the last header was a large one
        self._compact()
        self.has_begun = False
        self.delivered = 0

    def close(self) -> None:
        """Release what was reserved; the buffer is not used any more."""
        reserved, self._reserved = self._reserved, 0
        self._budget.release(reserved)

    def receive_available(self, length: int) -> ReceiveState:
        """As `Connection.receive_available`, but raises OSErrors."""
        if not self._has_room(_HEADER_ROOM + length):
            return ReceiveState.FALLBACK
        count = self._stream.receive_nowait(self._view[self._stop :])
        if count is None:
            return ReceiveState.PARTIAL
        if not count:
            return ReceiveState.FALLBACK
        self._stop += count
        self.has_begun = True
        return self._state(length)

    def wait_response(self, seconds: float) -> bool:
        """As `Connection.wait_response`. What TLS receives for itself ends the wait early."""
        if self.has_begun or self._stop == len(self._buffer):
            return True
        if not self._stream.wait_readable(seconds):
            return False
        count = self._stream.receive_nowait(self._view[self._stop :])
        if count is None:
            return False
        self._stop += count
        self.has_begun = count > 0
        return True

    def _state(self, length: int) -> ReceiveState:
        """Glance at what has arrived. It is parsed as strictly as everything else afterwards."""
        end = self._buffer.find(END, 0, min(self._stop, BUFFER))
        if end < 0:  # the event loop reads no longer headers, however much room a body has
            return ReceiveState.PARTIAL if self._stop < BUFFER else ReceiveState.FALLBACK
        match = _LENGTH.search(self._buffer, 0, end + 2)
        if match is None or int(match[1]) != length or not _SUCCESS.match(self._buffer):
            return ReceiveState.FALLBACK
        if end + len(END) + length <= self._stop:
            return ReceiveState.COMPLETE
        return ReceiveState.PARTIAL if self._stop < len(self._buffer) else ReceiveState.FALLBACK

    def read_header(self) -> bytes:
        """Return a response's header, up to the line break of its last field."""
        self._compact()
        searched = 0
        while (end := self._buffer.find(END, searched, self._stop)) < 0:
            if self._buffer.find(b"\n\n", searched, self._stop) >= 0:  # no END will come
                raise InvalidResponseError("a header with line ends of its own")
            searched = max(0, self._stop - len(END) + 1)
            self._receive_more("a header")
        if end > HEADER_LIMIT:  # the buffer is larger if it has room for a body beside the header
            raise InvalidResponseError("a header without end")
        block = bytes(self._view[: end + 2])
        self._start = end + len(END)
        return block

    def read_line(self, limit: int) -> bytes:
        searched = self._start
        while (end := self._buffer.find(b"\n", searched, self._stop)) < 0:
            if self._stop - self._start > limit:
                raise InvalidResponseError("a line without end")
            self._compact()
            searched = self._stop
            self._receive_more("a line")
        line = bytes(self._view[self._start : end])
        self._start = end + 1
        if not line.endswith(b"\r") or len(line) > limit:
            raise InvalidResponseError(f"a line that does not end as it should: {line[:20]!r}")
        return line[:-1]

    def receive(self, into: memoryview) -> int:
        count = self._stream.receive(into) if self.is_empty else self._read(into)
        self.delivered += count
        return count

    def fill(self, into: memoryview) -> None:
        count = self._read(into)
        self.delivered += count
        if count < len(into):
            try:
                self._stream.fill(into[count:])
            finally:
                self.delivered += self._stream.filled

    def _read(self, into: memoryview) -> int:
        count = min(len(into), self._stop - self._start)
        into[:count] = self._view[self._start : self._start + count]
        self._start += count
        return count

    def _has_room(self, size: int) -> bool:
        """Whether the buffer has *size* bytes, now if not before."""
        if size <= len(self._buffer):
            return True
        more = -(-size // _BUFFER_STEP) * _BUFFER_STEP - BUFFER - self._reserved
        if not self._budget.reserve(more):
            return False
        self._reserved += more
        self._resize(BUFFER + self._reserved)
        return True

    def _resize(self, size: int) -> None:
        """Move what has not been read to a buffer of *size* bytes."""
        buffer = bytearray(size)
        left = self._stop - self._start
        buffer[:left] = self._view[self._start : self._stop]
        self._buffer, self._view = buffer, memoryview(buffer)
        self._start, self._stop = 0, left

    def _compact(self) -> None:
        """Move what has not been read to the buffer's beginning."""
        if not self._start:
            return
        left = self._stop - self._start
        self._buffer[:left] = self._buffer[self._start : self._stop]
        self._start, self._stop = 0, left

    def _receive_more(self, what: str) -> None:
        if self._stop >= HEADER_LIMIT:
            raise InvalidResponseError(f"{what} without end")
        if self._stop == len(self._buffer):
            self._resize(HEADER_LIMIT)
        count = self._stream.receive(self._view[self._stop : HEADER_LIMIT])
        if not count:
            raise ConnectionResetError(f"the connection ended in the middle of {what}")
        self._stop += count
        self.has_begun = True
