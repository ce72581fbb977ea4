"""One kept-alive HTTP/1.1 connection: a request out, the head of its answer in, and then its body.

One exchange at a time. A connection that was not left clean (all of a body read, not a byte more) never serves again.

Memory: a connection has BUFFER bytes for the head of an answer and what comes with it. It has more while a head is larger, and from the first
body on that is gathered beside its head, if the `GatherRoom` of all connections has so much left. What it took from there, it gives back
when it is closed; until then it is used again.
"""

import re
import threading

from s3mount.s3.native.body import Body, body_of
from s3mount.s3.native.response_header import END, HEAD_LIMIT, ResponseHead, parse_head
from s3mount.s3.native.socket_stream import Stream
from s3mount.s3.operations import validation
from s3mount.s3.operations.validation import InvalidResponseError
from s3mount.s3.transport import ReceiveState

GATHER_LIMIT = (
    256 * 1024
)  # bytes of a body that can be gathered beside its head: a random read, most small files
HINTS_LIMIT = 8  # 1xx responses before the answer
BUFFER = 16 * 1024  # bytes
_HEAD_ROOM = 4 * 1024  # bytes beside a body that is gathered; a longer head is read by who may wait
_ROOM_STEP = 64 * 1024  # bytes; reads of other lengths then seldom need another buffer
_STEP = 64 * 1024  # bytes by which a body of unknown length grows
_STEP_MOST = 256 * 1024
_PART = re.compile(rb"HTTP/1\.1 20[06] ")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)


class StaleConnectionError(ConnectionError):
    """A connection that had lain idle ended without a byte of this answer: the peer had closed it, so ask on another."""


class GatherRoom:
    """The bytes that all connections of a store may have for gathering, beyond their BUFFER each. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._lock = threading.Lock()
        self._left = size

    def take(self, count: int) -> bool:
        """Whether there are *count* bytes, which then are the caller's."""
        with self._lock:
            if count > self._left:
                return False
            self._left -= count
            return True

    def give_back(self, count: int) -> None:
        with self._lock:
            self._left += count


class Connection:
    """Owns *stream*. *was_idle*: it has waited for this exchange, and its peer may have been tired of that."""

    def __init__(self, stream: Stream, room: GatherRoom | None = None) -> None:
        self.was_idle = False
        self._source = _BufferedSource(stream, room or GatherRoom(2 * GATHER_LIMIT))
        self._stream = stream

    def send(self, request: bytes, *, deadline: float) -> None:
        """Send *request* by *deadline*, and wait for nothing; OSErrors."""
        self._stream.wait_until(deadline)
        self._source.begin()
        self._stream.send(request)

    def gather(self, length: int) -> ReceiveState:
        """Take what has come of the answer to what was sent, whose body should have *length* bytes, GATHER_LIMIT at most.

        Raises nothing: what is wrong is told by `ask`.
        """
        try:
            return self._source.gather(length)
        except OSError:
            return ReceiveState.OTHERWISE

    @property
    def is_answering(self) -> bool:
        """Whether any of the answer to what was sent has come."""
        return not self._source.is_untouched

    def ask(
        self, request: bytes | None, *, deadline: float, is_bodiless: bool = False
    ) -> "Response":
        """Send *request* and read the head of the answer, by *deadline*; its body too, but for `wait_until`.

        *request* is None where it was sent already; *is_bodiless*: it is a HEAD. OSErrors, UnansweredError among them, and
        InvalidResponseError; after any the connection is of no more use.
        """
        self._stream.wait_until(deadline)
        try:
            if request is not None:
                self.send(request, deadline=deadline)
            head = self._read_head()
        except TimeoutError:
            raise
        except OSError as exc:
            if self.was_idle and self._source.is_untouched:
                raise StaleConnectionError from exc
            raise
        return Response(head, body_of(head, self._source, is_bodiless=is_bodiless))

    def wait_until(self, deadline: float) -> None:
        """Let what is still to be read take until *deadline*."""
        self._stream.wait_until(deadline)

    def fileno(self) -> int:
        return self._stream.fileno()

    def is_reusable(self) -> bool:
        """Whether nothing came unasked since the last exchange, not even the end."""
        return self._source.is_drained and self._stream.is_quiet()

    def shut_down(self) -> None:
        """Wake whoever waits for it, with an error. From any thread."""
        self._stream.shut_down()

    def close(self) -> None:
        self._stream.close()
        self._source.close()

    def _read_head(self) -> ResponseHead:
        for _ in range(HINTS_LIMIT):
            head = parse_head(self._source.head())
            if head.status >= 200:
                return head
            if head.status == 101:
                break
        raise InvalidResponseError("no final response")


class Response:
    """A response: its head, and a body that is read once."""

    def __init__(self, head: ResponseHead, body: Body) -> None:
        self.status = head.status
        self.headers = head.headers
        self._head = head
        self._body = body

    def read_into(self, into: memoryview) -> None:
        """Exactly *into* from the body; InvalidResponseError where that is more than there is."""
        if self._body.read(into) < len(into):
            raise InvalidResponseError("the body is cut short")

    def read_all(self, limit: int) -> bytes:
        """The rest of the body; InvalidResponseError where that is more than *limit*."""
        length = validation.content_length(self.headers)
        step = (
            _STEP if length is None else min(length + 1, _STEP_MOST)
        )  # one more, so that the first step is the last
        whole, piece = bytearray(), memoryview(bytearray(step))
        while True:
            count = self._body.read(piece)
            whole += piece[:count]
            if len(whole) > limit:
                raise InvalidResponseError("a document without end")
            if count < step:
                return bytes(whole)

    def skip(self, count: int) -> None:
        """Leave *count* bytes of the body aside."""
        scratch = memoryview(bytearray(min(count, _STEP)))
        while count:
            step = scratch[:count]
            self.read_into(step)
            count -= len(step)

    def is_at_end(self) -> bool:
        """Whether the whole body was read; may wait for the peer to say so."""
        return self._body.is_at_end()

    @property
    def leaves_clean(self) -> bool:
        """Whether another request may follow on this connection, once the body is at its end."""
        return self._head.is_persistent and self._body.is_delimited


