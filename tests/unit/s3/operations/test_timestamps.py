import pytest

from s3mount.s3.operations.timestamps import parse_time

SECOND = 10**9
NOON = 1_795_350_707 * SECOND


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T12:31:47.000Z",
        "2026-11-22T12:31:47Z",
        "2026-11-22T12:31:47",
        "2026-11-22T12:31:47+0000",
        "2026-11-22T14:31:47+02:00",
        "2026-11-22T07:01:47-0530",
        "2026-11-22T14:31:47+02",
        "2026-11-22T12:31:47.000000000Z",
        "2026-11-22t12:31:47z",
        "2026-11-22 12:31:47",
        "2026-11-22 12:31:47 +0000 UTC",
        " 2026-11-22T12:31:47Z\n",
        ":2026-11-22T12:31:47Z",
        "20261122T123147Z",
        "Sun, 22 Nov 2026 12:31:47 GMT",
        "Mon, 22 Nov 2026 07:31:47 EST",
        "Sun Nov 22 12:31:47 2026",
        "1795350707",
        "1795350707.0",
        "1795350707000",
        "1795350707000000",
        "1795350707000000000",
    ],
)
def test_a_time_is_read_in_every_form_that_stores_write(text: str) -> None:
    assert parse_time(text) == NOON


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("2026-11-22T12:31:47.123456789Z", NOON + 123_456_789),
        ("2026-11-22T12:31:47,5Z", NOON + SECOND // 2),
        ("2026-11-22T12:31:60Z", NOON + 13 * SECOND),
        ("2026-11-22", NOON - (12 * 3600 + 31 * 60 + 47) * SECOND),
        ("1969-12-31T23:59:59.5Z", -SECOND // 2),
    ],
)
def test_parts_of_a_time_count(text: str, time_ns: int) -> None:
    assert parse_time(text) == time_ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "0",
        "-62135596800",
        "0001-01-01T00:00:00Z",
        "0000-00-00T00:00:00Z",
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "9999-12-31T23:59:59Z",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "2026-13-22T12:31:47Z",
        "2026-11-22T25:31:47Z",
        "2026-11-22T12:31:47 tomorrow",
        "Mon, 99 Foo 2024 99:99:99 GMT",
        "9" * 30,
        "9" * 10_000,
    ],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert parse_time(text) is None
