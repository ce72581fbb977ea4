"""A listing costs bounded memory, whatever the store sends, over either transport."""

import time
import tracemalloc
from collections.abc import Callable

import pytest

from s3mount.config import StoreConfig
from s3mount.errors import S3MountError
from s3mount.s3.boto.transport import BotoTransport
from s3mount.s3.endpoint.boto_session import Session, open_session
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.resolve import Endpoint, resolve_endpoint
from s3mount.s3.limits import (
    DOCUMENT_LIMIT,
    ERROR_LIMIT,
    LARGE_DOCUMENT,
    MARKUP_LIMIT,
    PIECES_LIMIT,
    ROWS_LIMIT,
    TEXT_LIMIT,
)
from s3mount.s3.model import ListPage, ListQuery
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.transport import Retryable
from tests.unit.s3.canned_server import answering, http
from tests.unit.s3.scripted_server import FixedCredentials

MIB = 1 << 20
PEAK = 64 * MIB  # of one listing; before there were limits 1,400 MiB
HEAD = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated>'
TAIL = "</ListBucketResult>"
MOST = DOCUMENT_LIMIT - 1024


def row(key: str) -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>2022-10-12T17:50:00.000Z</LastModified><ETag>e</ETag><Size>1</Size>"
        "</Contents>"
    )


def prefix(name: str) -> str:
    return f"<CommonPrefixes><Prefix>{name}/</Prefix></CommonPrefixes>"


@pytest.fixture(scope="module")
def session() -> Session:
    return open_session(StoreConfig(bucket="photos"))


ListPageOf = Callable[[bytes], ListPage]


@pytest.fixture(params=["native", "boto"])
def list_page(request: pytest.FixtureRequest, session: Session) -> ListPageOf:
    """Returns the page in one response, over a transport."""

    def call(response: bytes) -> ListPage:
        with answering(response) as url:
            operations = (_native if request.param == "native" else _boto)(url, session)
            try:
                return operations.list_page(ListQuery(""), deadline=time.monotonic() + 30)
            finally:
                operations.close()

    return call


def document(inner: str) -> bytes:
    return http(200, f"{HEAD}{inner}{TAIL}".encode(), content_type="application/xml")


