"""Every reply is a slice, whatever the disk does: late, failing, damaged, evicted or away.

The threads of the disk run when the test says so, and write to their buffers then, however late.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from s3mount.cache.block_cache import BlockCache
from s3mount.cache.block_source import BlockSource
from s3mount.cache.buffer_holds import BufferHolds
from s3mount.cache.disk_tier.health import PAUSE, disk_health
from s3mount.cache.disk_tier.readers import SLOW_AFTER
from s3mount.cache.disk_tier.source import DiskSource
from s3mount.cache.ranges import KIB, FetchSizes
from s3mount.config import BlockConfig
from s3mount.disk.object_name import ObjectName
from s3mount.errors import StoreError
from s3mount.s3.model import ObjectVersion
from tests.fakes.memory_disk import MemoryDisk
from tests.fakes.scripted_threads import ScriptedThreads
from tests.property.scripted_store import ScriptedStore

UNIT = 64 * KIB
BOUND = 8 << 20  # between two segments
SIZES = FetchSizes(part=4 * UNIT, block=UNIT, small=UNIT, piece=UNIT)
VERSIONS = [
    ObjectVersion("b", key, "etag", size)
    for key, size in (("long", BOUND + 5 * UNIT + 7), ("short", 6 * UNIT - 1), ("small", 999))
]
_reads = st.lists(
    st.tuples(
        st.sampled_from(VERSIONS),
        st.integers(-50, 9).map(lambda unit: unit * UNIT // 2),
        st.sampled_from((1, 4096, UNIT, UNIT + 1, 5 * UNIT)),
    ),
    min_size=3,
    max_size=20,
)
Read = tuple[ObjectVersion, int, int]


@dataclass
class Play:
    """A cache over a disk over a store, readers, and mishaps in random order."""

    limit: int
    chance: random.Random
    failure_rate: float
    mishaps: float
    write_delay: float
    store: ScriptedStore = field(default_factory=ScriptedStore)
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    threads: ScriptedThreads = field(default_factory=ScriptedThreads)
    scopes: list[trio.CancelScope] = field(default_factory=list)
    acting: int = 0

    async def run(self, scripts: Sequence[Sequence[Read]]) -> None:
        """Let readers follow *scripts*, and others do so after a remount."""
        self.clock = trio.lowlevel.current_clock()
        await self._run_mount(scripts)
        self.store, self.threads = ScriptedStore(), ScriptedThreads()
        await self._run_mount(scripts)

    async def _run_mount(self, scripts: Sequence[Sequence[Read]]) -> None:
        async with trio.open_nursery() as loads:
            self.cache = BlockCache(
                self.store,
                loads,
                BlockConfig(memory_limit=self.limit),
                SIZES,
                make_tier=self._make_tier,
            )
            try:
                await self._perform(scripts)
            finally:
                self.threads.is_prompt = True
                self.threads.run_all()
                self.store.let_go()

    def _make_tier(self, next_source: BlockSource, holds: BufferHolds) -> DiskSource:
        self.holds = holds
        self.source = DiskSource(
            self.disk,
            next_source,
            holds,
            self.threads,
            namespace="n",
            memory_limit=self.limit,
            health=disk_health(trio.current_time),
            write_delay=self.write_delay,
        )
        return self.source

    async def _perform(self, scripts: Sequence[Sequence[Read]]) -> None:
        async with trio.open_nursery() as readers:
            self.acting = len(scripts)
            for script in scripts:
                readers.start_soon(self._act, script)
            step = 0
            while self.acting:
                await wait_all_tasks_blocked()
                self._step()
                step += 1
                assert step < 10_000, "nobody gets any further"
        await self._come_to_rest()

    async def _act(self, script: Sequence[Read]) -> None:
        scope = trio.CancelScope()
        self.scopes.append(scope)
        with scope:
            for version, place, size in script:
                base = BOUND if version.size > BOUND else 0
                await self._read(version, min(max(0, base + place), version.size - 1), size)
        self.acting -= 1

    async def _read(self, version: ObjectVersion, offset: int, size: int) -> None:
        if self.chance.random() < 0.5:
            self.cache.prefetch(self.chance.choice(VERSIONS))
        reader = self.cache.open(version)
        try:
            reply = await reader.read(offset, size)
        except StoreError:
            assert self.failure_rate
            return
        finally:
            reader.close()
        self.store.scribble()
        assert self.store.content(version)[offset : offset + size] == reply

    def _step(self) -> None:
        if self.chance.random() < self.mishaps:
            self._mishap()
        may_go_on = [*self.store.loads, *range(len(self.threads.calls))]
        if not may_go_on:
            return
        chosen = self.chance.choice(may_go_on)
        if isinstance(chosen, int):
            self.threads.run(chosen)
        elif self.chance.random() < self.failure_rate:
            chosen.fail(StoreError("ill luck"))
        else:
            chosen.land()

    def _mishap(self) -> None:
        version = self.chance.choice(VERSIONS)
        match self.chance.randrange(8):
            case 0 | 1:
                self._wait(SLOW_AFTER + 0.1)
            case 2:
                self._wait(PAUSE + 1)
            case 3:
                self.disk.fails = not self.disk.fails
            case 4:
                self.disk.waits = not self.disk.waits
            case 5:
                self.source.evict(version)
            case 6:
                self._damage()
            case 7:
                self.chance.choice(self.scopes).cancel()

    def _wait(self, seconds: float) -> None:
        assert isinstance(self.clock, MockClock)
        self.clock.jump(seconds)

    def _damage(self) -> None:
        for digest, segments in self.disk._extents.items():
            for number, extents in segments.items():
                self.disk.bad |= {
                    (digest, number, index) for index in extents if self.chance.random() < 0.3
                }

    async def _come_to_rest(self) -> None:
        self.disk.fails = False
        await wait_all_tasks_blocked()
        while self.store.loads or self.threads.calls:
            self.store.land_all()
            self.threads.run_all()
            await wait_all_tasks_blocked()
        memory, loader = self.cache._loader.memory, self.cache._loader
        assert not loader._fetches
        assert not memory._pending
        assert not self.holds._holds
        assert self.holds.lent_bytes == 0
        assert memory.used <= self.limit
        blocks = [block for each in self.cache._versions.values() for block in each._blocks]
        assert all(block.is_ready for block in blocks)
        lent = sum(max(len(block), 2048) for block in blocks)
        assert lent + memory._idle.octets == memory.used
        self.threads.is_prompt = True
        with trio.fail_after(1):
            await self.source._writer.wait_done()
        self.threads.is_prompt = False
        for version in VERSIONS:
            content = self.store.content(version)
            for start, extent in self.disk.extents(ObjectName("n", *version)):
                assert content[start : start + len(extent)] == extent


@pytest.fixture(autouse=True)
def _warnings_are_allowed(allowed_warnings: list[str]) -> None:
    allowed_warnings.append("the disk cache cannot be")


@settings(max_examples=100, deadline=None)
@given(
    scripts=st.lists(_reads, min_size=1, max_size=6),
    units=st.sampled_from((16, 33, 100)),
    seed=st.integers(0, 2**32),
    failure_rate=st.sampled_from((0.0, 0.0, 0.1)),
    mishaps=st.sampled_from((0.0, 0.1, 0.4)),
    write_delay=st.sampled_from((0.0, 1.0)),
)
def test_reads_equal_slices_whatever_the_disk_does(
    *,
    scripts: list[list[Read]],
    units: int,
    seed: int,
    failure_rate: float,
    mishaps: float,
    write_delay: float,
) -> None:
    play = Play(units * UNIT, random.Random(seed), failure_rate, mishaps, write_delay)

    trio.run(play.run, scripts, clock=MockClock())
