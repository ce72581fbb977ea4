"""What is served while the store cannot be reached: `serve_stale`."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from s3mount.config import StoreConfig, TreeConfig
from s3mount.errors import (
    AccessDenied,
    CredentialsUnavailable,
    DeadlineExceeded,
    NotFound,
    S3MountError,
    StoreError,
    Unreachable,
)
from s3mount.filesystem.persistence.outage import KERNEL_TTL, is_outage
from s3mount.filesystem.persistence.persistent_tree import PersistentTree
from s3mount.filesystem.persistence.record_store import MemoryRecords
from tests.fakes.memory_store import BUCKET, MemoryStore, Request, respond_at_once
from tests.property.filesystem_factory import make_filesystem
from tests.property.kernel import Kernel, truth, walk

TTL = 60.0
STALE = 3600.0
FAILING_FOR = 20.0  # seconds of retries
in_an_outage = pytest.mark.usefixtures("outages_are_logged")
TREE = {"d/a": b"1", "d/b": b"22", "e": b"333"}


@pytest.fixture
def outages_are_logged(expected_warnings: list[str]) -> None:
    expected_warnings.append("the store cannot be reached, so what is known is served")


class Network:
    """Network between the mount and its store, which may be away: as *failure*, or silent."""

    def __init__(self, store: MemoryStore) -> None:
        self.failure: S3MountError | None = None
        self.is_silent = False
        store.before = self.pass_on

    async def pass_on(self, request: Request) -> None:
        if self.is_silent:
            await trio.sleep(60.0)
            raise DeadlineExceeded("not answered within 60 s", key=request.key)
        if self.failure is not None:
            await trio.sleep(FAILING_FOR)
            if self.failure is not None:
                raise self.failure.detached()
        await respond_at_once(request)


@asynccontextmanager
async def mounted(
    store: MemoryStore, *, serve_stale: float = STALE, records: MemoryRecords | None = None
) -> AsyncIterator[Kernel]:
    async with trio.open_nursery() as nursery:
        filesystem = make_filesystem(
            store,
            nursery,
            TreeConfig(uid=0, gid=0, metadata_ttl=TTL, serve_stale=serve_stale),
            StoreConfig(bucket=BUCKET),
            trio.current_time,
            records=records or MemoryRecords(1 << 20),
        )
        kernel = Kernel(filesystem)
        yield kernel
        kernel.forget_all()
        await filesystem.tree.flush()
        nursery.cancel_scope.cancel()


def tree_of(kernel: Kernel) -> PersistentTree:
    tree = kernel.filesystem.tree
    assert isinstance(tree, PersistentTree)
    return tree


def gone() -> Unreachable:
    return Unreachable("no response (ConnectionRefusedError)")


@in_an_outage
def test_names_and_listings_are_served_while_the_store_is_away() -> None:
    store = MemoryStore(TREE)
    network = Network(store)

    async def main() -> None:
        async with mounted(store) as kernel:
            before = await walk(kernel)
            await trio.sleep(TTL + 1)
            network.failure = gone()
            first = trio.current_time()
            assert await walk(kernel) == before
            assert trio.current_time() - first < FAILING_FOR + 1
            again = trio.current_time()
            assert await walk(kernel) == before
            assert await kernel.resolve(b"d/a") is not None
            assert await kernel.resolve(b"d/none") is None
            assert trio.current_time() == again
            assert kernel.filesystem.tree.counts.stale_answers > 0

    run_long(main)


@in_an_outage
def test_the_first_response_ends_an_outage() -> None:
    store = MemoryStore(TREE)
    network = Network(store)

    async def main() -> None:
        async with mounted(store) as kernel:
            await walk(kernel)
            await trio.sleep(TTL + 1)
            network.failure = gone()
            await walk(kernel)
            store.put("d/c", b"new")
            network.failure = None
            await trio.sleep(FAILING_FOR + 3)
            assert not tree_of(kernel).monitor.is_on  # type: ignore[union-attr]
            assert await walk(kernel) == truth(store)

    run_long(main)


@in_an_outage
def test_names_are_served_whose_listing_was_being_replaced_as_an_outage_began() -> None:
    """Lookups that miss together start a new listing, in place of the one that has the names."""
    store = MemoryStore({f"d/{number}": b"x" for number in range(12)})
    network = Network(store)

    async def main() -> None:
        async with mounted(store) as kernel:
            await walk(kernel)
            directory = await kernel.resolve(b"d")
            assert directory is not None
            await trio.sleep(TTL + 1)
            network.failure = gone()
            async with trio.open_nursery() as nursery:
                for number in range(6):
                    nursery.start_soon(kernel.lookup, directory.inode, b"%d" % number)
            since = trio.current_time()
            for number in range(12):
                assert await kernel.lookup(directory.inode, b"%d" % number) is not None
            assert trio.current_time() == since

    run_long(main)


@pytest.mark.parametrize(
    "failure", [AccessDenied("the program for credentials failed"), StoreError("an odd response")]
)
@in_an_outage
def test_a_failure_without_a_response_ends_no_outage(failure: S3MountError) -> None:
    store = MemoryStore(TREE)
    network = Network(store)

    async def main() -> None:
        async with mounted(store) as kernel:
            before = await walk(kernel)
            await trio.sleep(TTL + 1)
            network.failure = gone()
            await walk(kernel)
            network.failure = failure
            await trio.sleep(60)
            assert await walk(kernel) == before

    run_long(main)


@in_an_outage
def test_a_silent_store_is_away_after_half_of_the_timeout() -> None:
    store = MemoryStore(TREE)
    network = Network(store)

    async def main() -> None:
        async with mounted(store) as kernel:
            seen = await kernel.resolve(b"d/a")
            await trio.sleep(TTL + 1)
            network.is_silent = True
            since = trio.current_time()
            assert await kernel.resolve(b"d/a") == seen
            assert trio.current_time() - since <= 2 * tree_of(kernel).patience + 2
            since = trio.current_time()
            assert await kernel.resolve(b"d/a") == seen
            assert trio.current_time() == since

    run_long(main)


@in_an_outage
def test_what_is_older_than_serve_stale_is_not_served() -> None:
    store = MemoryStore(TREE)
    network = Network(store)

    async def main() -> None:
        async with mounted(store, serve_stale=100.0) as kernel:
            await walk(kernel)
            await trio.sleep(100.0)
            network.failure = gone()
            with pytest.raises(Unreachable):
                await kernel.resolve(b"e")
            with pytest.raises(Unreachable):
                await walk(kernel)

    run_long(main)


def test_nothing_stale_is_served_by_default() -> None:
    store = MemoryStore(TREE)
    network = Network(store)

    async def main() -> None:
        async with mounted(store, serve_stale=0.0) as kernel:
            await walk(kernel)
            await trio.sleep(TTL + 1)
            network.failure = gone()
            with pytest.raises(Unreachable):
                await kernel.resolve(b"e")

    run_long(main)


@pytest.mark.parametrize(
    "failure", [AccessDenied("denied", status=403), StoreError("?", status=400)]
)
def test_what_the_store_says_is_not_replaced_by_what_is_stale(failure: S3MountError) -> None:
    store = MemoryStore(TREE)
    network = Network(store)

    async def main() -> None:
        async with mounted(store) as kernel:
            await walk(kernel)
            await trio.sleep(TTL + 1)
            network.failure = failure
            with pytest.raises(type(failure)):
                await kernel.resolve(b"e")
            with pytest.raises(type(failure)):
                await walk(kernel)

    run_long(main)


@in_an_outage
def test_a_file_is_opened_in_an_outage_as_it_was_known() -> None:
    store = MemoryStore(TREE)
    network = Network(store)

    async def main() -> None:
        async with mounted(store) as kernel:
            files = kernel.filesystem.files
            seen = await kernel.resolve(b"e")
            assert seen is not None
            files.release(await files.open(seen.inode))
            await trio.sleep(TTL + 1)
            network.failure = gone()
            handle = await files.open(seen.inode)
            files.release(handle)

    run_long(main)


@in_an_outage
def test_the_next_mount_serves_what_was_kept_in_an_outage() -> None:
    store = MemoryStore(TREE)
    network, records = Network(store), MemoryRecords(1 << 20)

    async def main() -> None:
        async with mounted(store, records=records) as kernel:
            before = await walk(kernel)
        await trio.sleep(TTL + 1)
        network.failure = gone()
        async with mounted(store, records=records) as kernel:
            assert await walk(kernel) == before
            assert await kernel.resolve(b"d/a") is not None

    run_long(main)


@in_an_outage
def test_the_kernel_keeps_stale_attributes_only_shortly() -> None:
    store = MemoryStore(TREE)
    network = Network(store)

    async def main() -> None:
        async with mounted(store) as kernel:
            tree = kernel.filesystem.tree
            seen = await kernel.resolve(b"e")
            assert seen is not None
            await trio.sleep(TTL + 1)
            assert tree.attributes(seen.inode).valid_for == 0
            network.failure = gone()
            await kernel.resolve(b"e")
            assert tree.attributes(seen.inode).valid_for == KERNEL_TTL

    run_long(main)


@in_an_outage
def test_a_refresh_in_an_outage_is_an_error_and_shows_nothing_older() -> None:
    store = MemoryStore(TREE)
    network = Network(store)

    async def main() -> None:
        async with mounted(store) as kernel:
            await walk(kernel)
            await trio.sleep(TTL + 1)
            network.failure = gone()
            await walk(kernel)
            kernel.filesystem.tree.invalidate_all()
            with pytest.raises(Unreachable):
                await kernel.resolve(b"e")

    run_long(main)


@in_an_outage
def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryStore(TREE)
    network = Network(store)
    caplog.set_level(logging.INFO, "s3mount.filesystem.persistence.outage")

    async def main() -> None:
        async with mounted(store) as kernel:
            await walk(kernel)
            await trio.sleep(TTL + 1)
            network.failure = gone()
            await walk(kernel)
            await trio.sleep(300)
            await walk(kernel)
            network.failure = None
            await trio.sleep(300)

    run_long(main)

    begun, ended = (record.getMessage() for record in caplog.records)
    assert begun.startswith("the store cannot be reached, so what is known is served, up to 3600 s")
    assert ended.startswith("the store can be reached again, after ")


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Unreachable("no response"), True),
        (DeadlineExceeded("late"), True),
        (CredentialsUnavailable("the token service does not answer"), True),
        (StoreError("not implemented", status=501), False),
        (StoreError("SlowDown", status=503), True),
        (StoreError("too many", status=429), True),
        (StoreError("broken", status=400), False),
        (StoreError("invalid response"), False),
        (NotFound("no such key", status=404), False),
        (AccessDenied("denied", status=403), False),
    ],
)
def test_only_a_store_that_cannot_be_reached_is_away(failure: S3MountError, expected: bool) -> None:  # noqa: FBT001
    assert is_outage(failure) is expected


def run_long(main: Callable[[], Awaitable[None]]) -> None:
    """Run *main*, which takes hours of virtual time."""

    async def limited() -> None:
        with trio.fail_after(100_000):
            await main()

    trio.run(limited, clock=trio.testing.MockClock(autojump_threshold=0))
