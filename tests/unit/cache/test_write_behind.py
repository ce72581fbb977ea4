"""Bytes that are read at full speed are written, if the disk can; none delays a reader."""

from dataclasses import dataclass
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from s3mount.cache.block_cache import BlockCache
from s3mount.cache.block_source import BlockSource
from s3mount.cache.buffer_holds import BufferHolds
from s3mount.cache.disk_tier.health import disk_health
from s3mount.cache.disk_tier.readers import SLOW_AFTER
from s3mount.cache.disk_tier.source import DiskSource
from s3mount.cache.ranges import MIB, FetchSizes
from s3mount.config import BlockConfig
from s3mount.s3.model import ObjectVersion
from s3mount.s3.object_store import ObjectStore
from tests.unit.cache.simulated_link import CountingDisk, SimulatedLink, SimulatedThreads

MEMORY = 256 * MIB
SIZE = 1024 * MIB
PART = 8 * MIB
CONNECTION_RATE = 90e6  # bytes a second
FASTEST = 3000 * MIB  # a disk
LOST_MAX = 16 * MIB  # bytes: what two requests bring again
BATCH_TIME = 0.006  # seconds that a transaction takes on two busy cores


@dataclass(frozen=True)
class ReadResult:
    """Simulated seconds of the read; bytes that were not written, and the memory at most.

    *failures* are those of the disk, *longest* is how many seconds its longest batch took.
    """

    seconds: float
    lost: int
    used: int
    failures: int
    longest: float


def read_all(link_rate: int, latency: float, disk_rate: int | None) -> ReadResult:
    """Read an object whole, as fast as it comes, with a disk cache if there is a *disk_rate*."""
    clock = MockClock(autojump_threshold=0)
    return trio.run(_read_all, link_rate, latency, disk_rate, clock=clock)


async def _read_all(link_rate: int, latency: float, disk_rate: int | None) -> ReadResult:
    disk, sources, used = CountingDisk(), [], 0
    threads = SimulatedThreads(disk, disk_rate or FASTEST, BATCH_TIME)
    health = disk_health(trio.current_time)

    def make_tier(next_source: BlockSource, holds: BufferHolds) -> BlockSource:
        source = DiskSource(
            disk, next_source, holds, threads, namespace="n", memory_limit=MEMORY, health=health
        )
        sources.append(source)
        return source

    async with trio.open_nursery() as nursery:
        cache = BlockCache(
            cast("ObjectStore", SimulatedLink(link_rate, CONNECTION_RATE, latency)),
            nursery,
            BlockConfig(memory_limit=MEMORY),
            FetchSizes(PART),
            make_tier=make_tier if disk_rate else None,
        )
        reader = cache.open(ObjectVersion("b", "k", "etag", SIZE))
        began = trio.current_time()
        for offset in range(0, SIZE, MIB):
            await reader.read(offset, MIB)
            used = max(used, cache._loader.memory.used)
        seconds = trio.current_time() - began
        reader.close()
        for each in sources:
            await each.wait_kept()
    failures = health.writing.failures
    return ReadResult(seconds, SIZE - disk.kept, used, failures, threads.longest)


@pytest.mark.parametrize("latency", [0.0005, 0.02])
def test_a_disk_that_is_faster_than_the_link_gets_what_is_read(latency: float) -> None:
    result = read_all(700 * MIB, latency, 900 * MIB)

    assert result.lost <= LOST_MAX
    assert result.used <= MEMORY


@pytest.mark.parametrize("latency", [0.0005, 0.02, 0.1])
@pytest.mark.parametrize("link_rate", [100 * MIB, 700 * MIB, 1400 * MIB])
@pytest.mark.parametrize("disk_rate", [20 * MIB, 100 * MIB, 560 * MIB])
def test_a_disk_that_is_slower_than_the_link_delays_no_reader(
    link_rate: int, latency: float, disk_rate: int
) -> None:
    without = read_all(link_rate, latency, None)
    # bytes in flight grow by a quarter, instead of twofold, beyond half of the memory
    fills_memory = link_rate * (latency + PART / CONNECTION_RATE) > MEMORY

    result = read_all(link_rate, latency, disk_rate)

    assert result.seconds <= (1.1 if fills_memory else 1.03) * without.seconds
    assert result.used <= MEMORY


@pytest.mark.parametrize("disk_rate", [MIB // 2, MIB, 4 * MIB])
def test_a_slow_disk_is_not_taken_for_one_that_hangs(disk_rate: int) -> None:
    result = read_all(700 * MIB, 0.02, disk_rate)

    assert result.failures == 0


@pytest.mark.parametrize("disk_rate", [20 * MIB, 40 * MIB, 100 * MIB])
def test_no_batch_takes_longer_than_a_read_may_wait_for_the_disk(disk_rate: int) -> None:
    result = read_all(700 * MIB, 0.02, disk_rate)

    assert result.longest <= SLOW_AFTER
