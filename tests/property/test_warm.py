"""A warm-up fetches nothing twice, and no more than fits, and evicts nothing that is read.

Wherever it is cancelled, it leaves nothing.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.cache.block_cache import BlockCache
from s3mount.cache.ranges import KIB, FetchSizes
from s3mount.config import BlockConfig, StoreConfig, TreeConfig
from s3mount.errors import S3MountError, StoreError
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.prefetch.walk_prefetcher import WalkPrefetcher
from s3mount.filesystem.warming.warm_up import WarmUp, WarmUps
from s3mount.s3.model import ObjectVersion
from s3mount.s3.object_store import Priority
from tests.fakes.lying_store import LyingStore
from tests.fakes.memory_store import BUCKET, MemoryStore, Request
from tests.property.filesystem_factory import make_filesystem

UNIT = 4 * KIB
SIZES = FetchSizes(part=4 * UNIT, block=UNIT, small=UNIT, piece=UNIT)
CONNECTIONS = 32
STEPS = 200  # checkpoints until a cancellation, at most

_names = st.sampled_from(["a", "b", "c-", "d.x"])
_keys = st.lists(_names, min_size=1, max_size=3).map("/".join)
_sizes = st.sampled_from([0, 1, 100, UNIT, UNIT + 1, 4 * UNIT, 9 * UNIT + 5])


@st.composite
def _trees(draw: st.DrawFn) -> dict[str, int]:
    """Sizes by key; no key is a directory of another."""
    found = draw(st.dictionaries(_keys, _sizes, min_size=1, max_size=25))
    return {
        key: size
        for key, size in found.items()
        if not any(other.startswith(f"{key}/") for other in found)
    }


@dataclass
class Play:
    """A warm-up of all of a tree, beside readers."""

    sizes: dict[str, int]
    limit: int
    seed: int
    failing: frozenset[str] = frozenset()
    lie: Mapping[str, Any] = field(default_factory=dict)
    store: MemoryStore = field(init=False)
    blocks: BlockCache = field(init=False)
    filesystem: FileSystem = field(init=False)
    warm_ups: WarmUps = field(init=False)

    def __post_init__(self) -> None:
        bodies = {key: random.Random(key).randbytes(size) for key, size in self.sizes.items()}
        self.chance = random.Random(self.seed)
        self.store = LyingStore(bodies, page_size=3, before=self._respond, **self.lie)

    async def _respond(self, request: Request) -> None:
        for _ in range(self.chance.randrange(4)):
            await trio.lowlevel.checkpoint()
        if request.kind == "GET" and request.key in self.failing:
            raise StoreError("ill luck", key=request.key)

    def begin(self, nursery: trio.Nursery) -> None:
        self.blocks = BlockCache(self.store, nursery, BlockConfig(memory_limit=self.limit), SIZES)
        self.filesystem = make_filesystem(
            self.store,
            nursery,
            TreeConfig(uid=0, gid=0),
            StoreConfig(bucket=BUCKET),
            trio.current_time,
        )
        tree = self.filesystem.tree
        self.warm_ups = WarmUps(
            tree, self.blocks.warming, lambda: (WalkPrefetcher(tree.cache),), CONNECTIONS
        )

    async def warm(self, jobs: int = 3, *, is_dry: bool = False) -> WarmUp:
        warm_up = self.warm_ups.begin([()], listing_only=False, jobs=jobs, is_dry=is_dry)
        try:
            await warm_up.list()
            await warm_up.fetch()
        finally:
            self.warm_ups.end()
        return warm_up

    async def read(self, keys: Sequence[str]) -> None:
        """Read whole files, one after another."""
        for key in keys:
            version = self.version(key)
            reader = self.blocks.open(version)
            try:
                for offset in range(0, version.size, UNIT):
                    await reader.read(offset, UNIT)
            except S3MountError:
                assert key in self.failing
            finally:
                reader.close()

    def change(self, change: str, key: str) -> None:
        """Replace or delete an object, or refresh its path, or all."""
        bodies = self.store.bodies
        match change:
            case "replace":
                self.store.put(key, self.chance.randbytes(self.chance.choice((1, UNIT, 5 * UNIT))))
            case "delete" if key in bodies:
                self.store.delete(key)
            case "refresh":
                self.filesystem.tree.refresh(key.encode().split(b"/"))
            case "refresh all":
                self.filesystem.tree.refresh(())

    async def check_bytes(self) -> None:
        """Each object is read as it is now."""
        for key, body in self.store.bodies.items():
            reader = self.blocks.open(self.version(key))
            content = bytearray()
            while len(content) < len(body):
                content += await reader.read(len(content), UNIT)
            reader.close()
            assert content == body

    def version(self, key: str) -> ObjectVersion:
        return self.store.stat(key).version

    @property
    def gets(self) -> list[Request]:
        return [request for request in self.store.requests if request.kind == "GET"]

    def check_at_rest(self) -> None:
        """Nothing in flight, nobody who reads, and nothing over the limit."""
        loader = self.blocks._loader
        assert not loader._fetches
        assert loader.memory.used <= self.limit
        assert not any(blocks.readers for blocks in self.blocks._versions.values())
        assert self.warm_ups._running is None
        assert not self.filesystem.tree.cache.directories._readers


def _ranges_of(gets: Sequence[Request]) -> list[tuple[str, int]]:
    """Each byte unit that was fetched, by key and offset."""
    spans = [(get.key, get.span) for get in gets]
    return [
        (key, offset)
        for key, span in spans
        if span is not None
        for offset in range(span.start, span.stop, UNIT)
    ]


_limits = st.sampled_from([16 * KIB, 64 * KIB, 256 * KIB, 4096 * KIB])


@settings(deadline=None)
@given(_trees(), _limits, st.integers(1, 8), st.integers())
def test_all_that_fits_is_fetched_once_and_no_more(
    sizes: dict[str, int], limit: int, jobs: int, seed: int
) -> None:
    async def main() -> None:
        play = Play(sizes, limit, seed)
        async with trio.open_nursery() as nursery:
            play.begin(nursery)

            dry = (await play.warm(is_dry=True)).result()
            assert not play.gets
            result = (await play.warm(jobs)).result()

            fetched = _ranges_of(play.gets)
            assert len(fetched) == len(set(fetched))
            assert all(get.priority is Priority.PREFETCH for get in play.gets)
            assert play.blocks._loader.memory.used <= play.blocks._loader.prefetches.limit
            assert (result["files"], result["bytes"]) == (len(sizes), sum(sizes.values()))
            assert _ended(result) == len(sizes)
            assert result == dry
            requests = len(play.store.requests)
            again = (await play.warm(jobs)).result()
            assert len(play.store.requests) == requests
            assert again["did_not_fit_files"] == result["did_not_fit_files"]
            assert again["fetched_files"] == 0
            play.check_at_rest()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01))


def _ended(result: Mapping[str, Any]) -> int:
    """How many files the result accounts for."""
    ends = ("fetched_files", "already", "did_not_fit_files", "failed_count")
    return sum(result[end] for end in ends)


@settings(deadline=None)
@given(_trees(), _limits, st.integers(0, STEPS), st.integers(), st.data())
def test_a_cancelled_one_leaves_nothing_and_goes_on_where_it_was(
    sizes: dict[str, int], limit: int, steps: int, seed: int, data: st.DataObject
) -> None:
    read = data.draw(st.lists(st.sampled_from(sorted(sizes)), max_size=4))
    failing = data.draw(st.frozensets(st.sampled_from(sorted(sizes)), max_size=2))

    async def main() -> None:
        play = Play(sizes, limit, seed, failing)
        async with trio.open_nursery() as nursery:
            play.begin(nursery)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as acting:
                    acting.start_soon(play.warm)
                    acting.start_soon(play.read, read)
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
            await trio.testing.wait_all_tasks_blocked(0.001)
            play.check_at_rest()
            cached = {key: play.blocks.warming.missing(play.version(key)) for key in sizes}
            seen = len(play.gets)

            result = (await play.warm()).result()

            fetched = _ranges_of(play.gets[seen:])
            assert len(fetched) == len(set(fetched))
            whole = {key for key, missing in cached.items() if not missing.octets}
            assert not whole & {key for key, _ in fetched}
            assert result["failed_count"] or not failing & {key for key, _ in fetched}
            assert _ended(result) == len(sizes)
            await trio.testing.wait_all_tasks_blocked(0.001)
            play.check_at_rest()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01))


@settings(deadline=None)
@given(_trees(), _limits, st.integers(), st.data())
def test_no_block_of_an_open_file_is_evicted_for_it(
    sizes: dict[str, int], limit: int, seed: int, data: st.DataObject
) -> None:
    keys = data.draw(st.lists(st.sampled_from(sorted(sizes)), max_size=3, unique=True))
    closed = data.draw(st.lists(st.sampled_from(sorted(sizes)), max_size=5))

    async def main() -> None:
        play = Play(sizes, limit, seed)
        async with trio.open_nursery() as nursery:
            play.begin(nursery)
            await play.read(closed)
            readers = [play.blocks.open(play.version(key)) for key in keys]
            for key, reader in zip(keys, readers, strict=True):
                await reader.read(0, min(UNIT, sizes[key]))
            held = {
                (blocks.version, block.start)
                for blocks in play.blocks._versions.values()
                if blocks.readers
                for block in blocks._blocks
            }

            await play.warm()

            assert held <= {
                (blocks.version, block.start)
                for blocks in play.blocks._versions.values()
                for block in blocks._blocks
            }
            for reader in readers:
                reader.close()
            await trio.testing.wait_all_tasks_blocked(0.001)
            play.check_at_rest()
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01))


_changes = st.lists(
    st.tuples(st.sampled_from(["replace", "delete", "refresh", "refresh all"]), st.integers(0, 30)),
    max_size=8,
)
_lies = st.sampled_from(
    [
        {},
        {"listed_bytes": 3},
        {"listed_bytes": -3, "head_bytes": 3},
        {"listed_word": "-listed"},
        {"head_word": "-head"},
    ]
)


@settings(deadline=None)
@given(_trees(), _limits, _changes, _lies, st.integers(), st.data())
def test_what_changes_meanwhile_is_counted_once_and_read_right(  # noqa: PLR0917
    sizes: dict[str, int],
    limit: int,
    changes: list[tuple[str, int]],
    lie: dict[str, object],
    seed: int,
    data: st.DataObject,
) -> None:
    keys = [data.draw(st.sampled_from(sorted(sizes))) for _ in changes]
    jobs = data.draw(st.integers(1, 4))

    async def main() -> None:
        play = Play(sizes, limit, seed, lie=lie)
        async with trio.open_nursery() as nursery:
            play.begin(nursery)
            results = []

            async def warm() -> None:
                results.append((await play.warm(jobs)).result())

            async with trio.open_nursery() as acting:
                acting.start_soon(warm)
                for (change, steps), key in zip(changes, keys, strict=True):
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    play.change(change, key)

            [result] = results
            ends = ("fetched_files", "already", "did_not_fit_files", "failed_count")
            assert sum(result[end] for end in ends) == result["files"]  # type: ignore[misc]
            await play.check_bytes()
            await trio.testing.wait_all_tasks_blocked(0.001)
            play.check_at_rest()
            assert play.blocks.warming._unallocated == 0
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0.01))
