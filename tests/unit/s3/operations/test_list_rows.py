"""Odd rows are skipped, read generously or shown plainly, and counted."""

import logging

import pytest

from s3mount.s3.model import ListedObject, ListPage, ListQuery, RowOddity
from s3mount.s3.operations.list_dialect import ListObjects
from s3mount.s3.operations.odd_row_log import LOGGED_MAX, OddRowLog
from s3mount.s3.transport import InvalidResponseError

STAMP = "2026-11-22T12:31:47.000Z"
MTIME = 1_795_350_707_000_000_000
GOOD = ListedObject("d/good", 5, MTIME, "abc")


def row(key: str, *, size: str = "<Size>5</Size>", stamp: str = STAMP, etag: str = "abc") -> str:
    tag = f"<ETag>{etag}</ETag>" if etag else ""
    return (
        f"<Contents><Key>{key}</Key><LastModified>{stamp}</LastModified>{tag}{size}"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )


def prefix(text: str) -> str:
    return f"<CommonPrefixes><Prefix>{text}</Prefix></CommonPrefixes>"


def read(*rows: str, query: ListQuery | None = None) -> ListPage:
    body = (
        "<ListBucketResult><Prefix>d/</Prefix><IsTruncated>false</IsTruncated>{}</ListBucketResult>"
    )
    return ListObjects().read_page(body.format("".join(rows)).encode(), query or ListQuery("d/"))


@pytest.mark.parametrize(
    ("odd", "oddity"),
    [
        (row(""), RowOddity.NO_KEY),
        (row("d"), RowOddity.OUTSIDE),
        (row("e/x"), RowOddity.OUTSIDE),
        (prefix("e/"), RowOddity.OUTSIDE),
        (prefix("d/"), RowOddity.OWN_PREFIX),
    ],
)
def test_a_row_that_is_no_entry_is_skipped(odd: str, oddity: RowOddity) -> None:
    page = read(odd, row("d/good"))

    assert (page.objects, page.prefixes, page.incomplete) == ([GOOD], [], ())
    assert page.odd_rows == ((oddity, 1),)
    assert page.is_partial == (oddity is RowOddity.NO_KEY)


@pytest.mark.parametrize(
    ("odd", "oddity"),
    [
        (row("d/sub/"), RowOddity.DIRECTORY_OBJECT),
        (row("d/sub/x"), RowOddity.BELOW_DELIMITER),
        (prefix("d/sub/x/"), RowOddity.BELOW_DELIMITER),
        (prefix("d/sub"), RowOddity.NO_DELIMITER),
    ],
)
def test_a_directory_is_shown_however_it_is_listed(odd: str, oddity: RowOddity) -> None:
    page = read(prefix("d/a/"), odd, prefix("d/z/"), row("d/good"))

    assert (page.objects, sorted(page.prefixes)) == ([GOOD], ["d/a/", "d/sub/", "d/z/"])
    assert page.odd_rows == ((oddity, 1),)


def test_several_common_prefixes_may_share_an_element() -> None:
    shared = "<CommonPrefixes><Prefix>d/a/</Prefix><Prefix>d/b/</Prefix></CommonPrefixes>"

    assert read(shared).prefixes == ["d/a/", "d/b/"]


def test_empty_rows_are_no_rows() -> None:
    page = read("<Contents/><CommonPrefixes/><CommonPrefixes><Prefix/></CommonPrefixes>")

    assert page == ListPage([], [], None)


@pytest.mark.parametrize("stamp", ["", "0001-01-01T00:00:00Z", "once"])
def test_a_time_that_is_none_is_1970(stamp: str) -> None:
    page = read(row("d/a", stamp=stamp), row("d/good"))

    assert page.objects == [ListedObject("d/a", 5, 0, "abc"), GOOD]
    assert page.odd_rows == ((RowOddity.NO_TIME, 1),)


@pytest.mark.parametrize(
    "odd",
    [
        row("d/a", size=""),
        row("d/a", size="<Size/>"),
        row("d/a", size="<Size>-1</Size>"),
        row("d/a", size="<Size>5</Size><Size>6</Size>"),
        row("d/a", size=f"<Size>{10**30}</Size>"),
        row("d/a", size="<Size>5</Size><ETag>other</ETag>"),
        row("d/a", size="<Size>5<b/></Size>"),
        row("d/a", etag="", stamp="once"),
    ],
)
def test_an_object_without_size_or_version_is_incomplete(odd: str) -> None:
    page = read(row("d/0"), odd, row("d/good"))

    assert [each.key for each in page.objects] == ["d/0", "d/good"]
    assert page.incomplete == ((1, "d/a"),)
    assert dict(page.odd_rows)[RowOddity.NO_VERSION] == 1


def test_a_row_that_a_page_begins_after_is_skipped() -> None:
    page = read(row("d/a"), row("d/good"), query=ListQuery("d/", start_after="d/a"))

    assert (page.objects, page.odd_rows) == ([GOOD], ((RowOddity.REPEATED, 1),))


def test_common_prefixes_without_a_delimiter_are_invalid_as_they_hide_objects() -> None:
    with pytest.raises(InvalidResponseError):
        read(prefix("d/a/"), query=ListQuery("d/", delimiter=""))


@pytest.mark.parametrize("rows", [(row("e"), row("f")), (row("e"), prefix("d/")), (row("e"),) * 9])
def test_a_page_of_another_prefix_is_invalid(rows: tuple[str, ...]) -> None:
    with pytest.raises(InvalidResponseError):
        read(*rows)


def test_one_row_of_another_prefix_is_an_odd_row() -> None:
    assert read(row("e")).odd_rows == ((RowOddity.OUTSIDE, 1),)


# ---- the log


def test_odd_rows_are_counted_and_logged_once_for_each_prefix_and_kind(
    caplog: pytest.LogCaptureFixture, expected_warnings: list[str]
) -> None:
    expected_warnings.append("outside of the prefix")
    log = OddRowLog()

    with caplog.at_level(logging.INFO):
        for directory in ("d/", "e/", "d/"):
            log.note(directory, [(RowOddity.NO_TIME, 3), (RowOddity.OUTSIDE, 1)])

    assert log.count == 12
    assert [(record.levelname, record.args[0]) for record in caplog.records if record.args] == [  # type: ignore[index]
        ("INFO", "d/"),
        ("WARNING", "d/"),
        ("INFO", "e/"),
        ("WARNING", "e/"),
    ]


def test_what_is_remembered_of_odd_rows_is_bounded() -> None:
    log = OddRowLog()

    for number in range(LOGGED_MAX + 10):
        log.note(f"{number}/", [(RowOddity.NO_TIME, 1)])

    assert len(log._logged) <= LOGGED_MAX
