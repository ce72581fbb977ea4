"""Requests and responses of each operation have one meaning, over either transport."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.errors import AccessDenied, NotFound, S3MountError, StaleVersion, StoreError
from s3mount.s3.endpoint.credentials import ANONYMOUS
from s3mount.s3.model import (
    ByteRange,
    ListPage,
    ListQuery,
    Modified,
    NotModified,
    ObjectStat,
    ObjectVersion,
)
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.operations.error_mapping import Operation
from s3mount.s3.operations.list_dialect import ListObjects
from s3mount.s3.operations.operation_runner import read_error
from s3mount.s3.operations.store_traits import (
    TRIED_AGAIN_AFTER,
    USELESS_HEADS_MAX,
    StoreTraits,
)
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.transport import ErrorResponseError, Retryable, StoreRequest
from tests.unit.s3.clients import (
    AT_ONCE,
    TRANSPORTS,
    client,
    operations_over,
    read,
    read_nowait,
    soon,
)
from tests.unit.s3.scripted_server import (
    FixedCredentials,
    Line,
    ScriptedServer,
    drips,
    head,
    part,
    refusal,
    says,
    says_and_ends,
    scripted,
    stalls_after,
)

CONTENT = bytes(range(256)) * 40  # 10,240 bytes
VERSION = ObjectVersion("bucket", "dir/key +", "abc", len(CONTENT))
MIDDLE = ByteRange(100, 5000)
MTIME = 1_795_350_707_000_000_000
WHOLE = head(Content_Length=len(CONTENT)) + CONTENT
ENTRY = (
    "<Contents><Key>a</Key><LastModified>2022-10-12T17:50:00.000Z</LastModified>"
    "<ETag>e</ETag><Size>1</Size></Contents>"
)
LAST = "<IsTruncated>false</IsTruncated>"
LISTING = (
    b"<ListBucketResult><IsTruncated>true</IsTruncated>"
    b"<NextContinuationToken>t&amp;</NextContinuationToken>"
    b"<Contents><Key>k</Key><Size>1</Size><LastModified>2026-11-22T12:31:47Z</LastModified>"
    b"</Contents></ListBucketResult>"
)

Clients = Callable[..., AbstractContextManager[tuple[BucketOperations, ScriptedServer]]]


@dataclass(frozen=True)
class Reader:
    """One way to read a range: over which transport, and whether a thread waits."""

    transport: str
    is_nowait: bool

    def client(
        self, *script: Line, **changes: object
    ) -> AbstractContextManager[tuple[BucketOperations, ScriptedServer]]:
        return client(self.transport, *script, **changes)

    def __call__(
        self,
        operations: BucketOperations,
        byte_range: ByteRange = MIDDLE,
        *,
        deadline: float | None = None,
    ) -> bytes:
        function = read_nowait if self.is_nowait else read
        return function(operations, VERSION, byte_range, deadline=deadline)


@pytest.fixture(params=["native", "native-nowait", "boto"])
def reader(request: pytest.FixtureRequest) -> Reader:
    name, _, nowait = request.param.partition("-")
    return Reader(name, bool(nowait))


@pytest.fixture(params=list(TRANSPORTS))
def connect(request: pytest.FixtureRequest) -> Clients:
    return partial(client, request.param)


def retryable(call: Callable[[], object]) -> Retryable:
    with pytest.raises(Retryable) as caught:
        call()
    return caught.value


def failure_of(kind: type[S3MountError], call: Callable[[], object]) -> S3MountError:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


# requests


def test_a_range_is_requested_of_one_version(reader: Reader) -> None:
    with reader.client(says(part(CONTENT, 100, 5000))) as (operations, server):
        reader(operations)

        request = server.requests[0]
        assert request.startswith("GET /bucket/dir/key%20%2B HTTP/1.1\r\n")
        assert "\r\nrange: bytes=100-4999" in request.lower()
        assert '\r\nif-match: "abc"' in request.lower()
        assert "\r\naccept-encoding: gzip" in request.lower()


def test_a_version_id_replaces_the_condition(connect: Clients) -> None:
    with connect(says(part(CONTENT, 0, 5, x_amz_version_id="v/1"))) as (operations, server):
        sender = operations.get_range(VERSION, ByteRange(0, 5), version_id="v/1", deadline=soon())
        version_id = sender.send(lambda: memoryview(bytearray(5)), CancelToken())

        assert version_id == "v/1"
        assert server.requests[0].startswith(
            "GET /bucket/dir/key%20%2B?versionId=v%2F1 HTTP/1.1\r\n"
        )
        assert "if-match" not in server.requests[0].lower()


@pytest.mark.parametrize("etag", ['abc"\r\nx-evil: 1', "\u00e9", "s3mount-stand-in-0-5", ""])
def test_an_etag_that_no_header_can_carry_is_not_sent(connect: Clients, etag: str) -> None:
    version = ObjectVersion("bucket", "k", etag, 5)
    with connect(says(part(b"hello", 0, 5))) as (operations, server):
        with pytest.raises(StaleVersion):
            read(operations, version, ByteRange(0, 5))

        assert "evil" not in server.requests[0]
        assert "if-match" not in server.requests[0].lower()


def test_requests_without_credentials_are_not_signed() -> None:
    with client(
        "native", says(head(Content_Length=5)), credentials=FixedCredentials(ANONYMOUS)
    ) as (
        operations,
        server,
    ):
        operations.head("k", deadline=soon())

        assert "Authorization" not in server.requests[0]


def test_headers_that_an_operation_must_sign_are_signed(connect: Clients) -> None:
    request = StoreRequest(
        "GetObject",
        "k",
        headers=(("range", "bytes=0-4"),),
        signed_headers=(("x-amz-checksum-mode", "ENABLED"),),
    )
    with connect(says(part(b"hello", 0, 5))) as (operations, server):
        with operations._transport.send(request, deadline=soon()) as response:
            assert response.read_all(10) == b"hello"

        lines = dict(line.split(": ", 1) for line in server.requests[0].splitlines()[1:])
        signed = lines["Authorization"].partition("SignedHeaders=")[2].partition(",")[0]
        assert lines["x-amz-checksum-mode"] == "ENABLED"
        assert "x-amz-checksum-mode" in signed.split(";")


# HEAD


def test_a_head_returns_the_attributes_of_an_object(connect: Clients) -> None:
    archived = head(
        Content_Length=7,
        x_amz_storage_class="GLACIER",
        x_amz_version_id="v1",
        x_amz_restore='ongoing-request="true"',
    )
    with connect(says(archived)) as (operations, _):
        stat = operations.head("k", deadline=soon())

    assert stat == ObjectStat(
        ObjectVersion("bucket", "k", "abc", 7), MTIME, "GLACIER", "v1", is_archived=True
    )


@pytest.mark.parametrize(
    "response",
    [
        head(),
        head("204 No Content"),
        head("201 Created", Content_Length=4),
        head("206 Partial Content", Content_Length=7),
        head("299 Whatever", Content_Length=4),
        head(Content_Length=7, ETag=None, Last_Modified=None),
        head(Content_Length=7, ETag=None, Last_Modified="yesterday"),
        head("304 Not Modified", version="1.1", Content_Length="x"),
        refusal("503 Slow Down"),
        refusal("500 Internal Server Error"),
    ],
)
def test_a_head_that_says_too_little_may_be_retried(response: bytes, connect: Clients) -> None:
    with connect(says_and_ends(response)) as (operations, _):
        if response.startswith(b"HTTP/1.1 304"):
            # urllib3 ignores a Content-Length that is none of a response without a body
            with pytest.raises((Retryable, StoreError)):
                operations.head("k", deadline=soon())
        else:
            retryable(lambda: operations.head("k", deadline=soon()))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("404 Not Found", NotFound),
        ("403 Forbidden", AccessDenied),
        ("301 Moved Permanently", StoreError),
        ("307 Temporary Redirect", StoreError),
    ],
)
def test_a_head_fails_by_its_status_and_redirects_are_not_followed(
    status: str, kind: type[S3MountError], connect: Clients
) -> None:
    response = refusal(status, Location="http://127.0.0.1:1/elsewhere", x_amz_request_id="r1")
    with connect(says(response), says(head(Content_Length=5))) as (operations, server):
        failure = failure_of(kind, lambda: operations.head("k", deadline=soon()))

        assert (failure.key, failure.status, failure.request_id) == ("k", int(status[:3]), "r1")
        assert operations.head("k", deadline=soon()).version.size == 5
        assert server.connections == 1


@pytest.mark.parametrize("useless", ["405 Method Not Allowed", "501 No", "200 OK"])
def test_a_get_replaces_a_head_that_the_store_does_not_know(useless: str, connect: Clients) -> None:
    """A gateway without HEAD, or with one that tells no length."""
    answer = head() if useless == "200 OK" else refusal(useless)
    first = part(CONTENT, 0, 1)
    most = USELESS_HEADS_MAX
    heads = 2 if useless == "200 OK" else 1  # one in each content coding
    round_ = [*[says(answer)] * heads, says(first)]
    with connect(*round_ * most, says(first)) as (operations, server):
        stats = [operations.head("k", deadline=soon()) for _ in range(most + 1)]

        assert [stat.version.size for stat in stats] == [len(CONTENT)] * (most + 1)
        asked = [text.split()[0] for text in server.requests]
        assert asked == [*["HEAD"] * heads, "GET"] * most + ["GET"]


def test_head_is_sent_again_a_minute_after_gets_have_replaced_it() -> None:
    now = [100.0]
    traits = StoreTraits(clock=lambda: now[0])
    useless = [says(refusal("405 Method Not Allowed")), says(part(CONTENT, 0, 1))]
    script = [*useless * USELESS_HEADS_MAX, useless[1], says(head(Content_Length=7))]
    with scripted(*script) as server:
        transport = TRANSPORTS["native"](server.port)
        operations = BucketOperations(transport, "bucket", traits=traits)
        for _ in range(USELESS_HEADS_MAX + 1):
            operations.head("k", deadline=soon())
        now[0] += TRIED_AGAIN_AFTER

        stat = operations.head("k", deadline=soon())
        transport.close()

    asked = [text.split()[0] for text in server.requests]
    assert stat.version.size == 7
    assert asked == ["HEAD", "GET"] * USELESS_HEADS_MAX + ["GET", "HEAD"]


@pytest.mark.parametrize(
    "ranged",
    [
        refusal("416 Range Not Satisfiable", "InvalidRange"),
        head("206 P", Content_Range="bytes 0-0/*", Content_Length=1) + b"x",
    ],
)
def test_the_size_of_an_object_that_has_no_range_is_that_of_its_whole_body(
    ranged: bytes, connect: Clients
) -> None:
    with connect(says(ranged), says(head(Content_Length=0))) as (operations, _):
        assert operations.head_by_get("k", deadline=soon()).version.size == 0


# ranges


@pytest.mark.parametrize(
    "response",
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
        head() + CONTENT,
        head(version="1.0") + CONTENT,
        head(Transfer_Encoding="chunked") + b"2800\r\n%b\r\n0\r\n\r\n" % CONTENT,
    ],
)
def test_every_valid_response_brings_the_right_bytes(response: bytes, reader: Reader) -> None:
    with reader.client(says_and_ends(response)) as (operations, _):
        assert reader(operations) == CONTENT[100:5000]


@pytest.mark.parametrize(
    "response",
    [
        part(CONTENT, 100, 5000)[:-1],
        part(CONTENT, 100, 5000)[:50],
        b"",
        part(CONTENT, 100, 5000, ETag=None),
        part(CONTENT, 100, 5000, Content_Range=None),
        part(CONTENT, 100, 5000, Content_Range="bytes 101-5000/10240"),
        part(CONTENT, 100, 5000, Content_Range="bytes 100-5000/10240"),
        part(CONTENT, 100, 5000, Content_Range="items 100-4999/10240"),
        part(CONTENT, 101, 5001),
        part(CONTENT, 100, 4999),
        part(CONTENT, 100, 5001),
        part(CONTENT, 100, 5000, Content_Length=None) + b"x",
        part(CONTENT, 100, 5000, Content_Length=None)[:-1],
        head(Content_Length=len(CONTENT)) + CONTENT[:4000],
        head(Content_Length=5) + b"short",
        head("206 P", Content_Type="multipart/byteranges; boundary=x", Content_Length=5) + b"--x--",
        head("206 P", Content_Range="bytes 100-4999/10240", Transfer_Encoding="chunked")
        + b"1324\r\n%b\r\n1\r\nx\r\n0\r\n\r\n" % CONTENT[100:5000],
        head("206 P", Content_Range="bytes 100-4999/10240", Transfer_Encoding="chunked")
        + b"0\r\n\r\n",
        head("204 No Content"),
        b"<html>not HTTP at all</html>",
        refusal("500 Internal Server Error", "InternalError"),
        refusal("503 Service Unavailable", "SlowDown"),
        refusal("429 Too Many Requests"),
        refusal("502 Bad Gateway")[:-2] + b"Content-Length: 900\r\n\r\ncut",
        refusal("416 Range Not Satisfiable", "InvalidRange", Content_Range="bytes */10240"),
        refusal("400 Bad Request", "RequestTimeout"),
    ],
)
def test_an_invalid_response_to_a_range_may_be_retried(response: bytes, reader: Reader) -> None:
    with reader.client(says_and_ends(response)) as (operations, _):
        assert isinstance(retryable(lambda: reader(operations)).failure, StoreError)


@pytest.mark.parametrize(
    "changes",
    [{"Content_Range": "bytes 100-4999/*"}, {"ETag": '"abc-gzip"'}, {"ETag": 'W/"abc--gzip"'}],
)
def test_a_version_is_known_by_what_a_proxy_leaves_of_it(
    changes: dict[str, str], reader: Reader
) -> None:
    """RFC 9110 14.4 lets a server leave the size open; Apache and Jetty append to ETags."""
    with reader.client(says(part(CONTENT, 100, 5000, **changes))) as (operations, _):
        assert CONTENT[100:5000] == reader(operations)


def test_a_304_to_a_range_is_no_response_to_retry(reader: Reader) -> None:
    with reader.client(says_and_ends(head("304 Not Modified"))) as (operations, _):
        failure_of(StoreError, lambda: reader(operations))


def test_a_length_beside_chunks_is_invalid() -> None:
    """http.client follows the chunks, as RFC 9112 allows; our parser refuses the two together."""
    both = part(CONTENT, 100, 5000, Transfer_Encoding="chunked")
    for is_nowait in (False, True):
        reader = Reader("native", is_nowait)
        with reader.client(says_and_ends(both)) as (operations, _):
            retryable(lambda operations=operations, reader=reader: reader(operations))  # type: ignore[misc]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(part(CONTENT, 100, 101)) - 2), st.integers(32, 126))
def test_a_header_with_one_wrong_character_never_brings_wrong_bytes(
    place: int, character: int
) -> None:
    response = bytearray(part(CONTENT, 100, 5000))
    if response[place] in b"\r\n":
        place += 2
    response[place] = character
    with client("native", says_and_ends(bytes(response))) as (operations, _):
        try:
            content = read(operations, VERSION, MIDDLE)
        except (Retryable, S3MountError):
            return
        assert content == CONTENT[100:5000]


@pytest.mark.parametrize(
    "response",
    [
        part(CONTENT, 100, 5000, ETag='"other"'),
        part(CONTENT + b"x", 100, 5000),
        head(Content_Length=len(CONTENT), ETag='"other"') + CONTENT,
        refusal("412 Precondition Failed", "PreconditionFailed"),
        refusal("404 Not Found", "NoSuchKey"),
        refusal("405 Method Not Allowed", "MethodNotAllowed", x_amz_delete_marker="true"),
        refusal("416 Range Not Satisfiable", "InvalidRange", Content_Range="bytes */5"),
    ],
)
def test_another_version_is_never_read(response: bytes, reader: Reader) -> None:
    with reader.client(says(response)) as (operations, _):
        failure_of(StaleVersion, lambda: reader(operations))


@pytest.mark.parametrize(
    "response",
    [
        refusal("400 Bad Request", "InvalidArgument"),
        refusal("405 Method Not Allowed", "MethodNotAllowed"),
        refusal("416 Range Not Satisfiable", "InvalidRange"),
        refusal("416 Range Not Satisfiable", "InvalidRange", Content_Range="bytes */10240"),
        refusal("501 Not Implemented", "NotImplemented"),
    ],
)
def test_a_store_that_refuses_ranges_is_asked_for_whole_objects(
    response: bytes, connect: Clients
) -> None:
    """An Object Lambda access point answers so (Mountpoint #1068)."""
    with connect(says(response), says_and_ends(WHOLE), says(WHOLE)) as (operations, server):
        sender = operations.get_range(VERSION, MIDDLE, version_id=None, deadline=soon())
        buffer = bytearray(len(MIDDLE))
        assert retryable(lambda: sender.send(lambda: memoryview(buffer), CancelToken())).is_adapted
        sender.send(lambda: memoryview(buffer), CancelToken())
        assert buffer == CONTENT[100:5000]

        assert read(operations, VERSION, MIDDLE) == CONTENT[100:5000]
        assert ["range" in request.lower() for request in server.requests] == [True, False, False]


@pytest.mark.parametrize(
    "response",
    [
        refusal("412 Precondition Failed", "PreconditionFailed"),
        refusal("405 Method Not Allowed", "MethodNotAllowed"),
        head(Content_Length=5, ETag='"other"') + b"short",
    ],
)
def test_a_refused_range_of_a_replaced_version_is_stale(response: bytes, connect: Clients) -> None:
    with connect(says(refusal("416 R", "InvalidRange")), says(response)) as (operations, _):
        sender = operations.get_range(VERSION, MIDDLE, version_id=None, deadline=soon())
        retryable(lambda: sender.send(lambda: memoryview(bytearray(4900)), CancelToken()))
        failure_of(
            StaleVersion,
            lambda: sender.send(lambda: memoryview(bytearray(4900)), CancelToken()),
        )


def test_a_replacement_is_reported_with_the_request_id(connect: Clients) -> None:
    other = part(CONTENT, 100, 5000, ETag='"other"', x_amz_request_id="r1")
    with connect(says(other)) as (operations, _):
        failure = failure_of(StaleVersion, lambda: read(operations, VERSION, MIDDLE))

    assert (failure.key, failure.request_id) == (VERSION.key, "r1")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AccessDenied", "403 F"),
        ("InvalidObjectState", "403 F"),
        ("KMS.DisabledException", "400 B"),
    ],
)
def test_an_error_response_is_known_by_its_code(code: str, status: str, reader: Reader) -> None:
    with reader.client(says(refusal(status, code))) as (operations, _):
        failure = failure_of(AccessDenied, lambda: reader(operations))

    assert (failure.code, failure.request_id) == (code, "r")


