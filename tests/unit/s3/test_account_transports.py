"""Transports to the buckets of one account: what they share, and what each has of its own."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from s3mount.config import AddressingStyle, StoreConfig
from s3mount.s3.account_transports import AccountTransports
from s3mount.s3.endpoint.credentials import FrozenCredentials
from s3mount.s3.endpoint.resolve import resolve_endpoint
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.operations.bucket_operations import BucketOperations
from s3mount.s3.request_log import RequestLog
from tests.unit.s3.clients import read, session
from tests.unit.s3.scripted_server import FixedCredentials, part, refusal, says, scripted

ALGORITHM = "x-amz-server-side-encryption-customer-algorithm"
NEEDS_KEY = says(refusal("400 Bad Request", "InvalidRequest"))
OPENED = says(part(b"text", 0, 2, **{ALGORITHM: "AES256"}))


@pytest.mark.parametrize("transport", ["native", "boto3"])
def test_each_bucket_has_customer_keys_at_its_own_host_as_they_were_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transport: Literal["native", "boto3"]
) -> None:
    resolve = socket.getaddrinfo

    def resolve_below_localhost(host: str, *others: Any, **named: Any) -> Any:  # RFC 6761
        is_below = host.endswith(".localhost")
        return resolve("localhost" if is_below else host, *others, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_below_localhost)
    key_file = tmp_path / "key"
    key_file.write_bytes(b"k" * 32)
    key_file.chmod(0o600)
    with scripted(*(NEEDS_KEY, OPENED) * 2) as server:
        account = StoreConfig(
            bucket="",
            endpoint_url=f"http://localhost:{server.port}",
            addressing_style="virtual",
            transport=transport,
            sse_c_key_files=(key_file,),
            sse_c_allow_http=True,
        )
        transports = AccountTransports(account, RequestLog())
        key_file.unlink()
        try:
            for bucket in ("one", "two"):
                config = replace(account, bucket=bucket)
                credentials = FixedCredentials(FrozenCredentials("AKID", "secret"))
                endpoint = resolve_endpoint(
                    config, session(), region="us-east-1", credentials=credentials
                )
                operations = BucketOperations(transports.make(config, endpoint), bucket)
                version = ObjectVersion(bucket, "key", "abc", 4)
                assert read(operations, version, ByteRange(0, 2)) == b"te"
        finally:
            transports.close()

    sent = [request.lower() for request in server.requests]
    hosts = [request.partition("\r\nhost: ")[2].partition("\r\n")[0] for request in sent]
    assert hosts == [f"{each}.localhost:{server.port}" for each in ("one", "one", "two", "two")]
    assert [ALGORITHM in request for request in sent] == [False, True] * 2


@pytest.mark.parametrize(("style", "hosts"), [("path", 1), ("virtual", 2)])
def test_buckets_share_the_silent_connections_of_their_host(
    style: AddressingStyle, hosts: int
) -> None:
    account = StoreConfig(bucket="", endpoint_url="http://localhost:1", addressing_style=style)
    transports = AccountTransports(account, RequestLog())

    found = set()
    for bucket in ("one", "two"):
        config = replace(account, bucket=bucket)
        credentials = FixedCredentials(FrozenCredentials("AKID", "secret"))
        endpoint = resolve_endpoint(config, session(), region="us-east-1", credentials=credentials)
        found.add(transports.silent_connections(config, endpoint))
    transports.close()

    assert len(found) == hosts
