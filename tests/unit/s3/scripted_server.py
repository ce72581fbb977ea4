"""Scripted server: it sends over real sockets what a test wants, however wrong that is."""

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.resolve import Endpoint
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import PendingResponse, ReceiveState

ETAG = '"abc"'
MODIFIED = "Sun, 22 Nov 2026 12:31:47 GMT"

Line = Callable[["Peer"], object]  # serves one request


class Peer:
    """The server's end of one connection. *ended* is set when the test is over."""

    def __init__(self, sock: socket.socket, ended: threading.Event) -> None:
        self.socket = sock
        self.ended = ended
        self._unread = b""

    def read_request(self) -> str | None:
        """Return the header of the next request; None if the client has left."""
        while b"\r\n\r\n" not in self._unread:
            piece = self.socket.recv(65536)
            if not piece:
                return None
            self._unread += piece
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        return head.decode()

    def read_body(self, request: str) -> bytes:
        """Return the body of *request*, as long as its Content-Length tells."""
        lines = request.lower().splitlines()
        told = [line for line in lines if line.startswith("content-length:")]
        length = int(told[0].partition(":")[2]) if told else 0
        while len(self._unread) < length:
            self._unread += self.socket.recv(65536)
        body, self._unread = self._unread[:length], self._unread[length:]
        return body


class ScriptedServer:
    """Serves the *script*, a line a request, in their order. `requests` has their headers,
    `bodies` what follows them.
    """

    def __init__(self, script: Sequence[Line], context: ssl.SSLContext | None) -> None:
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self._script = iter(script)
        self._context = context
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []
        self._threads[0].start()

    def end(self) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError, StopIteration), sock:
            if self._context is None:
                self._converse(Peer(sock, self._ended))
            else:
                with self._context.wrap_socket(
                    sock, server_side=True, suppress_ragged_eofs=True
                ) as secure:
                    self._converse(Peer(secure, self._ended))

    def _converse(self, peer: Peer) -> None:
        while (request := peer.read_request()) is not None:
            self.requests.append(request)
            self.bodies.append(peer.read_body(request))
            next(self._script)(peer)


@contextmanager
def scripted(*script: Line, context: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """A server for the length of the block."""
    server = ScriptedServer(script, context)
    try:
        yield server
    finally:
        server.end()


def says(*pieces: bytes) -> Line:
    """Sends *pieces* and keeps the connection."""
    return lambda peer: peer.socket.sendall(b"".join(pieces))


def says_and_ends(*pieces: bytes) -> Line:
    """Sends *pieces* and closes the connection in an orderly way."""

    def line(peer: Peer) -> None:
        peer.socket.sendall(b"".join(pieces))
        raise StopIteration

    return line


def drips(*pieces: bytes) -> Line:
    """Sends *pieces* a byte at a time, as long as the test lasts."""

    def line(peer: Peer) -> None:
        for byte in b"".join(pieces):
            peer.socket.sendall(bytes([byte]))
            if peer.ended.wait(0.02):
                raise StopIteration

    return line


def stalls_after(*pieces: bytes) -> Line:
    """Sends *pieces* and then nothing, with the connection open."""

    def line(peer: Peer) -> None:
        peer.socket.sendall(b"".join(pieces))
        peer.ended.wait()

    return line


def head(status: str = "200 OK", /, version: object = "1.1", **headers: object) -> bytes:
    """A response's header, with ETag and Last-Modified unless they are given as None.

    Underscores in names become dashes.
    """
    given = {"ETag": ETAG, "Last_Modified": MODIFIED, **headers}
    lines = [
        f"{name.replace('_', '-')}: {value}" for name, value in given.items() if value is not None
    ]
    return "\r\n".join([f"HTTP/{version} {status}", *lines, "", ""]).encode()


def part(content: bytes, start: int, stop: int, **headers: object) -> bytes:
    """A whole 206."""
    content_range = f"bytes {start}-{stop - 1}/{len(content)}"
    defaults = {"Content_Length": stop - start, "Content_Range": content_range}
    return head("206 Partial Content", **{**defaults, **headers}) + content[start:stop]


def refusal(status: str, code: str = "", **headers: object) -> bytes:
    """An error document."""
    body = f"<Error><Code>{code}</Code><RequestId>r</RequestId></Error>".encode() if code else b""
    return head(status, ETag=None, Last_Modified=None, Content_Length=len(body), **headers) + body


def receive(pending: PendingResponse[object], deadline: float) -> ReceiveState:
    """Receive what arrives, until it is complete, or something else, or 0.3 seconds pass."""
    poll = select.poll()
    poll.register(pending.fileno(), select.POLLIN)
    while poll.poll(max(0, min(0.3, deadline - time.monotonic())) * 1000):
        if (state := pending.receive_available()) is not ReceiveState.PARTIAL:
            return state
    return ReceiveState.PARTIAL


class FixedCredentials:
    """`Credentials` that are never renewed. *is_ready*: they need not be waited for."""

    def __init__(self, keys: FrozenCredentials, *, is_ready: bool = True) -> None:
        self._keys = keys
        self._is_ready = is_ready

    def frozen(self, deadline: float, cancel_token: CancelToken | None = None) -> FrozenCredentials:  # noqa: ARG002 - the protocol's
        return self._keys

    def frozen_nowait(self) -> FrozenCredentials | None:
        return self._keys if self._is_ready else None

    def renew(self, since: float, deadline: float, *, is_expired: bool) -> bool:  # noqa: ARG002
        return False


def store_at(port: int, **changes: object) -> Endpoint:
    """How a scripted server is reached."""
    settings: dict[str, object] = {
        "bucket": "bucket",
        "scheme": "http",
        "host": "127.0.0.1",
        "port": port,
        "base_path": "/bucket",
        "region": "us-east-1",
        "credentials": FixedCredentials(FrozenCredentials("AKID", "secret")),
        "idle_timeout": 10.0,
    }
    return Endpoint(**{**settings, **changes})  # type: ignore[arg-type]  # the tests' own spelling