def test_expired_credentials_may_be_renewed(reader: Reader) -> None:
    with reader.client(says(refusal("400 Bad Request", "ExpiredToken"))) as (operations, _):
        assert retryable(lambda: reader(operations)).is_stale_credentials


def test_a_get_says_what_a_head_without_a_code_means(connect: Clients) -> None:
    """Of an object under SSE-C, S3 refuses the HEAD with 400 and no body, as of an old token."""
    with connect(
        says(refusal("400 Bad Request", "")), says(refusal("400 B", "InvalidRequest"))
    ) as (
        operations,
        server,
    ):
        failure = failure_of(AccessDenied, lambda: operations.head("k", deadline=soon()))

    assert "SSE-C" in str(failure)
    assert "range: bytes=0-0" in server.requests[1].lower()


PAGE = b"HTTP/1.1 404 N\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n"


def test_the_page_of_a_gateway_to_a_head_is_no_absence(connect: Clients) -> None:
    with connect(says(PAGE), says(PAGE + b"not found")) as (operations, _):
        retryable(lambda: operations.head("key", deadline=soon()))

    with connect(says(PAGE), says(part(CONTENT, 0, 1))) as (operations, _):
        assert operations.head("key", deadline=soon()).version.size == len(CONTENT)

    with connect(says(PAGE), says(refusal("404 Not Found", "NoSuchKey"))) as (operations, _):
        failure_of(NotFound, lambda: operations.head("key", deadline=soon()))


