"""Kept-alive HTTP/1.1 connection: a request out, then the header and the body of its response.

One exchange at a time. A connection that was not left clean (all of a body read, not a byte more)
never serves again.
"""

from collections.abc import Callable

from s3mount.s3.native.body import Body, body_of
from s3mount.s3.native.receive_buffer import SMALL_BODY, BufferBudget, ReceiveBuffer
from s3mount.s3.native.response_header import ResponseHeader, parse_header
from s3mount.s3.native.socket_stream import Stream
from s3mount.s3.transport import (
    CutShortError,
    InvalidResponseError,
    ReceiveState,
    content_length,
)
from s3mount.unawaited import ExpectedError

INFORMATIONAL_LIMIT = 8  # 1xx responses before the final one
_STEP = 64 * 1024  # bytes by which a body of unknown length grows
_STEP_MOST = 256 * 1024


class StaleConnectionError(ConnectionError):
    """An idle connection that ended without a byte of the response: the peer had closed it."""


class SilentConnectionError(ExpectedError):
    """A new connection is silent for *age* seconds, while others are not: its request leaves it."""

    def __init__(self, age: float) -> None:
        super().__init__(f"no response for {age:.1f} s over a new connection")
        self.age = age


class Connection:
    """HTTP/1.1 connection over *stream*, which it owns.

    *was_idle*: its peer may have closed it before this exchange. *is_proven*: a response has come
    over it.
    """

    def __init__(self, stream: Stream, budget: BufferBudget | None = None) -> None:
        self.was_idle = False
        self.is_proven = False
        self._buffer = ReceiveBuffer(stream, budget or BufferBudget(2 * SMALL_BODY))
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

    def __init__(self, header: ResponseHeader, body: Body, buffer: ReceiveBuffer) -> None:
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
