"""Contents of the disk cache as commands of a mount see them: paths, cancellation, failures."""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from s3mount.cache.disk_tier.contents import DiskContents
from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.object_name import EXTENT, ObjectName
from s3mount.disk.usage import DiskLimits, DiskUsage
from s3mount.errors import CacheDirectoryError

OWN = ("here", "bucket", "prefix/a"), ("here", "bucket", "prefix/d/b")
OTHERS = ("here", "bucket", "other"), ("here", "more", "prefix/a"), ("there", "bucket", "prefix/a")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[DiskCache]:
    """A cache of two stores, `here` and `there`."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    with closing(DiskCache(folder, DiskLimits(1 << 30))) as cache:
        for each in (*OWN, *OTHERS):
            cache.keep(ObjectName(*each, "etag", 7), 0, memoryview(b"content"))
        yield cache


async def listed(contents: DiskContents, names: Sequence[bytes] | None) -> list[str]:
    found: list[str] = []

    async def send(items: Sequence[Mapping[str, object]]) -> None:
        found.extend(f"{item['bucket']}/{item['key']}" for item in items)

    assert await contents.list(names, send) == len(found)
    return found


async def test_a_path_is_of_the_bucket_prefix_and_store_of_the_mount(cache: DiskCache) -> None:
    contents = DiskContents(cache, "here", "bucket", "prefix/")

    assert await listed(contents, []) == ["bucket/prefix/a", "bucket/prefix/d/b"]
    assert await listed(contents, [b"d"]) == ["bucket/prefix/d/b"]
    assert await listed(contents, [b"d", b"b"]) == ["bucket/prefix/d/b"]
    assert await listed(contents, [b"absent"]) == []


async def test_a_path_in_a_mount_of_all_buckets_begins_with_the_bucket(cache: DiskCache) -> None:
    contents = DiskContents(cache, "here", "", "")

    assert await listed(contents, [b"more", b"prefix"]) == ["more/prefix/a"]
    assert len(await listed(contents, [])) == 4


async def test_without_a_path_it_is_all_of_the_directory(cache: DiskCache) -> None:
    assert len(await listed(DiskContents(cache, "here", "bucket", "prefix/"), None)) == 5


async def test_clear_and_pin_leave_what_other_mounts_have(cache: DiskCache) -> None:
    contents = DiskContents(cache, "here", "bucket", "prefix/")

    assert await contents.pin([], is_pinned=True) == 2
    assert await contents.clear([]) == 2

    assert len(await listed(contents, None)) == 3


async def test_verify_tells_how_far_it_is(cache: DiskCache) -> None:
    verification = DiskContents(cache, "here", "bucket", "").begin_verification(None)

    result = await verification.run()

    assert result == {"objects": 5, "bytes": 35, "bad_extents": 0}
    assert verification.progress() == {
        "phase": "reading",
        "objects": 5,
        "bytes": 35,
        "bytes_done": 35,
    }


async def test_a_client_that_goes_ends_the_verification(cache: DiskCache) -> None:
    large = ObjectName("here", "bucket", "large", "etag", 16 * EXTENT)
    cache.keep(large, 0, memoryview(bytes(large.size)))
    verification = DiskContents(cache, "here", "bucket", "").begin_verification(None)

    with trio.CancelScope() as scope:
        scope.cancel()
        await verification.run()

    assert scope.cancelled_caught
    assert verification.progress()["bytes_done"] == 0


async def test_a_disk_that_does_not_respond_gives_no_usage(
    cache: DiskCache, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    assert autojump_clock is not None
    may_go_on = threading.Event()
    monkeypatch.setattr(cache, "usage", lambda **_: may_go_on.wait())
    contents = DiskContents(cache, "here", "bucket", "")

    for _ in range(9):  # more than there are threads
        assert await contents.usage() is None

    may_go_on.set()


async def test_a_disk_that_does_not_respond_keeps_no_command_that_is_cancelled(
    cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, may_go_on = trio.Event(), threading.Event()

    def hang(_selection: object) -> None:
        trio.from_thread.run_sync(has_begun.set)
        may_go_on.wait()

    monkeypatch.setattr(cache, "clear", hang)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(DiskContents(cache, "here", "bucket", "").clear, None)
            await has_begun.wait()
            nursery.cancel_scope.cancel()
    may_go_on.set()


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), sqlite3.OperationalError()])
async def test_a_disk_that_fails_gives_no_usage_and_refuses_commands(
    cache: DiskCache, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(cache, "usage", raiser(failure))
    monkeypatch.setattr(cache, "clear", raiser(failure))
    contents = DiskContents(cache, "here", "bucket", "")

    assert await contents.usage() is None
    with pytest.raises(CacheDirectoryError, match="failed"):
        await contents.clear(None)


async def test_a_directory_that_is_refused_is_named_once(tmp_path: Path) -> None:
    place = tmp_path / "cache"
    place.touch()
    cache = DiskCache(place, DiskLimits(64 << 20), opens_late=True)

    with pytest.raises(CacheDirectoryError) as raised:
        await DiskContents(cache, "here", "bucket", "").clear(None)

    assert str(raised.value).startswith(f"the cache directory {place} is refused: it is not")


def raiser(failure: Exception) -> Callable[..., DiskUsage]:
    def fail(*_arguments: object, **_options: object) -> DiskUsage:
        raise failure

    return fail
