"""Proxies from the environment: which is used, for which hosts, and what is said of wrong ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import SetupError
from s3mount.s3.endpoint.proxy import ProxyChoice, choose_proxy, is_excluded, proxy_for

SECRET = "se/cr#et"


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://low", "HTTPS_PROXY": "http://up"}, "http://low:80"),
        ({"https_proxy": "", "HTTPS_PROXY": "http://up"}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTPS_PROXY": "  "}, None),
        ({"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        ({"HTTPS_PROXY": "proxy"}, "http://proxy:80"),
        ({"HTTPS_PROXY": "HTTP://Proxy:3128/"}, "http://proxy:3128"),
        ({"HTTPS_PROXY": "https://proxy"}, "https://proxy:443"),
        ({"HTTPS_PROXY": "http://[fd00::1]:3128"}, "http://[fd00::1]:3128"),
        ({"HTTPS_PROXY": "http://me:p%40ss@proxy:1"}, "http://me:p%40ss@proxy:1"),
        ({"HTTP_PROXY": "http://proxy:3128"}, None),
        ({"ALL_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"ALL_PROXY": "http://all:1", "HTTPS_PROXY": "http://tls:2"}, "http://tls:2"),
        ({"ALL_PROXY": "socks5://all:1", "HTTPS_PROXY": "http://tls:2"}, "http://tls:2"),
        ({"HTTPS_PROXY": "http://proxy", "NO_PROXY": ".example.com"}, None),
        ({"HTTPS_PROXY": "http://proxy", "no_proxy": "", "NO_PROXY": "*"}, "http://proxy:80"),
        ({"HTTPS_PROXY": "socks5://proxy", "NO_PROXY": "s3.example.com"}, None),
    ],
)
def test_the_proxy_of_an_https_endpoint(environment: dict[str, str], proxy: str | None) -> None:
    assert proxy_for("https://s3.example.com/b?x=1", environment) == proxy


@pytest.mark.parametrize(
    ("environment", "choice"),
    [
        ({}, ProxyChoice()),
        ({"no_proxy": "host"}, ProxyChoice(excluded_by="no_proxy")),
        ({"https_proxy": "http://p:1"}, ProxyChoice("http://p:1", "https_proxy")),
        ({"HTTPS_PROXY": "http://p:1"}, ProxyChoice("http://p:1", "HTTPS_PROXY")),
        ({"ALL_PROXY": "http://p:1"}, ProxyChoice("http://p:1", "ALL_PROXY")),
        (
            {"ALL_PROXY": "http://p:1", "NO_PROXY": "host"},
            ProxyChoice(variable="ALL_PROXY", excluded_by="NO_PROXY"),
        ),
    ],
)
def test_the_variables_that_decide_are_named(
    environment: dict[str, str], choice: ProxyChoice
) -> None:
    assert choice == choose_proxy("https://host", environment)


def test_the_password_of_a_proxy_is_not_in_the_repr_of_the_choice() -> None:
    choice = choose_proxy("https://host", {"HTTPS_PROXY": "http://me:hush@p:1"})

    assert "hush" not in repr(choice)


def test_a_header_of_a_cgi_client_names_no_proxy() -> None:
    environment = {"HTTP_PROXY": "http://evil", "REQUEST_METHOD": "GET"}

    assert proxy_for("http://store/", environment) is None


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "excluded"),
    [
        ("10.0.0.0/8", "10.2.3.4", 9000, True),
        ("10.0.0.0/8", "11.2.3.4", 9000, False),
        ("10.1.2.3/8", "10.200.0.1", 80, True),
        ("10.0.0.0/8", "store.test", 80, False),
        ("fd00::/8", "fd00::1", 443, True),
        ("[fd00::]/8", "fd00::1", 443, True),
        ("fd00::/8", "fe80::1", 443, False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", 443, True),
        ("10.0.0.0/99", "10.0.0.1", 443, False),
        ("::1", "::1", 9000, True),
        ("[::1]", "::1", 9000, True),
        ("[::1]:9000", "::1", 9000, True),
        ("[::1]:9001", "::1", 9000, False),
        ("127.0.0.1", "127.0.0.1", 9000, True),
        ("127.0.0.1:9000", "127.0.0.1", 9000, True),
        ("127.0.0.1:9001", "127.0.0.1", 9000, False),
        ("0.0.1", "127.0.0.1", 9000, False),
        ("*", "anything", 1, True),
        ("a, *", "anything", 1, True),
        ("example.com", "s3.example.com", 443, True),
        (".example.com", "s3.example.com", 443, True),
        ("*.example.com", "s3.example.com", 443, True),
        (".example.com", "example.com", 443, True),
        ("example.com", "badexample.com", 443, False),
        ("EXAMPLE.com", "S3.example.COM", 443, True),
        ("example.com.", "s3.example.com.", 443, True),
        ("example.com:443", "s3.example.com", 443, True),
        ("example.com:80", "s3.example.com", 443, False),
        ("a b  example.com,,c", "s3.example.com", 443, True),
        ("", "s3.example.com", 443, False),
        (",", "s3.example.com", 443, False),
        (".", "s3.example.com", 443, False),
        ("[", "s3.example.com", 443, False),
    ],
)
def test_no_proxy(no_proxy: str, host: str, port: int, *, excluded: bool) -> None:
    assert is_excluded(host, port, no_proxy) is excluded


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("socks5://me:{}@proxy:1080", "SOCKS"),
        ("socks5h://proxy", "SOCKS"),
        ("socks4://proxy", "SOCKS"),
        ("ftp://me:{}@proxy", "not HTTP"),
        ("http://me:{}@proxy:3128", "%XX"),
        ("http://proxy:99999", "is not the URL"),
        ("http://", "is not the URL"),
        ("http://pro xy", "is not the URL"),
        ("http://proxy/path", "is not the URL"),
        ("http://[fd00::1", "is not the URL"),
    ],
)
def test_what_cannot_be_used_is_named(variable: str, value: str, part: str) -> None:
    with pytest.raises(SetupError) as caught:
        proxy_for("https://s3.example.com", {variable: value.format(SECRET)})

    assert str(caught.value).startswith(f"{variable} ")
    assert part in str(caught.value)
    assert "se/cr" not in str(caught.value)


@given(st.text("a1:.[]/*@%-, ", max_size=20), st.text("a1:./", max_size=12))
def test_no_list_raises(no_proxy: str, host: str) -> None:
    is_excluded(host, 80, no_proxy)


@given(st.text("htps:/@[]1.% #?\\é", max_size=24))
def test_a_proxy_is_understood_or_refused(value: str) -> None:
    try:
        proxy = proxy_for("https://host", {"HTTPS_PROXY": value})
    except SetupError:
        return
    assert proxy is None or proxy.startswith(("http://", "https://"))