def test_an_object_whose_head_is_refused_is_known_by_a_get(connect: Clients) -> None:
    with connect(says(refusal("400 Bad Request", "")), says(part(CONTENT, 0, 1))) as (
        operations,
        _,
    ):
        assert operations.head("k", deadline=soon()).version.size == len(CONTENT)


def test_a_get_for_a_refused_head_may_say_that_the_token_has_expired(connect: Clients) -> None:
    answers = [says(refusal("400 Bad Request", "")), says(refusal("400 B", "ExpiredToken"))]
    with connect(*answers) as (operations, _):
        assert retryable(lambda: operations.head("k", deadline=soon())).is_stale_credentials


def test_a_version_without_an_etag_is_known_by_its_time_and_size(connect: Clients) -> None:
    with connect(
        says(head(Content_Length=len(CONTENT), ETag=None)),
        says(part(CONTENT, 0, 10, ETag=None)),
        says(part(CONTENT, 0, 10, ETag=None, Last_Modified="Sun, 22 Nov 2026 12:31:48 GMT")),
    ) as (operations, server):
        version = operations.head("k", deadline=soon()).version

        assert read(operations, version, ByteRange(0, 10)) == CONTENT[:10]
        assert "if-match" not in server.requests[1].lower()
        with pytest.raises(StaleVersion):
            read(operations, version, ByteRange(0, 10))


