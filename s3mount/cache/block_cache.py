"""Block cache of the mount: joins the parts of this package, and finds the blocks of a version."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from weakref import WeakValueDictionary

import trio

from s3mount.cache.background_reader import BackgroundReader
from s3mount.cache.block import VersionBlocks
from s3mount.cache.block_loader import BlockLoader
from s3mount.cache.block_source import BlockSource, StoreSource
from s3mount.cache.buffer_holds import BufferHolds
from s3mount.cache.buffer_pool import BufferPool
from s3mount.cache.fetch_planner import FetchPlanner
from s3mount.cache.file_activity import FileActivity, latest_activity
from s3mount.cache.object_reader import ObjectReader
from s3mount.cache.ranges import FetchSizes, align
from s3mount.cache.readahead.forward_steps import StepLimit
from s3mount.cache.readahead_scheduler import ReadaheadScheduler
from s3mount.cache.warm_fetcher import WarmFetcher
from s3mount.config import BlockConfig
from s3mount.metrics import Metrics
from s3mount.s3.model import ByteRange, ObjectVersion, Reason
from s3mount.s3.object_store import ObjectStore

MakeTier = Callable[[BlockSource, BufferHolds], BlockSource]
"""Makes a tier over the next source; it may hold buffers."""


class BlockCache:
    """Blocks of all object versions, from *store*; *make_tier* makes a tier between them.

    *connections* is how many requests the store serves at once.
    """

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        config: BlockConfig,
        sizes: FetchSizes | None = None,
        *,
        has_readahead: bool = True,
        connections: float = math.inf,
        make_tier: MakeTier | None = None,
    ) -> None:
        memory = BufferPool(config.memory_limit)
        source: BlockSource = StoreSource(store)
        if make_tier is not None:
            source = make_tier(source, memory.holds)
        self._source = source
        self._loader = BlockLoader(source, nursery, memory)
        self._planner = FetchPlanner(source, self._loader)
        self._has_readahead = has_readahead
        prefetch_limit = self._loader.prefetches.limit if has_readahead else 0
        self._readahead = ReadaheadScheduler(
            self._planner, self._loader, prefetch_limit, connections
        )
        self._sizes = (sizes or FetchSizes(config.part_size)).within(config.memory_limit)
        self._step_limit = StepLimit(trio.current_time)
        # each lives as long as a reader or a block refers to it
        self._versions: WeakValueDictionary[ObjectVersion, VersionBlocks] = WeakValueDictionary()
        self.warming = WarmFetcher(
            self._versions.get, self._blocks_of, source, self._loader, self._sizes
        )

    def open(self, version: ObjectVersion) -> ObjectReader:
        """A reader of *version*, to be closed; makes no request."""
        return ObjectReader(
            self._blocks_of(version),
            self._planner,
            self._loader,
            self._readahead,
            self._source.direct,
        )

    def open_background(self, version: ObjectVersion) -> BackgroundReader:
        """A reader of all of *version*, behind every other one, to be closed."""
        return BackgroundReader(self._blocks_of(version), self._source, self._loader)

    def put(self, version: ObjectVersion, head: bytes) -> None:
        """Keep *head*, the first bytes of *version* from elsewhere, if there is memory."""
        blocks = self._blocks_of(version)
        for gap in blocks.gaps(ByteRange(0, min(len(head), version.size))):
            self._loader.insert(blocks, gap, head[gap.start : gap.stop])

    def prefetch(self, version: ObjectVersion, reason: Reason = Reason.SIBLING) -> bool:
        """Fetch a small object whole before it is read, for *reason*.

        True if all of it is ready, or being fetched or looked up now. False if it is not small, or
        if there is no room.
        """
        if version.size > self._sizes.small or not self._planner.may_prefetch:
            return False
        if self._source.direct is not None and self._prepare(version, reason):
            return True
        return self._prefetch_blocks(version, reason)

    def prefetch_end(self, version: ObjectVersion) -> None:
        """Fetch the last block of *version*, a large object, which a reader has open."""
        if self._has_readahead and version.size > self._sizes.small and self._planner.may_prefetch:
            blocks, size = self._blocks_of(version), version.size
            self._planner.prefetch(
                blocks, align(size - 1, size, size, blocks.sizes), Reason.READAHEAD
            )

    def expect_next(self, version: ObjectVersion, following: Iterable[ObjectVersion]) -> None:
        """A reader of *version*, which is open, may go on to those *following*, one by one."""
        self._blocks_of(version).following = tuple(map(self._blocks_of, following))

    def known_version_id(self, version: ObjectVersion) -> str | None:
        """The version id of *version*, if a response has told it while it is read or cached."""
        blocks = self._versions.get(version)
        return None if blocks is None else blocks.version.version_id

    def activity(self, most: int) -> list[FileActivity]:
        """The *most* open versions that were read last, the latest first."""
        return latest_activity(self._readahead.open_versions, most)

    def register_metrics(self, metrics: Metrics) -> None:
        """Register what is counted of reads, fetches and memory."""
        loader, readahead = self._loader, self._readahead
        memory = loader.memory
        counter, gauge = metrics.counter, metrics.gauge
        counter("reads", "reads", "Reads of open files.", lambda: readahead.reads)
        counter("reads_waited", "reads", "Reads that waited.", lambda: readahead.reads_that_waited)
        counter("block_fetches", "requests", "Block fetches started.", lambda: loader.started)
        counter(
            "block_fetches_failed", "requests", "Block fetches that failed.", lambda: loader.failed
        )
        counter(
            "block_fetches_cancelled",
            "requests",
            "Block fetches cancelled.",
            lambda: loader.cancelled,
        )
        gauge(
            "block_fetches_in_flight",
            "requests",
            "Block fetches in flight.",
            lambda: loader.in_flight,
        )
        counter("bytes_fetched", "bytes", "Bytes fetched.", lambda: loader.bytes_fetched)
        counter(
            "bytes_wasted", "bytes", "Bytes prefetched, never read.", lambda: loader.bytes_wasted
        )
        counter(
            "bytes_served", "bytes", "Bytes of replies to reads.", lambda: readahead.bytes_served
        )
        gauge("block_bytes", "bytes", "Memory of blocks.", lambda: memory.used)
        gauge("block_bytes_limit", "bytes", "Its limit: --memory-limit.", lambda: memory.limit)
        gauge("readahead_streams", "streams", "Sequential readers.", lambda: len(readahead))

    def close(self) -> None:
        """Cancel all fetches; their waiters get an error.

        To be called before the nursery ends: a fetch may want a task of it.
        """
        self._loader.cancel_all()

    def _prepare(self, version: ObjectVersion, reason: Reason) -> bool:
        """Have direct reads of a small object prepared if it has no blocks; whether it is so."""
        return version not in self._versions and self._source.prepare(
            version, partial(self._prefetch_blocks, version, reason)
        )

    def _prefetch_blocks(self, version: ObjectVersion, reason: Reason) -> bool:
        return self._planner.prefetch(self._blocks_of(version), ByteRange(0, version.size), reason)

    def _blocks_of(self, version: ObjectVersion) -> VersionBlocks:
        blocks = self._versions.get(version)
        if blocks is None:
            blocks = self._versions[version] = VersionBlocks(version, self._sizes, self._step_limit)
        elif version.version_id is not None and blocks.version.version_id is None:
            blocks.version = version
        if version.is_doubted and not blocks.version.is_doubted:
            blocks.version = blocks.version.doubted()
        return blocks
