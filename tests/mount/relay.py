"""Relay between a mount and its server that records the requests.

Forwards all bytes unchanged (the Host header too, which signatures cover), unless a test changes
those of responses. Parses only the heads of requests. Supports what a mount sends: requests without
bodies, over plain HTTP.
"""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers import S3Server

_CHUNK = 1 << 18


@dataclass(frozen=True)
class Request:
    """Head of one request; header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def kind(self) -> str:
        """LIST, HEAD or GET."""
        return "LIST" if "list-type" in self.query else self.method


@dataclass
class Traffic:
    """Traffic since the last `take`."""

    server: S3Server  # with the relay's address
    is_down: bool = False  # every connection is closed at its next request
    is_silent: bool = False  # no request gets a response
    translation: bytes | None = None  # of each byte of responses, as bytes.translate has it
    denies_absent: bool = False  # responses about what is not there are 403
    _requests: list[Request] = field(default_factory=list)
    _bytes_down: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> list[Request]:
        """Return the requests since the last call."""
        with self._lock:
            requests, self._requests, self._bytes_down = self._requests, [], 0
            return requests

    @property
    def bytes_down(self) -> int:
        """Bytes of responses, heads included, since the last `take`."""
        with self._lock:
            return self._bytes_down

    def note(self, request: Request) -> None:
        with self._lock:
            self._requests.append(request)

    def count_down(self, size: int) -> None:
        with self._lock:
            self._bytes_down += size


@contextmanager
def relay(server: S3Server) -> Iterator[Traffic]:
    """Run a relay to *server* on its own port."""
    with _Relay(server) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield listening.traffic
        finally:
            listening.shutdown()
            thread.join()


class _Relay(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, server: S3Server) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        parts = urlsplit(server.endpoint_url)
        self.upstream = parts.hostname, parts.port
        self.traffic = Traffic(
            replace(server, endpoint_url=f"http://127.0.0.1:{self.server_address[1]}")
        )


class _Connection(socketserver.BaseRequestHandler):
    server: _Relay

    def handle(self) -> None:
        client: socket.socket = self.request
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError), socket.create_connection(self.server.upstream) as upstream:
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answers = threading.Thread(target=self._answer, args=(upstream, client), daemon=True)
            answers.start()
            self._ask(client, upstream)
            upstream.shutdown(socket.SHUT_WR)
            answers.join()

    def _ask(self, client: socket.socket, upstream: socket.socket) -> None:
        requests = _Requests()
        while chunk := client.recv(_CHUNK):
            for request in requests.feed(chunk):
                self.server.traffic.note(request)
            if self.server.traffic.is_down:
                client.shutdown(socket.SHUT_RDWR)
            elif not self.server.traffic.is_silent:
                upstream.sendall(chunk)

    def _answer(self, upstream: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while chunk := upstream.recv(_CHUNK):
                self.server.traffic.count_down(len(chunk))
                if self.server.traffic.denies_absent:
                    chunk = chunk.replace(b"HTTP/1.1 404 ", b"HTTP/1.1 403 ")
                client.sendall(chunk.translate(self.server.traffic.translation))
            client.shutdown(socket.SHUT_WR)


class _Requests:
    """Requests in a stream of bytes, of which the bodies are left out."""

    def __init__(self) -> None:
        self._pending = b""
        self._body_left = 0

    def feed(self, chunk: bytes) -> Iterator[Request]:
        self._pending += chunk
        while True:
            skipped = min(self._body_left, len(self._pending))
            self._pending, self._body_left = self._pending[skipped:], self._body_left - skipped
            head, end, rest = self._pending.partition(b"\r\n\r\n")
            if self._body_left or not end:
                return
            request = _parse(head)
            self._pending = rest
            self._body_left = int(request.headers.get("content-length", 0))
            yield request


def _parse(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    parts = urlsplit(target)
    query = {
        name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()
    }
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    return Request(
        method, unquote(parts.path), query, {name.lower(): text for name, text in headers.items()}
    )
