"""Readahead from the end of one version into the beginning of the following one."""

import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from s3mount.cache.block_cache import BlockCache
from s3mount.cache.object_reader import ObjectReader
from s3mount.cache.ranges import KIB, MIB
from s3mount.config import BlockConfig
from s3mount.s3.model import ObjectVersion
from s3mount.s3.object_store import Priority
from tests.metrics import read_metrics
from tests.property.scripted_store import ScriptedStore

VERSIONS = [ObjectVersion("b", f"file-{number}", "e", 6 * MIB) for number in range(5)]
LIMIT = 64 * MIB


@dataclass
class Rig:
    store: ScriptedStore
    cache: BlockCache

    async def read(self, number: int, start: int = 0, stop: int = 6 * MIB) -> None:
        """Open a version, read a part of it in order, and close it."""
        version = VERSIONS[number]
        reader = self.cache.open(version)
        self.cache.expect_next(version, VERSIONS[number + 1 :])
        for offset in range(start, stop, 128 * KIB):
            await reader.read(offset, 128 * KIB)
        reader.close()
        await wait_all_tasks_blocked()

    async def read_slowly(self, number: int, reader: ObjectReader, stop: int) -> None:
        """Read a version in order, of which each read waits for its bytes."""
        async with trio.open_nursery() as readers:
            for offset in range(0, stop, 128 * KIB):
                readers.start_soon(reader.read, offset, 128 * KIB)
                await wait_all_tasks_blocked()
                for load in [each for each in self.store.loads if each.version == VERSIONS[number]]:
                    load.land()
                await wait_all_tasks_blocked()

    def fetched(self, number: int) -> int:
        """How many bytes of a version were requested so far."""
        return sum(len(span) for key, span, _ in self.store.asked if key == VERSIONS[number].key)


@asynccontextmanager
async def rig_of(*, has_readahead: bool = True) -> AsyncIterator[Rig]:
    async with trio.open_nursery() as loads:
        store = ScriptedStore()
        store.is_prompt = True
        config = BlockConfig(memory_limit=LIMIT)
        cache = BlockCache(store, loads, config, has_readahead=has_readahead)
        try:
            yield Rig(store, cache)
        finally:
            cache.close()
            store.let_go()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with rig_of() as made:
        yield made


async def test_nothing_follows_the_first_version_that_is_read_whole(rig: Rig) -> None:
    await rig.read(0)

    assert not rig.fetched(1)


async def test_a_reader_that_has_gone_on_once_finds_the_next_version_fetched(rig: Rig) -> None:
    await rig.read(0)
    await rig.read(1)

    assert rig.fetched(2)
    rig.store.asked.clear()
    await rig.read(2)
    await rig.read(3)
    assert Priority.DEMAND not in {priority for _, _, priority in rig.store.asked}


async def test_every_byte_of_versions_that_follow_is_fetched_once(rig: Rig) -> None:
    for number in range(5):
        await rig.read(number)

    assert [6 * MIB] * 5 == [rig.fetched(number) for number in range(5)]


async def test_a_version_that_was_not_read_whole_is_not_followed(rig: Rig) -> None:
    await rig.read(0)
    await rig.read(1, start=3 * MIB)

    assert not rig.fetched(2)


async def test_a_reader_that_begins_elsewhere_has_not_gone_on(rig: Rig) -> None:
    await rig.read(0)
    await rig.read(2)

    assert not rig.fetched(3)


@pytest.mark.parametrize("is_verified", [False, True])
async def test_a_reader_that_closes_before_the_end_cancels_what_follows(
    rig: Rig, *, is_verified: bool
) -> None:
    await rig.read(0)
    background = rig.cache.open_background(VERSIONS[1]) if is_verified else None
    rig.store.is_prompt = False
    reader = rig.cache.open(VERSIONS[1])
    rig.cache.expect_next(VERSIONS[1], VERSIONS[2:])
    await rig.read_slowly(1, reader, 5 * MIB)
    ahead = [load for load in rig.store.loads if load.version in VERSIONS[2:]]

    reader.close()

    assert ahead
    assert ahead == [load for load in rig.store.cancelled_by(rig.cache) if load in ahead]
    if background is not None:
        background.close()


async def test_without_readahead_nothing_follows() -> None:
    async with rig_of(has_readahead=False) as rig:
        await rig.read(0)
        await rig.read(1)

        assert not rig.fetched(2)


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=8
    )
)
def test_readers_in_any_order_fetch_little_in_vain(parts: Sequence[tuple[int, int, int]]) -> None:
    async def play() -> None:
        async with rig_of() as rig:
            for number, start, stop in parts:
                before = rig.fetched(min(number + 1, 4))
                await rig.read(number, start * MIB, stop * MIB)
                if number < 4 and (start, stop) != (0, 6):
                    # only the rest of the window of a reader that began here, before its end
                    assert start == 0 or before == rig.fetched(number + 1)
                assert read_metrics(rig.cache)["block_bytes"] <= LIMIT

    trio.run(play)


async def test_versions_that_follow_one_another_in_two_orders_end_with_their_readers(
    rig: Rig,
) -> None:
    by_name, by_inode = rig.cache.open(VERSIONS[0]), rig.cache.open(VERSIONS[4])
    rig.cache.expect_next(VERSIONS[0], [VERSIONS[1], VERSIONS[2]])
    rig.cache.expect_next(VERSIONS[4], [VERSIONS[2], VERSIONS[1]])

    gc.disable()
    try:
        by_name.close()  # before its end
        by_inode.close()
        del by_name, by_inode
        assert not list(rig.cache._versions)
    finally:
        gc.enable()


async def test_one_of_two_readers_that_closes_cancels_nothing_of_what_follows(rig: Rig) -> None:
    await rig.read(0)
    rig.store.is_prompt = False
    reader, other = rig.cache.open(VERSIONS[1]), rig.cache.open(VERSIONS[1])
    rig.cache.expect_next(VERSIONS[1], VERSIONS[2:])
    await rig.read_slowly(1, reader, 5 * MIB)
    other.close()

    assert [load for load in rig.store.loads if load.version in VERSIONS[2:]]
    assert not rig.store.cancelled_by(rig.cache)
    reader.close()
