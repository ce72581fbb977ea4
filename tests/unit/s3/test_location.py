"""Locations of redirects: what is kept byte for byte, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.location import (
    LOCATION_LIMIT,
    LocationError,
    Url,
    is_redirect,
    next_url,
    parse_location,
    refused_redirect,
)

BASE = Url("https", "store.test", 443, "/bucket/a%20b/c?x=1")


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("https://cdn.test/k", ("https", "cdn.test", 443, "/k")),
        ("HTTPS://CDN.Test:8443/K?a=B", ("https", "cdn.test", 8443, "/K?a=B")),
        ("https://cdn.test", ("https", "cdn.test", 443, "/")),
        ("https://cdn.test?q", ("https", "cdn.test", 443, "/?q")),
        ("https://cdn.test/k#part", ("https", "cdn.test", 443, "/k")),
        (
            "https://h/a//b/../c/./d?X-Amz-Credential=A%2F1&X-Amz-Signature=0a&x==&&#f",
            ("https", "h", 443, "/a//b/../c/./d?X-Amz-Credential=A%2F1&X-Amz-Signature=0a&x==&&"),
        ),
        ("https://h/a b\x7f\xc3\xa9", ("https", "h", 443, "/a%20b%7F%C3%A9")),
        ("https://b\xc3\xbccher.test/", ("https", "xn--bcher-kva.test", 443, "/")),
        ("https://[fd00::1]:9000/k", ("https", "fd00::1", 9000, "/k")),
        ("https://h:/k", ("https", "h", 443, "/k")),
        ("https://my_h-1.test./k", ("https", "my_h-1.test.", 443, "/k")),
        ("//cdn.test/k", ("https", "cdn.test", 443, "/k")),
        ("/other/k?y=2", ("https", "store.test", 443, "/other/k?y=2")),
        ("d", ("https", "store.test", 443, "/bucket/a%20b/d")),
        ("?y=2", ("https", "store.test", 443, "/bucket/a%20b/c?y=2")),
    ],
)
def test_where_a_location_leads(location: str, url: tuple[object, ...]) -> None:
    assert tuple(next_url(location, BASE)) == url


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://cdn.test/k", "from https to http://cdn.test"),
        ("ftp://cdn.test/k", "no URL of HTTP"),
        ("file:///etc/passwd", "no URL of HTTP"),
        ("https:/k", "no URL of HTTP"),
        ("https:k", "no URL of HTTP"),
        ("https:///k", "host cannot be used"),
        ("https://me:hush@cdn.test/k", "host cannot be used"),
        ("https://store.test\\@evil.test/k", "host cannot be used"),
        ("https://store.test%40evil.test/k", "host cannot be used"),
        ("https://[fe80::1%25eth0]/k", "host cannot be used"),
        ("https://a b/k", "host cannot be used"),
        ("https://\xff\xfe/k", "host cannot be used"),
        ("https://a..b/k", "host cannot be used"),
        ("https://.b/k", "host cannot be used"),
        ("https://[...]/k", "host cannot be used"),
        ("https://" + "x" * 64 + ".test/k", "host cannot be used"),
        ("https://" + "xyz." * 64 + "test/k", "host cannot be used"),
        ("https://h:0/k", "port"),
        ("https://h:65536/k", "port"),
        ("https://h:123456/k", "host cannot be used"),
        ("https://a.test/x, https://b.test/y", "several"),
        ("https://h/" + "k" * LOCATION_LIMIT, "too long"),
    ],
)
def test_a_location_that_is_refused(location: str, reason: str) -> None:
    with pytest.raises(LocationError, match=reason) as caught:
        next_url(location, BASE)

    assert "hush" not in str(caught.value)


def test_http_may_lead_to_http_and_to_https() -> None:
    base = BASE._replace(scheme="http", port=80)

    assert next_url("http://h/k", base).origin == "http://h"
    assert next_url("https://h/k", base).origin == "https://h"


def test_a_redirect_within_s3_is_none_that_is_followed() -> None:
    elsewhere = {"location": "https://h/"}

    assert is_redirect(307, elsewhere)
    assert not is_redirect(301, elsewhere | {"x-amz-bucket-region": "eu-north-1"})
    assert not is_redirect(304, elsewhere)
    assert not is_redirect(307, {})


def test_what_is_said_of_a_redirect_shows_no_path_and_no_query() -> None:
    signed = {"location": "https://me.test/k?X-Amz-Signature=hush"}

    assert (
        refused_redirect(302, signed) == "to https://me.test, which only --follow-redirects allows"
    )
    assert refused_redirect(302, {"location": "\x1b[31m"}) == (
        "to another address, which only --follow-redirects allows"
    )
    assert refused_redirect(200, signed) is None


@given(st.text(st.characters(max_codepoint=255), max_size=30), st.booleans())
def test_a_target_can_be_sent_whatever_the_location(text: str, has_base: bool) -> None:  # noqa: FBT001 - drawn
    try:
        url = parse_location(text, BASE) if has_base else parse_location(f"http://h/{text}")
    except LocationError:
        return
    assert url.target.startswith("/")
    assert all("\x21" <= c <= "\x7e" for c in url.target + url.authority)


@given(st.text("abc/?&=%25.-_~:@!$'()*+,;[]", max_size=40))
def test_an_absolute_url_is_kept_byte_for_byte(text: str) -> None:
    assert parse_location(f"https://h/{text}").target == f"/{text}"
