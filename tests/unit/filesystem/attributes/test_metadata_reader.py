"""Metadata is of the version that was asked for, and takes one HEAD."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from s3mount.errors import AccessDenied, NotSupported, StaleVersion, StoreError
from s3mount.filesystem.attributes.metadata_reader import REFUSALS_MAX, MetadataReader, Parts
from s3mount.filesystem.facade import FileSystem
from s3mount.s3.model import ObjectStat, ObjectVersion
from s3mount.s3.object_parts import ObjectParts
from tests.fakes.memory_store import MemoryStore, Request, hook
from tests.unit.filesystem.namespace.test_tree import file_system

TEXT = {"ContentType": "text/plain"}


@dataclass
class Known:
    """Version ids that reads have brought."""

    version_id: str | None = None

    def known_version_id(self, version: ObjectVersion) -> str | None:  # noqa: ARG002
        return self.version_id


@dataclass
class Reading:
    reader: MetadataReader
    filesystem: FileSystem
    store: MemoryStore
    known: Known

    def heads(self) -> int:
        return self.store.counts()["HEAD"]


@asynccontextmanager
async def reading(
    store: MemoryStore, *, limit: int = 1 << 20, **tree: float
) -> AsyncIterator[Reading]:
    async with trio.open_nursery() as nursery, file_system(store, **tree) as filesystem:
        known = Known()
        parts = ObjectParts(store)
        reader = MetadataReader(store, filesystem.tree, nursery, known, parts, limit=limit)
        yield Reading(reader, filesystem, store, known)
        nursery.cancel_scope.cancel()


def refusing(make: Callable[[], Exception]) -> Callable[[Request], None]:
    def act(request: Request) -> None:
        if request.kind == "HEAD":
            raise make()

    return act


async def test_callers_at_the_same_time_share_one_head() -> None:
    store = MemoryStore()
    store.put("k", b"body", fields=TEXT)
    async with reading(store) as made, trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(made.reader.get, store.stat("k"))
    assert made.heads() == 1


async def test_a_cancelled_caller_does_not_fail_the_others() -> None:
    store = MemoryStore({"k": b"body"})
    async with reading(store) as made, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await made.reader.get(store.stat("k"))

        nursery.start_soon(cancelled)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(made.reader.get, store.stat("k"))
        scope.cancel()
    assert made.heads() == 1


async def test_metadata_is_cached_until_it_expires(autojump_clock: trio.abc.Clock) -> None:  # noqa: ARG001
    store = MemoryStore({"k": b"body"})
    async with reading(store, metadata_ttl=60) as made:
        entry = store.stat("k")
        assert made.reader.get_nowait(entry) is None
        found = await made.reader.get(entry)
        await trio.sleep(59)
        assert made.reader.get_nowait(entry) is found
        await trio.sleep(2)
        assert made.reader.get_nowait(entry) is None


async def test_without_a_ttl_metadata_lasts_for_the_reads_of_one_program(
    autojump_clock: trio.abc.Clock,  # noqa: ARG001
) -> None:
    store = MemoryStore({"k": b"body"})
    async with reading(store, metadata_ttl=0) as made:
        entry = store.stat("k")
        await made.reader.get(entry)
        assert made.reader.get_nowait(entry) is not None
        await trio.sleep(1.5)
        assert made.reader.get_nowait(entry) is None


async def test_a_refresh_drops_the_metadata() -> None:
    store = MemoryStore({"d/k": b"body"})
    async with reading(store) as made:
        entry = store.stat("d/k")
        for names in ([b"d", b"k"], [b"d"], []):
            await made.reader.get(entry)
            assert made.reader.get_nowait(entry) is not None
            made.filesystem.tree.refresh(names)
            assert made.reader.get_nowait(entry) is None


@pytest.mark.parametrize("is_refreshed", [False, True])
async def test_no_head_that_is_older_than_the_ttl_is_waited_for(
    autojump_clock: trio.abc.Clock,  # noqa: ARG001
    *,
    is_refreshed: bool,
) -> None:
    """An invalidation of the name has expired by then, and denies it no more."""
    store = MemoryStore({"k": b"body"})
    answered = trio.Event()

    async def wait_in_the_first(request: Request) -> None:
        await trio.lowlevel.checkpoint()
        if request.kind == "HEAD" and made.heads() == 1:
            await answered.wait()

    async with reading(store, metadata_ttl=2) as made, trio.open_nursery() as nursery:
        store.before = wait_in_the_first
        nursery.start_soon(made.reader.get, store.stat("k"))
        await trio.sleep(1)
        if is_refreshed:
            made.filesystem.tree.refresh([b"k"])
        await trio.sleep(4)
        with trio.fail_after(1):
            await made.reader.get(store.stat("k"))
        answered.set()
    assert made.heads() == 2


async def test_a_replaced_version_without_a_version_id_is_stale() -> None:
    store = MemoryStore({"k": b"body"})
    async with reading(store) as made:
        entry = store.stat("k")
        store.put("k", b"other", fields=TEXT)
        with pytest.raises(StaleVersion):
            await made.reader.get(entry)
        store.delete("k")
        with pytest.raises(StaleVersion):
            await made.reader.get(entry)
    assert made.reader.get_nowait(entry) is None


async def test_a_replaced_or_deleted_version_is_requested_by_its_version_id() -> None:
    store = MemoryStore(keeps_versions=True)
    store.put("k", b"body", fields=TEXT)
    async with reading(store) as made:
        entry = store.stat("k")
        made.known.version_id = entry.version_id
        store.put("k", b"other", fields={"ContentType": "other"})
        assert (await made.reader.get(entry)).fields["ContentType"] == "text/plain"
        store.delete("k")
        made.filesystem.tree.refresh([])
        assert (await made.reader.get(entry)).fields["ContentType"] == "text/plain"


async def test_equal_bytes_under_another_version_id_are_another_version() -> None:
    store = MemoryStore(keeps_versions=True)
    store.put("k", b"body", fields=TEXT)
    async with reading(store) as made:
        stat = store.stat("k")
        entry = ObjectStat(stat.version.with_version_id(stat.version_id), stat.mtime_ns)
        store.put("k", b"body", fields={"ContentType": "other"})
        store._former[entry.version] = store._former.pop(stat.version)
        assert (await made.reader.get(entry)).stat.version_id == stat.version_id


async def test_a_doubted_version_is_told_by_its_time() -> None:
    store = MemoryStore()
    store.put("k", b"encrypted", fields=TEXT)
    async with reading(store) as made:
        stat = store.stat("k")
        version = ObjectVersion("bucket", "k", "of-get", 4).doubted()
        assert await made.reader.get(ObjectStat(version, stat.mtime_ns))
        with pytest.raises(StaleVersion):
            await made.reader.get(ObjectStat(version, stat.mtime_ns + 5 * 10**9))


async def test_a_failure_is_not_cached() -> None:
    store = MemoryStore({"k": b"body"})
    async with reading(store) as made:
        store.before = hook(refusing(lambda: AccessDenied("no", status=403)))
        with pytest.raises(AccessDenied):
            await made.reader.get(store.stat("k"))
        store.before = hook(lambda _: None)
        assert await made.reader.get(store.stat("k"))


async def test_a_store_without_head_is_asked_for_few() -> None:
    store = MemoryStore({"k": b"body"})
    async with reading(store) as made:
        store.before = hook(refusing(lambda: StoreError("no HEAD", status=501)))
        for _ in range(REFUSALS_MAX + 5):
            with pytest.raises(NotSupported):
                await made.reader.get(store.stat("k"))
    assert made.heads() == REFUSALS_MAX


async def test_the_cache_keeps_to_its_limit_and_large_metadata_is_not_kept() -> None:
    store = MemoryStore()
    for number in range(20):
        store.put(str(number), b"body", user={"text": "x" * 1000})
    store.put("large", b"body", user={"text": "x" * 20_000})
    async with reading(store, limit=10_000) as made:
        for number in range(20):
            await made.reader.get(store.stat(str(number)))
        assert made.reader.get_nowait(store.stat("0")) is None
        assert made.reader.get_nowait(store.stat("19")) is not None
        assert await made.reader.get(store.stat("large"))
        assert made.reader.get_nowait(store.stat("19")) is not None


async def test_parts_are_those_of_the_upload() -> None:
    store = MemoryStore()
    store.put("m", b"body", fields={"PartsCount": "3"})
    store.put("k", b"body")
    async with reading(store) as made:
        assert await made.reader.parts(store.stat("m")) == (3, 4)
        assert await made.reader.parts(store.stat("k")) is None


async def test_callers_for_parts_share_one_head() -> None:
    store = MemoryStore()
    store.put("m", b"body", fields={"PartsCount": "3"})
    found: list[Parts | None] = []
    async with reading(store) as made:

        async def call() -> None:
            found.append(await made.reader.parts(store.stat("m")))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(call)
        await call()

        assert found == [(3, 4)] * 6
        assert made.heads() == 1
        made.filesystem.tree.refresh([b"m"])
        await call()
        assert made.heads() == 2
