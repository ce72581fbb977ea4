"""Parsers of values: each is the inverse of its `show_` function, and explains a refusal."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.cli.local_values import (
    parse_existing_file,
    parse_group,
    parse_metrics_address,
    parse_mode,
    parse_user,
    show_mode,
)
from s3mount.cli.quantities import (
    parse_count,
    parse_duration,
    parse_lifetime,
    parse_price,
    parse_size,
    show_duration,
    show_price,
    show_size,
)
from s3mount.cli.store_values import (
    Location,
    parse_bucket_owner,
    parse_endpoint,
    parse_location,
    parse_region,
)
from s3mount.cli.words import parse_prefetch, parse_variants, suggestion
from s3mount.config import Prefetch


@given(st.integers(0, 1 << 50))
def test_a_shown_size_is_parsed_as_the_same_size(size: int) -> None:
    assert parse_size(show_size(size)) == size


@given(st.one_of(st.integers(0, 10**9).map(float), st.just(math.inf)))
def test_a_shown_lifetime_is_parsed_as_the_same_lifetime(seconds: float) -> None:
    assert parse_lifetime(show_duration(seconds)) == seconds


@given(st.integers(0, 0o777))
def test_a_shown_mode_is_parsed_as_the_same_mode(mode: int) -> None:
    assert parse_mode(show_mode(mode)) == mode


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("8388608", 8 << 20),
        ("8MiB", 8 << 20),
        ("512 kib", 512 << 10),
        ("1.5GiB", 3 << 29),
        ("2TiB", 2 << 40),
        ("1GIB", 1 << 30),
    ],
)
def test_sizes_are_bytes_or_have_a_binary_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8M",
        "8MB",
        "-1",
        "MiB",
        "8 MiB x",
        "1e6",
        "0.3",
        "٣MiB",
        "nan",
        "1.1KiB",
        "9" * 5000,
        "9" * 400 + ".5",
    ],
)
def test_an_invalid_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|bytes"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("0.5", 0.5), ("0", 0)],
)
def test_durations_are_seconds_or_have_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5x",
        "-1",
        "1d",
        "inf",
        "nan",
        "indefinite",
        "1h30m",
        "9" * 400,
        "9" * 5000,
        "1000000001",
    ],
)
def test_an_invalid_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["", "888", "1000", "rwx", "0x1ff", "-1", "4755"])
def test_an_invalid_mode_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="octal"):
        parse_mode(text)


@pytest.mark.parametrize(("text", "price"), [("0.0004", 0.0004), ("5", 5.0), (" 0 ", 0.0)])
def test_a_price_is_a_decimal_number(text: str, price: float) -> None:
    assert parse_price(text) == price
    assert parse_price(show_price(price)) == price


@pytest.mark.parametrize("text", ["", "-1", "$1", "1e3", "inf", "0,5", "9" * 30])
def test_an_invalid_price_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="price"):
        parse_price(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("9100", "127.0.0.1:9100"),
        ("0", "127.0.0.1:0"),
        ("localhost:9100", "127.0.0.1:9100"),
        ("0.0.0.0:65535", "0.0.0.0:65535"),
        ("192.0.2.1:9100", "192.0.2.1:9100"),
        ("[::1]:9100", "[::1]:9100"),
        ("[2001:DB8::0:1]:9100", "[2001:db8::1]:9100"),
        ("unix:/run/a/b", "unix:/run/a/b"),
        ("unix:/run//a/../b", "unix:/run/b"),
    ],
)
def test_metrics_have_an_address_and_a_port_or_a_socket(text: str, shown: str) -> None:
    address = parse_metrics_address(text)

    assert str(address) == shown
    assert parse_metrics_address(shown) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", ":9100", "65536", "123456", "a", "host:9100", "1.2.3.4", "1.2.3:9100", "::1:9100"),
        *("[1.2.3.4:9100", "[x]:9100", "9100 ", "\u0661", "http://127.0.0.1:9100", "-1"),
        *("unix:", "unix:a", "unix:/a\n", "unix:/a\0b", "unix:/" + "a" * 107),
    ],
)
def test_an_invalid_address_of_metrics_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"address|IP|socket"):
        parse_metrics_address(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "many", "9" * 30])
def test_an_invalid_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="number"):
        parse_count(text)


@pytest.mark.parametrize(
    ("text", "uid"), [("0", 0), ("1000", 1000), ("root", 0), ("4294967294", 2**32 - 2)]
)
def test_an_owner_is_a_number_or_a_name(text: str, uid: int) -> None:
    assert parse_user(text) == uid


@pytest.mark.parametrize(
    "text", ["nobody-of-this-name", "4294967295", "-1", "9" * 5000, "0" * 20 + "9" * 20]
)
def test_an_impossible_owner_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="user"):
        parse_user(text)
    with pytest.raises(ValueError, match="group"):
        parse_group(text)


@pytest.mark.parametrize(
    "text",
    ["http://127.0.0.1:9000", "https://s3.example.com", "http://[::1]:1", "https://host/path"],
)
def test_an_endpoint_is_a_url(text: str) -> None:
    assert parse_endpoint(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "host:9000",
            "ftp://host",
            "http://",
            "http://h:x",
            "http://h h",
            "http://h?q",
            "http://[",
        ),
        *("http://h\r\nx: y", "http://h\x7f", "http://h\\x", "http://h#f", "http://\u2028h"),
    ],
)
def test_an_invalid_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="http://HOST:PORT"):
        parse_endpoint(text)


@pytest.mark.parametrize(
    "text", ["http://AKIA:hush@host", "AKIA:hush@host", "https://x@y:hush@host:x"]
)
def test_credentials_in_an_endpoint_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="refused") as raised:
        parse_endpoint(text)

    assert "hush" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_credentials_before_a_bucket_are_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="refused") as raised:
        parse_location("s3://AKIA:hush@bucket/x")

    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("photos", ("photos", "")),
        ("photos/", ("photos", "")),
        ("photos/2024", ("photos", "2024/")),
        ("s3://photos/2024/", ("photos", "2024/")),
        ("s3://", ("", "")),
        ("s3:", ("", "")),
        ("s3:///", ("", "")),
        ("photos//a", ("photos", "/a/")),
        ("My_Old.Bucket/a b", ("My_Old.Bucket", "a b/")),
        ("tenant:photos", ("tenant:photos", "")),
        ("s3://my_tenant:photos/2024", ("my_tenant:photos", "2024/")),
        (":photos/2024", (":photos", "2024/")),
        (
            "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/a/b",
            ("arn:aws:s3:eu-west-1:123456789012:accesspoint/mine", "a/b/"),
        ),
    ],
)
def test_a_location_is_a_bucket_and_a_prefix(text: str, location: tuple[str, str]) -> None:
    assert parse_location(text) == Location(*location)


@given(st.text("ab-/.", max_size=8))
def test_a_prefix_is_unchanged_and_ends_with_a_slash(prefix: str) -> None:
    found = parse_location(f"s3://bucket/{prefix}")

    assert found.bucket == "bucket"
    assert found.prefix in (prefix, prefix + "/")
    assert not found.prefix or found.prefix.endswith("/")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s3:///prefix",
        "/x",
        "a b",
        "https://bucket.s3.amazonaws.com",
        "-b",
        "photos:",
        "photos:/2024",
        "a:b:c",
        "ten ant:photos",
        "arn:photos",
        "arn:aws:s3:::photos",
        "b" * 300,
        "b/" + "k" * 1025,
    ],
)
def test_an_invalid_location_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"bucket|prefix"):
        parse_location(text)


def test_a_variant_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'fip' is not one of dualstack, fips, accelerate; did"):
        parse_variants("dualstack,fip")


def test_all_is_every_kind_of_prefetch() -> None:
    assert parse_prefetch("walks,all") == frozenset(Prefetch)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "walk",
            (
                "'walk' is not one of all, walks, siblings, random-order, listings, "
                "parallel-listing, readahead; did you mean walks?"
            ),
        ),
        (
            "walks,x",
            (
                "'x' is not one of all, walks, siblings, random-order, listings, "
                "parallel-listing, readahead"
            ),
        ),
        (
            "",
            (
                "'' is not one of all, walks, siblings, random-order, listings, "
                "parallel-listing, readahead"
            ),
        ),
    ],
)
def test_an_unknown_kind_of_prefetch_is_refused_with_the_known_ones(
    text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse_prefetch(text)


def test_a_bucket_owner_is_a_number_of_twelve_digits() -> None:
    assert parse_bucket_owner("000012345678") == "000012345678"


@pytest.mark.parametrize(
    "text", ["", "1", "12345678901x", "123456789012\n", "123456789012\r\nx: y", "٣" * 12, "1" * 13]
)
def test_an_invalid_bucket_owner_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(
        ValueError,
        match=r"^that is not an account: write its number of 12 digits, as in 123456789012$",
    ):
        parse_bucket_owner(text)


@pytest.mark.parametrize(
    "text", ["us-east-1\n", "us_east", "-x", "x-", "a/b", "a.b", "é", "r" * 64, "a b"]
)
def test_an_invalid_region_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a region"):
        parse_region(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/none", "^there is no file /none$"),
        ("/etc", "^there is no file /etc$"),
        ("~nobody-of-this-name/x", "^there is no file ~nobody-of-this-name/x$"),
        ("/etc/passwd/x", "cannot be reached: Not a directory$"),
        ("/" + "x" * 300, "cannot be reached: File name too long$"),
        ("a\0b", "^a path must not contain NUL$"),
        (" ", "^it is empty$"),
    ],
)
def test_a_missing_file_is_refused_in_words(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_existing_file(text)


def test_a_similar_name_is_suggested() -> None:
    assert suggestion("regoin", ["region", "profile"]) == "; did you mean region?"
    assert suggestion("xyz", ["region", "profile"]) == ""
