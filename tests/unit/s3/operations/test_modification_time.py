"""Last-Modified as a validator, over either transport: it hides no version, and spares bodies."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import pytest

from s3mount.errors import StaleVersion, StoreError
from s3mount.s3.model import ByteRange, ListQuery, Modified, NotModified, ObjectVersion
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.operations.modification_time import SETTLED_AFTER, ModificationTimes, http_date
from s3mount.s3.operations.validation import synthetic_etag
from tests.unit.s3.clients import TRANSPORTS, client, read, soon
from tests.unit.s3.scripted_server import Line, ScriptedServer, head, part, refusal, says

CONTENT = b"0123456789"
MTIME = 1_700_000_000  # long before the tests
WHEN = http_date(MTIME)
NOW = MTIME + SETTLED_AFTER + 1
VERSION = ObjectVersion("bucket", "key", synthetic_etag(MTIME * 10**9, len(CONTENT)), len(CONTENT))
PAGE = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"

Clients = Callable[..., AbstractContextManager[tuple[BucketOperations, ScriptedServer]]]


@pytest.fixture(params=list(TRANSPORTS))
def connect(request: pytest.FixtureRequest) -> Clients:
    return partial(client, request.param)


def plain(content: bytes = CONTENT, **headers: str) -> bytes:
    """Return the first four bytes of *content*, without an ETag."""
    return part(content, 0, 4, **{"ETag": None, "Last_Modified": WHEN} | headers)


def listing(seconds: int | None) -> Line:
    """Send an empty listing, as of *seconds*."""
    date = None if seconds is None else http_date(seconds)
    return says(head(Content_Length=len(PAGE), Date=date) + PAGE)


def not_modified(last_modified: str | None) -> bytes:
    return head("304 Not Modified", ETag=None, Last_Modified=last_modified)


def listed(operations: BucketOperations) -> BucketOperations:
    operations.list_page(ListQuery(""), deadline=soon())
    return operations


# reads


def test_a_read_without_an_etag_is_conditional_on_the_time(connect: Clients) -> None:
    with connect(says(plain())) as (operations, server):
        assert read(operations, VERSION, ByteRange(0, 4)) == CONTENT[:4]

        assert f"\r\nif-unmodified-since: {WHEN}".lower() in server.requests[0].lower()
        assert "if-match" not in server.requests[0].lower()


@pytest.mark.parametrize(
    "response",
    [
        plain(Last_Modified=http_date(MTIME + 1)),
        plain(Last_Modified=http_date(MTIME - 1)),
        plain(CONTENT + b"!"),
    ],
    ids=["newer", "older", "of another size in the same second"],
)
def test_a_store_that_ignores_the_condition_brings_no_byte_of_another_version(
    connect: Clients, response: bytes
) -> None:
    with connect(says(response)) as (operations, _), pytest.raises(StaleVersion):
        read(operations, VERSION, ByteRange(0, 4))


def test_a_412_to_a_time_means_another_version(connect: Clients) -> None:
    line = says(refusal("412 Precondition Failed", "PreconditionFailed"))
    with connect(line) as (operations, _), pytest.raises(StaleVersion) as caught:
        read(operations, VERSION, ByteRange(0, 4))

    assert caught.value.status == 412


@pytest.mark.parametrize(
    "etag", ["s3mount-stand-in-0-10", "s3mount-stand-in-x", "s3mount-stand-in-"]
)
def test_a_time_that_is_none_is_not_sent(connect: Clients, etag: str) -> None:
    version = ObjectVersion("bucket", "key", etag, len(CONTENT))
    with connect(says(plain())) as (operations, server):
        with pytest.raises(StaleVersion):
            read(operations, version, ByteRange(0, 4))

        assert "if-unmodified-since" not in server.requests[0].lower()


# revalidation


def test_a_304_to_the_time_of_an_old_object_means_not_modified(connect: Clients) -> None:
    with connect(listing(NOW), says(not_modified(WHEN))) as (operations, server):
        assert listed(operations).revalidate(VERSION, 4, deadline=soon()) == NotModified()

        assert f"\r\nif-modified-since: {WHEN}".lower() in server.requests[1].lower()


@pytest.mark.parametrize("seconds", [MTIME + SETTLED_AFTER, MTIME, MTIME - 5, None])
def test_the_time_of_an_object_that_may_be_replaced_in_its_second_is_not_relied_on(
    connect: Clients, seconds: int | None
) -> None:
    """Its first bytes come, whose header tells the size too."""
    replaced = plain(CONTENT + b"!")
    with connect(listing(seconds), says(replaced)) as (operations, server):
        found = listed(operations).revalidate(VERSION, 4, deadline=soon())

        assert isinstance(found, Modified)
        assert found.stat.version.size == len(CONTENT) + 1
        assert "if-modified-since" not in server.requests[1].lower()


def test_no_time_is_relied_on_before_a_listing(connect: Clients) -> None:
    with connect(says(plain())) as (operations, server):
        assert operations.revalidate(VERSION, 4, deadline=soon()) == NotModified()

        assert "if-modified-since" not in server.requests[0].lower()


def test_a_304_that_tells_another_time_is_not_believed(connect: Clients) -> None:
    older, changed = (
        http_date(MTIME - 100),
        head(ETag=None, Last_Modified=http_date(MTIME - 100), Content_Length=7),
    )
    with connect(listing(NOW), says(not_modified(older)), says(changed)) as (operations, server):
        found = listed(operations).revalidate(VERSION, 4, deadline=soon())

        assert isinstance(found, Modified)
        assert found.stat.version.size == 7
        assert server.requests[2].startswith("HEAD ")


def test_a_304_that_tells_no_time_is_not_believed_and_no_other_is_asked_for(
    connect: Clients,
) -> None:
    same = head(ETag=None, Last_Modified=WHEN, Content_Length=len(CONTENT))
    script = (listing(NOW), says(not_modified(None)), says(same), says(plain()))
    with connect(*script) as (operations, server):
        listed(operations)
        assert operations.revalidate(VERSION, 4, deadline=soon()) == NotModified()
        assert operations.revalidate(VERSION, 4, deadline=soon()) == NotModified()

        methods = [request.partition(" ")[0] for request in server.requests]
        assert methods == ["GET", "GET", "HEAD", "GET"]
        assert "if-modified-since" not in server.requests[3].lower()


@pytest.mark.parametrize(
    ("status", "forms"),  # the latter: of the request, as other headers may be what is refused
    [("412 Precondition Failed", 1), ("400 Bad Request", 2), ("405 Method Not Allowed", 2)],
)
def test_a_store_that_refuses_the_condition_is_asked_without_it_from_then_on(
    connect: Clients, status: str, forms: int
) -> None:
    refused = says(refusal(status, "MethodNotAllowed"))
    same = head(ETag=None, Last_Modified=WHEN, Content_Length=len(CONTENT))
    script = (listing(NOW), *[refused] * forms, says(same), says(plain()))
    with connect(*script) as (operations, server):
        listed(operations)
        assert operations.revalidate(VERSION, 4, deadline=soon()) == NotModified()
        assert operations.revalidate(VERSION, 4, deadline=soon()) == NotModified()

        conditional = ["if-modified-since" in request.lower() for request in server.requests]
        assert conditional == [False, *[True] * forms, False, False]


def test_a_304_that_was_not_asked_for_is_a_failure(connect: Clients) -> None:
    with (
        connect(listing(MTIME), says(not_modified(WHEN))) as (operations, _),
        pytest.raises(StoreError),
    ):
        listed(operations).revalidate(VERSION, 4, deadline=soon())


# the clock


def test_a_store_whose_clock_is_ahead_gives_no_trust_to_new_objects() -> None:
    times = ModificationTimes(wall_clock=lambda: MTIME + 1.0)

    times.record_listing(http_date(MTIME + 10_000))

    assert not times.may_settle(VERSION)


def test_only_the_first_listing_counts() -> None:
    times = ModificationTimes(wall_clock=lambda: MTIME + 10_000.0)

    times.record_listing(http_date(MTIME))
    times.record_listing(http_date(MTIME + 10_000))

    assert not times.may_settle(VERSION)
