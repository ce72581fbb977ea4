"""Endpoints to which customer keys (SSE-C) may be sent."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from s3mount.config import StoreConfig
from s3mount.errors import AccessDenied, SetupError
from s3mount.s3.composition import make_transport
from s3mount.s3.endpoint.boto_session import open_session
from s3mount.s3.endpoint.customer_key import CustomerKey
from s3mount.s3.endpoint.key_protection import (
    check_protects_keys,
    loopback_addresses,
)
from s3mount.s3.endpoint.resolve import Endpoint, resolve_endpoint
from s3mount.s3.request_log import RequestLog
from tests.unit.s3.scripted_server import store_at

KEY = CustomerKey(bytes(32))
HTTPS = store_at(443, scheme="https", host="s3.eu-west-1.amazonaws.com")
LOCAL = store_at(80, keys_over_http=True)


@pytest.mark.parametrize(
    "endpoint",
    [
        HTTPS,
        replace(HTTPS, proxy="http://proxy:3128"),  # sees a tunnel
        replace(HTTPS, ca_bundle="/ca.pem"),
        LOCAL,
        *(replace(LOCAL, host=host) for host in ("127.8.9.1", "::1", "localhost", "LocalHost.")),
        *(replace(LOCAL, host=host) for host in ("bucket.localhost", "::ffff:127.0.0.1")),
    ],
    ids=lambda endpoint: endpoint.origin,
)
def test_a_protected_endpoint_gets_the_headers(endpoint: Endpoint) -> None:
    check_protects_keys(endpoint, endpoint.bucket)

    assert len(KEY.fields_for(endpoint)) == 3


@pytest.mark.parametrize(
    ("endpoint", "hint"),
    [
        (replace(HTTPS, verify_ssl=False), "--ca-bundle"),
        (replace(HTTPS, scheme="http"), "not HTTPS"),
        (replace(LOCAL, keys_over_http=False), "not HTTPS"),
        *(
            (replace(LOCAL, host=host), "loopback addresses only")
            for host in ("192.168.0.1", "0.0.0.0", "store.example", "localhost.example", "::", "")
        ),
        (replace(LOCAL, host="notlocalhost"), "loopback addresses only"),
        (replace(LOCAL, host="::ffff:192.168.0.1"), "loopback addresses only"),
        (replace(LOCAL, proxy="http://127.0.0.1:3128"), "NO_PROXY"),
    ],
    ids=str,
)
def test_an_endpoint_without_protection_is_refused(endpoint: Endpoint, hint: str) -> None:
    with pytest.raises(SetupError, match=hint):
        check_protects_keys(endpoint, endpoint.bucket)
    with pytest.raises(AccessDenied, match=hint):
        KEY.fields_for(endpoint)


@pytest.mark.parametrize(
    "url",
    [
        "http://s3.eu-west-1.amazonaws.com/b/k",
        "https://s3.eu-west-1.amazonaws.com.evil.example/b/k",
        "https://user@evil.example/s3.eu-west-1.amazonaws.com",
        "https://s3.eu-west-1.amazonaws.com:8443/b/k",
    ],
)
def test_a_url_that_was_decided_elsewhere_must_be_of_the_endpoint(url: str) -> None:
    KEY.fields_for(HTTPS, "https://S3.eu-west-1.amazonaws.com:443/b/k?versionId=1")

    with pytest.raises(AccessDenied, match="another host"):
        KEY.fields_for(HTTPS, url)


def test_only_loopback_addresses_are_connected_to() -> None:
    def addresses(*hosts: str) -> list[tuple[object, ...]]:
        return [(2, 1, 6, "", (host, 80)) for host in hosts]

    chosen = loopback_addresses(addresses("203.0.113.5", "127.0.0.1", "fe80::1%eth0", "::1"))

    assert addresses("127.0.0.1", "::1") == chosen
    with pytest.raises(ConnectionRefusedError):
        loopback_addresses(addresses("203.0.113.5", "0.0.0.0"))


@pytest.mark.parametrize(
    ("options", "is_expected"),
    [
        ({}, False),
        ({"sse_c_allow_http": True}, False),
        ({"sse_c_key_files": (Path("/k"),)}, False),
        ({"sse_c_key_files": (Path("/k"),), "sse_c_allow_http": True}, True),
    ],
)
def test_an_endpoint_of_plain_http_needs_the_option(
    options: dict[str, object], *, is_expected: bool
) -> None:
    config = StoreConfig(bucket="b", endpoint_url="http://127.0.0.1:1", **options)  # type: ignore[arg-type]  # the test's own table
    found = resolve_endpoint(
        config, open_session(config), region="us-east-1", credentials=HTTPS.credentials
    )
    secure = replace(config, endpoint_url="https://127.0.0.1:1")
    other = resolve_endpoint(
        secure, open_session(secure), region="us-east-1", credentials=HTTPS.credentials
    )

    assert found.keys_over_http is is_expected
    assert not other.keys_over_http


def test_a_mount_without_keys_imports_nothing_of_them() -> None:
    program = "import sys, s3mount.daemon.wiring; print(*sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    parts = {"customer_key", "customer_key_files", "customer_keys", "key_protection"}
    parts |= {"keyed_transport", "key_search"}
    assert parts & {name.rpartition(".")[2] for name in done.stdout.split()} == set()


def test_a_transport_with_keys_is_made_for_a_protected_endpoint_only(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(bytes(32))
    file.chmod(0o600)
    config = StoreConfig(bucket="bucket", sse_c_key_files=(file,))

    make_transport(config, HTTPS, RequestLog()).close()
    with pytest.raises(SetupError, match="--sse-c-key-file"):
        make_transport(config, store_at(80), RequestLog())
    file.chmod(0o644)
    with pytest.raises(SetupError, match="chmod 600"):
        make_transport(config, HTTPS, RequestLog())
