"""The relay's reading of HTTP heads: kinds of requests, and where messages end."""

import pytest

from benchmarks.heads import (
    Chunked,
    Request,
    Response,
    Sized,
    UntilClose,
    kind_of,
    read_request,
    read_response,
)


@pytest.mark.parametrize(
    ("method", "target", "kind"),
    [
        ("GET", "/bucket/key", "GET"),
        ("GET", "/bucket/a/b?versionId=1", "GET"),
        ("HEAD", "/bucket/key", "HEAD"),
        ("HEAD", "/bucket", "HEAD"),
        ("GET", "/bucket?list-type=2&prefix=a%2F&delimiter=%2F", "LIST"),
        ("GET", "/bucket/?delimiter=%2F&max-keys=1000&prefix=", "LIST"),
        ("GET", "/bucket", "LIST"),
        ("GET", "/bucket/?location", "?location"),
        ("GET", "/", "BUCKETS"),
        ("PUT", "/bucket/key", "PUT"),
    ],
)
def test_a_request_is_counted_as_what_it_asks_of_s3(method: str, target: str, kind: str) -> None:
    assert kind == kind_of(method, target)


def test_a_request_without_a_length_has_no_body() -> None:
    request = read_request(b"GET /b/k HTTP/1.1\r\nHost: 127.0.0.1:9000\r\n\r\n")

    assert Request("GET", "GET", Sized(0)) == request


def test_names_of_fields_are_read_in_any_case() -> None:
    response = read_response(b"HTTP/1.1 206 Partial Content\r\nCONTENT-length: 7\r\n\r\n", "GET")

    assert Response(206, Sized(7), closes=False) == response


@pytest.mark.parametrize(
    ("status", "method"), [(200, "HEAD"), (304, "GET"), (204, "GET"), (100, "PUT")]
)
def test_some_answers_have_no_body_whatever_length_they_say(status: int, method: str) -> None:
    head = f"HTTP/1.1 {status} So\r\nContent-Length: 1000\r\n\r\n".encode()

    assert Sized(0) == read_response(head, method).body


def test_a_chunked_body_is_seen_as_one() -> None:
    assert (
        Chunked()
        == read_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET").body
    )


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    assert Response(200, UntilClose(), closes=True) == read_response(
        b"HTTP/1.1 200 OK\r\n\r\n", "GET"
    )


def test_an_answer_may_say_that_it_is_the_last() -> None:
    assert read_response(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n", "GET"
    ).closes


def test_what_is_no_http_is_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        read_request(b"hello\r\n\r\n")