def test_a_region_and_the_clock_are_read_from_an_error_response(connect: Clients) -> None:
    date = "Sun, 22 Nov 2026 12:31:47 GMT"
    document = b"<Error><Code>PermanentRedirect</Code><Region>eu-west-1</Region></Error>"
    by_document = head("301 M", ETag=None, Content_Length=len(document), Date=date) + document
    by_header = head("301 M", ETag=None, Content_Length=0, x_amz_bucket_region="eu-west-2")
    with connect(says(by_document), says(by_header)) as (operations, _):
        found = []
        for _ in range(2):
            with operations._transport.send(
                StoreRequest("GetObject", "k"), deadline=soon()
            ) as response:
                found.append(read_error(response).response)

    assert (found[0].code, found[0].region, found[0].date) == (
        "PermanentRedirect",
        "eu-west-1",
        date,
    )
    assert (found[1].code, found[1].region) == ("", "eu-west-2")


# connections


def test_one_connection_serves_one_request_after_another(reader: Reader) -> None:
    with reader.client(
        *[says(part(CONTENT, 100, 5000))] * 3, says(WHOLE), says(head(Content_Length=5))
    ) as (operations, server):
        for _ in range(4):
            reader(operations)
        operations.head("k", deadline=soon())

        assert server.connections == 1


