"""Elements of strides stay in memory until they are read, however little of it there is."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from s3mount.cache.block_cache import BlockCache
from s3mount.cache.object_reader import ObjectReader
from s3mount.cache.ranges import KIB, MIB
from s3mount.cache.readahead.stride import MOST_AHEAD
from s3mount.config import BlockConfig
from s3mount.s3.model import ObjectVersion
from s3mount.s3.object_store import ObjectStore
from tests.unit.cache.simulated_link import SimulatedLink

READ = 128 * KIB
STRIDE = 5 * MIB


@dataclass
class Strides:
    """Readers of elements of *length* bytes, one version each."""

    link: SimulatedLink
    cache: BlockCache
    readers: list[ObjectReader]
    length: int

    async def read(self, numbers: Sequence[int]) -> None:
        """Read an element by each reader in turn, for each of *numbers*."""
        for number in numbers:
            for reader in self.readers:
                for at in range(0, self.length, READ):
                    await reader.read(number * STRIDE + at, READ)

    def ahead(self, first: int) -> list[int]:
        """The elements of the first reader from the *first* one on that are evicted last."""
        prefetched = self.cache._loader.memory._prefetched
        starts = [each.start for each in prefetched if each.version_blocks.version.key == "0"]
        return [start // STRIDE for start in starts if start >= first * STRIDE]

    @property
    def fetched(self) -> int:
        return sum(len(span) for spans in self.link.asked.values() for span in spans)


@asynccontextmanager
async def strides(
    memory: int, readers: int, length: int, size: int = 1 << 32
) -> AsyncIterator[Strides]:
    link = SimulatedLink(5e9, 90e6, 0.02)
    async with trio.open_nursery() as nursery:
        config = BlockConfig(memory_limit=memory)
        cache = BlockCache(cast("ObjectStore", link), nursery, config)
        versions = [ObjectVersion("b", str(n), "e", size) for n in range(readers)]
        yield Strides(link, cache, [cache.open(version) for version in versions], length)
        cache.close()


@pytest.mark.parametrize(
    ("memory", "readers", "length"),
    [
        (8 * MIB, 1, MIB),
        (16 * MIB, 1, MIB),
        (64 * MIB, 4, MIB),
        (16 * MIB, 16, 128 * KIB),
        (64 * MIB, 16, 512 * KIB),
        (256 * MIB, 16, MIB),
        (256 * MIB, 40, MIB),
    ],
)
async def test_elements_stay_until_they_are_read(
    memory: int,
    readers: int,
    length: int,
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    async with strides(memory, readers, length) as play:
        await play.read(range(5))
        play.link.asked.clear()

        await play.read(range(5, 40))

        ahead = min(readers * MOST_AHEAD * length, memory // 2)
        assert play.fetched <= readers * 35 * length + ahead


async def test_elements_of_a_broken_stride_make_way(
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    async with strides(64 * MIB, 1, MIB) as play:
        for start in range(0, 800, 100):
            await play.read(range(start, start + 6))
        play.link.asked.clear()

        await play.read(range(1000, 1020))

        assert play.fetched <= (20 + MOST_AHEAD) * MIB


async def test_elements_that_a_paused_reader_has_ahead_make_way(
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    async with strides(64 * MIB, 1, MIB) as play:
        await play.read(range(10))
        in_order = play.cache.open(ObjectVersion("b", "in order", "e", 1 << 32))
        await trio.sleep(1)
        assert len(play.ahead(10)) == MOST_AHEAD

        for number in range(4200):
            await in_order.read(number * READ, READ)

        assert play.ahead(10) == []


async def test_elements_that_the_last_reader_has_ahead_make_way_during_a_verification(
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    async with strides(64 * MIB, 1, MIB) as play:
        [reader] = play.readers
        background = play.cache.open_background(reader._version_blocks.version)
        await play.read(range(10))
        await trio.sleep(1)
        assert len(play.ahead(10)) == MOST_AHEAD

        reader.close()

        assert play.ahead(10) == []
        background.close()


async def test_a_stride_that_ended_with_the_object_takes_no_memory_of_others(
    autojump_clock: MockClock,  # noqa: ARG001 - pytest-trio takes it as the clock
) -> None:
    async with strides(64 * MIB, 2, MIB, 20 * STRIDE) as play:
        ended, other = play.readers
        play.readers = [ended]
        await play.read((*range(20), 7, 3))
        play.readers = [other]

        await play.read(range(10))

        ahead = [span for span in play.link.asked["1"] if span.start >= 10 * STRIDE]
        assert len(ahead) == 10  # to the end; 9 if both had a share


@pytest.mark.usefixtures("autojump_clock")
async def test_elements_make_way_once_the_reader_goes_on_in_order() -> None:
    async with strides(64 * MIB, 1, MIB) as play:
        await play.read(range(60, 50, -1))
        await trio.sleep(1)
        assert {number for number in play.ahead(0) if number < 51} == {*range(35, 51)}

        for number in range(12):
            await play.readers[0].read(51 * STRIDE + MIB + number * READ, READ)

        assert {number for number in play.ahead(0) if number < 51} == set()
