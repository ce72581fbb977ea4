"""A background reader gets the right bytes beside readers and warm-ups, and leaves no trace.

Wherever it is cancelled, and whatever fails, it holds nothing.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio
import trio.testing
from hypothesis import example, given
from hypothesis import strategies as st

from s3mount.cache.background_reader import MEMORY_SHARE, PIECES_AHEAD, BackgroundReader
from s3mount.cache.block_cache import BlockCache
from s3mount.cache.ranges import KIB, FetchSizes
from s3mount.config import BlockConfig
from s3mount.errors import S3MountError, StoreError
from s3mount.s3.model import ByteRange, ObjectVersion
from tests.fakes.memory_store import MemoryStore, Request

UNIT = 4 * KIB
SIZES = FetchSizes(part=4 * UNIT, block=UNIT, small=UNIT, piece=UNIT)
STEPS = 200  # checkpoints until a cancellation, at most
KEYS = "abc"

_sizes = st.lists(
    st.sampled_from([0, 1, UNIT, UNIT + 1, 9 * UNIT + 5, 40 * UNIT, 64 * UNIT]),
    min_size=len(KEYS),
    max_size=len(KEYS),
)
_limits = st.sampled_from([16 * UNIT, 64 * UNIT, 256 * UNIT])
_reads = st.lists(
    st.tuples(st.sampled_from("aaabc"), st.integers(0, 63), st.integers(1, 9)), max_size=24
)


@dataclass
class Play:
    """Objects of *sizes*, and a cache of *limit* bytes; one GET of *failing* fails."""

    sizes: list[int]
    limit: int
    seed: int
    has_ranges: bool = True
    failing: int = 0
    store: MemoryStore = field(init=False)
    cache: BlockCache = field(init=False)
    most_held: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        bodies = {
            key: random.Random(key).randbytes(size)
            for key, size in zip(KEYS, self.sizes, strict=True)
        }
        self.store = _Store(bodies, before=self._respond)
        self.store.ranges = self.has_ranges
        self.bodies = bodies

    async def _respond(self, request: Request) -> None:
        for _ in range(self.chance.randrange(5)):
            await trio.lowlevel.checkpoint()
        if request.number == self.failing:
            raise StoreError("ill luck", key=request.key)

    def begin(self, nursery: trio.Nursery) -> None:
        self.cache = BlockCache(self.store, nursery, BlockConfig(memory_limit=self.limit), SIZES)

    def version(self, key: str) -> ObjectVersion:
        return self.store.stat(key).version

    async def read(self, reads: Sequence[tuple[str, int, int]]) -> None:
        """Read ranges of objects, each by a reader of its own."""
        for key, start, length in reads:
            reader = self.cache.open(self.version(key))
            try:
                got = bytes(await reader.read(start * UNIT, length * UNIT))
                assert got == self.bodies[key][start * UNIT : (start + length) * UNIT]
            except S3MountError:
                assert self.failing
            finally:
                reader.close()

    async def read_all(self, key: str, *, is_split: bool = False) -> bytes | None:
        """Read an object in the background; None if that failed."""
        reader = self.cache.open_background(self.version(key))
        got = bytearray()

        async def use(content: memoryview) -> None:
            self._note_held(reader)
            before = bytes(content)
            for _ in range(self.chance.randrange(5)):
                await trio.lowlevel.checkpoint()
            assert bytes(content) == before  # nothing else writes to it meanwhile
            got.extend(before)

        try:
            await reader.read_all(use, is_split=is_split)
        except S3MountError:
            assert self.failing
            return None
        finally:
            reader.close()
        return bytes(got)

    def _note_held(self, reader: BackgroundReader) -> None:
        memory = self.cache._loader.memory
        evictable = {*memory._lru, *memory._warmed, *memory._prefetched}
        assert not any(each.block in evictable for each in reader._held)
        held = sum(len(each.block) for each in reader._held)
        assert len(reader._held) == 1 or held <= self.limit // MEMORY_SHARE
        assert held <= PIECES_AHEAD * SIZES.part or not self.has_ranges or len(reader._held) == 1

    async def check_at_rest(self) -> None:
        await trio.testing.wait_all_tasks_blocked()
        loader = self.cache._loader
        assert not loader._fetches
        assert loader.memory.used <= self.limit
        for blocks in self.cache._versions.values():
            assert not blocks.readers
            for block in blocks.overlapping(0, blocks.version.size):
                assert not block.waiters
                assert block.is_ready
                memory = loader.memory
                assert block in memory._lru or block in memory._prefetched


class _Store(MemoryStore):
    """The fake, which may be one without ranges."""

    ranges = True

    def has_ranges(self) -> bool:
        return self.ranges


def run(play: Play, *tasks: object, steps: int | None = None) -> list[object]:
    """Run *tasks*, coroutine functions, at once; the first one may be cancelled after *steps*."""
    results: list[object] = [None] * len(tasks)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            play.begin(nursery)
            scope = trio.CancelScope()
            async with trio.open_nursery() as beside:
                for number, task in enumerate(tasks):
                    beside.start_soon(one, number, task, scope if not number else None)
                if steps is not None:
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            await play.check_at_rest()
            nursery.cancel_scope.cancel()

    async def one(number: int, task: object, scope: trio.CancelScope | None) -> None:
        assert callable(task)
        with scope or trio.CancelScope():
            results[number] = await task()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return results


@given(_sizes, _limits, _reads, st.integers(), st.sampled_from([False, True]))
# a reader fetches the next piece while this one waits for memory
@example([163840, 0, 0], 65536, [("a", 0, 1), ("a", 1, 9), ("a", 10, 7), ("a", 0, 1)], 302, False)
def test_it_gets_all_bytes_beside_readers(
    sizes: list[int], limit: int, reads: list[tuple[str, int, int]], seed: int, is_split: object
) -> None:
    play = Play(sizes, limit, seed)
    third = len(reads) // 3

    async def read_all() -> None:
        await play.read(reads[:third])
        assert await play.read_all("a", is_split=bool(is_split)) == play.bodies["a"]

    run(
        play,
        read_all,
        lambda: play.read(reads[third : 2 * third]),
        lambda: play.read(reads[2 * third :]),
    )
    if is_split:
        spans = [each.span for each in play.store.requests if each.key == "a"]
        assert len(play.bodies["a"]) < 2 or ByteRange(0, sizes[0]) not in spans or reads


@given(_sizes, _limits, st.integers())
def test_alone_it_leaves_nothing_in_memory(sizes: list[int], limit: int, seed: int) -> None:
    play = Play(sizes, limit, seed)

    async def main() -> None:
        assert await play.read_all("a") == play.bodies["a"]
        assert not play.cache._blocks_of(play.version("a"))
        assert play.cache._loader.bytes_wasted == 0

    run(play, main)


@given(_sizes, st.integers())
def test_from_a_store_without_ranges_as_well(sizes: list[int], seed: int) -> None:
    play = Play(sizes, 64 * UNIT, seed, has_ranges=False)
    assert run(play, lambda: play.read_all("c")) == [play.bodies["c"]]


@given(
    _sizes,
    _limits,
    _reads,
    st.integers(),
    st.tuples(st.none() | st.integers(0, STEPS), st.integers(0, 12)),
)
def test_wherever_it_ends_it_holds_nothing(
    sizes: list[int],
    limit: int,
    reads: list[tuple[str, int, int]],
    seed: int,
    ill_luck: tuple[int | None, int],
) -> None:
    steps, failing = ill_luck
    play = Play(sizes, limit, seed, failing=failing)
    got, _ = run(play, lambda: play.read_all("a"), lambda: play.read(reads), steps=steps)
    assert got in (None, play.bodies["a"])
