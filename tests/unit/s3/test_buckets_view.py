"""A view of many buckets asks each for its own, and none for a list of their names."""

import pytest

from s3mount.config import StoreConfig
from s3mount.errors import AccessDenied, NotFound, StoreError
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.model import ListedObject, ListQuery, NotModified, ObjectVersion
from s3mount.s3.views.buckets_view import BucketsView
from tests.fakes.memory_account import MemoryAccount
from tests.fakes.memory_store import MemoryStore
from tests.property.kernel import Clock, kernel_on, walk
from tests.unit.s3.test_store_view import read

BODIES = {"x": b"1", "d/y": b"22", "d/z": b"333"}

ACCOUNT = StoreConfig(bucket="")


def account_of(*names: str) -> MemoryAccount:
    return MemoryAccount({name: MemoryStore(BODIES, bucket=name) for name in names})


async def test_hundreds_of_buckets_are_listed_by_one_request() -> None:
    account = account_of(*(f"bucket-{number:03}" for number in range(500)))

    async with kernel_on(account.view(), Clock(), location=ACCOUNT) as kernel:
        assert len(await kernel.readdir(ROOT)) == 500
        assert await kernel.lookup(ROOT, b"bucket-007") is not None
        assert await kernel.lookup(ROOT, b"absent") is None

    assert account.requests == [("", "us-east-1", "LIST")]
    assert not account.opened


async def test_an_object_is_named_by_its_bucket_and_read_by_its_own_key() -> None:
    account = account_of("a", "b")
    view = account.view()

    version = (await view.head("b/d/y")).version

    assert version[:2] == ("", "b/d/y")
    assert (await read(view, version))[0] == b"22"
    assert await view.revalidate(version, 0) == NotModified()
    with pytest.raises(NotFound):
        await view.head("b")
    with pytest.raises(NotFound):
        await view.head("c/x")


async def test_objects_of_one_key_in_two_buckets_are_two_versions() -> None:
    view = account_of("a", "b").view()

    one, other = (await view.head("a/x")).version, (await view.head("b/x")).version

    assert one != other
    assert one == ObjectVersion("", "a/x", other.etag, other.size)


async def test_a_page_goes_on_in_its_bucket() -> None:
    account = account_of("a")
    account.buckets["a"].page_size = 1
    view = account.view()

    first = await view.list_page(ListQuery("a/", delimiter=""))
    second = await view.list_page(ListQuery("a/", delimiter="", token=first.next_token))
    behind = await view.list_page(ListQuery("a/", delimiter="", start_after="a/d/y"))

    assert [page.objects[0].key for page in (first, second, behind)] == ["a/d/y", "a/d/z", "a/d/z"]


async def test_an_empty_bucket_is_a_directory_with_nothing_in_it() -> None:
    account = account_of("full")
    account.buckets["empty"] = MemoryStore(bucket="empty")

    page = await account.view().list_page(ListQuery("empty/"))

    assert page.objects == [ListedObject("empty/", 0, 0, "")]
    async with kernel_on(account.view(), Clock(), location=ACCOUNT) as kernel:
        assert (await walk(kernel))[b"empty"] == {}


async def test_a_denied_bucket_is_a_directory_that_cannot_be_read() -> None:
    account = account_of("a", "secret")
    account.denied.add("secret")

    async with kernel_on(account.view(), Clock(), location=ACCOUNT, metadata_ttl=0.0) as kernel:
        found = await kernel.lookup(ROOT, b"secret")
        assert found is not None
        assert found.is_directory
        with pytest.raises(AccessDenied):
            await kernel.readdir(found.inode)
        with pytest.raises(AccessDenied):
            await kernel.lookup(found.inode, b"x")
        account.denied.clear()
        assert dict(await kernel.readdir(found.inode)).keys() == {b"x", b"d"}


async def test_a_walk_lists_no_two_buckets_at_once() -> None:
    account = account_of("a", "b", "c")

    async with kernel_on(account.view(), Clock(), location=ACCOUNT, is_proven=True) as kernel:
        tree = await walk(kernel)

    assert {*tree} == {b"a", b"b", b"c"}
    queries = [each.query for store in account.buckets.values() for each in store.requests]
    assert all(query is not None for query in queries)
    assert account.take()["", "LIST"] == 1
    assert isinstance(account.view(), BucketsView)
    assert not account.view().has_scans("")
    assert account.view().has_scans("a/")
    with pytest.raises(StoreError):
        await account.view().list_page(ListQuery("", delimiter=""))


async def test_a_bucket_that_was_deleted_is_absent_once_it_is_looked_up_again() -> None:
    account = account_of("a", "b")

    async with kernel_on(account.view(), Clock(), location=ACCOUNT, metadata_ttl=0.0) as kernel:
        assert await kernel.resolve(b"a/x") is not None
        del account.buckets["a"]
        assert await kernel.lookup(ROOT, b"a") is None
        account.buckets["a"] = MemoryStore({"new": b"1234"}, bucket="a")
        found = await kernel.resolve(b"a/new")
        assert found is not None
        assert found.size == 4


async def test_names_by_prefix_and_behind_a_key_are_those_of_the_buckets() -> None:
    view = account_of("a", "a-b", "b").view()

    assert (await view.list_page(ListQuery("a"))).prefixes == ["a/", "a-b/"]
    assert (await view.list_page(ListQuery("", start_after="a/"))).prefixes == ["b/"]
