"""The buckets of an account, over either transport, and from documents of any kind."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from s3mount.config import StoreConfig
from s3mount.errors import AccessDenied, NotFound, StoreError
from s3mount.s3.boto.transport import BotoTransport
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.resolve import resolve_endpoint
from s3mount.s3.model import ListQuery, Reason, RowOddity
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.operations.account_operations import AccountOperations
from s3mount.s3.operations.list_buckets import read_buckets
from s3mount.s3.transport import InvalidResponseError, Retryable, Transport
from tests.unit.s3.clients import TRANSPORTS, session, soon
from tests.unit.s3.scripted_server import (
    FixedCredentials,
    Line,
    ScriptedServer,
    says,
    scripted,
)

XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"


def document(*rows: str, more: str = "") -> bytes:
    buckets = "".join(f"<Bucket>{row}</Bucket>" for row in rows)
    return (
        f'<?xml version="1.0"?><ListAllMyBucketsResult xmlns="{XMLNS}"><Owner><ID>1</ID></Owner>'
        f"<Buckets>{buckets}</Buckets>{more}</ListAllMyBucketsResult>"
    ).encode()


def row(name: str, region: str = "") -> str:
    told = f"<BucketRegion>{region}</BucketRegion>" if region else ""
    return f"<Name>{name}</Name>{told}<CreationDate>2026-11-26T10:00:00.000Z</CreationDate>"


def answer(body: bytes, status: str = "200 OK") -> Line:
    return says(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def refusal(status: str, code: str) -> Line:
    return answer(f"<Error><Code>{code}</Code></Error>".encode(), status)


@contextmanager
def account(name: str, *script: Line) -> Iterator[tuple[AccountOperations, ScriptedServer]]:
    """Operations on an account over the transport *name*, and the server that they reach."""
    with scripted(*script) as server:
        config = StoreConfig(
            bucket="", endpoint_url=f"http://127.0.0.1:{server.port}", requester_pays=True
        )
        keys = FixedCredentials(FrozenCredentials("AKID", "secret"))
        endpoint = resolve_endpoint(config, session(), region="us-east-1", credentials=keys)
        transport: Transport = (
            NativeTransport(endpoint)
            if name == "native"
            else BotoTransport(config, dataclasses.replace(endpoint), session())
        )
        try:
            yield AccountOperations(transport), server
        finally:
            transport.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_buckets_are_common_prefixes_and_their_regions_are_kept(transport: str) -> None:
    body = document(row("logs", "eu-central-1"), row("photos"))
    with account(transport, answer(body)) as (operations, server):
        page = operations.list_page(ListQuery(""), deadline=soon())

    assert (page.objects, page.prefixes, page.next_token) == ([], ["logs/", "photos/"], None)
    assert operations.regions == {"logs": "eu-central-1"}
    [request] = server.requests
    assert request.startswith("GET /?max-buckets=10000 HTTP/1.1\r\n")
    assert "x-amz-request-payer" not in request.lower()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_page_goes_on_at_its_token(transport: str) -> None:
    pages = (
        document(row("a", "de"), more="<ContinuationToken>t/+=</ContinuationToken>"),
        document(row("b", "fr")),
    )
    with account(transport, *map(answer, pages)) as (operations, server):
        first = operations.list_page(ListQuery("", reason=Reason.LOOKUP), deadline=soon())
        query = ListQuery("", token=first.next_token)
        second = operations.list_page(query, deadline=soon())

    assert (first.next_token, second.next_token) == ("t/+=", None)
    assert operations.regions == {"a": "de", "b": "fr"}
    assert "/?continuation-token=t%2F%2B%3D&max-buckets=10000 " in server.requests[1]


def test_a_store_that_knows_no_limit_goes_on_at_its_token() -> None:
    first = document(row("a"), more="<ContinuationToken>t</ContinuationToken>")
    script = (refusal("400 Bad Request", "InvalidArgument"), answer(first), answer(document()))
    with account("native", *script) as (operations, server):
        token = operations.list_page(ListQuery(""), deadline=soon()).next_token
        operations.list_page(ListQuery("", token=token), deadline=soon())

    assert server.requests[2].startswith("GET /?continuation-token=t HTTP/1.1\r\n")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_store_that_knows_no_limit_is_asked_without_one_from_then_on(transport: str) -> None:
    body = document(row("a"))
    script = (refusal("400 Bad Request", "InvalidArgument"), answer(body), answer(body))
    with account(transport, *script) as (operations, server):
        for _ in range(2):
            assert operations.list_page(ListQuery(""), deadline=soon()).prefixes == ["a/"]

    assert [request.split(" ")[1] for request in server.requests] == [
        "/?max-buckets=10000",
        "/",
        "/",
    ]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_refusal_and_a_failure_are_those_of_a_list(transport: str) -> None:
    script = (refusal("403 Forbidden", "AccessDenied"), refusal("503 Slow Down", "SlowDown"))
    with account(transport, *script) as (operations, _):
        with pytest.raises(AccessDenied):
            operations.list_page(ListQuery(""), deadline=soon())
        with pytest.raises(Retryable) as caught:
            operations.list_page(ListQuery(""), deadline=soon())

    assert caught.value.is_throttle


def test_an_account_has_no_objects() -> None:
    with account("native") as (operations, _), pytest.raises(NotFound):
        operations.head("x", deadline=soon())


def test_a_name_that_no_bucket_can_have_is_an_odd_row() -> None:
    names = ("ok", "a/b", "..", "", "a b", "arn:aws:s3:::x", "b" * 256, "&#10;", "-x")
    page, regions = read_buckets(document(*(row(name, "de/../fr") for name in names)))

    assert page.prefixes == ["ok/"]
    assert page.odd_rows == ((RowOddity.NO_BUCKET, len(names) - 1),)
    assert regions == {}


def test_an_account_without_buckets_has_an_empty_page() -> None:
    empty = b"<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>"

    assert read_buckets(empty).page.prefixes == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b"<ListBucketResult><Name>bucket</Name></ListBucketResult>",
        document(row("a"))[:-10],
        document(row("a")).replace(b"<Buckets>", b"<Buckets/><Buckets>"),
        b"<!DOCTYPE x><ListAllMyBucketsResult/>",
    ],
)
def test_what_is_no_list_of_buckets_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidResponseError):
        read_buckets(body)


def test_a_failure_that_no_other_request_mends_is_not_repeated() -> None:
    with (
        account("native", refusal("404 Not Found", "NoSuchBucket")) as (operations, server),
        pytest.raises((NotFound, StoreError)),
    ):
        operations.list_page(ListQuery(""), deadline=soon())

    assert len(server.requests) == 1
