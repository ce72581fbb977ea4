"""What only the transport over botocore has to withstand: its connections, cancellation, chunks."""

import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import trustme

from s3mount.config import StoreConfig
from s3mount.errors import AccessDenied, S3MountError, StaleVersion, StoreError
from s3mount.s3.boto.transport import BotoExchange, BotoTransport
from s3mount.s3.endpoint.boto_session import Session, open_session
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.resolve import resolve_endpoint
from s3mount.s3.model import ByteRange, ListQuery, NotModified, ObjectVersion
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.transport import Retryable, StoreRequest
from tests.unit.s3.canned_server import answering, error, http, listing, silent, stalling
from tests.unit.s3.clients import read, soon
from tests.unit.s3.scripted_server import (
    FixedCredentials,
    Line,
    Peer,
    drips,
    says,
    scripted,
    stalls_after,
)

MODIFIED = "Wed, 12 Oct 2022 17:50:00 GMT"
VERSION = ObjectVersion("photos", "key", "etag", 10)
RANGE = ByteRange(2, 6)
"""The bytes that most responses here bring."""


@pytest.fixture(scope="module")
def session() -> Session:
    return open_session(StoreConfig(bucket="photos"))


Connect = Callable[[str], BucketOperations]


@pytest.fixture
def connect(session: Session) -> Connect:
    def make(url: str) -> BucketOperations:
        config = StoreConfig(bucket="photos", endpoint_url=url)
        keys = FrozenCredentials("AKID", "secret")
        store = resolve_endpoint(
            config, session, region="us-east-1", credentials=FixedCredentials(keys)
        )
        return BucketOperations(BotoTransport(config, store, session), "photos")

    return make


def part(body: bytes, content_range: str, status: int = 206, **headers: str) -> bytes:
    named = {"etag": '"etag"', "last_modified": MODIFIED, "content_range": content_range}
    return http(status, body, **(named | headers))


GOOD = part(b"0123", "bytes 2-5/10")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (GOOD, b"0123"),
        (part(b"0123", "bytes 2-5/10", status=200), b"0123"),
        (part(b"0123", "bytes 2-5/10", content_length=""), b"0123"),
        (part(b"0123", "bytes 2-5/10", etag="etag", content_encoding="gzip"), b"0123"),
        (part(b"ab0123cdef", "", status=200), b"0123"),
    ],
)
def test_a_valid_response_that_ends_its_connection_brings_the_bytes(
    response: bytes, expected: bytes, connect: Connect
) -> None:
    with answering(response) as url:
        assert read(connect(url), VERSION, RANGE) == expected


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (part(b"0123", "bytes 2-5/10", etag='"other"'), StaleVersion),
        (part(b"0123", "bytes 2-5/11"), StaleVersion),
        (part(b"ab0123cdefg", "", status=200), Retryable),
        (part(b"0123", "bytes 2-5/10", etag=""), Retryable),
        (part(b"0123", "bytes 3-6/10"), Retryable),
        (part(b"012", "bytes 2-5/10"), Retryable),
        (part(b"0123", ""), Retryable),
        (GOOD[:-2], Retryable),
        (GOOD[:60], Retryable),
        (part(b"ab0", "", status=200, content_length="10"), Retryable),
        (error(412, "PreconditionFailed"), StaleVersion),
        (error(416, "InvalidRange"), Retryable),
        (error(404, "NoSuchKey"), StaleVersion),
        (error(500, "InternalError"), Retryable),
        (b"", Retryable),
    ],
)
def test_an_invalid_response_that_ends_its_connection_is_a_failure(
    response: bytes, kind: type[Exception], connect: Connect
) -> None:
    with answering(response) as url, pytest.raises(kind):
        read(connect(url), VERSION, RANGE)


@pytest.mark.parametrize(
    "response",
    [
        error(200, "InternalError"),
        http(200, b"<html><body>hello</body></html>", content_type="text/html"),
        listing("<IsTruncated>false</IsTruncated>").replace(b"\r\n\r\n", b"\r\nno-colon\r\n\r\n")[
            :60
        ],
    ],
)
def test_a_page_that_is_none_and_ends_its_connection_is_a_failure(
    response: bytes, connect: Connect
) -> None:
    with answering(response) as url, pytest.raises(Retryable):
        connect(url).list_page(ListQuery(""), deadline=soon())