TOO_MUCH = {
    "bytes": " " * DOCUMENT_LIMIT,
    "empty elements": "<a/>" * (MOST // 4),
    "nested elements": "<a>" * (MOST // 7) + "</a>" * (MOST // 7),
    "elements that are not closed": "<a>" * (MOST // 3),
    "attributes": "<a " + " ".join(f"a{number}=''" for number in range(500_000)) + "/>",
    "comments": "<!---->" * (MOST // 7),
    "instructions": "<?a?>" * (MOST // 5),
    "empty rows": "<Contents/>" * (MOST // 11),
    "objects": "".join(row(str(number)) for number in range(ROWS_LIMIT + 1)),
    "many objects": "".join(row(str(number)) for number in range(50_000)),
    "common prefixes": "".join(prefix(str(number)) for number in range(ROWS_LIMIT + 1)),
    "an ETag": row("k").replace("<ETag>e", "<ETag>" + "e" * 1025),
    "a storage class": row("k").replace(
        "<Size>", f"<StorageClass>{'S' * 1025}</StorageClass><Size>"
    ),
    "a key": row("A" * MOST),
    "a key of entities": row("&lt;" * (MOST // 4)),
    "a key beyond Unicode's first plane": row("\U0001f600" * (MOST // 4)),
}


@pytest.mark.parametrize("inner", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_too_much_of_anything_is_refused_before_it_costs_memory(
    inner: str, list_page: ListPageOf
) -> None:
    response = document(inner)

    tracemalloc.start()
    try:
        with pytest.raises(Retryable):
            list_page(response)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < PEAK


MUCH = {
    "objects and common prefixes": "".join(row(f"{number:04}") for number in range(ROWS_LIMIT))
    + "".join(prefix(f"{number:04}") for number in range(ROWS_LIMIT)),
    "depth": "<a>" * (MARKUP_LIMIT // 2 - 10) + "</a>" * (MARKUP_LIMIT // 2 - 10),
    "keys of escapes": "<EncodingType>url</EncodingType>"
    + "".join(row(f"{number:04}" + "%01" * 1020) for number in range(2500)),
    "long keys": "".join(row(f"{number:04}" + "&amp;" * 1020) for number in range(1500)),
    "a long key": row("k" * TEXT_LIMIT),
}


@pytest.mark.parametrize("inner", MUCH.values(), ids=MUCH.keys())
def test_the_largest_page_is_parsed_within_the_same_memory(
    inner: str, list_page: ListPageOf
) -> None:
    response = document(inner)

    tracemalloc.start()
    try:
        page = list_page(response)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (inner.count("<Contents>"), inner.count("<Prefix>")) == (
        len(page.objects),
        len(page.prefixes),
    )
    assert peak < PEAK


def test_large_pages_are_parsed_one_after_another(session: Session) -> None:
    large = document(("<a>" + " " * 1000 + "</a>") * (LARGE_DOCUMENT // 1000) + row("k"))
    with answering(large) as url, answering(document(row("k"))) as small_url:
        for make in (_native, _boto):
            operations, small = make(url, session), make(small_url, session)
            with (
                operations._list_bucket._turns._parsing,
                small._list_bucket._turns._parsing,
            ):  # another thread parses one
                with pytest.raises(Retryable) as caught:
                    operations.list_page(ListQuery(""), deadline=time.monotonic() + 0.5)
                assert (
                    len(small.list_page(ListQuery(""), deadline=time.monotonic() + 30).objects) == 1
                )
            assert caught.value.is_throttle  # as any timeout
            assert (
                len(operations.list_page(ListQuery(""), deadline=time.monotonic() + 30).objects)
                == 1
            )
            assert not operations._list_bucket._turns._parsing.locked()
            operations.close()
            small.close()


def _store(url: str, session: Session) -> tuple[StoreConfig, Endpoint]:
    config = StoreConfig(bucket="photos", endpoint_url=url)
    keys = FixedCredentials(FrozenCredentials("AKID", "secret"))
    return config, resolve_endpoint(config, session, region="us-east-1", credentials=keys)


def _native(url: str, session: Session) -> BucketOperations:
    return BucketOperations(NativeTransport(_store(url, session)[1]), "photos")


def _boto(url: str, session: Session) -> BucketOperations:
    return BucketOperations(BotoTransport(*_store(url, session), session), "photos")


def test_a_document_in_tiny_chunks_is_invalid(list_page: ListPageOf) -> None:
    body = f"{HEAD}{' ' * 2 * PIECES_LIMIT}{TAIL}".encode()
    chunks = b"".join(b"1\r\n%c\r\n" % octet for octet in body)
    response = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n%b0\r\n\r\n" % chunks
    )

    with pytest.raises(Retryable, match=r"too many (chunks|pieces)"):
        list_page(response)


@pytest.mark.parametrize("status", [403, 500])
def test_an_error_without_end_is_not_read_to_its_end(status: int, list_page: ListPageOf) -> None:
    body = b"<Error><Code>X</Code>" + b"<a/>" * ERROR_LIMIT + b"</Error>"

    tracemalloc.start()
    try:
        with pytest.raises((Retryable, S3MountError)) as caught:
            list_page(http(status, body, content_type="application/xml"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert isinstance(caught.value, Retryable)
    assert (caught.value.failure.status == status) == (
        status == 500
    )  # of a server error the status is enough
    assert peak < 10 * MIB


@pytest.mark.parametrize("kind", ["<!ENTITY a 'b'>", "<!ENTITY a SYSTEM 'file:///etc/passwd'>", ""])
def test_a_document_type_is_refused(kind: str, list_page: ListPageOf) -> None:
    body = f"<!DOCTYPE a [{kind}]>{HEAD}{row('&a;' if kind else 'k')}{TAIL}".encode()

    with pytest.raises(Retryable, match="a document type"):
        list_page(http(200, body, content_type="application/xml"))
