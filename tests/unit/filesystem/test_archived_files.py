"""Archived files: refused when they are opened, and read as soon as they are restored."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from s3mount.config import StoreConfig, TreeConfig
from s3mount.errors import Archived, ReplacedBeforeOpen
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.archive import INTELLIGENT_TIERING, TIERED_MIN
from tests.fakes.memory_store import MemoryStore, Request, hook
from tests.property.filesystem_factory import make_filesystem

COLD = "GLACIER"
LARGE = bytes(TIERED_MIN)


@asynccontextmanager
async def file_system(store: MemoryStore, ttl: float = 60.0) -> AsyncIterator[FileSystem]:
    async with trio.open_nursery() as nursery:
        config = TreeConfig(uid=0, gid=0, metadata_ttl=ttl)
        clock = trio.current_time
        yield make_filesystem(store, nursery, config, StoreConfig(bucket="bucket"), clock)
        nursery.cancel_scope.cancel()


async def inode_of(filesystem: FileSystem, name: str) -> int:
    return (await filesystem.tree.lookup(ROOT, name.encode())).inode


async def open_and_read(filesystem: FileSystem, name: str) -> bytes:
    """Read all of a file, as open(2) and read(2) do. Raises what they fail with."""
    inode = await inode_of(filesystem, name)
    files = filesystem.files
    handle = files.open_nowait(inode)
    if handle is None:
        handle = await files.open(inode)
    try:
        return bytes(await files.read(handle, 0, 1 << 20))
    finally:
        files.release(handle)


async def test_the_open_of_an_archived_file_names_its_class_and_the_command() -> None:
    store = MemoryStore()
    store.put("a", b"bytes", storage_class="DEEP_ARCHIVE")
    async with file_system(store) as filesystem:
        inode = await inode_of(filesystem, "a")

        assert filesystem.files.open_nowait(inode) is None
        with pytest.raises(Archived, match=r"\(DEEP_ARCHIVE\).*s3mountctl restore PATH") as denied:
            await filesystem.files.open(inode)

        assert denied.value.key == "a"
        assert len(filesystem.files) == 0


async def test_an_instant_archive_is_read_as_any_other_class() -> None:
    store = MemoryStore()
    store.put("a", b"bytes", storage_class="GLACIER_IR")
    store.put("plain", b"bytes")
    async with file_system(store) as filesystem:
        await open_and_read(filesystem, "plain")  # the first open of a mount is checked
        assert filesystem.files.open_nowait(await inode_of(filesystem, "a")) is not None


async def test_a_restored_file_is_read_by_the_next_open() -> None:
    store = MemoryStore()
    store.put("a", b"bytes", storage_class=COLD)
    async with file_system(store, ttl=float("inf")) as filesystem:
        with pytest.raises(Archived):
            await open_and_read(filesystem, "a")
        store.archive("a", is_archived=False)

        assert await open_and_read(filesystem, "a") == b"bytes"


async def test_an_expiry_while_a_file_is_open_fails_its_reads() -> None:
    store = MemoryStore()
    store.put("a", b"bytes", storage_class=COLD)
    store.archive("a", is_archived=False)
    async with file_system(store) as filesystem:
        inode = await inode_of(filesystem, "a")
        handle = await filesystem.files.open(inode)
        store.archive("a")

        with pytest.raises(Archived):
            await filesystem.files.read(handle, 0, 5)
        filesystem.files.release(handle)
        with pytest.raises(Archived):
            await filesystem.files.open(inode)


async def test_an_empty_archived_file_needs_no_restore() -> None:
    store = MemoryStore()
    store.put("a", b"", storage_class=COLD)
    async with file_system(store) as filesystem:
        assert await open_and_read(filesystem, "a") == b""
        assert store.counts()["GET"] == 0


async def test_tiered_files_are_suspected_only_after_one_was_archived() -> None:
    store = MemoryStore()
    for name in ("a", "b"):
        store.put(name, LARGE, storage_class=INTELLIGENT_TIERING)
    store.put("small", b"bytes", storage_class=INTELLIGENT_TIERING)
    store.archive("a")
    store.put("plain", b"bytes")
    async with file_system(store) as filesystem:
        await open_and_read(filesystem, "plain")  # the first open of a mount is checked
        files = filesystem.files
        inodes = {name: await inode_of(filesystem, name) for name in ("a", "b", "small")}
        handle = files.open_nowait(inodes["a"])
        assert handle is not None

        with pytest.raises(Archived):
            await files.read(handle, 0, 1)
        files.release(handle)

        with pytest.raises(Archived, match=INTELLIGENT_TIERING):
            await files.open(inodes["a"])
        assert files.open_nowait(inodes["b"]) is None
        assert await open_and_read(filesystem, "b") == LARGE
        assert files.open_nowait(inodes["small"]) is not None


async def test_an_archived_file_that_was_replaced_is_looked_up_again() -> None:
    store = MemoryStore()
    store.put("a", b"bytes", storage_class=COLD)
    async with file_system(store) as filesystem:
        inode = await inode_of(filesystem, "a")
        store.put("a", b"newer")

        with pytest.raises(ReplacedBeforeOpen):
            await filesystem.files.open(inode)

        assert len(filesystem.files) == 0
        assert await open_and_read(filesystem, "a") == b"newer"


async def test_an_open_that_is_cancelled_leaves_no_file() -> None:
    store = MemoryStore()
    store.put("a", b"bytes", storage_class=COLD)
    async with file_system(store) as filesystem:
        inode = await inode_of(filesystem, "a")
        with trio.CancelScope() as scope:

            def cancel(request: Request) -> None:
                if request.kind == "GET":
                    scope.cancel()

            store.before = hook(cancel)
            await filesystem.files.open(inode)

        assert scope.cancelled_caught
        assert len(filesystem.files) == 0


@pytest.mark.parametrize("storage_class", [COLD, INTELLIGENT_TIERING])
async def test_an_archived_file_is_seen_after_its_name_has_expired(
    storage_class: str,
    autojump_clock: MockClock,  # noqa: ARG001 - for its effect
) -> None:
    store = MemoryStore()
    store.put("a", LARGE, storage_class=storage_class)
    store.archive("a")
    async with file_system(store) as filesystem:
        inode = await inode_of(filesystem, "a")
        await trio.sleep(61)

        assert await inode_of(filesystem, "a") == inode

        refused = storage_class == INTELLIGENT_TIERING
        assert store.counts()["REVALIDATE"] == refused


NAMES = ["a", "b", "c"]
CLASSES = ["STANDARD", COLD, INTELLIGENT_TIERING]
STEPS = st.one_of(
    st.tuples(st.just("read"), st.sampled_from(NAMES)),
    st.tuples(st.just("archive"), st.sampled_from(NAMES)),
    st.tuples(st.just("restore"), st.sampled_from(NAMES)),
    st.tuples(st.just("put"), st.sampled_from(NAMES), st.sampled_from(CLASSES), st.integers(0, 3)),
)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=20))
def test_a_file_is_read_whenever_the_store_lets_it_and_refused_else(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    """With a lifetime of 0, so that each open sees what is current."""

    async def main() -> None:
        store = MemoryStore(dict.fromkeys(NAMES, b"first"))
        async with file_system(store, ttl=0.0) as filesystem:
            for step in steps:
                await take(store, filesystem, *step)
            assert len(filesystem.files) == 0

    trio.run(main)


async def take(
    store: MemoryStore, filesystem: FileSystem, verb: str, name: str, *given_: object
) -> None:
    match verb, given_:
        case "put", (str(storage_class), int(number)):
            body = LARGE if number == 3 else bytes([number]) * number
            store.put(name, body, storage_class=storage_class)
        case "archive", ():
            if store.stat(name).storage_class != "STANDARD":
                store.archive(name)
        case "restore", ():
            store.archive(name, is_archived=False)
        case _:
            body = store.bodies[name]
            if store.stat(name).is_archived and body:
                with pytest.raises(Archived):
                    await open_and_read(filesystem, name)
            else:
                assert await open_and_read(filesystem, name) == body