CHUNKS = b"4\r\n0123\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("coding", "length"),
    [
        ("identity, chunked", "4"),
        ("identity, chunked", ""),
        ("\r\n chunked", "4"),
        ("\r\n chunked", ""),
        ("chunked", "4"),
        ("gzip, chunked", "4"),
        ("gzip", "4"),
        ("a\rtransfer-encoding: chunked", "4"),
    ],
)
def test_a_body_whose_framing_is_a_guess_is_a_failure(
    coding: str, length: str, connect: Connect
) -> None:
    """http.client takes what is not exactly `chunked` for no coding: the chunks became content."""
    response = part(CHUNKS, "bytes 2-5/10", transfer_encoding=coding, content_length=length)
    with answering(response) as url, pytest.raises(Retryable, match="Transfer-Encoding"):
        read(connect(url), VERSION, RANGE)


@pytest.mark.parametrize(
    ("coding", "body", "length"),
    [
        ("chunked", CHUNKS, ""),
        ("CHUNKED", CHUNKS, ""),
        ("chunked\r\ntransfer-encoding: chunked", CHUNKS, ""),
        ("identity", b"0123", "4"),
        ("identity", b"0123", ""),
    ],
)
def test_a_body_whose_framing_is_certain_is_read(
    coding: str, body: bytes, length: str, connect: Connect
) -> None:
    response = part(body, "bytes 2-5/10", transfer_encoding=coding, content_length=length)
    with answering(response) as url:
        assert read(connect(url), VERSION, RANGE) == b"0123"


# opening a connection


@contextmanager
def dripping(message: bytes) -> Iterator[int]:
    """Yields the port of a server that sends *message* byte by byte, and then nothing."""
    ended = threading.Event()

    def serve() -> None:
        with suppress(OSError), listener.accept()[0] as sock:
            for byte in message:
                sock.sendall(bytes([byte]))
                if ended.wait(0.02):
                    return
            ended.wait(20)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("is_cancelled", [False, True])
@pytest.mark.parametrize(
    ("message", "proxy"),
    [
        (b"", None),
        (b"\x16\x03\x03\x40\x00" + b"\0" * 2000, None),  # a handshake record without end
        (b"", "http"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 2000, "http"),
        (b"", "https"),
    ],
)
def test_a_handshake_ends_by_the_deadline_and_when_cancelled(
    message: bytes,
    proxy: str | None,
    is_cancelled: bool,  # noqa: FBT001 - a parameter
    session: Session,
) -> None:
    with dripping(message) as port:
        config = StoreConfig(bucket="photos", endpoint_url=f"https://127.0.0.1:{port}")
        keys = FixedCredentials(FrozenCredentials("AKID", "secret"))
        store = resolve_endpoint(config, session, region="us-east-1", credentials=keys)
        store = replace(store, proxy=proxy and f"{proxy}://127.0.0.1:{port}", idle_timeout=10.0)
        token = CancelToken()
        cancelling = threading.Timer(0.3, token.cancel if is_cancelled else lambda: None)
        with closing(BotoTransport(config, store, session)) as transport:
            began = time.monotonic()
            cancelling.start()
            with pytest.raises((ConnectionError, TimeoutError)):
                transport.send(
                    StoreRequest("GetObject", "key"),
                    deadline=began + (10 if is_cancelled else 0.5),
                    cancel_token=token,
                ).__enter__()
        cancelling.join()

        assert time.monotonic() - began < 5


# cancellation


def test_a_read_that_waits_for_its_response_is_cancelled_at_once(connect: Connect) -> None:
    with silent() as url:
        assert_is_cancelled_at_once(connect(url))


def test_a_read_is_cancelled_in_its_body(connect: Connect) -> None:
    begun = part(b"0123", "bytes 0-9/10", content_length="10", connection="keep-alive")
    with stalling(begun) as url:
        assert_is_cancelled_at_once(connect(url))


def test_a_read_that_was_cancelled_before_it_began_sends_nothing(connect: Connect) -> None:
    token = CancelToken()
    token.cancel()
    with silent() as url, pytest.raises(RequestCancelledError):
        read(connect(url), VERSION, RANGE, deadline=soon(30), cancel_token=token)