def test_a_connection_that_the_store_closed_between_requests_is_no_failure(reader: Reader) -> None:
    response = part(CONTENT, 100, 5000)
    with reader.client(says_and_ends(response), says_and_ends(response), says(response)) as (
        operations,
        server,
    ):
        for _ in range(3):
            assert reader(operations) == CONTENT[100:5000]

        assert server.connections == 3


def test_stray_bytes_on_an_idle_connection_never_answer_the_next_request(reader: Reader) -> None:
    lie = part(b"\0" * len(CONTENT), 100, 5000)
    with reader.client(says(part(CONTENT, 100, 5000), lie), says(part(CONTENT, 100, 5000))) as (
        operations,
        server,
    ):
        assert reader(operations) == CONTENT[100:5000]
        assert reader(operations) == CONTENT[100:5000]
        assert server.connections == 2


def test_a_store_that_is_not_there_may_be_retried(reader: Reader) -> None:
    with scripted() as server:
        port = server.port

    with operations_over(TRANSPORTS[reader.transport](port)) as operations:
        assert retryable(lambda: reader(operations)).failure.key == VERSION.key


# deadlines


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
def test_a_deadline_holds_whatever_the_store_does(line: Line, reader: Reader) -> None:
    with reader.client(line) as (operations, _):
        began = time.monotonic()

        retryable(lambda: reader(operations, deadline=began + 0.6))

        assert time.monotonic() - began < AT_ONCE


