"""Hostile clients of the metrics: whatever they send in whatever pieces, others are served."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.config import MetricsAddress
from s3mount.exposition.listening_socket import MetricsSocket
from s3mount.exposition.request_head import HEAD_MAX
from s3mount.exposition.server import CLIENTS_MAX, MetricsServer

REQUEST = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
TEXT = b"s3mount_reads_total 1.0\n" * 1000
PIECES = st.lists(
    st.sampled_from([b"GET ", b"/metrics", b" HTTP/1.1", b"\r\n", b"\n", b"a: b", b"\0", REQUEST])
    | st.binary(max_size=20)
    | st.just(b"x" * HEAD_MAX),
    max_size=8,
)
ENDS = st.sampled_from(["close", "reset", "half-close", "stay"])


class Served:
    """A server and its address; *rendered* counts how often the metrics were read."""

    def __init__(self, listening: MetricsSocket) -> None:
        self.address = listening.socket.getsockname()
        self.rendered = 0
        self.server = MetricsServer(listening, self._render)

    def _render(self) -> bytes:
        self.rendered += 1
        return TEXT

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(*self.address)

    async def get(self, request: bytes = REQUEST) -> bytes:
        async with await self.connect() as client:
            await client.send_all(request)
            return b"".join([piece async for piece in client])


@asynccontextmanager
async def serving() -> AsyncIterator[Served]:
    with closing(MetricsSocket(MetricsAddress("127.0.0.1", 0))) as listening:
        served = Served(listening)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(served.server.run)
            yield served
            nursery.cancel_scope.cancel()


async def _attack(served: Served, pieces: list[bytes], end: str) -> trio.SocketStream | None:
    client = await served.connect()
    try:
        for piece in pieces:
            await client.send_all(piece)
            await trio.lowlevel.checkpoint()
        if end == "half-close":
            await client.send_eof()
    except trio.BrokenResourceError:
        pass  # it was dropped
    if end in ("stay", "half-close"):
        return client
    if end == "reset":
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.socket.close()
    return None


@settings(max_examples=60)
@given(st.lists(st.tuples(PIECES, ENDS), max_size=CLIENTS_MAX * 2))
def test_a_scrape_succeeds_among_hostile_clients(attacks: list[tuple[list[bytes], str]]) -> None:
    async def run() -> None:
        async with serving() as served:
            staying = [await _attack(served, pieces, end) for pieces, end in attacks]

            response = await served.get()

            assert response.startswith(b"HTTP/1.1 200 OK\r\n")
            assert response.endswith(b"\r\n\r\n" + TEXT)
            assert len(served.server._clients) <= CLIENTS_MAX
            for client in filter(None, staying):
                await client.aclose()

    trio.run(run)