def test_a_read_is_cancelled_while_it_waits_for_credentials(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(
        _: FixedCredentials, deadline: float, cancel_token: CancelToken | None = None
    ) -> FrozenCredentials:
        is_cancelled = threading.Event()
        (cancel_token or CancelToken()).attach(is_cancelled.set)
        if not is_cancelled.wait(min(20, deadline - time.monotonic())):
            raise Retryable(StoreError("no credentials"))
        raise RequestCancelledError

    with silent() as url:
        operations = connect(url)
        monkeypatch.setattr(FixedCredentials, "frozen", wait)
        assert_is_cancelled_at_once(operations)


def assert_is_cancelled_at_once(operations: BucketOperations) -> None:
    token, began = CancelToken(), time.monotonic()
    threading.Timer(0.2, token.cancel).start()

    with pytest.raises((Retryable, RequestCancelledError)):
        read(operations, VERSION, ByteRange(0, 10), deadline=soon(30), cancel_token=token)

    assert time.monotonic() - began < 10
    operations.close()


# connections


def test_a_response_that_is_invalid_costs_its_connection_at_once(connect: Connect) -> None:
    is_closed = threading.Event()
    response = part(b"0123", "bytes 2-5/10", last_modified="yesterday", connection="keep-alive")
    version = ObjectVersion("photos", "key", "s3mount-stand-in-0-10", 10)

    def sends_and_waits_for_the_end(peer: Peer) -> None:
        peer.socket.sendall(response[:-2])
        if not peer.socket.recv(1):
            is_closed.set()
        raise StopIteration

    with scripted(sends_and_waits_for_the_end) as server:
        operations = connect(f"http://127.0.0.1:{server.port}")
        with pytest.raises(Retryable) as caught:  # it is kept, with all that its traceback holds
            read(operations, version, RANGE)
        assert is_closed.wait(5)

    assert caught.value.__cause__ is not None


def ends_at_the_next_request(*pieces: bytes) -> Line:
    """Sends *pieces*, and closes the connection when another request has arrived."""

    def line(peer: Peer) -> None:
        peer.socket.sendall(b"".join(pieces))
        peer.read_request()
        raise StopIteration

    return line


def send(operations: BucketOperations, cancel_token: CancelToken | None = None) -> BotoExchange:
    """Return the exchange of one request for an object."""
    transport: Any = operations._transport
    exchange: BotoExchange = transport.send(
        StoreRequest("GetObject", "key"), deadline=soon(), cancel_token=cancel_token
    )
    return exchange


def test_a_connection_is_reused_only_after_its_exchange(connect: Connect) -> None:
    token = CancelToken()
    with scripted(says(WHOLE), says(WHOLE), says(WHOLE)) as server:
        operations = connect(f"http://127.0.0.1:{server.port}")
        with send(operations, token) as response:
            assert response.read_all(10) == b"0123"
            with send(operations):  # not over the connection that the token still shuts down
                token.cancel()
        assert server.connections == 2


def test_the_end_of_a_body_is_known_without_waiting_for_more_of_it(connect: Connect) -> None:
    header = WHOLE.removesuffix(b"0123")
    with scripted(stalls_after(header)) as server:
        operations = connect(f"http://127.0.0.1:{server.port}")
        began = time.monotonic()
        with pytest.raises(StaleVersion):
            read(operations, ObjectVersion("photos", "key", "other", 10), RANGE)

        assert time.monotonic() - began < 5


def test_a_response_without_a_body_leaves_its_connection_clean(connect: Connect) -> None:
    headers = {"transfer_encoding": "chunked", "content_length": "", "connection": "keep-alive"}
    line = says(http(304, b"", etag='"etag"', **headers))
    with scripted(line, line) as server:
        operations = connect(f"http://127.0.0.1:{server.port}")
        for _ in range(2):
            assert operations.revalidate(VERSION, 4, deadline=soon()) == NotModified()

        assert server.connections == 1


def test_the_response_behind_an_informational_one_answers_no_other_request(
    connect: Connect,
) -> None:
    hint = b"HTTP/1.1 101 Switching Protocols\r\nlink: </x>\r\n\r\n"

    def sends_the_rest_later(peer: Peer) -> None:
        peer.socket.sendall(hint)
        peer.read_request()
        peer.socket.sendall(WHOLE)

    with scripted(sends_the_rest_later, says(WHOLE)) as server:
        operations = connect(f"http://127.0.0.1:{server.port}")
        with pytest.raises(Retryable):
            read(operations, VERSION, RANGE)
        assert read(operations, VERSION, RANGE) == b"0123"

        assert server.connections == 2


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints"])
def test_an_informational_response_precedes_the_final_one(connect: Connect, status: str) -> None:
    hint = f"HTTP/1.1 {status}\r\nlink: </x>\r\n\r\n".encode()
    with scripted(says(hint, hint, WHOLE), says(WHOLE)) as server:
        operations = connect(f"http://127.0.0.1:{server.port}")
        for _ in range(2):
            assert read(operations, VERSION, RANGE) == b"0123"

        assert server.connections == 1


def ends(_: Peer) -> None:
    raise StopIteration


WHOLE = part(b"0123", "bytes 2-5/10", connection="keep-alive")


def test_a_request_on_a_connection_that_the_store_closes_is_repeated_on_a_new_one(
    connect: Connect,
) -> None:
    line = ends_at_the_next_request(WHOLE)
    with scripted(line, line, says(WHOLE)) as server:
        operations = connect(f"http://127.0.0.1:{server.port}")
        for _ in range(3):
            assert read(operations, VERSION, RANGE) == b"0123"

        assert server.connections == 3


def test_idle_connections_are_closed_with_the_transport(connect: Connect) -> None:
    is_closed = threading.Event()

    def waits_for_the_end(peer: Peer) -> None:
        peer.socket.sendall(WHOLE)
        if peer.read_request() is None:
            is_closed.set()

    with scripted(waits_for_the_end) as server:
        operations = connect(f"http://127.0.0.1:{server.port}")
        read(operations, VERSION, RANGE)
        operations.close()

        assert is_closed.wait(3)


def leaves_without_goodbye(peer: Peer) -> None:
    """Sends the response, and resets a TLS connection when another request has arrived."""
    peer.socket.sendall(WHOLE)
    peer.read_request()
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(peer.socket.detach())
    raise StopIteration


@pytest.mark.parametrize("line", [ends_at_the_next_request(WHOLE), leaves_without_goodbye])
def test_a_request_is_repeated_over_tls_too(line: Line, session: Session, tmp_path: Path) -> None:
    issuer, bundle = trustme.CA(), tmp_path / "ca.pem"
    issuer.cert_pem.write_to_path(bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("127.0.0.1").configure_cert(context)
    with scripted(line, line, says(WHOLE), context=context) as server:
        url = f"https://127.0.0.1:{server.port}"
        config = StoreConfig(bucket="photos", endpoint_url=url)
        keys = FixedCredentials(FrozenCredentials("AKID", "secret"))
        endpoint = resolve_endpoint(config, session, region="us-east-1", credentials=keys)
        endpoint = replace(endpoint, ca_bundle=str(bundle))
        operations = BucketOperations(BotoTransport(config, endpoint, session), "photos")
        with closing(operations):
            for _ in range(3):
                assert read(operations, VERSION, RANGE) == b"0123"

        assert server.connections == 3


def test_a_repeat_never_uses_another_kept_alive_connection(connect: Connect) -> None:
    both = threading.Barrier(2)

    def answers_together(peer: Peer) -> None:
        both.wait(10)
        ends_at_the_next_request(WHOLE)(peer)

    with scripted(answers_together, answers_together, says(WHOLE)) as server:
        operations = connect(f"http://127.0.0.1:{server.port}")
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda _: read(operations, VERSION, RANGE), range(2)))

        assert read(operations, VERSION, RANGE) == b"0123"
        assert server.connections == 3


