"""The server of the metrics: responses, slow clients, and what it costs while nobody asks."""

from functools import partial

import pytest
import trio
import trio.lowlevel
import trio.testing

from s3mount.exposition.server import CLIENTS_MAX, MAX_AGE, SHARE
from tests.property.test_metrics_clients import REQUEST, TEXT, Served, serving


async def _response(client: trio.SocketStream) -> bytes:
    return b"".join([piece async for piece in client])


async def test_a_get_returns_the_text_and_a_head_its_header() -> None:
    async with serving() as served:
        header, _, body = (await served.get()).partition(b"\r\n\r\n")
        head = await served.get(REQUEST.replace(b"GET", b"HEAD"))

    assert body == TEXT
    assert head == header + b"\r\n\r\n"
    assert b"\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in head
    assert f"\r\nContent-Length: {len(TEXT)}\r\n".encode() in head


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"POST /metrics HTTP/1.1", b"405 "), (b"GET / HTTP/1.1", b"404 "), (b"EHLO", b"400 ")],
)
async def test_other_requests_are_refused_and_read_no_metric(line: bytes, status: bytes) -> None:
    async with serving() as served:
        response = await served.get(line + b"\r\n\r\n")

    assert response.startswith(b"HTTP/1.1 " + status)
    assert (b"Allow: GET, HEAD" in response) == (status == b"405 ")
    assert served.rendered == 0


async def test_a_page_in_a_browser_reads_nothing_by_a_name_of_its_own() -> None:
    async with serving() as served:
        port = served.address[1]
        response = await served.get(REQUEST.replace(b"localhost", b"evil.example:%d" % port))

    assert response.startswith(b"HTTP/1.1 421 ")
    assert b"by its address" in response
    assert served.rendered == 0


async def test_a_response_reaches_a_client_that_has_sent_too_much() -> None:
    async with serving() as served:
        response = await served.get(b"GET /metrics HTTP/1.1\r\n" + b"a: b\r\n" * 5000)

    assert response.startswith(b"HTTP/1.1 431 ")


async def test_metrics_are_read_once_for_many_clients_and_never_while_nobody_asks() -> None:
    async with serving() as served:
        await trio.testing.wait_all_tasks_blocked()
        before = served.rendered
        began = trio.current_time()
        for _ in range(10):
            await served.get()
        periods = (trio.current_time() - began) / MAX_AGE

    assert before == 0
    assert served.rendered <= periods + 1


async def test_metrics_that_take_long_to_read_are_read_more_rarely(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with serving() as served:

        def render() -> bytes:
            mock_clock.jump(1.0)
            return served._render()

        served.server._render = render
        began = trio.current_time()
        while trio.current_time() < began + 2 / SHARE:
            served.server._response(is_head=False)
            mock_clock.jump(0.5)

    assert served.rendered == 2


async def test_a_silent_client_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3mount.exposition.server.TIMEOUT", 0.05)
    async with serving() as served, await served.connect() as client:
        assert await _response(client) == b""


async def test_a_client_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3mount.exposition.server.TIMEOUT", 0.05)
    async with serving() as served:
        served.server._render = lambda: b"x" * (64 << 20)
        async with await served.connect() as client:
            await client.send_all(REQUEST)
            while not served.server._clients:
                await trio.lowlevel.checkpoint()
            while served.server._clients:
                await trio.lowlevel.checkpoint()


async def test_a_further_client_replaces_the_oldest() -> None:
    async with serving() as served:
        waiting = [await served.connect() for _ in range(CLIENTS_MAX)]
        while len(served.server._clients) < CLIENTS_MAX:
            await trio.lowlevel.checkpoint()

        assert (await served.get()).endswith(TEXT)
        assert await _response(waiting[0]) == b""
        await waiting[1].send_all(REQUEST)
        assert (await _response(waiting[1])).endswith(TEXT)
        for client in waiting:
            await client.aclose()


async def test_a_failure_to_read_the_metrics_ends_one_client_only(
    expected_warnings: list[str],
) -> None:
    expected_warnings.append("a client of the metrics failed: this is a bug")
    async with serving() as served:
        served.server._render = partial(_fail_once, served)
        assert await served.get() == b""
        assert (await served.get()).endswith(TEXT)


def _fail_once(served: Served) -> bytes:
    served.server._render = lambda: TEXT
    raise ZeroDivisionError
