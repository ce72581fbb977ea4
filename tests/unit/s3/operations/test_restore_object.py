"""RestoreObject over either transport: the request, each response, and that nothing else writes."""

import ast
import hashlib
from base64 import b64encode
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from s3mount.errors import Archived, CredentialsRefused, NotFound, StoreError
from s3mount.s3.archive import RestoreOrder, RestoreOutcome, RestoreQuery, RestoreTier
from s3mount.s3.native.redirects import RedirectFollower
from s3mount.s3.request_records import RequestKind
from s3mount.s3.transport import (
    RESTORE,
    ErrorResponseError,
    ForbiddenRequestError,
    Retryable,
    StoreRequest,
    is_allowed,
)
from tests.unit.s3.clients import TRANSPORTS, client, operations_over, soon
from tests.unit.s3.scripted_server import (
    head,
    refusal,
    says,
    says_and_ends,
    scripted,
    store_at,
)
from tests.unit.s3.test_logged_requests import log_of

ROOT = Path(__file__).parents[4]
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
ACCEPTED = head("202 Accepted", ETag=None, Last_Modified=None, Content_Length=0)
DONE = head(ETag=None, Last_Modified=None, Content_Length=0)
BULK = RestoreQuery("a b/ü", RestoreOrder(RestoreTier.BULK, 3))

transports = pytest.mark.parametrize("transport", TRANSPORTS)


def headers_of(request: str) -> dict[str, str]:
    lines = [line.partition(": ") for line in request.splitlines()[1:]]
    return {name.lower(): value for name, _, value in lines}


@transports
def test_a_restore_is_a_post_that_is_signed_with_its_body(transport: str) -> None:
    with client(transport, says(ACCEPTED)) as (operations, server):
        outcome = operations.restore(BULK, deadline=soon())

    [request], [body] = server.requests, server.bodies
    sent = headers_of(request)
    signed = sent["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    root = ET.fromstring(body)
    assert outcome is RestoreOutcome.REQUESTED
    assert request.startswith("POST /bucket/a%20b/%C3%BC?restore")
    assert root.tag == f"{NAMESPACE}RestoreRequest"
    assert [(each.tag, each.text) for each in root.iter() if each.text] == [
        (f"{NAMESPACE}Days", "3"),
        (f"{NAMESPACE}Tier", "Bulk"),
    ]
    assert sent["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
    assert {"host", "x-amz-content-sha256", "x-amz-date"} <= {*signed}
    md5 = b64encode(hashlib.md5(body).digest()).decode()
    assert sent.get("content-md5", md5) == md5


@transports
def test_a_restore_names_a_version_and_may_have_no_days(transport: str) -> None:
    query = RestoreQuery("k", RestoreOrder(), "v1")
    with client(transport, says(DONE)) as (operations, server):
        outcome = operations.restore(query, deadline=soon())

    assert outcome is RestoreOutcome.EXTENDED
    assert server.requests[0].partition(" HTTP")[0].endswith("versionId=v1")
    assert b"Days" not in server.bodies[0]


@transports
@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (refusal("409 Conflict", "RestoreAlreadyInProgress"), RestoreOutcome.ONGOING),
        (DONE, RestoreOutcome.EXTENDED),
    ],
)
def test_a_restore_that_was_asked_for_before_is_no_failure(
    transport: str, response: bytes, outcome: RestoreOutcome
) -> None:
    with client(transport, says(response)) as (operations, _):
        assert operations.restore(BULK, deadline=soon()) is outcome


@transports
@pytest.mark.parametrize(
    ("response", "kind", "text"),
    [
        (refusal("403 Forbidden", "InvalidObjectState"), StoreError, "needs no restore"),
        (refusal("403 Forbidden", "AccessDenied"), CredentialsRefused, "AccessDenied"),
        (refusal("404 Not Found", "NoSuchKey"), NotFound, "NoSuchKey"),
        (refusal("501 Not Implemented", "NotImplemented"), StoreError, "has no restores"),
        (refusal("405 Method Not Allowed", "MethodNotAllowed"), StoreError, "has no restores"),
        (
            refusal("503 Service Unavailable", "GlacierExpeditedRetrievalNotAvailable"),
            StoreError,
            "--tier Standard",
        ),
        (refusal("400 Bad Request", "MalformedXML"), StoreError, "MalformedXML"),
    ],
)
def test_a_refusal_says_what_to_do(
    transport: str, response: bytes, kind: type[Exception], text: str
) -> None:
    with (
        client(transport, says(response)) as (operations, server),
        pytest.raises(kind, match=text) as failure,
    ):
        operations.restore(BULK, deadline=soon())

    assert len(server.requests) == 1
    assert not isinstance(failure.value, Archived)


