"""Lines and requests of the control socket."""

import json

import pytest

from s3mount.control.protocol import (
    LINE_MAX,
    PATH_MAX,
    LineSplitter,
    LineTooLongError,
    ProtocolError,
    Request,
    encode,
    names_in,
    parse_request,
)


def refusal(line: bytes) -> tuple[str, str]:
    with pytest.raises(ProtocolError) as caught:
        parse_request(line)
    return caught.value.code, str(caught.value)


def test_arguments_that_are_left_out_have_their_defaults() -> None:
    assert parse_request(b'{"command":"trace"}') == Request("trace", {"errors": False, "key": None})


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", "bad-request"),
        (b"GET / HTTP/1.1", "bad-request"),
        (b"\xff", "bad-request"),
        (b"[]", "bad-request"),
        (b"[" * LINE_MAX, "bad-request"),
        (b"9" * LINE_MAX, "bad-request"),
        (b'{"command":"status","x":NaN}', "bad-request"),
        (b'{"command":1}', "bad-request"),
        (b'{"command":"status","arguments":[]}', "bad-request"),
        (b'{"command":"status","more":1}', "bad-request"),
        (b'{"command":"status","arguments":{"x":1}}', "bad-request"),
        (b'{"command":"refresh","arguments":{"path":1}}', "bad-request"),
        (b'{"command":"refresh","arguments":{"path":null}}', "bad-request"),
        (b'{"command":"log-level"}', "bad-request"),
        (b'{"command":"trace","arguments":{"errors":1}}', "bad-request"),
        (b'{"command":"warm","arguments":{"paths":["a",1]}}', "bad-request"),
        (b'{"command":"warm","arguments":{"paths":["a"],"jobs":true}}', "bad-request"),
        (b'{"command":"unmount"}', "unknown-command"),
        (b'{"protocol":2,"command":"status"}', "unknown-version"),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(line: bytes, code: str) -> None:
    found, message = refusal(line)

    assert code == found
    assert message.isprintable()
    assert len(message) < 200


def test_what_a_client_sent_is_escaped_and_cut_in_a_message() -> None:
    name = "\x1b[2J\u202e\udcff" + "x" * 1000

    _, message = refusal(json.dumps({"command": name}).encode())

    assert message.isascii()
    assert message.isprintable()
    assert len(message) < 200


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("", ()),
        ("a", (b"a",)),
        ("a//b/", (b"a", b"b")),
        ("caf\u00e9", (b"caf\xc3\xa9",)),
        ("\udcff\udc80", (b"\xff\x80",)),
    ],
)
def test_a_path_is_bytes(path: str, names: tuple[bytes, ...]) -> None:
    line = encode({"command": "refresh", "arguments": {"path": path}})

    assert names == names_in(parse_request(line.rstrip(b"\n")).arguments["path"])


@pytest.mark.parametrize("path", ["/etc", "a/../b", "./a", "a\0b", "\ud800", "x" * PATH_MAX + "y"])
def test_what_is_no_path_below_the_mount_is_refused(path: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        names_in(path)

    assert caught.value.code == "bad-request"


def test_a_line_without_end_is_refused_before_it_costs_memory() -> None:
    lines = LineSplitter()
    lines.feed(b"x" * LINE_MAX)
    lines.feed(b"\n")

    assert lines.next_line() == b"x" * LINE_MAX
    lines.feed(b"x" * (LINE_MAX + 1))
    with pytest.raises(LineTooLongError):
        lines.feed(b"x")


def test_a_message_that_is_no_json_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode({"seconds": float("nan")})
