"""The control socket is sent arbitrary bytes, in arbitrary pieces."""

import json
from collections.abc import Sequence

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from s3mount.control.commands import Commands, Send
from s3mount.control.connection import Connection
from s3mount.control.pacer import Pacer
from s3mount.control.protocol import (
    CODES,
    COMMANDS,
    LINE_MAX,
    Arguments,
    Greeting,
    LineSplitter,
    Object,
    ProtocolError,
    encode,
    names_in,
    parse_request,
)
from tests.property.running import run

GREETING = Greeting(s3mount="1", pid=1, connection=52, source="s3://b", mountpoint="/m", since=1.0)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
arguments = st.dictionaries(
    st.sampled_from(["path", "level", "errors", "key", "paths", "jobs", "other"]), json_values
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "protocol": st.sampled_from([1, 2, None, "1"]),
        "command": st.sampled_from([*COMMANDS, "unmount", ""]) | json_values,
        "arguments": arguments | json_values,
        "more": json_values,
    },
)
lines = st.one_of(
    st.binary(max_size=40),
    requests.map(lambda found: json.dumps(found).encode()),
    requests.map(lambda found: json.dumps(found).encode()[:-1]),
).map(lambda line: line.replace(b"\n", b""))


@st.composite
def pieces_of(draw: st.DrawFn, octets: bytes) -> list[bytes]:
    """Cut *octets* anywhere."""
    cuts = sorted(draw(st.sets(st.integers(0, len(octets)), max_size=8)))
    return [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]


async def answer(_arguments: Arguments, send: Send) -> Object:
    await send([{}])
    return {}


@given(data=st.data(), sent=st.lists(lines, max_size=6))
def test_lines_do_not_depend_on_how_they_are_cut(data: st.DataObject, sent: list[bytes]) -> None:
    splitter, found = LineSplitter(), []

    for piece in data.draw(pieces_of(b"".join(line + b"\n" for line in sent))):
        splitter.feed(piece)
        while (line := splitter.next_line()) is not None:
            found.append(line)

    assert sent == found


@given(line=lines)
def test_a_line_is_a_request_of_the_table_or_a_refusal_in_one_line(line: bytes) -> None:
    try:
        request = parse_request(line)
    except ProtocolError as exc:
        refusal = exc.code, str(exc)
    else:
        assert request.arguments.keys() == COMMANDS[request.command].arguments.keys()
        return

    assert refusal[0] in CODES
    assert refusal[1].isprintable()


@given(name=st.lists(st.binary(min_size=1, max_size=8), max_size=4).map(b"/".join))
def test_every_name_of_a_file_survives_the_protocol(name: bytes) -> None:
    path = name.decode("utf-8", "surrogateescape")
    line = encode({"command": "refresh", "arguments": {"path": path}}).rstrip(b"\n")
    is_path = not name.startswith(b"/") and b"\0" not in name
    is_path = is_path and not {b".", b".."} & set(name.split(b"/"))

    try:
        names = names_in(parse_request(line).arguments["path"])
    except ProtocolError:
        assert not is_path
    else:
        assert is_path
        assert names == tuple(each for each in name.split(b"/") if each)


@given(data=st.data(), sent=st.lists(lines, max_size=6), rest=st.binary(max_size=10))
def test_each_line_has_one_reply_whatever_it_is(
    data: st.DataObject, sent: list[bytes], rest: bytes
) -> None:
    octets = b"".join(line + b"\n" for line in sent) + rest.replace(b"\n", b"")

    replies = run(lambda: _replies(data.draw(pieces_of(octets)), len(sent)))

    assert all(("result" in reply) != ("error" in reply) for reply in replies)
    assert len(replies) == len(sent)


@given(size=st.integers(LINE_MAX + 2, 3 * LINE_MAX), piece=st.integers(5000, LINE_MAX))
def test_a_line_without_end_is_refused_and_no_more_is_taken(size: int, piece: int) -> None:
    octets = b"x" * size

    replies = run(lambda: _replies([octets[at : at + piece] for at in range(0, size, piece)], 1))

    assert [reply["error"]["code"] for reply in replies] == ["bad-request"]


async def _replies(pieces: Sequence[bytes], expected: int) -> list[dict[str, dict[str, str]]]:
    """Send *pieces* to a connection; return the last lines of its replies."""
    ours, theirs = memory_stream_pair()
    commands: Commands = dict.fromkeys(COMMANDS, answer)
    splitter, found = LineSplitter(limit=None), list[dict[str, dict[str, str]]]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            Connection(theirs, commands, Pacer(), may_stream=lambda: True).serve, GREETING
        )
        nursery.start_soon(_send, ours, pieces)
        while len(found) < expected:
            splitter.feed(await ours.receive_some())
            while (line := splitter.next_line()) is not None:
                reply = json.loads(line)
                if "item" not in reply and "protocol" not in reply:
                    found.append(reply)
        nursery.cancel_scope.cancel()
    return found


async def _send(stream: trio.abc.SendStream, pieces: Sequence[bytes]) -> None:
    try:
        for piece in pieces:
            await stream.send_all(piece)
    except trio.BrokenResourceError:
        pass  # it was dropped
