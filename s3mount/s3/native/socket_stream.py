"""Byte stream over one socket that never waits past a deadline; TLS over it is in `tls_stream`.

The socket blocks, with a receive timeout in the kernel (SO_RCVTIMEO). So the kernel fills whole
buffers (MSG_WAITALL), where Python's own timeouts would return with every segment. It returns what
it has after each tick, so a deadline holds against a peer that drips, too. One thread at a time
uses a stream; any thread may call `shut_down`.
"""

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Protocol

TICK = 0.5  # seconds; how late a deadline may be noticed
_INCOMING = select.POLLIN | select.POLLRDHUP  # bytes, or an end


class Stream(Protocol):
    """Byte stream with a deadline.

    Raises TimeoutError past the deadline or when idle too long, else OSErrors.
    *filled* is how many bytes the last `fill` has received, also if it raised.
    """

    filled: int

    def set_deadline(self, deadline: float) -> None:
        """End all that follows by *deadline* (a tick later at most)."""
        ...

    def send(self, message: bytes) -> None: ...

    def receive(self, into: memoryview) -> int:
        """Receive what is there, or comes next: at least a byte; 0 if the peer has ended."""
        ...

    def receive_nowait(self, into: memoryview) -> int | None:
        """As `receive`, but return None if nothing has arrived."""
        ...

    def fill(self, into: memoryview) -> None:
        """Receive all of *into*; ConnectionError if the peer ends before."""
        ...

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when something arrives."""
        ...

    def end_opening(self) -> None:
        """Call nothing any more with each tick."""
        ...

    def wait_readable(self, seconds: float) -> bool:
        """Wait until something arrives, or an end; return False if nothing does in *seconds*."""
        ...

    def is_idle(self) -> bool:
        """Whether nothing has arrived, not even the end, and a request can be sent at once."""
        ...

    def shut_down(self) -> None:
        """Wake the thread that waits here, with an error. From any thread."""
        ...

    def close(self) -> None: ...


class PlainStream:
    """A connected socket, which it owns. `configure` comes first.

    *on_tick* is called with each tick without a byte, and may raise.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        idle_timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = sock
        self._idle_timeout = idle_timeout
        self._clock = clock
        self._deadline = 0.0
        self.on_tick: Callable[[], None] | None = None
        self.filled = 0
        self._poll = select.poll()
        self._poll.register(sock, _INCOMING | select.POLLOUT)

    def configure(self) -> None:
        """Set the options of the socket, or raise an OSError."""
        microseconds = int(min(TICK, self._idle_timeout / 2) * 1_000_000)
        tick = struct.pack("ll", 0, max(1, microseconds))  # 0 would wait for ever
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, tick)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, tick)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def set_deadline(self, deadline: float) -> None:
        self._deadline = deadline

    def send(self, message: bytes) -> None:
        if self._clock() >= self._deadline:
            raise TimeoutError("the deadline has passed")
        try:
            self._socket.sendall(message)
        except BlockingIOError as exc:
            # a request fits any send buffer, unless the peer stopped reading
            raise TimeoutError("a request could not be sent") from exc

    def receive(self, into: memoryview) -> int:
        return self._receive(into, 0)

    def receive_nowait(self, into: memoryview) -> int | None:
        try:
            return self._socket.recv_into(into, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def receive_full(self, into: memoryview) -> int:
        """As `receive`, but wait up to a tick for all of *into*.

        *into* must not be longer than what is to come.
        """
        return self._receive(into, socket.MSG_WAITALL)

    def fill(self, into: memoryview) -> None:
        self.filled = 0
        while self.filled < len(into):
            count = self._receive(into[self.filled :], socket.MSG_WAITALL)
            if not count:
                raise ConnectionResetError("the connection ended in the middle of a response")
            self.filled += count

    def fileno(self) -> int:
        return self._socket.fileno()

    def end_opening(self) -> None:
        self.on_tick = None

    def wait_readable(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._socket, _INCOMING)
        return bool(poll.poll(max(0.0, seconds) * 1000))

    def is_idle(self) -> bool:
        return self.events() == select.POLLOUT

    def events(self) -> int:
        """Return what poll(2) reports now.

        POLLOUT: a third of the send buffer is free, which is more than a request takes.
        """
        [(_, events)] = self._poll.poll(0) or [(0, 0)]
        return events

    def shut_down(self) -> None:
        with contextlib.suppress(OSError):  # it has ended already
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the descriptor is free all the same, see close(2)
            self._socket.close()

    def _receive(self, into: memoryview, flags: int) -> int:
        idle_until = self._clock() + self._idle_timeout
        while True:
            try:
                count = self._socket.recv_into(into, 0, flags)
            except BlockingIOError:  # a tick without a byte
                count = -1
            now = self._clock()
            if now >= self._deadline:
                raise TimeoutError("the deadline has passed")
            if count >= 0:
                return count
            if now >= idle_until:
                raise TimeoutError("the connection is idle")
            if self.on_tick is not None:
                self.on_tick()