def test_a_stall_is_noticed_before_the_deadline(reader: Reader) -> None:
    line = stalls_after(part(CONTENT, 100, 5000)[:-1])
    with reader.client(line, idle_timeout=0.4) as (operations, _):
        began = time.monotonic()

        assert retryable(lambda: reader(operations, deadline=began + 60)).is_throttle
        assert time.monotonic() - began < 5


def test_a_slow_response_that_moves_is_no_stall(reader: Reader) -> None:
    beginning, end = part(CONTENT, 0, 80)[:-80], CONTENT[:80]  # takes 1.6 s
    with reader.client(
        lambda peer: (says(beginning)(peer), drips(end)(peer)), idle_timeout=1.5
    ) as (operations, _):
        assert reader(operations, ByteRange(0, 80), deadline=soon(60)) == CONTENT[:80]


@pytest.mark.parametrize(
    "call",
    [
        lambda it, until: it.head("key", deadline=until),
        lambda it, until: it.list_page(ListQuery(""), deadline=until),
        lambda it, until: it.revalidate(VERSION, 4, deadline=until),
        lambda it, until: read(it, VERSION, ByteRange(2, 6), deadline=until),
    ],
    ids=["head", "list", "revalidate", "read"],
)
def test_no_attempt_outlasts_its_deadline(
    call: Callable[[BucketOperations, float], object], connect: Clients
) -> None:
    with connect(stalls_after()) as (operations, _):
        until = soon(0.2)

        assert retryable(lambda: call(operations, until)).is_throttle
        assert time.monotonic() < until + 8  # the idle timeout is 10 s


# the size of pages


@pytest.mark.parametrize(
    ("page_size", "wanted", "sent"),
    [(1000, 1000, 1000), (100, 1000, 100), (10_000, 1000, 10_000), (100, 5, 5), (10_000, 5, 5)],
)
@pytest.mark.parametrize("version", ["1", "2"])
def test_a_page_is_requested_by_as_many_rows_as_configured(
    version: Literal["1", "2"], page_size: int, wanted: int, sent: int
) -> None:
    page = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    with scripted(says(head(Content_Length=len(page)) + page)) as server:
        transport = TRANSPORTS["native"](server.port)
        dialect = ListObjects(version)
        operations = BucketOperations(transport, "bucket", dialect=dialect, page_size=page_size)
        operations.list_page(ListQuery("", max_keys=wanted), deadline=soon())
        operations.close()

    assert f"max-keys={sent}&" in server.requests[0]


def rows(count: int) -> bytes:
    """Return a page of *count* rows that say more than the fast parser knows."""
    more = "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress></RestoreStatus>"
    row = ENTRY.replace("</ETag>", f"</ETag>{more}")
    listed = "".join(row.replace("<Key>a", f"<Key>{number:05}") for number in range(count))
    body = f"<ListBucketResult>{LAST}<KeyCount>{count}</KeyCount>{listed}</ListBucketResult>"
    return head(Content_Length=len(body)) + body.encode()


def test_a_page_of_ten_thousand_rows_is_read_if_so_many_were_requested() -> None:
    with scripted(says(rows(10_000)), says(rows(10_000))) as server:
        transport = TRANSPORTS["native"](server.port)
        operations = BucketOperations(transport, "bucket", page_size=10_000)
        page = operations.list_page(ListQuery(""), deadline=soon(60))
        few = BucketOperations(transport, "bucket")
        failure = retryable(lambda: few.list_page(ListQuery(""), deadline=soon(60)))
        operations.close()

    assert [listed.key for listed in page.objects] == [f"{number:05}" for number in range(10_000)]
    assert "too many elements" in str(failure)


def test_a_large_page_that_lacks_rows_is_invalid() -> None:
    page = b"<ListBucketResult><KeyCount>9000</KeyCount>" + f"{LAST}{ENTRY}".encode()
    page += b"</ListBucketResult>"
    with scripted(says(head(Content_Length=len(page)) + page)) as server:
        transport = TRANSPORTS["native"](server.port)
        operations = BucketOperations(transport, "bucket", page_size=10_000)
        failure = retryable(lambda: operations.list_page(ListQuery(""), deadline=soon()))
        operations.close()

    assert "1 rows in a page that counts 9000" in str(failure)


# revalidation


def test_a_304_means_not_modified(connect: Clients) -> None:
    with connect(says(head("304 Not Modified")), says(head("304 Not Modified", ETag=None))) as (
        operations,
        server,
    ):
        assert operations.revalidate(VERSION, 10, deadline=soon()) == NotModified()
        assert operations.revalidate(VERSION, 10, deadline=soon()) == NotModified()
        assert '\r\nif-none-match: "abc"' in server.requests[0].lower()
        assert server.connections == 1


def test_a_304_with_another_etag_is_invalid(connect: Clients) -> None:
    with connect(says(head("304 Not Modified", ETag='"other"'))) as (operations, _):
        retryable(lambda: operations.revalidate(VERSION, 10, deadline=soon()))


