"""Moments as users write them; what is ambiguous, in the future or unknown is refused."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from s3mount.cli.build_config import MountArguments, build_config
from s3mount.cli.moment import FORMS, parse_moment
from s3mount.cli.option_value import parse_value
from s3mount.cli.options import BY_NAME
from s3mount.cli.parser import parse_arguments
from s3mount.config import INDEFINITE, Config
from s3mount.errors import UsageError

NOW = datetime(2026, 3, 31, 16, 30, 15, tzinfo=UTC)  # a Tuesday, in summer time in Europe


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone that is not UTC, and has summer time since two days."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-03-31T16:30:15"),
        ("@1700000000.5", "2023-11-14T22:13:20.500000"),
        ("2026-03-26T14:00:00Z", "2026-03-26T14:00:00"),
        ("2026-03-26t14:00:00.25z", "2026-03-26T14:00:00.250000"),
        ("2026-03-26T14:00:00+02:00", "2026-03-26T12:00:00"),
        ("2026-03-26 14:00", "2026-03-26T13:00:00"),
        ("2026-03-30 14:00", "2026-03-30T12:00:00"),
        ("2026-03-26 16:57:55.000000000 +0000", "2026-03-26T16:57:55"),
        ("2026-03-26 14:00 UTC", "2026-03-26T14:00:00"),
        ("2026-03-26", "2026-03-25T23:00:00"),
        ("Yesterday 14:00", "2026-03-30T12:00:00"),
        ("yesterday at 9:05:30", "2026-03-30T07:05:30"),
        ("yesterday", "2026-03-29T22:00:00"),
        ("today 9:00", "2026-03-31T07:00:00"),
        ("9:00", "2026-03-31T07:00:00"),
        ("monday 14:00", "2026-03-30T12:00:00"),
        ("last tuesday", "2026-03-23T23:00:00"),
        ("2 days ago", "2026-03-29T16:30:15"),
        ("3 days ago", "2026-03-28T17:30:15"),  # the same time of day, before summer time
        ("72 hours ago", "2026-03-28T16:30:15"),
        ("3 days ago 14:00", "2026-03-28T13:00:00"),
        ("1 hour 30 minutes ago", "2026-03-31T15:00:15"),
        ("an hour ago", "2026-03-31T15:30:15"),
        ("1 month ago", "2026-02-28T17:30:15"),
        ("1 year ago", "2025-03-31T16:30:15"),
        ("13 months ago", "2025-02-28T17:30:15"),
    ],
)
def test_a_moment_is_read(text: str, expected: str) -> None:
    found = parse_moment(text, lambda: NOW)

    assert datetime.fromtimestamp(found / 1e9, UTC).replace(tzinfo=None).isoformat() == expected


def test_nanoseconds_are_kept() -> None:
    assert parse_moment("2026-03-26T14:00:00.123456789Z", lambda: NOW) % 10**9 == 123456789


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "5", "10/11/12", "2026", "2026-13-01", "2026-02-30", "25:00", "14:60"),
        *("tomorrow", "last year", "1 fortnight ago", "-1 days ago", "ago", "2 days"),
        *(
            "2026-03-26 14:00 EST",
            "2026-03-26T14:00:00+99:00",
            "99999 years ago",
            "9999999 days ago",
        ),
        *("1 hour ago 14:00", "@", "@99999999999999"),
    ],
)
def test_what_is_no_moment_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time: write") as caught:
        parse_moment(text, lambda: NOW)

    assert FORMS in str(caught.value)


@pytest.mark.parametrize("text", ["2026-03-31T16:30:16Z", "18:31", "@2000000000"])
def test_a_moment_in_the_future_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is in the future: 20"):
        parse_moment(text, lambda: NOW)


def test_a_moment_before_all_objects_is_refused() -> None:
    with pytest.raises(ValueError, match="before 1970"):
        parse_moment("1969-12-31T23:59:59Z", lambda: NOW)


def test_a_date_of_toml_needs_no_quotes() -> None:
    found = parse_value("file: at", BY_NAME["at"], datetime(2026, 3, 26, 14, tzinfo=UTC))

    assert found.value == parse_moment("2026-03-26T14:00:00Z")
    with pytest.raises(UsageError, match="file: region"):
        parse_value("file: region", BY_NAME["region"], datetime(2026, 3, 26, 14, tzinfo=UTC))


def config_of(*options: str) -> Config:
    arguments = parse_arguments(["bucket", "/mnt", *options])
    assert isinstance(arguments, MountArguments)
    return build_config(arguments)


@pytest.mark.parametrize(
    ("options", "ttl"),
    [((), 60.0), (("--at", "now"), INDEFINITE), (("--at", "now", "--metadata-ttl", "5"), 5.0)],
)
def test_what_was_then_is_cached_without_end(options: tuple[str, ...], ttl: float) -> None:
    config = config_of(*options)

    assert config.tree.metadata_ttl == ttl
    assert (config.store.at_ns is None) == (not options)


def test_a_moment_in_fstab() -> None:
    config = config_of("-o", "ro,at=2026-03-26T14:00:00Z")

    assert config.store.at_ns == parse_moment("2026-03-26T14:00:00Z")


def test_a_wrong_moment_names_its_flag() -> None:
    with pytest.raises(UsageError, match=r"^--at: 'tomorow' is not a time"):
        parse_arguments(["bucket", "/mnt", "--at", "tomorow"])
