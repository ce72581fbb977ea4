"""Bytes over one socket, plain or TLS, that never wait past a deadline.

The socket blocks, with a receive timeout in the kernel (SO_RCVTIMEO): so the kernel gathers whole buffers (MSG_WAITALL), where
Python's own timeouts would make it return with every segment, and hands over what it has whenever a tick has passed, so
that a deadline holds against a peer that drips too. Used by one thread at a time; any may `shut_down`.
"""

import contextlib
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from typing import Any, Protocol

TICK = 0.5  # seconds; how late a deadline may be noticed
RECORD = 17 * 1024  # bytes: no TLS record is longer, RFC 8446 section 5.2
HOUSEKEEPING_LIMIT = (
    8  # receives of it that an idle connection is worth: the event loop may be asking
)
CIPHERTEXT = 256 * 1024  # bytes a receive; 128 KiB cost 10 % more CPU, 512 KiB no less
CIPHERTEXT_LEAST = 32 * 1024  # bytes; more than a record
CIPHERTEXT_TOTAL = (
    16 * 1024 * 1024
)  # bytes of all connections together, where there are so many that it matters
_COMES = select.POLLIN | select.POLLRDHUP  # bytes, or an end


class Stream(Protocol):
    """Raises TimeoutError past the deadline, or when idle for too long, and other OSErrors where the connection fails."""

    def wait_until(self, deadline: float) -> None:
        """All that follows ends by *deadline* (a tick later at most)."""
        ...

    def send(self, message: bytes) -> None: ...

    def receive(self, into: memoryview) -> int:
        """What is there, or comes next: at least a byte; 0 where the peer has ended."""
        ...

    def receive_now(self, into: memoryview) -> int | None:
        """As `receive`, but None where nothing has come yet."""
        ...

    def fill(self, into: memoryview) -> None:
        """All of *into*; ConnectionError where the peer ends before."""
        ...

    def fileno(self) -> int:
        """What can be watched for something to come."""
        ...

    def is_quiet(self) -> bool:
        """Whether nothing has come unasked, not even the end, and a request can be sent without waiting."""
        ...

    def shut_down(self) -> None:
        """Wake whoever waits here, with an error. From any thread."""
        ...

    def close(self) -> None: ...


