"""The buckets of an account, on each real server and over each transport."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from s3mount.errors import NotFound
from s3mount.s3.account_composition import AccountStores, open_account
from s3mount.s3.model import ByteRange, ListQuery, NotModified
from s3mount.s3.request_log import RequestLog
from s3mount.s3.request_records import RequestKind
from tests.contract.conftest import SERVERS, BucketFactory
from tests.fakes.started_reads import read_range
from tests.servers import S3Server

Factories = Callable[[S3Server], BucketFactory]

each_server = pytest.mark.parametrize("server_name", SERVERS)
each_transport = pytest.mark.parametrize("transport", ["native", "boto3"])


@asynccontextmanager
async def opened(
    factory: BucketFactory, requests: RequestLog, **options: object
) -> AsyncIterator[AccountStores]:
    config = factory.server.store_config("", **options)
    account = await open_account(config, requests, factory.credentials)
    try:
        yield account
    finally:
        account.close()


@each_server
@each_transport
async def test_each_bucket_is_listed_opened_and_read(
    server_name: str, transport: str, request: pytest.FixtureRequest, factories: Factories
) -> None:
    server: S3Server = request.getfixturevalue(server_name)
    factory = factories(server)
    buckets = [server.make_bucket(factory.client) for _ in range(3)]
    for bucket in buckets[:2]:
        factory.client.put_object(Bucket=bucket, Key="d/k", Body=bucket.encode())
    requests = RequestLog()
    async with opened(factory, requests, transport=transport) as account:
        view = account.view
        root = await view.list_page(ListQuery(""))
        assert {f"{bucket}/" for bucket in buckets} <= set(root.prefixes)
        assert (sorted(root.prefixes), root.next_token) == (root.prefixes, None)
        assert requests.counts()[RequestKind.LIST].sent == 2

        for bucket in buckets[:2]:
            page = await view.list_page(ListQuery(f"{bucket}/"))
            assert (page.objects, page.prefixes) == ([], [f"{bucket}/d/"])
            version = (await view.head(f"{bucket}/d/k")).version
            buffer = bytearray(version.size)
            await read_range(view, version, ByteRange(0, version.size), memoryview(buffer))
            assert bytes(buffer) == bucket.encode()
            assert await view.revalidate(version, 0) == NotModified()
        [marker] = (await view.list_page(ListQuery(f"{buckets[2]}/"))).objects
        assert (marker.key, marker.size) == (f"{buckets[2]}/", 0)


@each_server
@each_transport
async def test_a_bucket_that_is_not_there_and_one_that_is_deleted_are_absent(
    server_name: str, transport: str, request: pytest.FixtureRequest, factories: Factories
) -> None:
    server: S3Server = request.getfixturevalue(server_name)
    factory = factories(server)
    bucket = server.make_bucket(factory.client)
    async with opened(factory, RequestLog(), transport=transport) as account:
        with pytest.raises(NotFound):
            await account.view.list_page(ListQuery("no-such-bucket/"))
        await account.view.list_page(ListQuery(f"{bucket}/"))
        factory.client.delete_bucket(Bucket=bucket)

        with pytest.raises(NotFound) as caught:
            await account.view.list_page(ListQuery(f"{bucket}/"))

        assert caught.value.code == "NoSuchKey"
        assert f"{bucket}/" not in (await account.view.list_page(ListQuery(""))).prefixes


@each_transport
async def test_named_buckets_are_opened_without_a_list_of_all(
    transport: str, moto: S3Server, factories: Factories
) -> None:
    factory = factories(moto)
    bucket = moto.make_bucket(factory.client)
    factory.client.put_object(Bucket=bucket, Key="k", Body=b"v")
    requests = RequestLog()
    async with opened(factory, requests, transport=transport, buckets=(bucket,)) as account:
        assert (await account.view.list_page(ListQuery(""))).prefixes == [f"{bucket}/"]
        assert [row.key for row in (await account.view.list_page(ListQuery(f"{bucket}/"))).objects]

    assert requests.counts()[RequestKind.LIST].sent == 2
