"""Kept-alive HTTP/1.1 connection: a request out, then the header and the body of its response.

One exchange at a time. A connection that was not left clean (all of a body read, not a byte more)
never serves again.

Memory: a connection has BUFFER bytes for a header and what arrives with it. It has more while a
header is larger, and from the first body on that is received beside its header, if the
`BufferBudget` of all connections has so much left. It returns what it reserved when it is closed;
until then it uses that again.
"""

import re
import threading
from collections.abc import Callable

from s3mount.s3.native.body import Body, body_of
from s3mount.s3.native.response_header import END, HEADER_LIMIT, ResponseHeader, parse_header
from s3mount.s3.native.socket_stream import Stream
from s3mount.s3.transport import (
    CutShortError,
    InvalidResponseError,
    ReceiveState,
    content_length,
)
from s3mount.unawaited import ExpectedError

SMALL_BODY = 256 * 1024  # bytes received beside a header at most: a random read, most small files
INFORMATIONAL_LIMIT = 8  # 1xx responses before the final one
BUFFER = 16 * 1024  # bytes
_HEADER_ROOM = 4 * 1024  # bytes beside a small body; a thread reads a longer header
_BUFFER_STEP = 64 * 1024  # bytes; bodies of other lengths then seldom need another buffer
_STEP = 64 * 1024  # bytes by which a body of unknown length grows
_STEP_MOST = 256 * 1024
_SUCCESS = re.compile(rb"HTTP/1\.1 20[06] ")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)


class StaleConnectionError(ConnectionError):
    """An idle connection that ended without a byte of the response: the peer had closed it."""


class SilentConnectionError(ExpectedError):
    """A new connection is silent for *age* seconds, while others are not: its request leaves it."""

    def __init__(self, age: float) -> None:
        super().__init__(f"no response for {age:.1f} s over a new connection")
        self.age = age


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


class Connection:
    """HTTP/1.1 connection over *stream*, which it owns.

    *was_idle*: its peer may have closed it before this exchange. *is_proven*: a response has come
    over it.
    """

    def __init__(self, stream: Stream, budget: BufferBudget | None = None) -> None:
        self.was_idle = False
        self.is_proven = False
        self._buffer = _ReceiveBuffer(stream, budget or BufferBudget(2 * SMALL_BODY))
        self._stream = stream

    def send(self, message: bytes, *, deadline: float) -> None:
        """Send *message* by *deadline*, and wait for nothing; OSErrors."""
        self._stream.set_deadline(deadline)
        self._buffer.start_exchange()
        self._stream.send(message)

    def receive_available(self, length: int) -> ReceiveState:
        """Receive what has arrived of the response to what was sent, without waiting.

        Its body should have *length* bytes, SMALL_BODY at most. Raises nothing: `exchange` does.
        """
        try:
            return self._buffer.receive_available(length)
        except OSError:
            return ReceiveState.FALLBACK

    @property
    def has_begun(self) -> bool:
        """Whether any byte of the response to what was sent has been received."""
        return self._buffer.has_begun

    def wait_response(self, seconds: float) -> bool:
        """Wait for some of the response, or an end; return False if neither comes in *seconds*.

        Raises OSErrors. TLS reports why the peer refuses it once, so they end the exchange.
        """
        return self._buffer.wait_response(seconds)

    def exchange(
        self,
        message: bytes | None,
        *,
        deadline: float,
        is_bodiless: bool = False,
        on_sent: Callable[[], None] | None = None,
    ) -> "Response":
        """Send *message* and read the header of the response, by *deadline*.

        The body is to be read by *deadline* too, unless `set_deadline` changes it. *message* is
        None if it was sent before; *is_bodiless*: it is a HEAD. *on_sent* is called before anything
        is read; its OSErrors are those of the connection. Raises OSErrors, among them
        StaleConnectionError, and InvalidResponseError; then the connection is to be closed.
        """
        self._stream.set_deadline(deadline)
        try:
            if message is not None:
                self.send(message, deadline=deadline)
            if on_sent is not None:
                on_sent()
            header = self._read_header()
        except TimeoutError:
            raise
        except OSError as exc:
            if self.was_idle and not self._buffer.has_begun:
                raise StaleConnectionError from exc
            raise
        body = body_of(header, self._buffer, is_bodiless=is_bodiless)
        return Response(header, body, self._buffer)

    def set_deadline(self, deadline: float) -> None:
        """Let what is still to be read take until *deadline*."""
        self._stream.set_deadline(deadline)

    def fileno(self) -> int:
        return self._stream.fileno()

    def is_reusable(self) -> bool:
        """Whether nothing has arrived since the last exchange, not even the end."""
        return self._buffer.is_empty and self._stream.is_idle()

    def shut_down(self) -> None:
        """Wake the thread that waits here, with an error. From any thread."""
        self._stream.shut_down()

    def close(self) -> None:
        self._stream.close()
        self._buffer.close()

    def _read_header(self) -> ResponseHeader:
        for _ in range(INFORMATIONAL_LIMIT):
            header = parse_header(self._buffer.read_header())
            if header.status >= 200:
                return header
            if header.status == 101:
                break
        raise InvalidResponseError("no final response")


class Response:
    """`transport.Response`. *allows_reuse*: a request may follow on the connection, at the end."""

    __slots__ = ("_body", "_buffer", "allows_reuse", "headers", "status")

    def __init__(self, header: ResponseHeader, body: Body, buffer: "_ReceiveBuffer") -> None:
        self.status = header.status
        self.headers = header.headers
        self.allows_reuse = header.is_persistent and body.is_delimited
        self._body = body
        self._buffer = buffer

    @property
    def received(self) -> int:
        return self._buffer.delivered

    def read_into(self, buffer: memoryview) -> None:
        if self._body.read(buffer) < len(buffer):
            raise CutShortError("the body is cut short")

    def read_all(self, limit: int) -> bytes:
        length = content_length(self.headers)
        # one byte more, so that the first step is the last
        step = _STEP if length is None else min(length + 1, _STEP_MOST)
        whole, piece = bytearray(), memoryview(bytearray(step))
        while True:
            count = self._body.read(piece)
            whole += piece[:count]
            if len(whole) > limit:
                raise InvalidResponseError("a document without end")
            if count < step:
                return bytes(whole)

    def skip(self, count: int) -> None:
        scratch = memoryview(bytearray(min(count, _STEP)))
        while count:
            step = scratch[:count]
            self.read_into(step)
            count -= len(step)

    def is_at_end(self) -> bool:
        return self._body.is_at_end()


class _ReceiveBuffer:
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