@transports
@pytest.mark.parametrize(
    "response",
    [refusal("500 Internal Server Error", "InternalError"), b""],
)
def test_an_attempt_that_may_be_repeated_is(transport: str, response: bytes) -> None:
    with (
        client(transport, says_and_ends(response)) as (operations, _),
        pytest.raises(Retryable),
    ):
        operations.restore(BULK, deadline=soon())


@transports
def test_a_restore_is_sent_again_on_a_connection_that_was_closed(transport: str) -> None:
    script = says_and_ends(DONE), says(ACCEPTED)
    with client(transport, *script) as (operations, server):
        operations.restore(BULK, deadline=soon())
        outcome = operations.restore(BULK, deadline=soon())

    assert outcome is RestoreOutcome.REQUESTED
    assert server.bodies[0] == server.bodies[1]


@transports
def test_a_restore_is_counted_as_one(transport: str) -> None:
    with scripted(says(ACCEPTED)) as server:
        made = TRANSPORTS[transport](server.port)
        with operations_over(made) as operations:
            operations.restore(BULK, deadline=soon())

    counts = log_of(made).counts()
    assert {kind: each.sent for kind, each in counts.items() if each.sent} == {
        RequestKind.RESTORE: 1
    }


@transports
def test_a_restore_follows_no_redirect(transport: str) -> None:
    with scripted() as other:
        moved = refusal(
            "307 Temporary Redirect", "", Location=f"http://127.0.0.1:{other.port}/bucket/k"
        )
        with scripted(says(moved)) as server:
            follower = RedirectFollower(TRANSPORTS[transport](server.port), store_at(server.port))
            with operations_over(follower) as operations, pytest.raises(StoreError):
                operations.restore(BULK, deadline=soon())

    assert (len(server.requests), other.requests) == (1, [])


WRITES = [
    StoreRequest("PutObject", "k", method="PUT"),
    StoreRequest("DeleteObject", "k", method="DELETE"),
    StoreRequest("PostObject", "k", method="POST"),
    StoreRequest("DeleteObjects", None, (("delete", ""),), method="POST", body=b"<Delete/>"),
    StoreRequest(RESTORE, "k", (("uploads", ""),), method="POST"),
    StoreRequest(RESTORE, "k", method="POST", body=b"<RestoreRequest/>"),
    StoreRequest(RESTORE, "k", (("restore", ""),), method="PUT", body=b"<RestoreRequest/>"),
    StoreRequest(RESTORE, None, (("restore", ""),), method="POST"),
    StoreRequest("GetObject", "k", body=b"body"),
]


@pytest.mark.parametrize("request_", WRITES, ids=lambda request: f"{request[0]} {request[5]}")
def test_only_reads_and_restores_are_allowed(request_: StoreRequest) -> None:
    assert not is_allowed(request_, request_.method)


@pytest.mark.parametrize("request_", WRITES[:4], ids=lambda request: f"{request[0]} {request[5]}")
def test_the_native_transport_sends_nothing_that_writes(request_: StoreRequest) -> None:
    with scripted() as server:
        transport = TRANSPORTS["native"](server.port)
        with (
            operations_over(transport),
            pytest.raises(ForbiddenRequestError),
            transport.send(request_, deadline=soon()),
        ):
            pass

    assert server.requests == []


@pytest.mark.parametrize("operation", ["DeleteObject", "PutObject", "CreateMultipartUpload"])
def test_the_transport_over_botocore_sends_nothing_that_writes(operation: str) -> None:
    with scripted() as server:
        transport = TRANSPORTS["boto"](server.port)
        with (
            operations_over(transport),
            pytest.raises(ForbiddenRequestError),
            transport.send(StoreRequest(operation, "k"), deadline=soon()),
        ):
            pass

    assert server.requests == []


def test_one_module_makes_a_request_that_is_no_read() -> None:
    """`StoreRequest`s have a method that is a constant, so the source tells all of them."""
    methods = {
        (path.stem, ast.unparse(keyword.value))
        for path in (ROOT / "s3mount").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "StoreRequest"
        for keyword in node.keywords
        if keyword.arg == "method"
    }

    assert {(name, method) for name, method in methods if method != "'HEAD'"} == {
        ("restore_object", "'POST'")
    }


def test_an_error_of_a_read_names_the_command() -> None:
    with (
        client("native", says(refusal("403 Forbidden", "InvalidObjectState"))) as (operations, _),
        pytest.raises(Archived, match="s3mountctl restore PATH"),
    ):
        operations.head_by_get("k", deadline=soon())


def test_the_error_response_of_a_restore_is_its_cause() -> None:
    with (
        client("native", says(refusal("501 Not Implemented", "NotImplemented"))) as (made, _),
        pytest.raises(StoreError) as failure,
    ):
        made.restore(BULK, deadline=soon())

    assert isinstance(failure.value.__cause__, ErrorResponseError)
    assert (failure.value.status, failure.value.key) == (501, BULK.key)
