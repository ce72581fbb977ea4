"""Stores of an account: where the requests of its buckets go, and what they share."""

import os
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from socket import gaierror, socket
from typing import Literal

import pytest
import trio.testing

from s3mount.config import AddressingStyle, StoreConfig
from s3mount.errors import SetupError, StoreError
from s3mount.metrics import Metrics
from s3mount.s3.account_composition import OUTAGE_LAPSES_AFTER, AccountStores, BucketFactory
from s3mount.s3.account_transports import AccountTransports
from s3mount.s3.endpoint.customer_key import CustomerKey
from s3mount.s3.endpoint.plain_configuration import open_configuration
from s3mount.s3.endpoint.resolve import Endpoint, resolve_endpoint
from s3mount.s3.model import ListQuery
from s3mount.s3.request_log import RequestLog
from s3mount.s3.transport import StoreRequest
from tests.unit.s3.scripted_server import head, refusal, says, scripted, store_at

Transport = Literal["native", "boto3"]

REGION = "us-east-1"
# names by which botocore's rules find a host of their own, whatever the endpoint
OUTPOST = "data-o0b1d075431d83bebde8xz5w8ijx1qzlbp3i3kuse10--op-s3"
HARDWARE = "data-e0b1d075431d83bebde8xz5w8ijx1qzlbp3i3kuse10--op-s3"
UNUSUAL = ["A_b", "a..b", "foo-s3alias", "foo--use1-az4--x-s3", "x.mrap", "s3.amazonaws.com"]


def endpoint_of(config: StoreConfig) -> Endpoint:
    credentials = store_at(443).credentials
    configuration = open_configuration(config)
    return resolve_endpoint(config, configuration, region=REGION, credentials=credentials)


def factory_of(config: StoreConfig) -> BucketFactory:
    return BucketFactory(config, RequestLog(), endpoint_of(config))


@pytest.mark.parametrize("style", ["auto", "path", "virtual"])
@pytest.mark.parametrize("name", [OUTPOST, HARDWARE])
def test_no_name_of_a_bucket_leads_away_from_the_endpoint(
    name: str, style: AddressingStyle
) -> None:
    config = StoreConfig(bucket="", endpoint_url="https://store.test", addressing_style=style)
    factory = factory_of(config)

    with pytest.raises(SetupError, match=r"leads away from https://store\.test"):
        factory.bucket_operations(replace(config, bucket=name), REGION)
    factory.close()


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_name_is_served_at_the_endpoint(name: str) -> None:
    config = StoreConfig(bucket="", endpoint_url="https://store.test")
    factory = factory_of(config)

    factory.bucket_operations(replace(config, bucket=name), REGION)
    factory.close()


@pytest.mark.parametrize("transport", ["native", "boto3"])
def test_each_bucket_named_in_the_host_gets_its_customer_key(transport: Transport) -> None:
    config = StoreConfig(
        bucket="",
        endpoint_url="https://localhost:1",
        addressing_style="virtual",
        transport=transport,
    )
    transports, request = AccountTransports(config, RequestLog()), StoreRequest("GetObject", "key")
    request = request._replace(customer_key=CustomerKey(b"k" * 32))

    for bucket in ("first", "second"):
        own = replace(config, bucket=bucket)
        exchange = transports.make(own, endpoint_of(own)).send(
            request, deadline=time.monotonic() + 5
        )
        # nobody is there; a key that must not be sent is an AccessDenied
        with pytest.raises((ConnectionRefusedError, TimeoutError, gaierror)), exchange:
            pass
    transports.close()


async def test_a_bucket_that_has_moved_is_no_outage_of_the_region_that_it_left() -> None:
    page = b"<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated></ListBucketResult>"
    here = says(head(Content_Length=len(page)), page)
    moved = says(
        refusal("301 Moved Permanently", "PermanentRedirect", x_amz_bucket_region="eu-west-1")
    )
    with scripted(moved, here) as server:
        config = StoreConfig(
            bucket="", buckets=("b",), endpoint_url=f"http://127.0.0.1:{server.port}"
        )
        factory, metrics = factory_of(config), Metrics()
        stores = AccountStores(config, factory, *factory.account_operations())
        stores.register_metrics(metrics)

        await stores.view.list_page(ListQuery("b/"))

        assert len(server.requests) == 2
        assert metrics.read()["store_outage_seconds"] == 0
        stores.close()


async def test_the_outage_of_a_bucket_that_nobody_asks_again_lapses(
    mock_clock: trio.testing.MockClock,
) -> None:
    with scripted(*[says(refusal("501 Not Implemented", "NotImplemented"))] * 2) as server:
        config = StoreConfig(
            bucket="", buckets=("b",), endpoint_url=f"http://127.0.0.1:{server.port}"
        )
        factory, metrics = factory_of(config), Metrics()
        stores = AccountStores(config, factory, *factory.account_operations())
        stores.register_metrics(metrics)
        with pytest.raises(StoreError):
            await stores.view.list_page(ListQuery("b/"))

        told = []
        for _ in range(2):
            mock_clock.jump(OUTAGE_LAPSES_AFTER / 2 + 1)
            told.append(metrics.read()["store_outage_seconds"])
        stores.close()

    assert told == [OUTAGE_LAPSES_AFTER / 2 + 1, 0]


@pytest.mark.parametrize("transport", ["native", "boto3"])
def test_redirects_of_many_buckets_keep_few_connections(transport: Transport) -> None:
    buckets = [f"bucket-{number}" for number in range(5)]
    found = [says(head(Content_Length=1), b"x")] * len(buckets)
    with scripted(*found) as other:
        location = f"http://127.0.0.1:{other.port}/x"
        redirect = says(head("307 Temporary Redirect", Location=location, Content_Length=0))
        with scripted(*[redirect] * len(buckets)) as server:
            config = StoreConfig(
                bucket="",
                endpoint_url=f"http://127.0.0.1:{server.port}",
                follow_redirects=True,
                max_connections=2,
                transport=transport,
            )
            transports = AccountTransports(config, RequestLog())
            with ExitStack() as stack:
                stack.callback(transports.close)
                for bucket in buckets:
                    own = replace(config, bucket=bucket)
                    made = transports.make(own, endpoint_of(own))
                    stack.callback(made.close)
                    request = StoreRequest("GetObject", "key")
                    with made.send(request, deadline=time.monotonic() + 5) as response:
                        assert response.read_all(1) == b"x"

                assert 1 <= open_connections(other.port) <= config.max_connections


def test_customer_keys_are_those_of_the_start(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"k" * 32)
    file.chmod(0o600)
    config = StoreConfig(bucket="", endpoint_url="https://store.test", sse_c_key_files=(file,))
    factory = factory_of(config)
    factory.account_operations()
    file.unlink()

    factory.bucket_operations(replace(config, bucket="first"), REGION)
    factory.close()


def open_connections(port: int) -> int:
    """Return how many sockets of this process are connected to *port*."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket(fileno=os.dup(int(link.name))) as copy:
            count += copy.getpeername()[1] == port
    return count
