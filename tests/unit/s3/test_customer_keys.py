"""Customer keys (SSE-C) on the wire, over both transports: where a key goes, and what shows it."""

import base64
import hashlib
import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from s3mount.errors import AccessDenied, S3MountError
from s3mount.s3.endpoint.customer_key import CustomerKey
from s3mount.s3.model import ByteRange, ListQuery, ObjectVersion
from s3mount.s3.native.redirects import RedirectFollower
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.operations.customer_keys import CustomerKeys
from s3mount.s3.operations.keyed_transport import KeyedTransport
from s3mount.s3.transport import ErrorResponseError, Retryable, StoreRequest
from tests.unit.s3.clients import TRANSPORTS, operations_over, read, read_nowait, soon
from tests.unit.s3.scripted_server import (
    Line,
    ScriptedServer,
    head,
    part,
    refusal,
    says,
    says_and_ends,
    scripted,
    store_at,
)

SECRET = bytes(range(200, 232))
KEY = CustomerKey(SECRET)
OTHER = CustomerKey(b"k" * 32)
CONTENT = bytes(range(250)) * 4
VERSION = ObjectVersion("bucket", "key", "abc", len(CONTENT))
RANGE = ByteRange(100, 900)
EXPECTED = CONTENT[RANGE.start : RANGE.stop]
ALGORITHM = "x-amz-server-side-encryption-customer-algorithm"
HEADERS = {
    ALGORITHM: "AES256",
    "x-amz-server-side-encryption-customer-key": base64.b64encode(SECRET).decode(),
    "x-amz-server-side-encryption-customer-key-md5": base64.b64encode(
        hashlib.md5(SECRET).digest()
    ).decode(),
}
TOLD = {ALGORITHM: "AES256"}
RESPONSE = part(CONTENT, RANGE.start, RANGE.stop, **TOLD)
NEEDS_KEY = refusal("400 Bad Request", "InvalidRequest")
WRONG_KEY = refusal("403 Forbidden", "AccessDenied")


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def keyed(
    transport: str, *script: Line, keys: tuple[CustomerKey, ...] = (KEY,), **changes: object
) -> Iterator[tuple[BucketOperations, ScriptedServer]]:
    """Operations with *keys*, and the server that they reach over plain HTTP."""
    changes = {"keys_over_http": True, **changes}
    with scripted(*script) as server:
        over = KeyedTransport(TRANSPORTS[transport](server.port, **changes), CustomerKeys(keys))
        with operations_over(over) as operations:
            yield operations, server


def headers_of(request: str) -> dict[str, str]:
    lines = (line.partition(": ") for line in request.split("\r\n")[1:] if line)
    return {name.lower(): value for name, _, value in lines}


def keys_in(request: str) -> dict[str, str]:
    return {name: value for name, value in headers_of(request).items() if "customer" in name}