class _BufferedSource:
    """What came with one receive, and then the stream itself: large bodies pass the buffer by."""

    def __init__(self, stream: Stream, room: GatherRoom) -> None:
        self._stream = stream
        self._room = room
        self._taken = 0  # bytes of the room
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        # the bytes received and not yet given out; is_untouched: none came since `begin`
        self._start = 0
        self._stop = 0
        self.is_untouched = True

    @property
    def is_drained(self) -> bool:
        return self._start == self._stop

    def begin(self) -> None:
        """An exchange begins."""
        lasting = BUFFER + self._taken
        if len(self._buffer) > lasting and self._stop - self._start <= lasting:
            self._resize(lasting)  # the last head was a large one
        self._pack()
        self.is_untouched = True

    def close(self) -> None:
        """Give back what was taken; the source is of no use any more."""
        taken, self._taken = self._taken, 0
        self._room.give_back(taken)

    def gather(self, length: int) -> ReceiveState:
        """`Connection.gather`. OSErrors."""
        if not self._has_room(_HEAD_ROOM + length):
            return ReceiveState.OTHERWISE
        count = self._stream.receive_now(self._view[self._stop :])
        if count is None:
            return ReceiveState.MORE
        if not count:
            return ReceiveState.OTHERWISE
        self._stop += count
        self.is_untouched = False
        return self._judge(length)

    def _judge(self, length: int) -> ReceiveState:
        """Whether that is all. No more than a glance: what is taken for whole is read as strictly as everything else."""
        end = self._buffer.find(END, 0, min(self._stop, BUFFER))
        if end < 0:  # the event loop reads no longer heads, however much room a body has
            return ReceiveState.MORE if self._stop < BUFFER else ReceiveState.OTHERWISE
        said = _LENGTH.search(self._buffer, 0, end + 2)
        if said is None or int(said[1]) != length or not _PART.match(self._buffer):
            return ReceiveState.OTHERWISE
        if end + len(END) + length <= self._stop:
            return ReceiveState.WHOLE
        return ReceiveState.MORE if self._stop < len(self._buffer) else ReceiveState.OTHERWISE

    def head(self) -> bytes:
        """A response's head, without its last line break."""
        self._pack()
        searched = 0
        while (end := self._buffer.find(END, searched, self._stop)) < 0:
            searched = max(0, self._stop - len(END) + 1)
            self._more("the head of an answer")
        if end > HEAD_LIMIT:  # the buffer is larger where a body was to be gathered beside its head
            raise InvalidResponseError("the head of an answer without end")
        block = bytes(self._view[: end + 2])
        self._start = end + len(END)
        return block

    def line(self, limit: int) -> bytes:
        searched = self._start
        while (end := self._buffer.find(b"\n", searched, self._stop)) < 0:
            if self._stop - self._start > limit:
                raise InvalidResponseError("a line without end")
            self._pack()
            searched = self._stop
            self._more("a line")
        line = bytes(self._view[self._start : end])
        self._start = end + 1
        if not line.endswith(b"\r") or len(line) > limit:
            raise InvalidResponseError(f"a line that does not end as it should: {line[:20]!r}")
        return line[:-1]

    def receive(self, into: memoryview) -> int:
        if self.is_drained:
            return self._stream.receive(into)
        return self._give(into)

    def fill(self, into: memoryview) -> None:
        given = self._give(into)
        if given < len(into):
            self._stream.fill(into[given:])

    def _give(self, into: memoryview) -> int:
        count = min(len(into), self._stop - self._start)
        into[:count] = self._view[self._start : self._start + count]
        self._start += count
        return count

    def _has_room(self, size: int) -> bool:
        """Whether the buffer has *size* bytes, now if not before."""
        if size <= len(self._buffer):
            return True
        more = -(-size // _ROOM_STEP) * _ROOM_STEP - BUFFER - self._taken
        if not self._room.take(more):
            return False
        self._taken += more
        self._resize(BUFFER + self._taken)
        return True

    def _resize(self, size: int) -> None:
        """A buffer of *size* bytes, with what was not given out yet at its beginning."""
        buffer = bytearray(size)
        left = self._stop - self._start
        buffer[:left] = self._view[self._start : self._stop]
        self._buffer, self._view = buffer, memoryview(buffer)
        self._start, self._stop = 0, left

    def _pack(self) -> None:
        """Move what is left to the buffer's beginning."""
        left = self._stop - self._start
        self._buffer[:left] = self._buffer[self._start : self._stop]
        self._start, self._stop = 0, left

    def _more(self, what: str) -> None:
        if self._stop >= HEAD_LIMIT:
            raise InvalidResponseError(f"{what} without end")
        if self._stop == len(self._buffer):
            self._resize(HEAD_LIMIT)
        count = self._stream.receive(self._view[self._stop : HEAD_LIMIT])
        if not count:
            raise ConnectionResetError(f"the connection ended in the middle of {what}")
        self._stop += count
        self.is_untouched = False