def test_a_new_connection_that_the_store_closes_is_a_failure(connect: Connect) -> None:
    with scripted(ends_at_the_next_request(WHOLE), ends) as server:
        operations = connect(f"http://127.0.0.1:{server.port}")
        read(operations, VERSION, RANGE)
        with pytest.raises(Retryable):
            read(operations, VERSION, RANGE)

        assert server.connections == 2


def test_a_cancelled_request_is_not_repeated(connect: Connect) -> None:
    token = CancelToken()

    def cancels(peer: Peer) -> None:
        token.cancel()
        peer.ended.wait()

    with scripted(says(WHOLE), cancels) as server:
        operations = connect(f"http://127.0.0.1:{server.port}")
        read(operations, VERSION, RANGE)
        with pytest.raises(RequestCancelledError):
            read(operations, VERSION, RANGE, cancel_token=token)

        assert server.connections == 1


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\ntransfer-encoding: chunked\r\n"


def floods(piece: bytes) -> Line:
    """Sends *piece* for as long as the client takes it."""

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
    header = CHUNKED + b"connection: " + connection + b"\r\n\r\n"
    with scripted(after(header + beginning, line)) as server:
        operations = connect(f"http://127.0.0.1:{server.port}")
        until = soon(0.5)
        with pytest.raises(Retryable):
            operations.list_page(ListQuery(""), deadline=until)

        assert time.monotonic() < until + 2


# S3 Express: botocore opens a session by itself, and signs with it


