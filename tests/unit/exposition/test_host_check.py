"""The Host field of clients of the metrics, against DNS rebinding."""

import pytest

from s3mount.exposition.host_check import any_host, host_check

LOOPBACK = ["localhost", "LOCALHOST:9100", "a.localhost", "localhost.", "127.0.0.1", "127.9.9.9:80"]
LOOPBACK += ["[::1]:9100", "node", "Node:9100"]
PAGES = ["evil.example", "127.0.0.1.evil.example:9100", "localhost.evil.example", "xlocalhost"]
PAGES += ["", ":9100", "[::1", "[evil]", "127.0.0.1@evil", "evil/127.0.0.1", "2130706433", "0x7f.1"]


@pytest.mark.parametrize("listening", ["127.0.0.1", "::1", "192.0.2.1", "0.0.0.0", "::"])
def test_loopback_is_allowed_and_no_name_of_others(listening: str) -> None:
    is_allowed = host_check(listening, "node")

    assert [host for host in LOOPBACK if not is_allowed(host)] == []
    assert [host for host in PAGES if is_allowed(host)] == []


@pytest.mark.parametrize(
    ("listening", "host", "is_expected"),
    [
        ("127.0.0.1", "192.0.2.1:9100", False),
        ("192.0.2.1", "192.0.2.1:9100", True),
        ("192.0.2.1", "192.0.2.2:9100", False),
        ("2001:db8::1", "[2001:DB8:0::1]:9100", True),
        ("fe80::1%eth0", "[fe80::1]:9100", True),
        ("0.0.0.0", "198.51.100.7:9100", True),
        ("::", "[2001:db8::7]", True),
    ],
)
def test_addresses_are_those_that_are_listened_at(
    listening: str, host: str, *, is_expected: bool
) -> None:
    assert host_check(listening, "node")(host) == is_expected


def test_a_unix_socket_has_no_host() -> None:
    assert any_host("anything")
