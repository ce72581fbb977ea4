"""Server of a fixed number of connections: it accepts more, and leaves them without a response.

So does a server whose threads all wait for their clients, and a proxy with a limit for each client.
When a connection that is served ends, the one that waits the longest is served. No real server does
it on demand, and shows how many requests it got meanwhile.
"""

import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from tests.unit.s3.scripted_server import Peer, part

Respond = Callable[[str], bytes]


def slice_of(content: bytes) -> Respond:
    """Respond to each GET of a range with that slice of *content*."""

    def respond(request: str) -> bytes:
        [line] = [line for line in request.lower().splitlines() if line.startswith("range:")]
        first, _, last = line.partition("bytes=")[2].partition("-")
        return part(content, int(first), int(last) + 1)

    return respond


class SaturatedServer:
    """Serves *served* connections with *respond*; `requests` are those that it has read.

    `connections` counts those that it has accepted. *closes*: each ends with its first response.
    With *context*, those that are not served get no handshake of TLS either. *has_queue*: it
    accepts more than it serves; else all but two of these get no answer from the kernel.
    """

    def __init__(
        self,
        served: int,
        respond: Respond,
        *,
        closes: bool = False,
        context: ssl.SSLContext | None = None,
        has_queue: bool = True,
    ) -> None:
        self.requests: list[str] = []
        self.connections = 0
        self._respond = respond
        self._closes = closes
        self._context = context
        self._lock = threading.Lock()
        self._free = served
        self._waiting: deque[socket.socket] = deque()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._acceptable = threading.Semaphore(10_000 if has_queue else served)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128 if has_queue else 0)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def serve_more(self, more: int) -> None:
        """Serve *more* connections than before."""
        with self._lock:
            self._free += more
        self._serve_waiting()

    def end_connections(self) -> None:
        """End all connections, as a server does that sees none of them used."""
        with self._lock:
            sockets = list(self._sockets)
        for sock in sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptable.release()
        self._acceptor.join()
        self._listener.close()
        self.end_connections()
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()

    def _accept(self) -> None:
        while self._acceptable.acquire():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._sockets.append(sock)
                self._waiting.append(sock)
            self._serve_waiting()

    def _serve_waiting(self) -> None:
        with self._lock:
            while self._free > 0 and self._waiting:
                self._free -= 1
                thread = threading.Thread(target=self._serve, args=(self._waiting.popleft(),))
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with suppress(OSError):
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
                with self._lock:
                    self._sockets.append(sock)
            peer = Peer(sock, threading.Event())
            while (request := peer.read_request()) is not None:
                self.requests.append(request)
                sock.sendall(self._respond(request))
                if self._closes:
                    break
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._free += 1
        self._acceptable.release()
        self._serve_waiting()


@contextmanager
def saturated(
    served: int,
    respond: Respond,
    *,
    closes: bool = False,
    context: ssl.SSLContext | None = None,
    has_queue: bool = True,
) -> Iterator[SaturatedServer]:
    """A server for the length of the block."""
    server = SaturatedServer(served, respond, closes=closes, context=context, has_queue=has_queue)
    try:
        yield server
    finally:
        server.end()