def test_a_key_is_sent_in_three_signed_headers(transport: str) -> None:
    with keyed(transport, says(NEEDS_KEY), says(RESPONSE)) as (operations, server):
        assert read(operations, VERSION, RANGE) == EXPECTED

    without, with_key = server.requests
    assert keys_in(without) == {}
    assert keys_in(with_key) == HEADERS
    signed = headers_of(with_key)["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    assert set(HEADERS) <= set(signed.split(";"))
    assert headers_of(with_key)["if-match"] == '"abc"'


def test_a_head_that_is_refused_without_a_code_finds_its_key(transport: str) -> None:
    script = (
        says(refusal("400 Bad Request")),
        says(refusal("403 Forbidden")),
        says(head(Content_Length=5, **TOLD)),
    )
    with keyed(transport, *script, keys=(OTHER, KEY)) as (operations, server):
        assert operations.head("key", deadline=soon()).version.size == 5

    assert [bool(keys_in(request)) for request in server.requests] == [False, True, True]
    assert keys_in(server.requests[2]) == HEADERS


def test_a_read_of_the_event_loop_carries_the_key_and_finds_another() -> None:
    script = (
        *(says(NEEDS_KEY), says(RESPONSE), says(RESPONSE)),
        *(says(WRONG_KEY), says(NEEDS_KEY), says(RESPONSE)),
    )
    with keyed("native", *script, keys=(KEY, OTHER)) as (operations, server):
        for _ in range(3):
            assert read_nowait(operations, VERSION, RANGE) == EXPECTED

    sent = [keys_in(request) for request in server.requests]
    assert sent[:5] == [{}, HEADERS, HEADERS, HEADERS, {}]
    assert sent[5]
    assert sent[5] != HEADERS


def test_a_listing_carries_no_key(transport: str) -> None:
    page = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    document = head(Content_Length=len(page), ETag=None) + page
    script = says(NEEDS_KEY), says(RESPONSE), says(document)
    with keyed(transport, *script) as (operations, server):
        read(operations, VERSION, RANGE)
        operations.list_page(ListQuery(""), deadline=soon())

    assert keys_in(server.requests[2]) == {}


def test_a_redirect_that_is_followed_carries_no_key(transport: str) -> None:
    """The other host cannot send the object, then; it could be anyone's."""
    with scripted(says(NEEDS_KEY), says(RESPONSE)) as other:
        to_other = says(
            refusal("307 Elsewhere", Location=f"http://127.0.0.1:{other.port}/x", **TOLD)
        )
        with scripted(says(NEEDS_KEY), to_other, to_other) as store:
            changes = {"keys_over_http": True}
            follower = RedirectFollower(
                TRANSPORTS[transport](store.port, **changes), store_at(store.port, **changes)
            )
            with (
                operations_over(KeyedTransport(follower, CustomerKeys([KEY]))) as operations,
                pytest.raises(AccessDenied),
            ):
                read(operations, VERSION, RANGE)

    assert keys_in(store.requests[1]) == HEADERS
    assert other.requests
    for request in other.requests:
        assert keys_in(request) == {}
        assert HEADERS["x-amz-server-side-encryption-customer-key"] not in request


@pytest.mark.parametrize(
    "changes",
    [
        {"keys_over_http": False},
        {"host": "store.example"},
        {"proxy": "http://127.0.0.1:9"},
    ],
    ids=["http", "another host", "proxy"],
)
def test_a_key_is_not_sent_where_others_could_read_it(
    transport: str, changes: dict[str, object]
) -> None:
    """Whatever was checked at the start: the transport refuses when it encodes the request."""
    request = StoreRequest("GetObject", "key", customer_key=KEY)
    with scripted(says(RESPONSE)) as server:
        over = TRANSPORTS[transport](server.port, **{"keys_over_http": True, **changes})
        try:
            with (
                pytest.raises(AccessDenied, match="not sent") as failure,
                over.send(request, deadline=soon()),
            ):
                pass
        finally:
            over.close()

    assert server.requests == []
    assert_hidden(repr(failure.value), str(failure.value))


def test_a_name_that_leads_elsewhere_is_not_connected_to(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key goes to loopback addresses, and not to what a resolver makes of `localhost`."""
    foreign = [(2, 1, 6, "", ("203.0.113.5", 80))]
    monkeypatch.setattr("s3mount.s3.tcp_connect.resolve_name", lambda *_: foreign)
    over = TRANSPORTS[transport](80, keys_over_http=True, host="localhost")
    request = StoreRequest("HeadObject", "key", method="HEAD")
    try:
        with (
            pytest.raises(OSError, match="loopback"),
            over.send(request, deadline=soon()),
        ):
            pass
    finally:
        over.close()


def assert_hidden(*texts: str) -> None:
    for text in texts:
        for shown in (base64.b64encode(SECRET).decode(), SECRET.hex(), repr(SECRET)[2:-1]):
            assert shown.lower() not in text.lower()


def test_no_representation_shows_a_key() -> None:
    request = StoreRequest("GetObject", "key", customer_key=KEY)
    texts = [repr(KEY), str(KEY), repr(request), str(request), f"{KEY!r}", repr([KEY])]

    assert_hidden(*texts)
    assert KEY.fingerprint in repr(request)
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
    with pytest.raises(ValueError, match="32 bytes") as failure:
        CustomerKey(SECRET[:31])
    assert_hidden(repr(failure.value))


def test_no_failure_shows_a_key(transport: str) -> None:
    """Of any refusal, nor the exceptions behind it."""
    refusals = [WRONG_KEY, refusal("500 Oops"), refusal("400 Bad", "InvalidArgument")]
    for line in (*map(says, refusals), says_and_ends(b"junk\r\n\r\n")):
        with (
            keyed(transport, says(NEEDS_KEY), *[line] * 4) as (operations, _),
            pytest.raises((S3MountError, Retryable)) as failed,
        ):
            read(operations, VERSION, RANGE)
        failure: BaseException | None = failed.value
        while failure is not None:
            assert_hidden(repr(failure), str(failure), repr(vars(failure)))
            failure = failure.__cause__ or failure.__context__


def test_the_failure_is_that_of_the_request_without_a_key(transport: str) -> None:
    with (
        keyed(transport, says(NEEDS_KEY), says(WRONG_KEY)) as (operations, _),
        pytest.raises(AccessDenied) as failure,
    ):
        read(operations, VERSION, RANGE)

    assert failure.value.code == "InvalidRequest"
    assert isinstance(failure.value.__cause__, ErrorResponseError)
