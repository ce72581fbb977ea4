"""The contract of `ObjectStore`, tested on the store in memory and on real ones."""

import hashlib
from dataclasses import replace

import pytest
import trio
import trio.testing

from s3mount.errors import (
    Archived,
    CredentialsRefused,
    NotFound,
    S3MountError,
    StaleVersion,
    StoreError,
)
from s3mount.s3.archive import RestoreOrder, RestoreOutcome, RestoreTier
from s3mount.s3.model import ByteRange, ListQuery, Modified, NotModified, ObjectVersion
from s3mount.s3.object_store import ObjectStore, Priority
from tests.contract.conftest import Bucket, OpenBucket
from tests.fakes.started_reads import read_range
from tests.servers import Quirk

HOSTILE_KEYS = [
    "plain",
    "sp ace",
    " lead",
    "trail ",
    "pl+us",
    "per%cent",
    "%41",
    "%2F",
    "am&per<sand>",
    "quo\"te'",
    "que?stion#hash",
    "semi;colon:at@",
    "star*[x]{y}|^`~$!,=()",
    "back\\slash",
    "ünïcode/ß",
    "cafe\u0301",
    "\u65e5\u672c/\U0001f600",
    "\u2028\uffff",
    "tab\there",
    "new\nline",
    "carriage\rreturn",
    "control\x01\x1f",
    "del\x7f",
    "a//b",
    "a/./b",
    "a/../b",
    "/lead",
    "marker/",
    "n" * 300,
]


async def read(store: ObjectStore, version: ObjectVersion, start: int, stop: int) -> bytes:
    into = bytearray(stop - start)
    await read_range(store, version, ByteRange(start, stop), memoryview(into))
    return bytes(into)


async def names(store: ObjectStore, query: ListQuery) -> list[str]:
    """Return all names of a listing, page by page."""
    found: list[str] = []
    token: str | None = None
    while True:
        page = await store.list_page(
            ListQuery(query.prefix, query.delimiter, query.start_after, token, query.max_keys)
        )
        found += [listed.key for listed in page.objects] + page.prefixes
        token = page.next_token
        if token is None:
            return found


async def test_a_head_returns_the_attributes_of_what_was_put(bucket: Bucket) -> None:
    bucket.put("key", b"twelve bytes")

    stat = await bucket.store.head("key")

    assert (stat.version.key, stat.version.size, stat.storage_class) == ("key", 12, "STANDARD")
    assert stat.version.etag == hashlib.md5(b"twelve bytes").hexdigest()
    assert not stat.is_archived


async def test_a_missing_key_is_not_found(bucket: Bucket) -> None:
    with pytest.raises(NotFound):
        await bucket.store.head("missing")


async def test_a_listing_and_a_head_agree_on_the_version(listed_bucket: Bucket) -> None:
    listed_bucket.put("key", b"body")

    (listed,) = (await listed_bucket.store.list_page(ListQuery(""))).objects
    stat = await listed_bucket.store.head("key")

    assert (listed.key, listed.etag, listed.size) == ("key", stat.version.etag, stat.version.size)
    assert listed.mtime_ns // 10**9 == stat.mtime_ns // 10**9


async def test_keys_of_any_bytes_are_listed_found_and_read_unchanged(listed_bucket: Bucket) -> None:
    keys = [key for key in HOSTILE_KEYS if listed_bucket.can_hold(key)]
    bodies = {key: b"" if key.endswith("/") else key.encode() for key in keys}
    for key, body in bodies.items():
        listed_bucket.put(key, body)

    listed = await names(listed_bucket.store, ListQuery("", delimiter=""))

    assert sorted(listed) == sorted(keys)
    for key, body in bodies.items():
        version = (await listed_bucket.store.head(key)).version
        assert version.size == len(body)
        assert not body or await read(listed_bucket.store, version, 0, len(body)) == body


async def test_hostile_prefixes_are_listed(listed_bucket: Bucket) -> None:
    prefixes = [
        f"{key}/" for key in HOSTILE_KEYS if listed_bucket.can_hold(f"{key}/x") and "/" not in key
    ]
    for prefix in prefixes:
        listed_bucket.put(f"{prefix}x", b"x")

    assert sorted(await names(listed_bucket.store, ListQuery(""))) == sorted(prefixes)
    for prefix in prefixes:
        assert await names(listed_bucket.store, ListQuery(prefix)) == [f"{prefix}x"]


