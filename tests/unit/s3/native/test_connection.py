"""Responses are right, or errors, however they are cut into segments."""

import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.native.connection import Connection, StaleConnectionError
from s3mount.s3.native.connection_pool import BUFFERS_TOTAL
from s3mount.s3.native.receive_buffer import BUFFER, SMALL_BODY, BufferBudget
from s3mount.s3.native.response_header import HEADER_LIMIT, parse_header
from s3mount.s3.native.tls_stream import CIPHERTEXT, ciphertext_size
from s3mount.s3.transport import InvalidResponseError, ReceiveState


class Replay:
    """`Stream` of recorded pieces, which then ends."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.sent: list[bytes] = []
        self.is_closed_to_reads = False  # a receive would wait
        self.filled = 0

    def set_deadline(self, deadline: float) -> None: ...

    def send(self, message: bytes) -> None:
        self.sent.append(message)

    def receive(self, into: memoryview) -> int:
        assert not self.is_closed_to_reads
        if not self._pieces:
            return 0
        piece = self._pieces.pop(0)
        count = min(len(piece), len(into))
        into[:count] = piece[:count]
        if piece[count:]:
            self._pieces.insert(0, piece[count:])
        return count

    def receive_nowait(self, into: memoryview) -> int | None:
        return self.receive(into)

    def fill(self, into: memoryview) -> None:
        self.filled = 0
        while self.filled < len(into):
            count = self.receive(into[self.filled :])
            if not count:
                raise ConnectionResetError
            self.filled += count

    def end_opening(self) -> None: ...

    def wait_readable(self, seconds: float) -> bool:  # noqa: ARG002 - the protocol's
        return True

    def fileno(self) -> int:
        return -1

    def is_idle(self) -> bool:
        return not self._pieces

    def shut_down(self) -> None: ...

    def close(self) -> None: ...


def cut(message: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(message) + 1) for place in places), len(message)]
    return [message[start:stop] for start, stop in pairwise(edges)]


def sized(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def closing(body: bytes) -> bytes:
    return b"HTTP/1.0 200 OK\r\n\r\n" + body


@st.composite
def chunked(draw: st.DrawFn, body: bytes) -> bytes:
    message = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for chunk in cut(body, draw(st.lists(st.integers(0, 200), max_size=5))):
        if chunk:
            extension = draw(st.sampled_from([b"", b";a=b", b" ; a", b';x="y"']))
            message += b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk)
    return message + draw(
        st.sampled_from([b"0\r\n\r\n", b"000;x\r\n\r\n", b"0\r\nChecksum: x\r\nB: c\r\n\r\n"])
    )


BODIES = st.binary(max_size=200)
PLACES = st.lists(st.integers(0, 400), max_size=8)
DELIMITED = BODIES.flatmap(
    lambda body: st.tuples(st.just(body), st.just(sized(body)) | chunked(body))
)
INFORMATIONAL = st.sampled_from(
    [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"]
)


@given(DELIMITED, PLACES, INFORMATIONAL)
def test_a_delimited_body_arrives_whole_and_leaves_the_connection_clean(
    case: tuple[bytes, bytes], places: list[int], informational: bytes
) -> None:
    body, message = case
    connection = Connection(Replay(cut(informational + message, places)))

    response = connection.exchange(b"", deadline=0)

    assert response.read_all(1000) == body
    assert response.allows_reuse
    assert response.is_at_end()
    assert connection.is_reusable()


@given(st.lists(DELIMITED, min_size=2, max_size=4), PLACES)
def test_responses_on_one_connection_do_not_run_into_each_other(
    cases: list[tuple[bytes, bytes]], places: list[int]
) -> None:
    connection = Connection(Replay(cut(b"".join(message for _, message in cases), places)))

    for body, _ in cases:
        response = connection.exchange(b"", deadline=0)
        into = bytearray(len(body))
        response.read_into(memoryview(into))

        assert into == body
        assert response.is_at_end()


@given(DELIMITED, PLACES, st.binary(min_size=1, max_size=20))
def test_bytes_after_a_response_cost_the_connection(
    case: tuple[bytes, bytes], places: list[int], stray: bytes
) -> None:
    body, message = case
    connection = Connection(Replay(cut(message + stray, places)))

    assert connection.exchange(b"", deadline=0).read_all(1000) == body
    assert not connection.is_reusable()


@given(DELIMITED, PLACES, st.integers(1, 400))
def test_a_delimited_body_that_is_cut_is_an_error(
    case: tuple[bytes, bytes], places: list[int], missing: int
) -> None:
    _, message = case
    connection = Connection(Replay(cut(message[:-missing], places)))

    with pytest.raises((ConnectionError, InvalidResponseError)):
        connection.exchange(b"", deadline=0).read_all(1000)


@given(BODIES, PLACES)
def test_a_close_delimited_body_costs_the_connection(body: bytes, places: list[int]) -> None:
    response = Connection(Replay(cut(closing(body), places))).exchange(b"", deadline=0)

    assert response.read_all(1000) == body
    assert not response.allows_reuse


@given(DELIMITED, PLACES)
def test_reading_past_the_end_of_a_body_is_an_error(
    case: tuple[bytes, bytes], places: list[int]
) -> None:
    body, message = case
    response = Connection(Replay(cut(message, places))).exchange(b"", deadline=0)

    with pytest.raises(InvalidResponseError):
        response.read_into(memoryview(bytearray(len(body) + 1)))


@pytest.mark.parametrize(
    "body",
    [
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhelloworld\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"5 5\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
    ],
)
def test_malformed_chunks_are_invalid(body: bytes) -> None:
    message = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body

    with pytest.raises(InvalidResponseError):
        Connection(Replay([message])).exchange(b"", deadline=0).read_all(1000)


@pytest.mark.parametrize(
    "message",
    [
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n" + b" " * HEADER_LIMIT,
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 600 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n x\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity, gzip\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * HEADER_LIMIT,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
    ],
)
def test_a_malformed_header_is_invalid(message: bytes) -> None:
    with pytest.raises(InvalidResponseError):
        Connection(Replay([message])).exchange(b"", deadline=0)


@given(st.binary(max_size=60), PLACES)
def test_garbage_is_an_expected_error(garbage: bytes, places: list[int]) -> None:
    with pytest.raises((ConnectionError, InvalidResponseError)):
        Connection(Replay(cut(garbage, places))).exchange(b"", deadline=0)


def test_header_names_are_in_lower_case_and_repeated_ones_joined() -> None:
    head = parse_header(b"HTTP/1.1 206 \r\nETAG:\t x \r\nVia: a\r\nvia: b\r\nEmpty:\r\n")

    assert (head.status, head.headers) == (206, {"etag": "x", "via": "a, b", "empty": ""})


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nX: a\r\n b\r\n\t c\r\n",
        b"Content-Length: 5\r\nX:\r\n a b c\r\n",
        b"Content-Length:\r\n 5\r\n",
        b"Content-Length: 5\r\ncontent-length: 5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
    ],
)
def test_a_field_that_is_folded_or_repeated_or_of_http_1_0_is_understood(fields: bytes) -> None:
    message = b"HTTP/1.1 200 OK\r\n" + fields + b"\r\nhello"

    response = Connection(Replay([message])).exchange(b"", deadline=0)

    assert response.headers.get("x", "a b c") == "a b c"
    assert response.read_all(10) == b"hello"
    assert response.allows_reuse


def test_identity_before_chunks_means_nothing() -> None:
    message = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"

    assert Connection(Replay([message])).exchange(b"", deadline=0).read_all(10) == b"ok"


@pytest.mark.parametrize(
    ("head", "is_persistent"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive, Close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
    ],
)
def test_the_peer_decides_if_a_connection_is_kept(head: bytes, *, is_persistent: bool) -> None:
    assert parse_header(head).is_persistent == is_persistent


def test_an_end_before_the_response_on_an_idle_connection_is_a_stale_connection() -> None:
    connection = Connection(Replay([sized(b"hello")]))
    connection.exchange(b"", deadline=0).read_all(10)
    connection.was_idle = True

    with pytest.raises(StaleConnectionError):
        connection.exchange(b"", deadline=0)


def test_an_end_within_the_header_is_no_stale_connection() -> None:
    connection = Connection(Replay([sized(b"hello"), b"HTT"]))
    connection.exchange(b"", deadline=0).read_all(10)
    connection.was_idle = True

    with pytest.raises(ConnectionResetError) as caught:
        connection.exchange(b"", deadline=0)

    assert not isinstance(caught.value, StaleConnectionError)


def test_a_document_without_end_is_invalid() -> None:
    response = Connection(Replay([sized(b"x" * 3000)])).exchange(b"", deadline=0)

    with pytest.raises(InvalidResponseError):
        response.read_all(2999)


# what is received without waiting


def received(pieces: list[bytes], length: int) -> tuple[Replay, Connection, ReceiveState]:
    """Return a connection, and the state after which it receives no more of *pieces*."""
    stream = Replay(pieces)
    connection = Connection(stream)
    connection.send(b"GET", deadline=0)
    while (state := connection.receive_available(length)) is ReceiveState.PARTIAL:
        pass
    return stream, connection, state


@given(body=BODIES, places=PLACES, case=st.sampled_from([bytes.lower, bytes.upper, bytes.title]))
def test_a_response_with_a_length_is_received_whole_however_it_is_cut(
    body: bytes, places: list[int], case: Callable[[bytes], bytes]
) -> None:
    message = b"HTTP/1.1 206 Partial Content\r\n%b: %d\r\n\r\n%b" % (
        case(b"content-length"),
        len(body),
        body,
    )
    stream, connection, state = received(cut(message, places), len(body))
    stream.is_closed_to_reads = True

    response = connection.exchange(None, deadline=0)
    into = bytearray(len(body))
    response.read_into(memoryview(into))

    assert state is ReceiveState.COMPLETE
    assert bytes(into) == body
    assert response.is_at_end()
    assert connection.has_begun


@given(
    head=st.lists(
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\n",
                b"HTTP/1.1 206 Partial Content\r\n",
                b"HTTP/1.1 100 Continue\r\n\r\n",
                b"HTTP/1.1 503 Slow Down\r\n",
                b"Content-Length: 5\r\n",
                b"content-length:5 \r\n",
                b"Content-Length: 7\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"ETag: x\r\n",
                b"\r\n",
                b"\n",
                b"5\r\nhello\r\n0\r\n\r\n",
                b"\0",
            ]
        ),
        max_size=8,
    ),
    places=PLACES,
)
def test_a_response_that_is_complete_is_never_waited_for(
    head: list[bytes], places: list[int]
) -> None:
    stream, connection, state = received(cut(b"".join(head) + b"\r\nhello", places), 5)
    if state is not ReceiveState.COMPLETE:
        return
    stream.is_closed_to_reads = True

    with suppress(InvalidResponseError):
        response = connection.exchange(None, deadline=0)
        response.read_into(memoryview(bytearray(5)))
        assert response.is_at_end()


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"HTTP/1.1 206 Partial Content\r\nContent-Le",
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\nhell",
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 206 Partial Content\r\nETag: x\r\n\r\nhello",
        b"x" * 2 * HEADER_LIMIT,
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n%b\r\nhello" % (b"a:\r\n" * BUFFER),
    ],
)
def test_every_other_response_is_left_to_a_thread(message: bytes) -> None:
    assert received([message], 5)[2] is ReceiveState.FALLBACK


def test_a_long_header_is_not_read_by_the_event_loop() -> None:
    """With room for a body, it once parsed headers of 270 KB, for 0.4 s each."""
    stream = Responses(
        [cut(_sized_with_header(size, bytes(SMALL_BODY)), []) for size in (0, 2 * BUFFER)]
    )
    connection = Connection(stream)
    stream.turn()
    connection.send(b"GET", deadline=0)
    while connection.receive_available(SMALL_BODY) is ReceiveState.PARTIAL:
        pass
    connection.exchange(None, deadline=0).skip(SMALL_BODY)
    stream.turn()
    connection.send(b"GET", deadline=0)

    assert connection.receive_available(SMALL_BODY) is ReceiveState.FALLBACK


def test_the_header_limit_holds_if_the_buffer_is_larger() -> None:
    _, connection, state = received(
        [_sized_with_header(HEADER_LIMIT, bytes(SMALL_BODY))], SMALL_BODY
    )

    assert state is ReceiveState.FALLBACK
    with pytest.raises(InvalidResponseError, match="without end"):
        connection.exchange(None, deadline=0)


def test_a_header_of_one_name_repeated_costs_no_more_than_any_other() -> None:
    """Joined one by one, the values were copied with each: a quadratic cost."""
    head = b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 399_999 + b"a:x\r\n"

    begun = time.process_time()
    values = parse_header(head).headers["a"]

    assert len(values) == 2 * (400_000 - 1) + 1
    assert time.process_time() - begun < 10


def test_a_header_full_of_spaces_costs_no_more_than_any_other() -> None:
    """The search for folded lines began anew at each space: two seconds for one header."""
    head = b"HTTP/1.1 200 OK\r\na: " + b" " * 60_000 + b"x\0\r\n"

    begun = time.process_time()
    with pytest.raises(InvalidResponseError):
        parse_header(head)

    assert time.process_time() - begun < 0.5


# how much memory a connection has


def _sized_with_header(head: int, body: bytes) -> bytes:
    """Return a response with *body*, and a header of some *head* bytes."""
    return b"HTTP/1.1 206 Partial Content\r\nX: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        b"x" * head,
        len(body),
        body,
    )


@given(
    lengths=st.lists(st.sampled_from([0, 10, BUFFER, 70_000, SMALL_BODY]), max_size=5),
    head=st.sampled_from([0, 5000, BUFFER, HEADER_LIMIT - 1000]),
    size=st.sampled_from([0, 100_000, SMALL_BODY, 2 * SMALL_BODY]),
    places=PLACES,
)
def test_bodies_are_right_however_small_the_budget_is(
    lengths: list[int], head: int, size: int, places: list[int]
) -> None:
    budget = BufferBudget(size)
    bodies = [bytes([number + 1]) * length for number, length in enumerate(lengths)]
    stream = Responses([cut(_sized_with_header(head, body), places) for body in bodies])
    connection = Connection(stream, budget)

    for body in bodies:
        stream.turn()
        connection.send(b"GET", deadline=0)
        while connection.receive_available(len(body)) is ReceiveState.PARTIAL:
            pass
        response = connection.exchange(None, deadline=0)
        into = bytearray(len(body))
        response.read_into(memoryview(into))
        assert bytes(into) == body
        assert response.is_at_end()

    connection.close()
    connection.close()
    assert budget.reserve(size)
    assert not budget.reserve(1)


class Responses(Replay):
    """`Replay` of one response after another, each after `turn`."""

    def __init__(self, turns: list[list[bytes]]) -> None:
        super().__init__([])
        self._turns = iter(turns)

    def turn(self) -> None:
        self._pieces = [piece for piece in next(self._turns) if piece]


def test_a_large_header_leaves_no_large_buffer_behind() -> None:
    stream = Responses(
        [[_sized_with_header(HEADER_LIMIT - 1000, b"")], [_sized_with_header(0, b"")]]
    )
    connection = Connection(stream, BufferBudget(0))

    sizes = []
    for _ in range(2):
        stream.turn()
        connection.exchange(b"GET", deadline=0)
        sizes.append(len(connection._buffer._buffer))

    assert sizes == [HEADER_LIMIT, BUFFER]


def test_a_thousand_connections_take_a_bounded_amount_of_memory() -> None:
    budget = BufferBudget(BUFFERS_TOTAL)
    body = bytes(SMALL_BODY)
    message = _sized_with_header(0, body)

    tracemalloc.start()
    connections = []
    for _ in range(1024):
        connections.append(connection := Connection(Replay([message]), budget))
        connection.send(b"GET", deadline=0)
        connection.receive_available(len(body))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1024 * BUFFER + BUFFERS_TOTAL + 16 * 1024 * 1024
    for connection in connections:
        connection.close()
    assert budget.reserve(BUFFERS_TOTAL)


@pytest.mark.parametrize(
    ("connections", "expected"),
    [(1, CIPHERTEXT), (64, CIPHERTEXT), (128, 128 * 1024), (1024, 32 * 1024)],
)
def test_many_connections_receive_less_ciphertext_at_once(connections: int, expected: int) -> None:
    assert expected == ciphertext_size(connections)
