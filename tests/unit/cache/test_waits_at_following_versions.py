"""How long a reader of one version after another waits, at a link of 20 ms, on trio's mock clock.

A connection brings 90 MB/s, and the reader takes 1 GB/s.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import cast

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from s3mount.cache.block_cache import BlockCache
from s3mount.cache.ranges import KIB, MIB
from s3mount.cache.readahead.policy import WINDOW_PARTS
from s3mount.config import BlockConfig
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_store import ObjectStore
from tests.unit.cache.simulated_link import SimulatedLink

LATENCY = 0.02
CONNECTION_RATE = 90e6
READ = 128 * KIB
READ_TIME = READ / 1e9
PART = 8 * MIB
WINDOW = WINDOW_PARTS * PART


@dataclass
class Play:
    """A reader of versions of *sizes* bytes, one after another; *waits* are in seconds."""

    sizes: Sequence[int]
    link: SimulatedLink = field(
        default_factory=lambda: SimulatedLink(5e9, CONNECTION_RATE, LATENCY)
    )
    waits: list[float] = field(default_factory=list)
    read: int = 0

    async def run(self, most: int) -> None:
        """Read up to *most* bytes, and close."""
        versions = [ObjectVersion("b", str(n), "e", size) for n, size in enumerate(self.sizes)]
        async with trio.open_nursery() as nursery:
            cache = BlockCache(cast("ObjectStore", self.link), nursery, BlockConfig())
            for number, version in enumerate(versions):
                reader = cache.open(version)
                cache.expect_next(version, versions[number + 1 : number + 9])
                self.waits.append(0.0)
                for offset in range(0, min(version.size, most - self.read), READ):
                    began = trio.current_time()
                    await reader.read(offset, READ)
                    self.waits[-1] += trio.current_time() - began
                    await trio.sleep(READ_TIME)
                self.read += min(version.size, most - self.read)
                reader.close()
            cache.close()

    @property
    def fetched(self) -> list[ByteRange]:
        return [span for spans in self.link.asked.values() for span in spans]


def run(function: Callable[[int], Awaitable[None]], most: int) -> None:
    trio.run(function, most, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    "sizes",
    [[50] * 6, [100] * 4, [200] * 3, [32] * 8, [60, 20, 40, 90, 33]],
    ids=str,
)
def test_a_reader_waits_a_round_trip_and_a_short_fetch_at_most_and_only_once(
    sizes: list[int],
) -> None:
    play = Play([size * MIB for size in sizes])

    run(play.run, sum(play.sizes))

    assert play.waits[1] < LATENCY + PART / 4 / CONNECTION_RATE + 0.001
    assert [0] * (len(sizes) - 2) == [round(wait, 3) for wait in play.waits[2:]]


def test_versions_that_follow_are_fetched_in_whole_parts_in_the_end() -> None:
    play = Play([50 * MIB] * 10)

    run(play.run, sum(play.sizes))

    assert [7] * 6 == [len(play.link.asked[str(number)]) for number in range(4, 10)]


@settings(max_examples=20)
@given(
    st.lists(st.integers(1, 80).map(lambda size: size * MIB), min_size=2, max_size=6),
    st.floats(0, 1),
)
def test_no_byte_is_fetched_twice_and_a_reader_that_stops_leaves_a_window_at_most(
    sizes: list[int], fraction: float
) -> None:
    play = Play(sizes)

    run(play.run, int(sum(sizes) * fraction) // READ * READ)

    for spans in play.link.asked.values():
        spans.sort()
        assert all(one.stop <= other.start for one, other in pairwise(spans))
    assert sum(map(len, play.fetched)) <= play.read + WINDOW + PART