class PlainStream:
    """A socket, which it owns; `connect` comes first."""

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
        self._poll = select.poll()
        self._poll.register(sock, _COMES | select.POLLOUT)

    def connect(self, address: Any, timeout: float) -> None:
        """Reach *address* within *timeout* seconds, or raise an OSError."""
        if timeout <= 0:
            raise TimeoutError("the deadline has passed")
        self._socket.settimeout(timeout)
        self._socket.connect(address)
        self._socket.settimeout(None)
        tick = struct.pack("ll", 0, int(min(TICK, self._idle_timeout / 2) * 1_000_000))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, tick)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, tick)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def wait_until(self, deadline: float) -> None:
        self._deadline = deadline

    def send(self, message: bytes) -> None:
        if self._clock() >= self._deadline:
            raise TimeoutError("the deadline has passed")
        try:
            self._socket.sendall(message)
        except (
            BlockingIOError
        ) as exc:  # a request fits any send buffer, unless the peer stopped reading
            raise TimeoutError("a request could not be sent") from exc

    def receive(self, into: memoryview) -> int:
        return self._receive(into, 0)

    def receive_now(self, into: memoryview) -> int | None:
        try:
            return self._socket.recv_into(into, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def fill(self, into: memoryview) -> None:
        filled = 0
        while filled < len(into):
            count = self._receive(into[filled:], socket.MSG_WAITALL)
            if not count:
                raise ConnectionResetError("the connection ended in the middle of an answer")
            filled += count

    def gather(self, into: memoryview) -> int:
        """As `receive`, but waits up to a tick for all of *into*, which must not be more than is to come."""
        return self._receive(into, socket.MSG_WAITALL)

    def fileno(self) -> int:
        return self._socket.fileno()

    def is_quiet(self) -> bool:
        return self.events() == select.POLLOUT

    def events(self) -> int:
        """What poll(2) says now. POLLOUT: a third of the send buffer is free, which is more than a request takes."""
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


def ciphertext_size(connections: int) -> int:
    """Bytes that each of so many connections may receive at once. OpenSSL then holds as many, and a third more."""
    return max(CIPHERTEXT_LEAST, min(CIPHERTEXT, CIPHERTEXT_TOTAL // connections))


class TlsStream:
    """TLS over a plain stream, of which it receives up to *ciphertext* bytes at once.

    Through memory, since Python's own TLS socket asks the kernel twice for each record of 16 KiB, and either waits
    for ever or polls.
    """

    def __init__(
        self,
        plain: PlainStream,
        context: ssl.SSLContext,
        server_hostname: str,
        *,
        ciphertext: int = CIPHERTEXT,
    ) -> None:
        self._plain = plain
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=server_hostname
        )
        self._read: Callable[[int, memoryview], int] = self._tls.read  # type: ignore[assignment]  # with a buffer, it counts
        self._ciphertext = memoryview(bytearray(ciphertext))
        self._may_hold = (
            False  # whether OpenSSL may hold the rest of a record that was read in part
        )

    def shake_hands(self) -> None:
        """To be called first. ssl.SSLCertVerificationError where the peer is not who it should be."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed(0)
            else:
                self._flush()
                return

    def wait_until(self, deadline: float) -> None:
        self._plain.wait_until(deadline)

    def send(self, message: bytes) -> None:
        self._tls.write(message)
        self._flush()

    def receive(self, into: memoryview) -> int:
        while True:
            if not self._may_read():
                self._feed(0)
            try:
                return self._take(into)
            except ssl.SSLWantReadError:
                self._feed(0)

    def receive_now(self, into: memoryview) -> int | None:
        if not self._may_read():
            count = self._plain.receive_now(self._ciphertext)
            if count is None:
                return None
            self._put(count)
        taken = 0
        with contextlib.suppress(ssl.SSLWantReadError):  # the rest of a record is on its way
            while count := self._take(into[taken:]):
                taken += count
                if taken == len(into) or not self._may_read():
                    break
            return taken
        return taken or None

    def fill(self, into: memoryview) -> None:
        read, incoming, filled, length = self._read, self._incoming, 0, len(into)
        while filled < length:
            if not (incoming.pending or self._may_read()):
                self._feed(length - filled)
            try:
                count = read(
                    length - filled, into[filled:]
                )  # what is left of a record, unless *into* ends before
            except ssl.SSLWantReadError:
                self._feed(length - filled)
                continue
            if not count:
                raise ConnectionResetError("the connection ended in the middle of an answer")
            filled += count
        self._may_hold = True

    def fileno(self) -> int:
        return self._plain.fileno()

    def is_quiet(self) -> bool:
        for _ in range(HOUSEKEEPING_LIMIT):
            if self._may_read():
                return False
            events = self._plain.events()
            if not events & ~select.POLLOUT:
                return events == select.POLLOUT
            if not self._hears_housekeeping():
                return False
        return False

    def shut_down(self) -> None:
        self._plain.shut_down()

    def close(self) -> None:
        self._plain.close()

    def _take(self, into: memoryview) -> int:
        """What is left of a record; 0 at the end. ssl.SSLWantReadError where that has not come."""
        try:
            count = self._read(len(into), into)
        except ssl.SSLEOFError:  # an end without TLS's goodbye; whoever needs more bytes knows
            return 0
        self._may_hold = count == len(into)
        return count

    def _may_read(self) -> bool:
        """Whether there is anything to be read from, plain or not.

        OpenSSL would say so too: by an exception that costs as much as ten reads, or, asked how much it holds, at the price of the
        interpreter's lock.
        """
        if self._may_hold and not self._incoming.pending:
            self._may_hold = self._tls.pending() > 0
        return self._incoming.pending > 0 or self._may_hold

    def _hears_housekeeping(self) -> bool:
        """Whether what has come is TLS's own business, no end and no answer: a server sends tickets when it has shaken hands."""
        try:
            self._feed(0)
            self._read(1, memoryview(bytearray(1)))
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        return False

    def _feed(self, wanted: int) -> None:
        """Bring in more ciphertext, for *wanted* bytes of plaintext. As much may be to come, but for a record half read."""
        if self._outgoing.pending:
            self._flush()
        sure = min(wanted - RECORD, len(self._ciphertext))
        self._put(
            self._plain.gather(self._ciphertext[:sure])
            if sure > 0
            else self._plain.receive(self._ciphertext)
        )

    def _put(self, count: int) -> None:
        """*count* bytes of ciphertext have come; 0: the end."""
        if count:
            self._incoming.write(self._ciphertext[:count])
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._plain.send(self._outgoing.read())
