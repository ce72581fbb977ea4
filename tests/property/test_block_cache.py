"""Every reply is a slice, whatever readers read, whoever is cancelled, in any order of results.

Warm-ups go on beside the readers, and take from them neither bytes that they have open nor budget.
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from s3mount.cache.block import Block
from s3mount.cache.block_cache import BlockCache
from s3mount.cache.buffer_pool import block_cost
from s3mount.cache.object_reader import ObjectReader
from s3mount.cache.ranges import KIB, FetchSizes
from s3mount.cache.warm_fetcher import PAUSE
from s3mount.config import BlockConfig
from s3mount.errors import StoreError
from s3mount.filesystem.warming.file_fetcher import FileFetcher
from s3mount.filesystem.warming.warm_counts import OutageDetector, WarmCounts
from s3mount.s3.model import ObjectVersion, Reason
from s3mount.s3.object_store import Priority
from tests.metrics import read_metrics
from tests.property.scripted_store import ScriptedStore

UNIT = 64 * KIB  # from here up buffers are used again, which is what goes wrong if anything does
SIZES = FetchSizes(part=4 * UNIT, block=UNIT, small=UNIT, piece=UNIT)
VERSIONS = [
    ObjectVersion("b", key, "etag", size)
    for key, size in (("long", 40 * UNIT + 7), ("short", 6 * UNIT - 1), ("small", 999))
]
WARMING = -1  # the number of a warm-up among the scripts
Read = tuple[int, int]


@st.composite
def _sequential(draw: st.DrawFn) -> list[Read]:
    start, step = (
        draw(st.integers(0, 40)) * UNIT // 2,
        draw(st.sampled_from((UNIT // 2, UNIT, 3 * UNIT))),
    )
    reads = [(start + index * step, step) for index in range(draw(st.integers(1, 30)))]
    if draw(st.booleans()):
        reads.reverse()
    return reads


_somewhere = st.tuples(
    st.builds(
        lambda unit, shift: max(0, unit * UNIT + shift),
        st.integers(0, 41),
        st.sampled_from((-1, 0, 1, 5000)),
    ),
    st.sampled_from((1, 4096, UNIT, UNIT + 1, 5 * UNIT)),
)


@dataclass(frozen=True)
class Script:
    """What one handle reads, *width* reads at once, and the step that cancels it, if any."""

    version: ObjectVersion
    reads: Sequence[Read]
    width: int
    cancelled_at: int | None


_scripts = st.builds(
    Script,
    st.sampled_from(VERSIONS),
    st.one_of(_sequential(), st.lists(_somewhere, max_size=15)),
    st.integers(1, 4),
    st.none() | st.integers(0, 40),
)


@dataclass(frozen=True)
class Warming:
    """Versions that one warm-up fetches, by *jobs* at once, and the step that cancels it, if any.

    It begins at the step *begins_at*.
    """

    versions: Sequence[ObjectVersion]
    jobs: int
    begins_at: int
    cancelled_at: int | None


_warmings = st.builds(
    Warming,
    st.lists(st.sampled_from(VERSIONS), min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(0, 40),
    st.none() | st.integers(0, 60),
)
_at_once = st.sampled_from((0.0, 0.5, 1.0))


@dataclass
class Play:
    """A cache, a store, readers with scripts, and results that are let through in random order."""

    limit: int
    chance: random.Random
    failure_rate: float
    at_once: float  # the share of loads whose end is told at once, not a moment later
    store: ScriptedStore = field(default_factory=ScriptedStore)
    warming: Warming | None = None
    scopes: dict[int, trio.CancelScope] = field(default_factory=dict)
    acting: int = 0
    must_begin: trio.Event = field(default_factory=trio.Event)  # the warm-up

    def __post_init__(self) -> None:
        self.store.tells_at_once = self.at_once > 0

    async def run(self, scripts: Sequence[Script]) -> None:
        async with trio.open_nursery() as loads:
            self.cache = BlockCache(self.store, loads, BlockConfig(memory_limit=self.limit), SIZES)
            try:
                await self._perform(scripts)
            finally:
                self.store.let_go()

    async def _perform(self, scripts: Sequence[Script]) -> None:
        async with trio.open_nursery() as readers:
            self.acting = len(scripts) + (self.warming is not None)
            for number, script in enumerate(scripts):
                readers.start_soon(self._act, number, script)
            if self.warming is not None:
                readers.start_soon(self._warm, self.warming)
            if self.chance.random() < 0.5:
                self.cache.prefetch(VERSIONS[-1])
            await self._conduct(scripts)
        await wait_all_tasks_blocked()
        while self.store.loads:
            self._let_through()
            await wait_all_tasks_blocked()
        self.check(at_rest=True)

    async def _act(self, number: int, script: Script) -> None:
        reader = self.cache.open(script.version)
        self.scopes[number] = trio.CancelScope()
        try:
            with self.scopes[number]:
                async with trio.open_nursery() as nursery:
                    for lane in range(script.width):
                        nursery.start_soon(
                            self._read_all,
                            reader,
                            script.version,
                            script.reads[lane :: script.width],
                        )
        finally:
            reader.close()
            self.acting -= 1

    async def _warm(self, warming: Warming) -> None:
        self.scopes[WARMING] = trio.CancelScope()
        try:
            with self.scopes[WARMING]:
                await self.must_begin.wait()
                self.cache.warming.find_room()
                fetcher = FileFetcher(self.cache.warming, "", WarmCounts(), OutageDetector())
                await fetcher.run(warming.versions, warming.jobs)
        finally:
            self.cache.warming.forget_room()
            self.acting -= 1

    async def _read_all(
        self, reader: ObjectReader, version: ObjectVersion, reads: Sequence[Read]
    ) -> None:
        content = self.store.content(version)
        for offset, size in reads:
            try:
                reply = await reader.read(offset, size)
            except StoreError:
                assert self.failure_rate
                continue
            self.store.scribble()
            assert content[offset : offset + size] == reply

    async def _conduct(self, scripts: Sequence[Script]) -> None:
        step = 0
        while self.acting:
            await wait_all_tasks_blocked()
            self.check()
            for number, script in enumerate(scripts):
                if script.cancelled_at == step:
                    self.scopes[number].cancel()
            self._conduct_warming(step, is_last=self.acting == 1)
            if self.store.loads:
                self._let_through()
            else:
                await trio.sleep(PAUSE)
            step += 1
            assert step < 10_000, "nobody gets any further"

    def _conduct_warming(self, step: int, *, is_last: bool) -> None:
        if self.warming is None:
            return
        if self.warming.begins_at == step or is_last:
            self.must_begin.set()
        if self.warming.cancelled_at == step:
            self.scopes[WARMING].cancel()

    def _let_through(self) -> None:
        self.store.scribble()
        for load in self.store.loads:
            load.waits_for_permit |= self.chance.random() < 0.1
        self.store.tells_at_once = self.chance.random() < self.at_once
        load = self.chance.choice(self.store.loads)
        if self.chance.random() < self.failure_rate:
            load.asks_once_more = self.chance.random() < 0.5
            load.fail(StoreError("ill luck"))
        else:
            load.land()

    def check(self, *, at_rest: bool = False) -> None:
        """Nothing twice, nothing over the limit, nothing forgotten."""
        loader, memory = self.cache._loader, self.cache._loader.memory
        versions = list(self.cache._versions.values())
        blocks: list[Block] = [
            block for blocks_of_one in versions for block in blocks_of_one._blocks
        ]
        for blocks_of_one in versions:
            ends = [(block.start, block.stop) for block in blocks_of_one._blocks]
            assert all(before[1] <= after[0] for before, after in itertools.pairwise(ends))
        unwanted = self.store.cancelled_by(self.cache)
        assert all(load.is_cancelled == (load in unwanted) for load in self.store.loads)
        wanted = [load.span for load in self.store.loads if load not in unwanted]
        assert len(wanted) <= sum(block.fetch is not None for block in blocks)
        landed = [block for block in blocks if block.is_ready]
        filling = [
            block
            for block in (fetch.block for fetch in loader._fetches)
            if block.buffer is not None
        ]
        lent = sum(max(len(block), 2048) for block in (*landed, *filling))
        kept = memory._idle._by_length.values()
        idle = sum(len(buffer) for buffers in kept for buffer in buffers)
        assert lent + idle == memory.used <= self.limit
        assert memory._idle.octets == idle
        self._check_prefetches()
        assert memory._warmed_bytes == sum(block_cost(len(block)) for block in memory._warmed)
        for blocks_of_one in versions:
            assert blocks_of_one.readers or not any(
                block.fetch and block.was_accessed and not block.waiters
                for block in blocks_of_one._blocks
            )
        if at_rest:
            assert not loader._fetches
            assert not memory._pending
            assert not len(self.cache._readahead)
            assert len(blocks) == len(landed) == len(memory._lru) + len(memory._warmed)
            assert self.cache.warming._unallocated == 0
            assert not memory._prefetched

    def _check_prefetches(self) -> None:
        """What is counted as in flight is in flight, within the budgets."""
        loader, warm = self.cache._loader, self.cache._loader.prefetches.warm
        by_kind: dict[bool, list[int]] = {True: [], False: []}
        for fetch in loader._fetches:
            if fetch.priority is Priority.PREFETCH:
                by_kind[fetch.reason is Reason.WARM].append(len(fetch.block))
        counted = {True: warm, False: loader.prefetches.readers}
        for is_warm, lengths in by_kind.items():
            assert (counted[is_warm].count, counted[is_warm].octets) == (len(lengths), sum(lengths))
        assert loader.prefetches.readers.octets <= self.limit * 3 // 4
        assert warm.octets <= self.limit // 8 or warm.count == 1


@settings(max_examples=150, deadline=None)
@given(
    scripts=st.lists(_scripts, min_size=1, max_size=6),
    units=st.sampled_from((8, 16, 33)),
    seed=st.integers(0, 2**32),
    failure_rate=st.sampled_from((0.0, 0.1)),
    at_once=_at_once,
    warming=st.none() | _warmings,
)
def test_reads_equal_slices_whatever_comes_back_when(
    *,
    scripts: list[Script],
    units: int,
    seed: int,
    failure_rate: float,
    at_once: float,
    warming: Warming | None,
) -> None:
    play = Play(units * UNIT, random.Random(seed), failure_rate, at_once, warming=warming)

    trio.run(play.run, scripts, clock=MockClock(autojump_threshold=0))


@settings(max_examples=100, deadline=None)
@given(
    scripts=st.lists(_scripts, min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
    at_once=_at_once,
    warming=st.none() | _warmings,
)
def test_no_byte_is_fetched_twice_while_all_fit_into_memory(
    scripts: list[Script], seed: int, at_once: float, warming: Warming | None
) -> None:
    play = Play(100 * UNIT, random.Random(seed), 0, at_once, warming=warming)

    uncancelled = [replace(script, cancelled_at=None) for script in scripts]
    trio.run(play.run, uncancelled, clock=MockClock(autojump_threshold=0))

    if not read_metrics(play.cache)["block_fetches_cancelled"]:
        spans = sorted((key, span) for key, span, _ in play.store.asked)
        assert all(a[0] != b[0] or a[1].stop <= b[1].start for a, b in itertools.pairwise(spans))