def test_a_304_to_a_request_without_condition_is_a_failure(connect: Clients) -> None:
    version = ObjectVersion("bucket", "key", "s3mount-stand-in-0-10", 10)
    with connect(says(head("304 Not Modified", ETag=None))) as (operations, server):
        failure_of(StoreError, lambda: operations.revalidate(version, 4, deadline=soon()))

        assert "if-none-match" not in server.requests[0].lower()


@pytest.mark.parametrize(
    ("response", "size", "first"),
    [
        (part(CONTENT, 0, 10, ETag='"new"'), len(CONTENT), CONTENT[:10]),
        (part(b"hello", 0, 5, ETag='"new"'), 5, b"hello"),
        (head(ETag='"new"', Content_Length=len(CONTENT)) + CONTENT, len(CONTENT), CONTENT[:10]),
        (head(ETag='"new"', Content_Length=0), 0, b""),
    ],
)
def test_a_new_version_comes_with_its_first_bytes(
    response: bytes, size: int, first: bytes, connect: Clients
) -> None:
    with connect(says(response)) as (operations, _):
        new = operations.revalidate(VERSION, 10, deadline=soon())

    assert new == Modified(
        ObjectStat(ObjectVersion("bucket", VERSION.key, "new", size), MTIME), first
    )


@pytest.mark.parametrize(
    "response",
    [
        part(CONTENT, 0, 10, ETag='"new"', Content_Range="bytes 0-9/*"),
        head(ETag='"new"', Content_Length=10) + CONTENT[:10],
        head(ETag='"new"', Transfer_Encoding="chunked") + b"2\r\nab\r\n0\r\n\r\n",
    ],
    ids=["part of an unknown size", "part as a whole", "no length"],
)
def test_a_new_version_has_no_size_that_its_part_does_not_tell(
    response: bytes, connect: Clients
) -> None:
    size = 2 * len(CONTENT)
    with connect(says(response), says(head(ETag='"new"', Content_Length=size))) as (operations, _):
        new = operations.revalidate(VERSION, 10, deadline=soon())

    assert isinstance(new, Modified)
    assert size == new.stat.version.size
    assert new.head == b""


def test_a_part_that_is_located_by_another_header_is_no_ignored_range(connect: Clients) -> None:
    response = part(CONTENT, 0, 1, Content_Range=None, x_amz_content_range="bytes 0-0/26")
    with connect(says(response)) as (operations, _):
        assert operations.head_by_get("key", deadline=soon()).version.size == 26

        assert operations.has_ranges()


@pytest.mark.parametrize("response", [part(CONTENT, 0, 10), WHOLE])
def test_a_store_that_ignores_the_condition_is_judged_by_its_etag(
    response: bytes, connect: Clients
) -> None:
    with connect(says(response)) as (operations, _):
        assert operations.revalidate(VERSION, 10, deadline=soon()) == NotModified()


def test_an_empty_object_is_compared_by_a_head(connect: Clients) -> None:
    no_range = refusal("416 Range Not Satisfiable", "InvalidRange")
    empty = head(ETag='"empty"', Content_Length=0)
    script = [no_range, empty, no_range, empty, empty]
    with connect(*map(says, script)) as (operations, _):
        first = operations.revalidate(VERSION, 10, deadline=soon())
        assert isinstance(first, Modified)
        assert first.head == b""
        version = first.stat.version
        assert operations.revalidate(version, 10, deadline=soon()) == NotModified()
        assert operations.revalidate(version, 0, deadline=soon()) == NotModified()


def test_a_replacement_between_the_range_and_the_head_may_be_retried(connect: Clients) -> None:
    """A `Modified` without its first bytes would pass for that of an empty object."""
    no_range = refusal("416 Range Not Satisfiable", "InvalidRange")
    with connect(says(no_range), says(head(ETag='"new"', Content_Length=5))) as (operations, _):
        fault = retryable(lambda: operations.revalidate(VERSION, 10, deadline=soon()))

    assert fault.failure.key == VERSION.key


def test_a_deleted_object_is_not_found(connect: Clients) -> None:
    with connect(says(refusal("404 Not Found", "NoSuchKey"))) as (operations, _):
        failure_of(NotFound, lambda: operations.revalidate(VERSION, 10, deadline=soon()))


# listings


def document(body: bytes, status: str = "200 OK", **headers: object) -> bytes:
    named = {"ETag": None, "Last_Modified": None, "Content_Length": len(body), **headers}
    return head(status, **named) + body


def listing(inner: str) -> bytes:
    body = f'<?xml version="1.0"?><ListBucketResult>{inner}</ListBucketResult>'
    return document(body.encode(), Content_Type="application/xml")