@pytest.mark.parametrize("max_keys", [1, 2, 3, 4, 1000])
@pytest.mark.parametrize("delimiter", ["", "/"])
async def test_a_listing_is_the_same_however_its_pages_are_cut(
    listed_bucket: Bucket, max_keys: int, delimiter: str
) -> None:
    keys = [
        "a-b",
        "a/1",
        "a/2",
        "b c/1",
        "b+c",
        "c%d/1/2",
        "d",
        "dir-1/x",
        "dir/x",
        "dir0",
        "e",
        "\u00e9/\u00e9",
    ]
    for key in keys:
        listed_bucket.put(key, b"x")

    listed = await names(listed_bucket.store, ListQuery("", delimiter, max_keys=max_keys))

    tops = {key if "/" not in key else key[: key.index("/") + 1] for key in keys}
    if Quirk.REPEATS_COMMON_PREFIXES in listed_bucket.quirks:
        listed = [*set(listed)]
    assert sorted(listed) == sorted(keys if delimiter == "" else tops)


async def test_a_listing_starts_after_a_key(listed_bucket: Bucket) -> None:
    for key in ["a", "b", "c", "sp ace", "sp+ace", "\u00e9"]:
        listed_bucket.put(key, b"x")

    assert await names(listed_bucket.store, ListQuery("", start_after="b")) == [
        "c",
        "sp ace",
        "sp+ace",
        "\u00e9",
    ]
    assert await names(listed_bucket.store, ListQuery("", start_after="sp ace", max_keys=1)) == [
        "sp+ace",
        "\u00e9",
    ]
    assert await names(listed_bucket.store, ListQuery("", start_after="bb")) == [
        "c",
        "sp ace",
        "sp+ace",
        "\u00e9",
    ]


async def test_a_prefix_without_keys_is_an_empty_listing(listed_bucket: Bucket) -> None:
    listed_bucket.put("key", b"x")

    page = await listed_bucket.store.list_page(ListQuery("other/"))

    assert (page.objects, page.prefixes, page.next_token) == ([], [], None)


async def test_an_object_beside_its_prefix_is_listed_with_it(listed_bucket: Bucket) -> None:
    listed_bucket.put("a/b", b"x")
    if Quirk.NO_OBJECT_BESIDE_ITS_PREFIX not in listed_bucket.quirks:
        listed_bucket.put("a", b"x")

    expected = ["a/"] if Quirk.NO_OBJECT_BESIDE_ITS_PREFIX in listed_bucket.quirks else ["a", "a/"]
    assert sorted(await names(listed_bucket.store, ListQuery(""))) == expected


@pytest.mark.parametrize(
    "span", [ByteRange(0, 1), ByteRange(0, 1000), ByteRange(999, 1000), ByteRange(250, 750)]
)
async def test_a_range_is_a_slice_of_the_object(bucket: Bucket, span: ByteRange) -> None:
    body = bytes(i % 251 for i in range(1000))
    bucket.put("key", body)
    version = (await bucket.store.head("key")).version

    assert await read(bucket.store, version, span.start, span.stop) == body[span.start : span.stop]


