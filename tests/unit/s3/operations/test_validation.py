from urllib.parse import quote_from_bytes, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.model import ObjectVersion
from s3mount.s3.operations import validation
from s3mount.s3.operations.validation import (
    ContentRange,
    content_range,
    decode_key,
    is_version,
    plain_etag,
    synthetic_etag,
)
from s3mount.s3.transport import InvalidResponseError

MODIFIED = "Wed, 12 Oct 2022 17:50:00 GMT"
VERSION = ObjectVersion("bucket", "key", "etag", 100)


def test_the_bytes_of_a_body_are_those_of_content_range() -> None:
    content = content_range(206, {"content-range": "bytes 10-19/100", "content-length": "10"})

    assert content == ContentRange(10, 20, 100)


def test_a_200_without_content_range_is_the_whole_object() -> None:
    assert content_range(200, {"content-length": "100"}) == ContentRange(0, 100, 100)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (206, {"content-length": "10"}),
        (200, {}),
        (206, {"content-range": "bytes 10-19/100", "content-length": "11"}),
        (206, {"content-range": "bytes 19-10/100"}),
        (206, {"content-range": "bytes 10-100/100"}),
        (206, {"content-range": "bytes 10-19/*"}),
        (206, {"content-range": "octets 10-19/100"}),
        (206, {"content-range": "junk"}),
        (206, {"content-range": "bytes -1-19/100"}),
        (206, {"content-range": "bytes 1\u0662-19/100"}),
        (200, {"content-length": "-5"}),
        (200, {"content-length": "9" * 30}),
    ],
)
def test_headers_that_make_no_sense_are_invalid(status: int, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidResponseError):
        content_range(status, headers)


@given(st.text("0123456789-/*bytes ", max_size=30))
def test_any_content_range_is_sound_or_invalid(raw: str) -> None:
    try:
        start, stop, size = content_range(206, {"content-range": raw})
    except InvalidResponseError:
        return
    assert 0 <= start < stop <= size


def test_a_version_is_known_by_etag_and_size() -> None:
    assert is_version(VERSION, {"etag": '"etag"'}, 100)
    assert not is_version(VERSION, {"etag": '"other"'}, 100)
    assert not is_version(VERSION, {"etag": '"etag"'}, 99)
    with pytest.raises(InvalidResponseError):
        is_version(VERSION, {}, 100)


def test_without_etags_a_version_is_known_by_date_and_size() -> None:
    headers = {"last-modified": MODIFIED}
    stat = validation.object_stat("bucket", "key", headers, 100)

    assert stat.version.etag == synthetic_etag(stat.mtime_ns, 100)
    assert is_version(stat.version, headers, 100)
    assert is_version(stat.version, {**headers, "etag": '"now there is one"'}, 100)
    assert not is_version(stat.version, headers, 101)
    assert not is_version(stat.version, {"last-modified": MODIFIED.replace(":00 ", ":01 ")}, 100)


def test_a_synthetic_etag_of_a_listing_equals_that_of_a_head() -> None:
    head = validation.object_stat("bucket", "key", {"last-modified": MODIFIED}, 5)

    assert synthetic_etag(head.mtime_ns + 123_000_000, 5) == head.version.etag


@pytest.mark.parametrize("raw", ["", "junk", "32 Foo 9999"])
def test_a_garbled_date_is_1970(raw: str) -> None:
    stat = validation.object_stat("bucket", "key", {"last-modified": raw, "etag": "x"}, 5)

    assert (stat.mtime_ns, stat.version.etag) == (0, "x")


@pytest.mark.parametrize("headers", [{}, {"etag": '""'}, {"last-modified": "0001-01-01T00:00:00Z"}])
def test_an_object_with_neither_etag_nor_date_is_invalid(headers: dict[str, str]) -> None:
    """Its size would be all that tells it from the object that replaces it."""
    with pytest.raises(InvalidResponseError):
        validation.object_stat("bucket", "key", headers, 5)


@pytest.mark.parametrize(
    ("headers", "is_archived"),
    [
        ({}, False),
        ({"x-amz-storage-class": "GLACIER_IR"}, False),
        ({"x-amz-storage-class": "GLACIER"}, True),
        ({"x-amz-storage-class": "DEEP_ARCHIVE", "x-amz-restore": 'ongoing-request="true"'}, True),
        (
            {
                "x-amz-storage-class": "GLACIER",
                "x-amz-restore": 'ongoing-request="false", expiry-date="…"',
            },
            False,
        ),
        (
            {
                "x-amz-storage-class": "INTELLIGENT_TIERING",
                "x-amz-archive-status": "ARCHIVE_ACCESS",
            },
            True,
        ),
    ],
)
def test_an_object_is_archived_by_its_headers(headers: dict[str, str], is_archived: bool) -> None:  # noqa: FBT001
    stat = validation.object_stat(
        "bucket", "key", {"last-modified": MODIFIED, "etag": '"x"', **headers}, 5
    )

    assert stat.is_archived is is_archived


def test_the_null_version_has_no_id() -> None:
    headers = {"last-modified": MODIFIED, "etag": '"x"', "x-amz-version-id": "null"}

    assert validation.object_stat("bucket", "key", headers, 5).version_id is None


@pytest.mark.parametrize("raw", ['"e"', 'W/"e"', "e", ' "e" '])
def test_an_etag_is_without_quotes(raw: str) -> None:
    assert plain_etag(raw) == "e"


@given(st.binary(max_size=20))
def test_any_bytes_survive_the_encoding_of_a_listing(raw: bytes) -> None:
    key = raw.decode("utf-8", "surrogateescape")
    assert decode_key(quote_from_bytes(raw)) == key
    assert decode_key(quote_plus(raw)) == key


@pytest.mark.parametrize("name", ["etag", "x-amz-storage-class", "x-amz-version-id"])
def test_words_that_a_mount_keeps_are_short(name: str) -> None:
    headers = {"last-modified": "Sun, 22 Nov 2026 12:31:47 GMT", "etag": "e", name: "x" * 1025}

    with pytest.raises(InvalidResponseError, match="a word of 1025 bytes"):
        validation.object_stat("b", "k", headers, 1)


def test_a_size_that_no_file_can_have_is_invalid() -> None:
    """It was an OverflowError in the tables of the tree, and in the attributes for the kernel."""
    headers = {"last-modified": MODIFIED, "etag": "e"}

    assert validation.object_stat("b", "k", headers, 2**63 - 1).version.size == 2**63 - 1
    with pytest.raises(InvalidResponseError, match="bytes"):
        validation.object_stat("b", "k", headers, 2**63)
