"""Response over urllib3: its body is read once, with the caller's deadline over every byte.

Decodes no content. What urllib3 raises leaves as an OSError.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HttpTimeoutError

from s3mount.s3.boto.header_timeout import (
    PutBack,
    ShutdownTimer,
    Watchdog,
    detach_connection,
    socket_of,
)
from s3mount.s3.limits import ERROR_LIMIT, PIECES_LIMIT
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import CutShortError, InvalidResponseError, is_chunked, join_values

CHUNK = 256 * 1024  # bytes a read


class HttpResponse:
    """`transport.Response`: each read is one receive, and none outlasts the deadline.

    Keeps its connection until `close`: by itself urllib3 would pool it with the body's last byte,
    when *cancel_token* can still shut it down. *on_end* is for `end`.
    """

    def __init__(
        self,
        response: Any,
        cancel_token: CancelToken,
        deadline: float,
        *,
        on_end: "OnEnd",
        idle_timeout: float,
        watchdog: Watchdog,
        clock: Callable[[], float],
    ) -> None:
        self._on_end = on_end
        self.status = response.status
        self.headers = _headers(response.headers)
        self._response = response
        self._cancel_token = cancel_token
        self._deadline = deadline
        self._idle_timeout = idle_timeout
        self._clock = clock
        self._watchdog = watchdog
        self._socket = socket_of(response)
        self._put_back: PutBack | None = detach_connection(response)
        self._is_chunked = "transfer-encoding" in self.headers
        self._codings: list[str] = response.headers.getlist("transfer-encoding")
        self._timer: ShutdownTimer | None = None
        self.received = 0

    def check_framing(self, *, is_bodiless: bool) -> None:
        """Raise InvalidResponseError if http.client would not read the body as it is framed.

        It reads what is not exactly `chunked` by its length, and chunks whatever the length.
        """
        if is_bodiless or self.status in (204, 304) or not is_chunked(self.headers):
            return
        if any(each.lower() != "chunked" for each in self._codings):
            raise InvalidResponseError(f"Transfer-Encoding {self._codings!r}"[:80])

    def read_into(self, buffer: memoryview) -> None:
        filled = 0
        while filled < len(buffer):
            piece = self._read_some(len(buffer) - filled)
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)

    def read_all(self, limit: int) -> bytes:
        document = bytearray()
        for _ in range(PIECES_LIMIT):
            piece = self._read(CHUNK)
            if not piece:
                return bytes(document)
            document += piece
            if len(document) > limit:
                raise InvalidResponseError("a document without end")
        raise InvalidResponseError("a document in too many pieces")

    def stream(self) -> Iterator[bytes]:
        """Return the body as botocore reads it, if botocore sent the request by itself.

        A document type is not passed on: botocore's parser would expand its entities.
        """
        document, is_clean = b"", False
        try:
            document, is_clean = self.read_all(ERROR_LIMIT), True
        except BaseException as exc:  # raised again
            self.end(exc)
            raise
        else:
            self.end(None)
        finally:
            self.close(is_clean=is_clean)
        if b"<!DOCTYPE" in document:
            raise InvalidResponseError("a document type")
        yield document

    def skip(self, count: int) -> None:
        while count:
            count -= len(self._read_some(count))

    def is_at_end(self) -> bool:
        left: int | None = self._response.length_remaining
        return not self._read(1) if left is None else left == 0

    def end(self, exc: BaseException | None) -> None:
        """Tell the request log that no more is read; *exc* is why, if that failed. Once."""
        self._on_end(self, exc)

    def close(self, *, is_clean: bool = False) -> None:
        """Return the connection to the pool; it is closed first unless *is_clean*.

        A response below 200 is never clean: http.client takes it for the final one.
        """
        if self._timer is not None:
            self._timer.cancel()
        self._cancel_token.detach()
        put_back, self._put_back = self._put_back, None
        self._response.close()
        if put_back is not None:
            put_back(is_reusable=is_clean and self.status >= 200)

    def _read_some(self, most: int) -> bytes:
        piece = self._read(min(CHUNK, most))
        if not piece:
            raise CutShortError("the body is cut short")
        return piece

    def _read(self, size: int) -> bytes:
        """Return at most *size* bytes, as soon as there are any; none at the end."""
        left = self._deadline - self._clock()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        if self._is_chunked and self._timer is None:
            # between chunks a read is more than one receive
            self._timer = self._watchdog.start(left, self._socket)
        with contextlib.suppress(OSError):  # closed already, with the end of the body buffered
            self._socket.settimeout(min(self._idle_timeout, left))
        with os_errors():
            piece: bytes = self._response.read1(size)
        self.received += len(piece)
        return piece


OnEnd = Callable[[HttpResponse, BaseException | None], None]
"""Called, once, when no more of a response is read; the exception is why, if that failed."""


def _headers(fields: Any) -> dict[str, str]:
    """Return *fields*, of urllib3, as the native transport has them."""
    return {
        name.lower(): join_values([value.strip() for value in fields.getlist(name)])
        for name in fields
    }


@contextlib.contextmanager
def os_errors() -> Iterator[None]:
    """Raise what urllib3 raises as OSErrors."""
    try:
        yield
    except HttpTimeoutError as exc:
        raise TimeoutError(str(exc)) from exc
    except HTTPError as exc:
        raise ConnectionError(str(exc)) from exc
