"""TLS over a plain stream, through memory: which bytes are received when, and what is TLS's own."""

import contextlib
import select
import ssl
from collections.abc import Callable

from s3mount.s3.native.socket_stream import PlainStream

RECORD = 17 * 1024  # bytes: no TLS record is longer, RFC 8446 section 5.2
HOUSEKEEPING_LIMIT = 8  # receives of it for one idle connection: the event loop may be waiting
CIPHERTEXT = 256 * 1024  # bytes a receive; 128 KiB cost 10 % more CPU, 512 KiB no less
CIPHERTEXT_LEAST = 32 * 1024  # bytes; more than a record
CIPHERTEXT_TOTAL = 16 * 1024 * 1024  # bytes of all connections, if there are very many


def ciphertext_size(connections: int) -> int:
    """Return how many bytes each of *connections* may receive at once.

    OpenSSL then holds as many, and a third more.
    """
    return max(CIPHERTEXT_LEAST, min(CIPHERTEXT, CIPHERTEXT_TOTAL // connections))


class TlsStream:
    """TLS over a plain stream, from which it receives up to *ciphertext* bytes at once.

    It goes through memory, since Python's own TLS socket asks the kernel twice for each record of
    16 KiB, and either waits forever or polls.
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
        # with a buffer, it returns a count
        self._read: Callable[[int, memoryview], int] = self._tls.read  # type: ignore[assignment]
        self._ciphertext = memoryview(bytearray(ciphertext))
        self._may_hold = False  # whether OpenSSL may hold the rest of a record read in part
        self.filled = 0

    def handshake(self) -> None:
        """Shake hands; call first. ssl.SSLCertVerificationError if the peer is not trusted."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed(0)
            else:
                self._flush()
                return

    @property
    def session(self) -> ssl.SSLObject:
        """The TLS session, for its version and its certificate."""
        return self._tls

    def set_deadline(self, deadline: float) -> None:
        self._plain.set_deadline(deadline)

    def send(self, message: bytes) -> None:
        self._tls.write(message)
        self._flush()

    def receive(self, into: memoryview) -> int:
        while True:
            if not self._may_read():
                self._feed(0)
            try:
                return self._read_record(into)
            except ssl.SSLWantReadError:
                self._feed(0)

    def receive_nowait(self, into: memoryview) -> int | None:
        if not self._may_read():
            count = self._plain.receive_nowait(self._ciphertext)
            if count is None:
                return None
            self._put(count)
        filled = 0
        with contextlib.suppress(ssl.SSLWantReadError):  # the rest of a record is on its way
            while count := self._read_record(into[filled:]):
                filled += count
                if filled == len(into) or not self._may_read():
                    break
            return filled
        return filled or None

    def fill(self, into: memoryview) -> None:
        read, incoming, filled, length = self._read, self._incoming, 0, len(into)
        try:
            while filled < length:
                if not (incoming.pending or self._may_read()):
                    self._feed(length - filled)
                try:
                    # what is left of a record, unless *into* ends before
                    count = read(length - filled, into[filled:])
                except ssl.SSLWantReadError:
                    self._feed(length - filled)
                    continue
                if not count:
                    raise ConnectionResetError("the connection ended in the middle of a response")
                filled += count
        finally:
            self.filled = filled
        self._may_hold = True

    def fileno(self) -> int:
        return self._plain.fileno()

    def end_opening(self) -> None:
        self._plain.end_opening()

    def wait_readable(self, seconds: float) -> bool:
        return self._may_read() or self._plain.wait_readable(seconds)

    def is_idle(self) -> bool:
        for _ in range(HOUSEKEEPING_LIMIT):
            if self._may_read():
                return False
            events = self._plain.events()
            if not events & ~select.POLLOUT:
                return events == select.POLLOUT
            if not self._is_housekeeping():
                return False
        return False

    def shut_down(self) -> None:
        self._plain.shut_down()

    def close(self) -> None:
        self._plain.close()

    def _read_record(self, into: memoryview) -> int:
        """Read what is left of a record; 0 at the end. ssl.SSLWantReadError if it is not here."""
        try:
            count = self._read(len(into), into)
        except ssl.SSLEOFError:  # an end without TLS's close_notify; who needs more bytes knows
            return 0
        self._may_hold = count == len(into)
        return count

    def _may_read(self) -> bool:
        """Whether there is anything to read, ciphertext or plaintext.

        OpenSSL would know too: by an exception that costs as much as ten reads, or by `pending`,
        which gives up the GIL.
        """
        if self._may_hold and not self._incoming.pending:
            self._may_hold = self._tls.pending() > 0
        return self._incoming.pending > 0 or self._may_hold

    def _is_housekeeping(self) -> bool:
        """Whether what has arrived is TLS's own, no end and no response.

        A server sends tickets after the handshake.
        """
        try:
            self._feed(0)
            self._read(1, memoryview(bytearray(1)))
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        return False

    def _feed(self, wanted: int) -> None:
        """Receive more ciphertext, for *wanted* bytes of plaintext.

        So much is sure to come, except for one record that OpenSSL may hold in part.
        """
        if self._outgoing.pending:
            self._flush()
        sure = min(wanted - RECORD, len(self._ciphertext))
        self._put(
            self._plain.receive_full(self._ciphertext[:sure])
            if sure > 0
            else self._plain.receive(self._ciphertext)
        )

    def _put(self, count: int) -> None:
        """Pass *count* bytes of ciphertext to OpenSSL; 0: the end."""
        if count:
            self._incoming.write(self._ciphertext[:count])
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._plain.send(self._outgoing.read())
