"""What the boto3 side believes of a store that misbehaves."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from s3mount.config import StoreConfig
from s3mount.errors import S3MountError, StaleVersion, StoreError
from s3mount.s3.boto.transport import BotoTransport
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.resolve import Session, open_session, resolved_store
from s3mount.s3.model import ByteRange, ListQuery, NotModified, ObjectVersion
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.transport import Retryable
from tests.unit.s3.native.scripted import FixedCredentials, Line, Peer, drips, scripted
from tests.unit.s3.strange import answering, error, http, listing, silent, stalling

MODIFIED = "Wed, 12 Oct 2022 17:50:00 GMT"
VERSION = ObjectVersion("photos", "key", "etag", 10)
ENTRY = "<Contents><Key>a</Key><LastModified>2022-10-12T17:50:00.000Z</LastModified><ETag>e</ETag><Size>1</Size></Contents>"
WHOLE = "<IsTruncated>false</IsTruncated>"


@pytest.fixture(scope="module")
def session() -> Session:
    return open_session(StoreConfig(bucket="photos"))


Connect = Callable[[str], BotoTransport]


@pytest.fixture
def connect(session: Session) -> Connect:
    def make(url: str) -> BotoTransport:
        config = StoreConfig(bucket="photos", endpoint_url=url)
        keys = FrozenCredentials("AKID", "secret")
        store = resolved_store(
            config, session, region="us-east-1", credentials=FixedCredentials(keys)
        )
        return BotoTransport(config, store, session)

    return make


def soon() -> float:
    return time.monotonic() + 5


def part(body: bytes, content_range: str, status: int = 206, **headers: str) -> bytes:
    said = {"etag": '"etag"', "last_modified": MODIFIED, "content_range": content_range}
    return http(status, body, **(said | headers))


@pytest.mark.parametrize(
    "answer",
    [
        error(200, "InternalError"),
        http(200, b"<html><body>hello</body></html>", content_type="text/html"),
        http(200, b"not xml <"),
        http(200, b""),
        listing(ENTRY),
        listing("<IsTruncated>true</IsTruncated>" + ENTRY),
        listing(WHOLE + ENTRY.replace("<Size>1</Size>", "")),
        listing(WHOLE + ENTRY.replace("<Size>1</Size>", "<Size>-1</Size>")),
        listing(WHOLE + ENTRY.replace("<Size>1</Size>", "<Size>many</Size>")),
        listing(WHOLE + ENTRY.replace("2022-10", "2022-99")),
        listing(WHOLE + ENTRY.replace("<Key>a</Key>", "")),
        listing(WHOLE + ENTRY.replace("<Key>a</Key>", "<Key>a/b</Key>")),
        listing(WHOLE + "<CommonPrefixes><Prefix>no-slash</Prefix></CommonPrefixes>"),
        listing(WHOLE + ENTRY)[:-20],
        listing(WHOLE + ENTRY).replace(b"\r\n\r\n", b"\r\nno-colon\r\n\r\n", 1)[:60],
    ],
)
def test_what_is_no_listing_is_never_an_empty_one(answer: bytes, connect: Connect) -> None:
    with answering(answer) as url, pytest.raises(Retryable):
        connect(url).list_page(ListQuery(""), deadline=soon())


GOOD = part(b"0123", "bytes 2-5/10")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (GOOD, b"0123"),
        (part(b"0123", "bytes 2-5/10", status=200), b"0123"),
        (part(b"0123", "bytes 2-5/10", content_length=""), b"0123"),
        (part(b"0123", "bytes 2-5/10", etag="etag", content_encoding="gzip"), b"0123"),
        (part(b"ab0123cdef", "", status=200), b"0123"),
    ],
)
def test_these_bytes_are_the_right_ones(answer: bytes, expected: bytes, connect: Connect) -> None:
    into = bytearray(4)

    with answering(answer) as url:
        connect(url).get_range(
            VERSION, ByteRange(2, 6), lambda: memoryview(into), version_id=None, deadline=soon()
        )

    assert into == expected


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (part(b"0123", "bytes 2-5/10", etag='"other"'), StaleVersion),
        (part(b"0123", "bytes 2-5/11"), StaleVersion),
        (part(b"ab0123cdefg", "", status=200), StaleVersion),
        (part(b"0123", "bytes 2-5/10", etag=""), Retryable),
        (part(b"0123", "bytes 3-6/10"), Retryable),
        (part(b"012", "bytes 2-5/10"), Retryable),
        (part(b"0123", ""), Retryable),
        (GOOD[:-2], Retryable),
        (GOOD[:60], Retryable),
        (part(b"ab0", "", status=200, content_length="10"), Retryable),
        (error(412, "PreconditionFailed"), StaleVersion),
        (error(416, "InvalidRange"), StaleVersion),
        (error(404, "NoSuchKey"), StaleVersion),
        (error(500, "InternalError"), Retryable),
        (b"", Retryable),
    ],
)
def test_these_bytes_are_not_believed(
    answer: bytes, kind: type[Exception], connect: Connect
) -> None:
    with answering(answer) as url, pytest.raises(kind):
        connect(url).get_range(
            VERSION,
            ByteRange(2, 6),
            lambda: memoryview(bytearray(4)),
            version_id=None,
            deadline=soon(),
        )


def test_a_store_that_does_not_know_if_none_match_says_unchanged_by_its_etag(
    connect: Connect,
) -> None:
    with answering(part(b"0123", "bytes 0-3/10")) as url:
        assert connect(url).revalidate(VERSION, 4, deadline=soon()) == NotModified()


def test_a_304_to_a_plain_question_is_not_believed(connect: Connect) -> None:
    stand_in = ObjectVersion("photos", "key", "s3mount-stand-in-0-10", 10)

    with answering(http(304, b"")) as url, pytest.raises((Retryable, S3MountError)):
        connect(url).revalidate(stand_in, 4, deadline=soon())


@pytest.mark.parametrize(
    "ask",
    [
        lambda t, until: t.head("key", deadline=until),
        lambda t, until: t.list_page(ListQuery(""), deadline=until),
        lambda t, until: t.revalidate(VERSION, 4, deadline=until),
        lambda t, until: t.get_range(
            VERSION,
            ByteRange(2, 6),
            lambda: memoryview(bytearray(4)),
            version_id=None,
            deadline=until,
        ),
    ],
)
def test_no_attempt_outlasts_its_deadline(
    ask: Callable[[BotoTransport, float], Any], connect: Connect
) -> None:
    with silent() as url:
        transport = connect(url)
        until = time.monotonic() + 0.2
        with pytest.raises(Retryable) as caught:
            ask(transport, until)

    assert caught.value.is_throttle
    assert time.monotonic() < until + 1


def test_a_read_that_waits_for_its_answer_is_cut_at_once(connect: Connect) -> None:
    with silent() as url:
        assert_is_cut_at_once(connect(url))


def test_a_read_is_cut_in_its_body(connect: Connect) -> None:
    begun = part(b"0123", "bytes 0-9/10", content_length="10", connection="keep-alive")
    with stalling(begun) as url:
        assert_is_cut_at_once(connect(url))


def test_a_read_that_was_cut_before_it_began_sends_nothing_more(connect: Connect) -> None:
    cord = CancelToken()
    cord.pull()
    with silent() as url, pytest.raises(RequestCancelledError):
        connect(url).get_range(
            VERSION,
            ByteRange(0, 10),
            lambda: memoryview(bytearray(10)),
            version_id=None,
            deadline=time.monotonic() + 30,
            cord=cord,
        )


def test_a_read_is_cut_while_it_waits_for_credentials(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(
        _: FixedCredentials, deadline: float, cord: CancelToken | None = None
    ) -> FrozenCredentials:
        is_cut = threading.Event()
        (cord or CancelToken()).tie(is_cut.set)
        if not is_cut.wait(min(20, deadline - time.monotonic())):
            raise Retryable(StoreError("no credentials"))
        raise RequestCancelledError

    with silent() as url:
        transport = connect(url)
        monkeypatch.setattr(FixedCredentials, "frozen", wait)
        assert_is_cut_at_once(transport)


def assert_is_cut_at_once(transport: BotoTransport) -> None:
    cord, into, begun = CancelToken(), memoryview(bytearray(10)), time.monotonic()
    threading.Timer(0.2, cord.pull).start()

    with pytest.raises((Retryable, RequestCancelledError)):
        transport.get_range(
            VERSION,
            ByteRange(0, 10),
            lambda: into,
            version_id=None,
            deadline=time.monotonic() + 30,
            cord=cord,
        )

    assert time.monotonic() - begun < 10
    transport.close()


def test_an_answer_that_cannot_be_read_costs_its_connection_at_once(connect: Connect) -> None:
    is_closed = threading.Event()
    answer = part(b"0123", "bytes 2-5/10", last_modified="yesterday", connection="keep-alive")

    def says_and_waits_for_the_end(peer: Peer) -> None:
        peer.socket.sendall(answer[:-2])
        if not peer.socket.recv(1):
            is_closed.set()
        raise StopIteration

    with scripted(says_and_waits_for_the_end) as server:
        transport = connect(f"http://127.0.0.1:{server.port}")
        into = memoryview(bytearray(4))
        with pytest.raises(
            Retryable
        ) as caught:  # which is kept, and with it all that its traceback refers to
            transport.get_range(
                VERSION, ByteRange(2, 6), lambda: into, version_id=None, deadline=soon()
            )
        assert is_closed.wait(5)

    assert caught.value.__cause__ is not None


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\ntransfer-encoding: chunked\r\n"


def floods(piece: bytes) -> Line:
    """Sends *piece* for as long as anybody takes it."""

    def line(peer: Peer) -> None:
        while not peer.ended.is_set():
            peer.socket.sendall(piece * 1000)

    return line


def after(beginning: bytes, line: Line) -> Line:
    def both(peer: Peer) -> None:
        peer.socket.sendall(beginning)
        line(peer)

    return both


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
@pytest.mark.parametrize(
    ("beginning", "line"),
    [
        (b"", drips(b"0" * 10_000)),
        (b"5\r\nhello\r\n", drips(b"0" * 10_000)),
        (b"5\r\nhello", drips(b"\r" * 10_000)),
        (b"0\r\n", drips(b"a: b\r\n" * 10_000)),
        (b"0\r\n", floods(b"a: b\r\n")),
    ],
    ids=["size", "next size", "end of a chunk", "trailers", "trailers without end"],
)
def test_no_chunk_outlasts_the_deadline(
    beginning: bytes, line: Line, connection: bytes, connect: Connect
) -> None:
    head = CHUNKED + b"connection: " + connection + b"\r\n\r\n"
    with scripted(after(head + beginning, line)) as server:
        transport = connect(f"http://127.0.0.1:{server.port}")
        until = time.monotonic() + 0.5
        with pytest.raises(Retryable):
            transport.list_page(ListQuery(""), deadline=until)

        assert time.monotonic() < until + 2


@pytest.mark.parametrize("stamp", ["1e300", "inf", "9" * 400, "1" * 50 + ":" + "1" * 50])
def test_a_time_that_is_a_number_of_no_moment_is_no_bug(stamp: str, connect: Connect) -> None:
    answer = listing(WHOLE + ENTRY.replace("2022-10-12T17:50:00.000Z", stamp))

    with answering(answer) as url, pytest.raises(Retryable, match="it cannot be parsed"):
        connect(url).list_page(ListQuery(""), deadline=soon())


@pytest.mark.parametrize("status", [301, 404, 503])
@pytest.mark.parametrize(
    "inner",
    [
        "<Error></Error><RequestId></RequestId>",
        "<Code>TRUE</Code><Message></Message><Error>inf</Error>",
        "<Error><Code><IsTruncated></IsTruncated></Code></Error>",
        "<RequestId><Owner>x</Owner></RequestId>",
        "<Error><Code>NoSuchKey</Code><RequestId><Owner>x</Owner></RequestId></Error>",
    ],
)
def test_an_error_document_of_another_shape_is_no_bug(
    inner: str, status: int, connect: Connect
) -> None:
    for document in (f"<Foo>{inner}</Foo>", f"<Error>{inner}</Error>"):
        answer = http(status, document.encode(), content_type="application/xml")

        with answering(answer) as url, pytest.raises((Retryable, S3MountError)):
            connect(url).list_page(ListQuery(""), deadline=soon())


@pytest.mark.parametrize("status", [201, 204, 206, 299])
def test_a_success_of_another_kind_is_not_believed(status: int, connect: Connect) -> None:
    told = {"etag": '"etag"', "last_modified": MODIFIED, "content_range": "bytes 0-3/10"}

    with (
        answering(http(status, b"", **told, content_length="4")) as url,
        pytest.raises(Retryable, match=f"HTTP {status}"),
    ):
        connect(url).head("key", deadline=soon())
    with (
        answering(listing(WHOLE).replace(b" 200 ", b" %d " % status)) as url,
        pytest.raises(Retryable),
    ):
        connect(url).list_page(ListQuery(""), deadline=soon())
