"""Versions of objects, on the store in memory and on real ones that keep them."""

from typing import cast

import pytest
import trio.testing

from s3mount.errors import NotFound, StoreError
from s3mount.s3.model import (
    NULL_VERSION,
    ByteRange,
    ListedVersion,
    VersionMarker,
    VersionPage,
    VersionQuery,
)
from s3mount.s3.object_store import BucketStore
from s3mount.s3.regional_store import RegionStore
from tests.contract.conftest import Bucket, OpenBucket
from tests.fakes.started_reads import read_range
from tests.servers import Quirk


def store_of(bucket: Bucket) -> BucketStore:
    return cast("BucketStore", bucket.store)


async def has_versioning(bucket: Bucket) -> bool:
    return await cast("RegionStore", bucket.store).has_versioning()


@pytest.fixture
def versioned(open_bucket: OpenBucket) -> Bucket | None:
    """A bucket with versions; None if the store has none."""
    bucket = open_bucket()
    return None if Quirk.NO_VERSIONS in bucket.quirks else open_bucket(versioned=True)


async def all_pages(store: BucketStore, query: VersionQuery) -> VersionPage:
    """Return all pages of a listing as one."""
    versions: list[ListedVersion] = []
    prefixes: list[str] = []
    while True:
        page = await store.list_versions(query)
        versions += page.versions
        prefixes += page.prefixes
        if page.next_marker is None:
            return VersionPage(versions, prefixes, None)
        query = VersionQuery(query.prefix, query.delimiter, page.next_marker, query.max_keys)


async def test_each_version_and_delete_marker_is_listed(versioned: Bucket | None) -> None:
    if versioned is None:
        return
    versioned.put("a", b"one")
    versioned.put("a", b"second")
    versioned.delete("a")
    versioned.put("b", b"b")

    page = await store_of(versioned).list_versions(VersionQuery("a"))

    assert {row.key for row in page.versions} == {"a"}
    assert sorted(row.size for row in page.versions if not row.is_delete_marker) == [3, 6]
    [latest] = [row for row in page.versions if row.is_latest]
    assert latest.is_delete_marker
    assert len({row.version_id for row in page.versions}) == 3
    assert page.next_marker is None


async def test_each_version_is_read_by_its_id(versioned: Bucket | None) -> None:
    if versioned is None or Quirk.ODD_VERSIONS in versioned.quirks:
        return
    bodies = {b"one", b"second", b"three three"}
    for body in bodies:
        versioned.put("d/a", body)
    versioned.delete("d/a")
    store = store_of(versioned)

    found = set()
    for row in (await store.list_versions(VersionQuery("d/"))).versions:
        if row.is_delete_marker:
            with pytest.raises((NotFound, StoreError)):
                await store.head_version("d/a", row.version_id)
            continue
        stat = await store.head_version("d/a", row.version_id)
        assert stat.version.is_same(stat.version)
        assert (stat.version.size, stat.version_id) == (row.size, row.version_id)
        version = stat.version.with_version_id(row.version_id, is_replaced=True)
        into = bytearray(row.size)
        await read_range(store, version, ByteRange(0, row.size), memoryview(into))
        found.add(bytes(into))

    assert found == bodies


async def test_common_prefixes_are_those_of_all_times(versioned: Bucket | None) -> None:
    if versioned is None:
        return
    for key in ("a", "d/x", "e/x"):
        versioned.put(key, b"x")
    versioned.delete("d/x")

    page = await store_of(versioned).list_versions(VersionQuery("", "/"))

    assert page.prefixes == ["d/", "e/"]
    assert [row.key for row in page.versions] == ["a"]


@pytest.mark.parametrize("max_keys", [1, 2, 5, 1000])
@pytest.mark.parametrize("delimiter", ["", "/"])
async def test_versions_are_the_same_however_their_pages_are_cut(
    versioned: Bucket | None, max_keys: int, delimiter: str
) -> None:
    if versioned is None or Quirk.ODD_VERSIONS in versioned.quirks:
        return
    repeats = Quirk.REPEATS_VERSIONS in versioned.quirks
    if repeats and max_keys == 1:  # it would do so without end
        return
    keys = ["b", "d/x", "d/y", "e/x", "m n+o", "z"]  # SeaweedFS loses rows of "a" beside "a-b"
    for number in range(3):
        for key in keys:
            versioned.put(key, b"%d" % number)
    versioned.delete("b")
    versioned.delete("d/y")

    whole = await all_pages(store_of(versioned), VersionQuery("", delimiter))
    cut = await all_pages(store_of(versioned), VersionQuery("", delimiter, None, max_keys))

    found = {*cut.versions} if repeats else cut.versions
    assert sorted(found) == sorted(whole.versions)
    assert list(dict.fromkeys(cut.prefixes)) == whole.prefixes
    assert len(whole.versions) == (3 * len(keys) + 2 if not delimiter else 10)


async def test_a_store_without_versions_says_so(open_bucket: OpenBucket) -> None:
    bucket = open_bucket()
    if Quirk.NO_VERSIONS not in bucket.quirks:
        return
    with pytest.raises(StoreError) as caught:
        await store_of(bucket).list_versions(VersionQuery(""))
    assert caught.value.status == 501


async def test_in_a_bucket_without_versions_each_object_is_the_null_version(
    open_bucket: OpenBucket,
) -> None:
    bucket = open_bucket()
    if Quirk.NO_VERSIONS in bucket.quirks:
        return
    bucket.put("a", b"one")
    bucket.put("a", b"second")

    [row] = (await store_of(bucket).list_versions(VersionQuery(""))).versions

    assert (row.version_id, row.is_latest, row.size) == (NULL_VERSION, True, 6)
    assert not await has_versioning(bucket)


async def test_a_bucket_with_versions_says_so(versioned: Bucket | None) -> None:
    if versioned is not None:
        assert await has_versioning(versioned)


async def test_a_page_of_versions_is_a_checkpoint(versioned: Bucket | None) -> None:
    if versioned is None:
        return
    with trio.testing.assert_checkpoints():
        await store_of(versioned).list_versions(VersionQuery("", marker=VersionMarker("a")))