@pytest.mark.parametrize(
    "response",
    [
        document(LISTING),
        head(Transfer_Encoding="chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(LISTING), LISTING),
        head(version="1.0") + LISTING,
    ],
)
def test_the_next_token_is_told_before_the_page_is_parsed(
    response: bytes, connect: Clients
) -> None:
    tokens: list[str | None] = []
    with connect(says_and_ends(response)) as (operations, server):
        page = operations.list_page(
            ListQuery("", token="t +"), deadline=soon(), on_token=tokens.append
        )

        assert [page.next_token] == tokens == ["t&"]
        path, _, query = server.requests[0].split(" ")[1].partition("?")
        assert path == "/bucket"
        assert set(query.split("&")) - {"prefix="} == {
            "continuation-token=t%20%2B",
            "delimiter=%2F",
            "encoding-type=url",
            "list-type=2",
            "max-keys=1000",
        }


@pytest.mark.parametrize(
    "response",
    [
        document(LISTING)[:-1],
        head(version="1.0") + LISTING[:-1],
        document(LISTING[:-1]),
        document(b"<Error><Code>InternalError</Code></Error>"),
        document(b"<Error><Code>SlowDown</Code></Error>"),
        document(b"<html></html>", Content_Type="text/html"),
        document(b"not xml <"),
        document(b""),
        document(LISTING, "201 Created"),
        document(LISTING, "206 Partial Content"),
        head("204 No Content", ETag=None),
        refusal("404 Not Found"),
        refusal("500 Internal Server Error"),
        refusal("503 Service Unavailable", "SlowDown"),
        listing(""),
        listing("<IsTruncated>true</IsTruncated>"),
        listing("<IsTruncated>perhaps</IsTruncated>"),
        listing(LAST + ENTRY),
        listing(LAST + "<CommonPrefixes><Prefix>elsewhere/</Prefix></CommonPrefixes>"),
        listing(LAST + "<KeyCount>2</KeyCount>" + ENTRY.replace("<Key>", "<Key>p/")),
        listing(LAST + "<Prefix>q/</Prefix>"),
        listing(LAST + ENTRY.replace("<Key>", "<Key>p/"))[:-20],
    ],
)
def test_what_is_no_page_may_be_retried_and_is_never_an_empty_one(
    response: bytes, connect: Clients
) -> None:
    with connect(says_and_ends(response)) as (operations, _):
        fault = retryable(lambda: operations.list_page(ListQuery("p/"), deadline=soon()))

    assert fault.failure.key == "p/"
    assert fault.is_throttle == (b"SlowDown" in response)


class ListByKey(ListObjects):
    """`ListDialect` whose positions are keys."""

    def request(self, query: ListQuery) -> StoreRequest:
        fields = (("delimiter", query.delimiter), ("marker", query.token), ("prefix", query.prefix))
        given = tuple((name, value) for name, value in fields if value)
        return StoreRequest("ListObjects", None, given)

    def next_position(self, body: bytes) -> str | None:
        return "hint" if body else None

    def read_page(
        self, body: bytes, query: ListQuery, sent: StoreRequest | None = None
    ) -> ListPage:
        page = super().read_page(body, query, sent)
        return replace(page, next_token=page.objects[-1].key)


def test_another_dialect_lists_over_either_transport(connect: Clients) -> None:
    tokens: list[str | None] = []
    with connect(says(listing(LAST + ENTRY))) as (operations, server):
        by_key = BucketOperations(operations._transport, "bucket", dialect=ListByKey())
        page = by_key.list_page(ListQuery("", token="0"), deadline=soon(), on_token=tokens.append)

        assert (page.next_token, tokens) == ("a", ["hint"])
        assert "list-type" not in server.requests[0]
        assert {"delimiter=%2F", "marker=0"} <= set(
            server.requests[0].split(" ")[1].partition("?")[2].split("&")
        )


def test_a_bucket_that_is_gone_is_not_found(connect: Clients) -> None:
    with connect(says(refusal("404 Not Found", "NoSuchBucket"))) as (operations, _):
        failure_of(NotFound, lambda: operations.list_page(ListQuery(""), deadline=soon()))


@pytest.mark.parametrize("status", ["301 M", "404 N", "503 S"])
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
    inner: str, status: str, connect: Clients
) -> None:
    for body in (f"<Foo>{inner}</Foo>", f"<Error>{inner}</Error>"):
        response = document(body.encode(), status, Content_Type="application/xml")

        with (
            connect(says_and_ends(response)) as (operations, _),
            pytest.raises((Retryable, S3MountError)),
        ):
            operations.list_page(ListQuery(""), deadline=soon())


# the runner


def test_a_bug_in_a_call_is_not_taken_for_a_failure() -> None:
    def bug() -> None:
        raise ZeroDivisionError

    with operations_over(TRANSPORTS["native"](1)) as operations, pytest.raises(ZeroDivisionError):
        operations._runner.run(Operation.HEAD, "k", bug)


def test_the_response_that_a_failure_stands_for_is_its_cause(connect: Clients) -> None:
    with connect(says(refusal("403 Forbidden", "AccessDenied"))) as (operations, _):
        failure = failure_of(AccessDenied, lambda: read(operations, VERSION, MIDDLE))

    assert isinstance(failure.__cause__, ErrorResponseError)