SESSION = (
    b'<?xml version="1.0"?><CreateSessionResult><Credentials><AccessKeyId>SESSION</AccessKeyId>'
    b"<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
    b"<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>"
)
WITH_ENTITIES = SESSION.replace(
    b"?><", b'?><!DOCTYPE CreateSessionResult [<!ENTITY key "SESSION">]><', 1
).replace(b">SESSION<", b">&key;<")
EXPRESS_BUCKET = "photos--use1-az4--x-s3"


@pytest.fixture
def express(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[str], BucketOperations]:
    """Operations on a directory bucket, whose host names all lead to the URL of a test's server."""

    def make(url: str) -> BucketOperations:
        config = StoreConfig(bucket=EXPRESS_BUCKET, region="us-east-1")
        session = open_session(config)
        store = resolve_endpoint(
            config,
            session,
            region="us-east-1",
            credentials=FixedCredentials(FrozenCredentials("AKID", "secret")),
        )
        transport = BotoTransport(config, store, session)
        pool = transport._http._pool
        by_url = pool.connection_from_url
        monkeypatch.setattr(pool, "connection_from_url", lambda _: by_url(url))
        return BucketOperations(transport, EXPRESS_BUCKET)

    return make


def test_a_session_is_opened_and_signs_the_request(
    express: Callable[[str], BucketOperations],
) -> None:
    responses = [
        http(200, SESSION, content_type="application/xml", connection="keep-alive"),
        part(b"0123", "bytes 2-5/10", connection="keep-alive"),
    ]

    def sends(peer: Peer) -> None:
        peer.socket.sendall(responses.pop(0))

    with scripted(sends, sends) as server:
        content = read(express(f"http://127.0.0.1:{server.port}"), VERSION, RANGE)
        requests = server.requests

    assert content == b"0123"
    assert "?session" in requests[0].splitlines()[0]
    assert "Credential=AKID/" in requests[0]
    assert "Credential=SESSION/" in requests[1]
    assert "x-amz-s3session-token: t" in requests[1].lower()


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (error(403, "AccessDenied"), AccessDenied),
        (error(404, "NoSuchBucket"), S3MountError),
        (error(503, "SlowDown"), Retryable),
        (http(200, b"<html>", content_type="text/html"), Retryable),
        (http(404, b"<html>not here</html>", content_type="text/html"), Retryable),
        (http(200, SESSION.replace(b"2099", b"a"), content_type="application/xml"), Retryable),
        (http(200, SESSION.replace(b"2099", b"1999"), content_type="application/xml"), Retryable),
        (
            http(
                200,
                SESSION.replace(b"2099-01-01T00:00:00Z", b"9" * 300),
                content_type="application/xml",
            ),
            Retryable,
        ),
        (b"", Retryable),
    ],
)
def test_no_session_is_a_failure_of_the_request(
    response: bytes, kind: type[Exception], express: Callable[[str], BucketOperations]
) -> None:
    with answering(response) as url, pytest.raises(kind):
        read(express(url), VERSION, RANGE)


def test_no_entity_of_a_session_is_expanded(express: Callable[[str], BucketOperations]) -> None:
    session = http(200, WITH_ENTITIES, content_type="application/xml", connection="keep-alive")
    with scripted(says(session), says(WHOLE)) as server:
        with pytest.raises(Retryable):
            read(express(f"http://127.0.0.1:{server.port}"), VERSION, RANGE)

        assert len(server.requests) == 1


def test_no_session_is_no_absence(express: Callable[[str], BucketOperations]) -> None:
    response = http(404, b"<html>not here</html>", content_type="text/html")
    with answering(response) as url, pytest.raises(Retryable):
        express(url).head("key", deadline=soon())


def test_a_bug_in_a_call_of_botocore_is_no_invalid_session(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations = connect("http://127.0.0.1:1")
    transport: Any = operations._transport
    monkeypatch.setattr(transport._client, "_convert_to_request_dict", Mock(side_effect=KeyError))

    with pytest.raises(KeyError):
        operations.head("key", deadline=soon())


# botocore's parameters


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("GetObject", {"range": "Range", "if-match": "IfMatch", "versionId": "VersionId"}),
        ("HeadObject", {"x-amz-checksum-mode": "ChecksumMode"}),
        ("ListObjectsV2", {"list-type": "", "prefix": "Prefix", "start-after": "StartAfter"}),
        ("ListObjects", {"marker": "Marker", "prefix": "Prefix", "encoding-type": "EncodingType"}),
    ],
)
def test_a_field_of_a_request_is_a_parameter_of_botocore(
    operation: str, parameters: dict[str, str], connect: Connect
) -> None:
    transport: Any = connect("http://127.0.0.1:1")._transport

    assert transport._names(operation).items() >= parameters.items()
