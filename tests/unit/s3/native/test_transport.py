"""What the lean side makes of a store's answers, right and wrong, over real sockets."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.errors import AccessDenied, NotFound, S3MountError, StaleVersion, StoreError
from s3mount.s3.endpoint.credentials import ANONYMOUS, FrozenCredentials
from s3mount.s3.model import ByteRange, ListQuery, Modified, NotModified, ObjectStat, ObjectVersion
from s3mount.s3.native.connection import GATHER_LIMIT
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import ReceiveState, Retryable
from tests.unit.s3.native.scripted import (
    FixedCredentials,
    Line,
    ScriptedServer,
    drips,
    gather,
    head,
    part,
    refusal,
    says,
    says_and_ends,
    scripted,
    stalls_after,
    store_at,
)

CONTENT = bytes(range(256)) * 40  # 10,240 bytes
VERSION = ObjectVersion("bucket", "dir/key +", "abc", len(CONTENT))
MIDDLE = ByteRange(100, 5000)
MTIME = 1_795_350_707_000_000_000
WHOLE = head(Content_Length=len(CONTENT)) + CONTENT
LISTING = (
    b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;</NextContinuationToken>"
    b"<Contents><Key>k</Key><Size>1</Size><LastModified>2026-11-22T12:31:47Z</LastModified></Contents></ListBucketResult>"
)


@contextmanager
def asking(*script: Line, **changes: object) -> Iterator[tuple[NativeTransport, ScriptedServer]]:
    with scripted(*script) as server:
        transport = NativeTransport(store_at(server.port, **changes))
        try:
            yield transport, server
        finally:
            transport.close()


def soon(seconds: float = 10) -> float:
    return time.monotonic() + seconds


Read = Callable[..., bytes]


def read_waiting(
    transport: NativeTransport, span: ByteRange = MIDDLE, *, deadline: float | None = None
) -> bytes:
    into = bytearray(len(span))
    transport.get_range(
        VERSION, span, lambda: memoryview(into), version_id=None, deadline=deadline or soon()
    )
    return bytes(into)


def read_gathering(
    transport: NativeTransport, span: ByteRange = MIDDLE, *, deadline: float | None = None
) -> bytes:
    """`read_waiting`, sent without waiting over a connection that is made first where there is none."""
    into = bytearray(len(span))
    deadline = deadline or soon()
    begin = partial(
        transport.begin_range,
        VERSION,
        span,
        lambda: memoryview(into),
        version_id=None,
        deadline=deadline,
        cord=CancelToken(),
    )
    sent = begin()
    if sent is None:
        transport.prepare(deadline=deadline)
        sent = begin()
    if sent is None:
        return read_waiting(transport, span, deadline=deadline)
    gather(sent, deadline)
    sent.finish()
    return bytes(into)


@pytest.fixture(params=[read_waiting, read_gathering], ids=["waiting", "gathering"])
def read(request: pytest.FixtureRequest) -> Read:
    way: Read = request.param
    return way


def retryable(call: Callable[[], object]) -> Retryable:
    with pytest.raises(Retryable) as caught:
        call()
    return caught.value


def refused_with(kind: type[S3MountError], call: Callable[[], object]) -> S3MountError:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


# what is asked


def test_a_range_is_asked_of_one_version(read: Read) -> None:
    with asking(says(part(CONTENT, 100, 5000))) as (transport, server):
        read(transport)

        request = server.requests[0]
        assert request.startswith("GET /bucket/dir/key%20%2B HTTP/1.1\r\n")
        assert "\r\nRange: bytes=100-4999" in request
        assert '\r\nIf-Match: "abc"' in request
        assert "\r\nAccept-Encoding: identity" in request


def test_a_version_id_takes_the_place_of_the_condition() -> None:
    with asking(says(part(CONTENT, 0, 5, x_amz_version_id="v/1"))) as (transport, server):
        told = transport.get_range(
            VERSION,
            ByteRange(0, 5),
            lambda: memoryview(bytearray(5)),
            version_id="v/1",
            deadline=soon(),
        )

        assert told == "v/1"
        assert server.requests[0].startswith(
            "GET /bucket/dir/key%20%2B?versionId=v%2F1 HTTP/1.1\r\n"
        )
        assert "If-Match" not in server.requests[0]


def test_a_small_range_is_asked_without_waiting_once_there_is_a_connection() -> None:
    with asking(*[says(part(CONTENT, 100, 5000))] * 2) as (transport, server):
        begin = partial(
            transport.begin_range,
            VERSION,
            MIDDLE,
            lambda: memoryview(bytearray(4900)),
            version_id=None,
            cord=CancelToken(),
        )
        assert begin(deadline=soon()) is None
        transport.prepare(deadline=soon())
        sent = begin(deadline=soon())

        assert sent is not None
        assert gather(sent, soon()) is ReceiveState.WHOLE
        assert sent.has_begun
        sent.finish()
        assert server.requests[0].startswith("GET /bucket/dir/key%20%2B HTTP/1.1\r\n")
        assert (len(server.requests), server.connections) == (1, 1)


@pytest.mark.parametrize(
    ("span", "changes"),
    [
        (ByteRange(0, GATHER_LIMIT + 1), {}),
        (MIDDLE, {"credentials": FixedCredentials(ANONYMOUS, is_ready=False)}),
        (MIDDLE, {"credentials": FixedCredentials(FrozenCredentials("AKID", "secret", "\r\n"))}),
    ],
    ids=["large", "credentials-not-at-hand", "credentials-not-sendable"],
)
def test_what_has_to_wait_or_fails_is_not_sent_without_waiting(
    span: ByteRange, changes: dict[str, object]
) -> None:
    with asking(**changes) as (transport, server):
        transport.prepare(deadline=soon())
        into = memoryview(bytearray(1))

        begun = transport.begin_range(
            VERSION, span, lambda: into, version_id=None, deadline=soon(), cord=CancelToken()
        )
        assert begun is None
        assert not server.requests


def test_an_etag_with_a_line_break_reaches_no_request() -> None:
    version = ObjectVersion("bucket", "k", 'abc"\r\nx-evil: 1', 5)
    with asking(says(part(b"hello", 0, 5))) as (transport, server):
        with pytest.raises(StaleVersion):
            transport.get_range(
                version,
                ByteRange(0, 5),
                lambda: memoryview(bytearray(5)),
                version_id=None,
                deadline=soon(),
            )

        assert "evil" not in server.requests[0]


def test_requests_without_credentials_are_not_signed() -> None:
    with asking(says(head(Content_Length=5)), credentials=FixedCredentials(ANONYMOUS)) as (
        transport,
        server,
    ):
        transport.head("k", deadline=soon())

        assert "Authorization" not in server.requests[0]


def test_credentials_that_no_header_can_carry_are_refused() -> None:
    with asking(
        credentials=FixedCredentials(FrozenCredentials("AKID", "secret", "token\r\nx-evil: 1"))
    ) as (
        transport,
        server,
    ):
        refused_with(AccessDenied, lambda: transport.head("k", deadline=soon()))

        assert server.requests == []


# HEAD


def test_a_head_tells_what_is_known_of_an_object() -> None:
    archived = head(
        Content_Length=7,
        x_amz_storage_class="GLACIER",
        x_amz_version_id="v1",
        x_amz_restore='ongoing-request="true"',
    )
    with asking(says(archived)) as (transport, _):
        stat = transport.head("k", deadline=soon())

    assert stat == ObjectStat(
        ObjectVersion("bucket", "k", "abc", 7), MTIME, "GLACIER", "v1", is_archived=True
    )


@pytest.mark.parametrize(
    "answer",
    [
        head(),
        head("204 No Content"),
        head("206 Partial Content", Content_Length=7),
        head(Content_Length=7, Last_Modified=None),
        head(Content_Length=7, Last_Modified="yesterday"),
        head("304 Not Modified", version="1.1", Content_Length="x"),
        refusal("503 Slow Down"),
        refusal("500 Internal Server Error"),
    ],
)
def test_a_head_that_tells_too_little_may_be_asked_again(answer: bytes) -> None:
    with asking(says_and_ends(answer)) as (transport, _):
        retryable(lambda: transport.head("k", deadline=soon()))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("404 Not Found", NotFound),
        ("403 Forbidden", AccessDenied),
        ("301 Moved Permanently", StoreError),
        ("307 Temporary Redirect", StoreError),
    ],
)
def test_a_head_is_refused_by_its_status_and_redirects_are_not_followed(
    status: str, kind: type[S3MountError]
) -> None:
    answer = refusal(status, Location="http://127.0.0.1:1/elsewhere", x_amz_request_id="r1")
    with asking(says(answer), says(head(Content_Length=5))) as (transport, server):
        failure = refused_with(kind, lambda: transport.head("k", deadline=soon()))

        assert (failure.key, failure.status, failure.request_id) == ("k", int(status[:3]), "r1")
        assert transport.head("k", deadline=soon()).version.size == 5
        assert server.connections == 1


# bytes


@pytest.mark.parametrize(
    "answer",
    [
        part(CONTENT, 100, 5000),
        part(CONTENT, 100, 5000, ETag='W/"abc"'),
        part(CONTENT, 100, 5000, ETag="abc", Content_Encoding="gzip"),
        WHOLE,
        head("200 OK", Content_Range="bytes 100-4999/10240", Content_Length=4900)
        + CONTENT[100:5000],
        part(CONTENT, 100, 5000, Content_Length=None),
        head("206 P", version="1.0", Content_Range="bytes 100-4999/10240", Content_Length=4900)
        + CONTENT[100:5000],
        head("206 P", Content_Range="bytes 100-4999/10240", Transfer_Encoding="chunked")
        + b"a\r\n%b\r\n131a;x=y\r\n%b\r\n0\r\nChecksum: x\r\n\r\n"
        % (CONTENT[100:110], CONTENT[110:5000]),
        b"HTTP/1.1 100 Continue\r\n\r\n" + part(CONTENT, 100, 5000),
        part(CONTENT, 100, 5000) + b"stray",
    ],
)
def test_the_right_bytes_come_out_of_every_right_answer(answer: bytes, read: Read) -> None:
    with asking(says_and_ends(answer)) as (transport, _):
        assert read(transport) == CONTENT[100:5000]


@pytest.mark.parametrize(
    "answer",
    [
        part(CONTENT, 100, 5000)[:-1],
        part(CONTENT, 100, 5000)[:50],
        b"",
        part(CONTENT, 100, 5000, ETag=None),
        part(CONTENT, 100, 5000, Content_Range=None),
        part(CONTENT, 100, 5000, Content_Range="bytes 100-4999/*"),
        part(CONTENT, 100, 5000, Content_Range="bytes 101-5000/10240"),
        part(CONTENT, 100, 5000, Content_Range="bytes 100-5000/10240"),
        part(CONTENT, 100, 5000, Content_Range="items 100-4999/10240"),
        part(CONTENT, 101, 5001),
        part(CONTENT, 100, 4999),
        part(CONTENT, 100, 5001),
        part(CONTENT, 100, 5000, Content_Length=None) + b"x",
        part(CONTENT, 100, 5000, Content_Length=None)[:-1],
        part(CONTENT, 100, 5000, Transfer_Encoding="chunked"),
        head(Content_Length=len(CONTENT)) + CONTENT[:4000],
        head() + CONTENT,
        head("206 P", Content_Type="multipart/byteranges; boundary=x", Content_Length=5) + b"--x--",
        head("206 P", Content_Range="bytes 100-4999/10240", Transfer_Encoding="chunked")
        + b"1324\r\n%b\r\n1\r\nx\r\n0\r\n\r\n" % CONTENT[100:5000],
        head("206 P", Content_Range="bytes 100-4999/10240", Transfer_Encoding="chunked")
        + b"0\r\n\r\n",
        head("204 No Content"),
        head("304 Not Modified") + b"",
        b"<html>not HTTP at all</html>",
        refusal("500 Internal Server Error", "InternalError"),
        refusal("503 Service Unavailable", "SlowDown"),
        refusal("429 Too Many Requests"),
        refusal("502 Bad Gateway")[:-2] + b"Content-Length: 900\r\n\r\ncut",
        refusal("416 Range Not Satisfiable", "InvalidRange", Content_Range="bytes */10240"),
        refusal("400 Bad Request", "RequestTimeout"),
    ],
)
def test_a_wrong_answer_to_a_range_may_be_asked_again(answer: bytes, read: Read) -> None:
    with asking(says_and_ends(answer)) as (transport, _):
        if answer.startswith(b"HTTP/1.1 304"):
            refused_with(StoreError, lambda: read(transport))
        else:
            assert isinstance(retryable(lambda: read(transport)).failure, StoreError)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(part(CONTENT, 100, 101)) - 2), st.integers(32, 126))
def test_a_head_with_one_wrong_character_never_brings_wrong_bytes(
    place: int, character: int
) -> None:
    answer = bytearray(part(CONTENT, 100, 5000))
    if answer[place] in b"\r\n":
        place += 2
    answer[place] = character
    with asking(says_and_ends(bytes(answer))) as (transport, _):
        try:
            content = read_waiting(transport)
        except (Retryable, S3MountError):
            return
        assert content == CONTENT[100:5000]


@pytest.mark.parametrize(
    "answer",
    [
        part(CONTENT, 100, 5000, ETag='"other"'),
        part(CONTENT + b"x", 100, 5000),
        head(Content_Length=len(CONTENT), ETag='"other"') + CONTENT,
        head(Content_Length=5) + b"short",
        refusal("412 Precondition Failed", "PreconditionFailed"),
        refusal("404 Not Found", "NoSuchKey"),
        refusal("405 Method Not Allowed", "MethodNotAllowed"),
        refusal("416 Range Not Satisfiable", "InvalidRange", Content_Range="bytes */5"),
    ],
)
def test_another_version_is_never_read(answer: bytes, read: Read) -> None:
    with asking(says(answer)) as (transport, _):
        refused_with(StaleVersion, lambda: read(transport))


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDenied", "403 F"),
        ("InvalidObjectState", "403 F"),
        ("KMS.DisabledException", "400 B"),
    ],
)
def test_a_refusal_is_told_by_its_code(code: str, status: str, read: Read) -> None:
    with asking(says(refusal(status, code))) as (transport, _):
        assert refused_with(AccessDenied, lambda: read(transport)).code == code


def test_expired_credentials_may_be_renewed(read: Read) -> None:
    with asking(says(refusal("400 Bad Request", "ExpiredToken"))) as (transport, _):
        assert retryable(lambda: read(transport)).is_stale_credentials


def test_a_version_without_an_etag_is_known_by_its_time_and_size() -> None:
    with asking(
        says(head(Content_Length=len(CONTENT), ETag=None)),
        says(part(CONTENT, 0, 10, ETag=None)),
        says(part(CONTENT, 0, 10, ETag=None, Last_Modified="Sun, 22 Nov 2026 12:31:48 GMT")),
    ) as (transport, server):
        version = transport.head("k", deadline=soon()).version
        into = bytearray(10)
        transport.get_range(
            version, ByteRange(0, 10), lambda: memoryview(into), version_id=None, deadline=soon()
        )

        assert into == CONTENT[:10]
        assert "If-Match" not in server.requests[1]
        with pytest.raises(StaleVersion):
            transport.get_range(
                version,
                ByteRange(0, 10),
                lambda: memoryview(into),
                version_id=None,
                deadline=soon(),
            )


# connections


def test_one_connection_serves_one_request_after_another(read: Read) -> None:
    with asking(
        *[says(part(CONTENT, 100, 5000))] * 3, says(WHOLE), says(head(Content_Length=5))
    ) as (
        transport,
        server,
    ):
        for _ in range(4):
            read(transport)
        transport.head("k", deadline=soon())

        assert server.connections == 1


def test_a_connection_that_the_store_closed_between_requests_is_no_failure(read: Read) -> None:
    answer = part(CONTENT, 100, 5000)
    with asking(says_and_ends(answer), says_and_ends(answer), says(answer)) as (transport, server):
        for _ in range(3):
            assert read(transport) == CONTENT[100:5000]

        assert server.connections == 3


def test_a_connection_that_ends_with_the_next_request_is_replaced_once(read: Read) -> None:
    answer = part(CONTENT, 100, 5000)
    with asking(says(answer), says_and_ends(b""), says(answer)) as (transport, server):
        assert read(transport) == read(transport) == CONTENT[100:5000]
        assert server.connections == 2


def test_a_new_connection_that_ends_without_an_answer_is_a_failure() -> None:
    with asking(says(part(CONTENT, 100, 5000)), says_and_ends(b""), says_and_ends(b"")) as (
        transport,
        server,
    ):
        read_waiting(transport)

        retryable(lambda: read_waiting(transport))
        assert server.connections == 2


def test_a_prepared_connection_serves_the_first_request(read: Read) -> None:
    with asking(says(part(CONTENT, 100, 5000))) as (transport, server):
        transport.prepare(deadline=soon())

        assert read(transport) == CONTENT[100:5000]
        assert server.connections == 1


def test_a_prepared_connection_that_was_closed_meanwhile_is_no_failure(read: Read) -> None:
    with asking(says_and_ends(b""), says(part(CONTENT, 100, 5000))) as (transport, server):
        transport.prepare(deadline=soon())

        assert read(transport) == CONTENT[100:5000]
        assert server.connections == 2


def test_a_store_that_is_not_there_is_no_failure_before_it_is_asked() -> None:
    with scripted() as server:
        port = server.port

    NativeTransport(store_at(port)).prepare(deadline=soon())


def test_stray_bytes_on_an_idle_connection_never_answer_the_next_request(read: Read) -> None:
    lie = part(b"\0" * len(CONTENT), 100, 5000)
    with asking(says(part(CONTENT, 100, 5000), lie), says(part(CONTENT, 100, 5000))) as (
        transport,
        server,
    ):
        assert read(transport) == read(transport) == CONTENT[100:5000]
        assert server.connections == 2


def test_a_body_that_answers_a_head_costs_the_connection() -> None:
    with asking(says(head(Content_Length=5), b"hello"), says(head(Content_Length=6))) as (
        transport,
        server,
    ):
        assert [transport.head("k", deadline=soon()).version.size for _ in range(2)] == [5, 6]
        assert server.connections == 2


def test_a_store_that_is_not_there_may_be_asked_again(read: Read) -> None:
    with scripted() as server:
        port = server.port
    transport = NativeTransport(store_at(port))

    assert retryable(lambda: read(transport)).failure.key == VERSION.key


def test_a_name_without_an_address_may_be_asked_again(read: Read) -> None:
    transport = NativeTransport(store_at(1, host="nowhere.invalid"))

    retryable(lambda: read(transport, deadline=soon(3)))


# time


@pytest.mark.parametrize(
    "line",
    [
        stalls_after(b""),
        stalls_after(b"HTTP/1.1 200"),
        stalls_after(part(CONTENT, 100, 5000)[:-1]),
        drips(part(CONTENT, 100, 5000)),
        drips(b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        drips(
            head("206 P", Content_Range="bytes 100-4999/10240", Transfer_Encoding="chunked"),
            b"1;" + b"x" * 4000,
        ),
        drips(head("503 Slow Down", Content_Length=3000), b"x" * 3000),
    ],
)
def test_a_deadline_holds_whatever_the_store_does(line: Line, read: Read) -> None:
    with asking(line) as (transport, _):
        began = time.monotonic()

        retryable(lambda: read(transport, deadline=began + 0.6))

        assert time.monotonic() - began < 0.6 + 1.0


def test_a_stall_is_noticed_before_the_deadline(read: Read) -> None:
    with asking(stalls_after(part(CONTENT, 100, 5000)[:-1]), idle_timeout=0.4) as (transport, _):
        began = time.monotonic()

        assert retryable(lambda: read(transport, deadline=began + 60)).is_throttle
        assert time.monotonic() - began < 5


def test_a_slow_answer_that_moves_is_not_a_stall(read: Read) -> None:
    beginning, end = part(CONTENT, 0, 20)[:-20], CONTENT[:20]
    with asking(lambda peer: (says(beginning)(peer), drips(end)(peer)), idle_timeout=0.2) as (
        transport,
        _,
    ):
        assert read(transport, ByteRange(0, 20), deadline=soon(60)) == CONTENT[:20]


def test_closing_wakes_whoever_waits(read: Read) -> None:
    arrived = threading.Event()

    def arrive_and_stall(peer: object) -> None:
        arrived.set()
        stalls_after(b"")(peer)  # type: ignore[arg-type]

    with asking(arrive_and_stall) as (transport, _):
        faults: list[Retryable] = []
        reader = threading.Thread(target=lambda: faults.append(retryable(lambda: read(transport))))
        reader.start()
        arrived.wait()

        transport.close()
        reader.join(2)

        assert len(faults) == 1
        retryable(lambda: read(transport))


def test_a_clock_that_is_wrong_is_set_by_the_stores() -> None:
    late = head(
        "403 Forbidden",
        ETag=None,
        Last_Modified=None,
        Content_Length=0,
        Date="Sun, 22 Nov 2026 12:31:47 GMT",
    )
    skewed = refusal("403 Forbidden", "RequestTimeTooSkewed", Date="Sun, 22 Nov 2026 12:31:47 GMT")
    for refused in (late, skewed):
        with scripted(says(refused), says(head(Content_Length=5)), says(refused)) as server:
            transport = NativeTransport(store_at(server.port), wall_clock=lambda: 1_000_000_000.0)

            retryable(lambda transport=transport: transport.head("k", deadline=soon()))  # type: ignore[misc]
            transport.head("k", deadline=soon())
            refused_with(
                AccessDenied,
                lambda transport=transport: transport.head("k", deadline=soon()),  # type: ignore[misc]
            )

            assert "x-amz-date: 20010909T" in server.requests[0]
            assert "x-amz-date: 20261122T123147Z" in server.requests[1]
            transport.close()


# revalidation


def test_a_304_says_unchanged() -> None:
    with asking(says(head("304 Not Modified")), says(head("304 Not Modified", ETag=None))) as (
        transport,
        server,
    ):
        assert transport.revalidate(VERSION, 10, deadline=soon()) == NotModified()
        assert transport.revalidate(VERSION, 10, deadline=soon()) == NotModified()
        assert '\r\nIf-None-Match: "abc"' in server.requests[0]
        assert server.connections == 1


def test_a_304_about_another_version_is_not_believed() -> None:
    with asking(says(head("304 Not Modified", ETag='"other"'))) as (transport, _):
        retryable(lambda: transport.revalidate(VERSION, 10, deadline=soon()))


@pytest.mark.parametrize(
    ("answer", "size", "first"),
    [
        (part(CONTENT, 0, 10, ETag='"new"'), len(CONTENT), CONTENT[:10]),
        (part(b"hello", 0, 5, ETag='"new"'), 5, b"hello"),
        (head(ETag='"new"', Content_Length=len(CONTENT)) + CONTENT, len(CONTENT), CONTENT[:10]),
        (head(ETag='"new"', Content_Length=0), 0, b""),
    ],
)
def test_a_new_version_comes_with_its_first_bytes(answer: bytes, size: int, first: bytes) -> None:
    with asking(says(answer)) as (transport, _):
        new = transport.revalidate(VERSION, 10, deadline=soon())

    assert new == Modified(
        ObjectStat(ObjectVersion("bucket", VERSION.key, "new", size), MTIME), first
    )


@pytest.mark.parametrize("answer", [part(CONTENT, 0, 10), WHOLE])
def test_a_store_that_ignores_the_condition_is_believed_by_its_etag(answer: bytes) -> None:
    with asking(says(answer)) as (transport, _):
        assert transport.revalidate(VERSION, 10, deadline=soon()) == NotModified()


def test_an_empty_object_is_compared_by_a_head() -> None:
    no_range = refusal("416 Range Not Satisfiable", "InvalidRange")
    empty = head(ETag='"empty"', Content_Length=0)
    with asking(says(no_range), says(empty), says(no_range), says(empty), says(empty)) as (
        transport,
        _,
    ):
        first = transport.revalidate(VERSION, 10, deadline=soon())
        assert isinstance(first, Modified)
        assert first.head == b""
        assert transport.revalidate(first.stat.version, 10, deadline=soon()) == NotModified()
        assert transport.revalidate(first.stat.version, 0, deadline=soon()) == NotModified()


def test_what_is_gone_is_not_found() -> None:
    with asking(says(refusal("404 Not Found", "NoSuchKey"))) as (transport, _):
        refused_with(NotFound, lambda: transport.revalidate(VERSION, 10, deadline=soon()))


# listings


def document(body: bytes, **headers: object) -> bytes:
    return head(ETag=None, Last_Modified=None, Content_Length=len(body), **headers) + body


@pytest.mark.parametrize(
    "answer",
    [
        document(LISTING),
        head(Transfer_Encoding="chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(LISTING), LISTING),
        head(version="1.0") + LISTING,
    ],
)
def test_a_page_tells_the_next_token_before_it_is_read(answer: bytes) -> None:
    tokens: list[str | None] = []
    with asking(says_and_ends(answer)) as (transport, server):
        page = transport.list_page(
            ListQuery("", token="t +"), deadline=soon(), on_token=tokens.append
        )

        assert [page.next_token] == tokens == ["t&"]
        assert server.requests[0].startswith(
            "GET /bucket?continuation-token=t%20%2B&delimiter=%2F&encoding-type=url&list-type=2&max-keys=1000&prefix= "
        )


@pytest.mark.parametrize(
    "answer",
    [
        document(LISTING)[:-1],
        head(version="1.0") + LISTING[:-1],
        document(LISTING[:-1]),
        document(b"<Error><Code>InternalError</Code></Error>"),
        document(b"<Error><Code>SlowDown</Code></Error>"),
        document(b"<html></html>", Content_Type="text/html"),
        document(b""),
        head("204 No Content", ETag=None),
        refusal("404 Not Found"),
        refusal("500 Internal Server Error"),
        refusal("503 Service Unavailable", "SlowDown"),
    ],
)
def test_what_is_no_page_may_be_asked_for_again(answer: bytes) -> None:
    with asking(says_and_ends(answer)) as (transport, _):
        fault = retryable(lambda: transport.list_page(ListQuery("p/"), deadline=soon()))

    assert fault.failure.key == "p/"
    assert fault.is_throttle == (b"SlowDown" in answer)


def test_a_bucket_that_is_gone_is_not_found() -> None:
    with asking(says(refusal("404 Not Found", "NoSuchBucket"))) as (transport, _):
        refused_with(NotFound, lambda: transport.list_page(ListQuery(""), deadline=soon()))


# proxies


def test_a_proxy_forwards_what_is_asked_over_http() -> None:
    with scripted(says(head(Content_Length=5))) as proxy:
        store = store_at(
            80, host="store.test", proxy=f"http://us%40er:pa%20ss@127.0.0.1:{proxy.port}"
        )
        transport = NativeTransport(store)

        transport.head("k", deadline=soon())

        assert proxy.requests[0].startswith(
            "HEAD http://store.test/bucket/k HTTP/1.1\r\nhost: store.test\r\n"
        )
        assert "\r\nProxy-Authorization: Basic dXNAZXI6cGEgc3M=" in proxy.requests[0]
        transport.close()
