"""HTTP server of the metrics: which clients are served, and for how long.

Invariants:

1. At most CLIENTS_MAX clients are connected. A further one takes the place of the oldest, so
   clients that wait or send slowly keep nobody out.
2. A client has TIMEOUT seconds, from its connection to its last byte. It sends one request, of
   which `request_head.HEAD_MAX` bytes are kept, and gets one response.
3. While no client is connected, nothing runs: no timer, no polling, and no metric is read.
4. Clients together take a small share of the event loop: a pause follows each connection, and the
   metrics are read once in MAX_AGE, and for a SHARE of the time at most.
5. No failure of a client, of a metric or of the socket ends the mount.
6. No page in a browser reads the metrics (`host_check`).
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from s3mount.accept_loop import serve_clients
from s3mount.exposition.listening_socket import MetricsSocket
from s3mount.exposition.request_head import HEAD_MAX, RequestError, RequestHead

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus' text format
CLIENTS_MAX: Final = 8
TIMEOUT: Final = 5.0  # seconds; half of Prometheus' default scrape_timeout
PAUSE: Final = 0.01  # seconds after each connection: a hundred a second at most
MAX_AGE: Final = 0.2  # seconds for which a text is sent to further clients; more if it took long
SHARE: Final = 0.1  # of the event loop's time, for reading metrics
_REMEDIES: Final = {"421": "name this server by its address, or as localhost"}
DRAINED_MAX: Final = 64 * 1024  # bytes read over after the response, so that the client gets it


class MetricsServer:
    """Server of *render*'s text, in CONTENT_TYPE, to the clients of *listening*.

    State: *_clients*, the oldest first; the last *_text*, sent until *_expires_at* in trio's clock.
    """

    def __init__(self, listening: MetricsSocket, render: Callable[[], bytes]) -> None:
        self._listening = listening
        self._render = render
        self._clients: dict[trio.CancelScope, None] = {}
        self._text = b""
        self._expires_at = float("-inf")

    async def run(self) -> None:
        """Serve until cancelled."""
        pause = partial(trio.sleep, PAUSE)
        await serve_clients("the metrics", self._listening.socket, self._serve, pause)

    async def _serve(self, client: trio.socket.SocketType) -> None:
        if len(self._clients) >= CLIENTS_MAX:
            oldest = next(iter(self._clients))
            del self._clients[oldest]
            oldest.cancel()
        with trio.move_on_after(TIMEOUT) as scope:
            self._clients[scope] = None
            try:
                await self._exchange(client)
            finally:
                self._clients.pop(scope, None)

    async def _exchange(self, client: trio.socket.SocketType) -> None:
        head = RequestHead()
        try:
            while not head.feed(piece := await client.recv(HEAD_MAX)):
                if not piece:
                    return
            response = self._response(is_head=head.check(self._listening.is_host_allowed))
        except RequestError as exc:
            response = _refusal(str(exc))
        stream = trio.SocketStream(client)
        await stream.send_all(response)
        await stream.send_eof()
        await _drain(client)

    def _response(self, *, is_head: bool) -> bytes:
        began = trio.current_time()
        if began >= self._expires_at:
            self._text = self._render()
            duration = trio.current_time() - began
            self._expires_at = began + max(MAX_AGE, duration / SHARE)
        header = _header("200 OK", CONTENT_TYPE, len(self._text))
        return header if is_head else header + self._text


async def _drain(client: trio.socket.SocketType) -> None:
    """Read over what the client still sends: closing at once would take the response from it."""
    left = DRAINED_MAX
    while left > 0 and (piece := await client.recv(HEAD_MAX)):
        left -= len(piece)


def _refusal(status: str) -> bytes:
    remedy = _REMEDIES.get(status[:3], "this serves GET /metrics only")
    text = f"{status}: {remedy}\n".encode()
    return _header(status, "text/plain; charset=utf-8", len(text)) + text


def _header(status: str, content_type: str, length: int) -> bytes:
    allowed = "Allow: GET, HEAD\r\n" if status.startswith("405") else ""
    return (
        f"HTTP/1.1 {status}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {length}\r\n"
        "Cache-Control: no-store\r\n"
        f"{allowed}"
        "Connection: close\r\n\r\n"
    ).encode()
