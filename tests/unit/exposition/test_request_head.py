"""Request heads of clients of the metrics."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.exposition.request_head import HEAD_MAX, RequestError, RequestHead


def _status(request: bytes, piece: int = 1 << 20) -> str:
    """Return "GET", "HEAD" or "incomplete", or the status of the refusal."""
    head = RequestHead()
    try:
        for start in range(0, len(request), piece):
            if head.feed(request[start : start + piece]):
                return "HEAD" if head.check(lambda host: host in ("", "a", "[::1]:80")) else "GET"
    except RequestError as exc:
        return str(exc)
    return "incomplete"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "GET"),
        (b"GET /metrics HTTP/1.0\r\n\r\n", "GET"),
        (b"GET /metrics HTTP/1.1\n\n", "GET"),
        (b"GET /metrics?x=1 HTTP/1.1\r\n\r\n", "GET"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", "HEAD"),
        (b"GET /metrics HTTP/1.1\r\nx: y\r\nHOST:\t [::1]:80 \r\nz: \r\n\r\n", "GET"),
        (b"GET /metrics HTTP/1.1\nhost: evil.example\n\n", "421 Misdirected Request"),
        (b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\nx-host: b\r\n\r\nHost: b\r\n\r\n", "GET"),
        (b"GET /metrics HTTP/1.1\r\n", "incomplete"),
        (b"", "incomplete"),
        (b"GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"GET /metrics/ HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"GET /../metrics HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"GET /metrics HTTP/2\r\n\r\n", "400 Bad Request"),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", "400 Bad Request"),
        (b"\r\n\r\n", "400 Bad Request"),
        (b"\x16\x03\x01\x02\x00\n\n", "400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\na: " + b"b" * HEAD_MAX, "431 Request Header Fields Too Large"),
    ],
)
def test_requests_are_served_or_refused(request_: bytes, status: str) -> None:
    assert _status(request_) == status
    assert _status(request_, piece=1) == status


@given(st.binary(max_size=64) | st.text("GET /metrics HTTP/1.\r\n").map(str.encode), st.integers(1))
def test_pieces_do_not_change_what_a_request_is(request_: bytes, piece: int) -> None:
    assert _status(request_, piece) == _status(request_)