async def test_many_ranges_at_once_do_not_mix(bucket: Bucket) -> None:
    body = bytes(i % 251 for i in range(200_000))
    bucket.put("key", body)
    version = (await bucket.store.head("key")).version
    into = bytearray(len(body))

    async with trio.open_nursery() as nursery:
        for start in range(0, len(body), 10_000):
            part = memoryview(into)[start : start + 10_000]
            byte_range = ByteRange(start, start + 10_000)
            priority = Priority(start // 10_000 % 2)
            nursery.start_soon(read_range, bucket.store, version, byte_range, part, priority)

    assert into == body


async def test_an_overwritten_version_is_stale(bucket: Bucket) -> None:
    bucket.put("key", b"old bytes")
    old = (await bucket.store.head("key")).version
    bucket.put("key", b"new bytes")

    with pytest.raises(StaleVersion):
        await read(bucket.store, old, 0, 4)


async def test_a_version_overwritten_by_a_shorter_one_is_stale(bucket: Bucket) -> None:
    bucket.put("key", b"long, long bytes")
    old = (await bucket.store.head("key")).version
    bucket.put("key", b"no")

    with pytest.raises(StaleVersion):
        await read(bucket.store, old, 8, 12)


async def test_a_deleted_version_is_stale(bucket: Bucket) -> None:
    bucket.put("key", b"bytes")
    old = (await bucket.store.head("key")).version
    bucket.delete("key")

    with pytest.raises(StaleVersion):
        await read(bucket.store, old, 0, 4)


async def test_an_old_version_is_read_by_its_id_in_a_versioned_bucket(
    open_bucket: OpenBucket,
) -> None:
    bucket = open_bucket()
    if Quirk.NO_VERSIONS not in bucket.quirks:
        bucket = open_bucket(versioned=True)
    bucket.put("key", b"old bytes")
    old = (await bucket.store.head("key")).version
    bucket.put("key", b"new bytes")

    if Quirk.NO_VERSIONS in bucket.quirks:
        with pytest.raises(StaleVersion):
            await read(bucket.store, old, 0, 3)
        return
    assert [await read(bucket.store, old, 0, 3) for _ in range(2)] == [b"old", b"old"]
    bucket.delete("key")
    assert await read(bucket.store, old, 4, 9) == b"bytes"


async def test_a_revalidation_finds_the_same_version(bucket: Bucket) -> None:
    bucket.put("key", b"bytes")
    bucket.put("empty", b"")

    for key in ["key", "empty"]:
        version = (await bucket.store.head(key)).version
        for head_size in (0, 3, 100):
            assert await bucket.store.revalidate(version, head_size) == NotModified()


@pytest.mark.parametrize(
    ("old", "new"), [(b"old", b"new bytes"), (b"old", b""), (b"", b"new bytes"), (b"a" * 9, b"b")]
)
@pytest.mark.parametrize("head_size", [0, 3, 100])
async def test_a_revalidation_returns_a_new_version_with_its_first_bytes(
    bucket: Bucket, old: bytes, new: bytes, head_size: int
) -> None:
    bucket.put("key", old)
    version = (await bucket.store.head("key")).version
    bucket.put("key", new)

    outcome = await bucket.store.revalidate(version, head_size)

    assert isinstance(outcome, Modified)
    stat = await bucket.store.head("key")
    if Quirk.VERSION_IDS_IN_HEAD_ONLY in bucket.quirks:
        stat = replace(stat, version_id=outcome.stat.version_id)
    assert outcome == Modified(stat, new[:head_size])


async def test_a_revalidation_of_a_deleted_object_is_not_found(bucket: Bucket) -> None:
    bucket.put("key", b"bytes")
    version = (await bucket.store.head("key")).version
    bucket.delete("key")

    with pytest.raises(NotFound):
        await bucket.store.revalidate(version, 10)


async def test_an_archived_object_is_listed_and_its_bytes_denied(bucket: Bucket) -> None:
    if Quirk.NO_ARCHIVE in bucket.quirks:
        return
    bucket.put("cold", b"bytes", StorageClass="GLACIER")
    bucket.put("cool", b"bytes", StorageClass="GLACIER_IR")

    stat = await bucket.store.head("cold")

    assert stat.is_archived
    assert not (await bucket.store.head("cool")).is_archived
    assert {
        each.storage_class for each in (await bucket.store.list_page(ListQuery(""))).objects
    } == {
        "GLACIER",
        "GLACIER_IR",
    }
    with pytest.raises(Archived):
        await read(bucket.store, stat.version, 0, 3)


async def test_a_store_without_archives_refuses_a_restore_and_keeps_the_object(
    bucket: Bucket,
) -> None:
    if Quirk.NO_ARCHIVE not in bucket.quirks:
        return
    bucket.put("key", b"bytes")
    version = (await bucket.store.head("key")).version

    with pytest.raises(S3MountError) as refusal:
        await bucket.restorer.restore("key", RestoreOrder(days=1))

    assert not isinstance(refusal.value, CredentialsRefused)  # its signature is right
    assert await read(bucket.store, version, 0, 5) == b"bytes"


async def test_a_restored_object_is_read_and_an_unarchived_one_has_no_restore(
    bucket: Bucket,
) -> None:
    if Quirk.NO_ARCHIVE in bucket.quirks:
        return
    bucket.put("cold", b"bytes", StorageClass="GLACIER")
    bucket.put("warm", b"bytes")

    first = await bucket.restorer.restore("cold", RestoreOrder(days=1))
    again = await bucket.restorer.restore("cold", RestoreOrder(RestoreTier.BULK, 2))

    stat = await bucket.store.head("cold")
    assert (first, again) == (RestoreOutcome.REQUESTED, RestoreOutcome.EXTENDED)
    assert not stat.is_archived
    assert await read(bucket.store, stat.version, 0, 5) == b"bytes"
    with pytest.raises(StoreError):
        await bucket.restorer.restore("warm", RestoreOrder(days=1))


async def test_every_operation_is_a_checkpoint(bucket: Bucket) -> None:
    bucket.put("key", b"bytes")
    version = (await bucket.store.head("key")).version

    for call in (
        lambda: bucket.store.head("key"),
        lambda: bucket.store.list_page(ListQuery("")),
        lambda: read(bucket.store, version, 0, 5),
        lambda: bucket.store.revalidate(version, 5),
    ):
        with trio.testing.assert_checkpoints():
            await call()
        with trio.CancelScope() as scope:
            scope.cancel()
            await call()
        assert scope.cancelled_caught
