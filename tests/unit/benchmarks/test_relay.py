"""The relay passes every byte, and counts, delays and paces as it was told."""

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.relay import Relay
from benchmarks.relayed_connection import Delay
from tests.waiting import wait_until

BODY = random.Random(1).randbytes(3 << 20)


class Origin(BaseHTTPRequestHandler):
    """Sends BODY whole, in chunks, or until the connection ends; records the requests."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, bytes]] = []  # noqa: RUF012  # of one test: the fixture empties it

    def do_GET(self) -> None:
        self.seen.append((self.headers["Host"], b""))
        {"chunked": self._chunked, "until-close": self._until_close}.get(
            self.path.rpartition("/")[2], self._sized
        )()

    def do_HEAD(self) -> None:
        self._sized()

    def do_PUT(self) -> None:
        self.seen.append(
            (self.headers["Host"], self.rfile.read(int(self.headers["Content-Length"])))
        )
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _sized(self) -> None:
        self.send_response(404 if self.path.endswith("missing") else 200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(BODY)

    def _chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        sizes = random.Random(2)
        at = 0
        while at < len(BODY):
            piece = BODY[at : at + sizes.randint(1, 200_000)]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            at += len(piece)
        self.wfile.write(b"0\r\n\r\n")

    def _until_close(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(BODY)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def origin() -> Iterator[str]:
    Origin.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def relay(origin: str) -> Iterator[Relay]:
    with Relay(origin) as running:
        yield running


@pytest.fixture
def client(relay: Relay) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=20)
    yield connection
    connection.close()


def ask(
    client: http.client.HTTPConnection, path: str, method: str = "GET", body: bytes | None = None
) -> tuple[int, bytes]:
    client.request(method, path, body)
    with client.getresponse() as response:
        return response.status, response.read()


def test_every_byte_of_many_answers_passes_over_one_connection(
    client: http.client.HTTPConnection, relay: Relay
) -> None:
    answers = [
        ask(client, f"/bucket/{kind}") for kind in ("sized", "chunked", "sized", "until-close")
    ]

    assert answers == [(200, BODY)] * 4
    assert relay.counts.connections == 1


def test_of_gets_alone_a_share_is_late() -> None:
    delay = Delay(0.5, late_share=1.0)

    assert 1.5 <= delay.seconds("GET") <= 2.5
    assert [delay.seconds("HEAD"), delay.seconds("LIST"), Delay(0.5).seconds("GET")] == [0.5] * 3


def test_the_host_that_a_client_signed_reaches_the_server(
    client: http.client.HTTPConnection, relay: Relay
) -> None:
    ask(client, "/bucket/key", "PUT", b"sent")

    assert [(f"127.0.0.1:{relay.port}", b"sent")] == Origin.seen


def test_requests_are_counted_by_kind_and_status(
    client: http.client.HTTPConnection, relay: Relay
) -> None:
    for method, path in (
        ("GET", "/b/k"),
        ("GET", "/b?list-type=2"),
        ("HEAD", "/b/k"),
        ("HEAD", "/b/missing"),
    ):
        ask(client, path, method)

    assert dict(relay.counts.requests) == {
        "GET 200": 1,
        "LIST 200": 1,
        "HEAD 200": 1,
        "HEAD 404": 1,
    }


def test_bytes_down_are_those_of_the_bodies(
    client: http.client.HTTPConnection, relay: Relay
) -> None:
    ask(client, "/b/k")
    ask(client, "/b/k", "HEAD")
    ask(client, "/b/k", "PUT", b"up, not down")

    wait_until(lambda: {"GET": len(BODY)} == relay.counts.down)


def test_bytes_of_listings_are_counted_apart(
    client: http.client.HTTPConnection, relay: Relay
) -> None:
    ask(client, "/b/k")
    ask(client, "/b?list-type=2")

    wait_until(lambda: {"GET": len(BODY), "LIST": len(BODY)} == relay.counts.down)


def test_the_counts_can_be_asked_for_at_the_control_port(
    client: http.client.HTTPConnection, relay: Relay
) -> None:
    ask(client, "/b/k")
    wait_until(lambda: bool(relay.counts.down))  # counted when they are sent

    with (
        socket.create_connection(("127.0.0.1", relay.control_port)) as control,
        control.makefile() as answer,
    ):
        assert {
            "requests": {"GET 200": 1},
            "down": {"GET": len(BODY)},
            "connections": 1,
        } == json.loads(answer.read())


def test_each_request_is_delayed(origin: str) -> None:
    with Relay(origin, delay=0.05) as relay:
        client = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=20)
        start = time.monotonic()
        for _ in range(4):
            ask(client, "/b/k", "HEAD")
        client.close()

    assert time.monotonic() - start >= 4 * 0.05


def test_a_connection_is_held_to_its_rate(origin: str) -> None:
    rate = 20e6
    with Relay(origin, rate=rate) as relay:
        client = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=20)
        start = time.monotonic()
        bodies = [ask(client, "/b/k")[1] for _ in range(2)]
        client.close()

    assert bodies == [BODY, BODY]
    assert (
        time.monotonic() - start >= 0.8 * 2 * len(BODY) / rate
    )  # the first and last steps are not waited for


def test_a_client_that_leaves_in_the_middle_does_no_harm(
    client: http.client.HTTPConnection, relay: Relay
) -> None:
    with socket.create_connection(("127.0.0.1", relay.port)) as leaver:
        leaver.sendall(b"GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n")
        leaver.recv(1000)

    assert ask(client, "/b/k") == (200, BODY)


def test_what_is_no_http_ends_its_own_connection_only(
    client: http.client.HTTPConnection, relay: Relay
) -> None:
    with socket.create_connection(("127.0.0.1", relay.port), timeout=20) as stranger:
        stranger.sendall(b"hello\r\n\r\n")
        assert stranger.recv(1000) == b""

    assert ask(client, "/b/k") == (200, BODY)


def test_a_server_that_is_away_looks_like_a_connection_that_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]

    with (
        Relay(f"http://127.0.0.1:{port}") as relay,
        socket.create_connection(("127.0.0.1", relay.port), timeout=20) as client,
    ):
        assert client.recv(1000) == b""
