"""The block cache of the mount: the one object that the rest of the house holds.

Puts the room together, and remembers which versions there are blocks of.
"""

from weakref import WeakValueDictionary

import trio

from s3mount.cache.block import VersionBlocks
from s3mount.cache.block_loader import BlockLoader
from s3mount.cache.object_reader import ObjectReader
from s3mount.cache.ranges import FetchSizes
from s3mount.cache.readahead_scheduler import ReadaheadScheduler
from s3mount.config import BlockConfig
from s3mount.metrics import Metrics
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_store import ObjectStore


class BlockCache:
    """Blocks of all object versions."""

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        config: BlockConfig,
        geometry: FetchSizes | None = None,
    ) -> None:
        self._loads = BlockLoader(store, nursery, config.memory_limit)
        self._streams = ReadaheadScheduler(self._loads)
        self._geometry = (geometry or FetchSizes(config.part_size)).within(config.memory_limit)
        # A shelf lives as long as a reader or a block points to it.
        self._shelves: WeakValueDictionary[ObjectVersion, VersionBlocks] = WeakValueDictionary()

    def open(self, version: ObjectVersion) -> ObjectReader:
        """A reader of *version*, to be closed; asks the store for nothing."""
        return ObjectReader(self._shelf(version), self._loads, self._streams)

    def seed(self, version: ObjectVersion, head: bytes) -> None:
        """Keep *head*, the first bytes of *version*, which came by another way, if there is room."""
        shelf = self._shelf(version)
        for gap in list(shelf.gaps(ByteRange(0, min(len(head), version.size)))):
            self._loads.adopt(shelf, gap, head[gap.start : gap.stop])

    def prefetch(self, version: ObjectVersion) -> bool:
        """Begin to fetch a small object whole before anybody reads it.

        True if all of it is held or on its way now; False where it is not small, or there is no room.
        """
        if version.size > self._geometry.small or not self._loads.may_fetch_ahead:
            return False
        return self._loads.fetch_ahead(self._shelf(version), ByteRange(0, version.size))

    def register_metrics(self, metrics: Metrics) -> None:
        """Register what is counted of reads, fetches and memory."""
        loads, streams = self._loads, self._streams
        memory = loads.memory
        counter, gauge = metrics.counter, metrics.gauge
        counter("reads", "reads", "Reads of open files.", lambda: streams.reads)
        counter("reads_waited", "reads", "Reads that waited.", lambda: streams.reads_that_waited)
        counter("block_fetches", "requests", "Block fetches started.", lambda: loads.started)
        counter(
            "block_fetches_failed", "requests", "Block fetches that failed.", lambda: loads.failed
        )
        counter(
            "block_fetches_cancelled",
            "requests",
            "Block fetches cancelled.",
            lambda: loads.cancelled,
        )
        gauge(
            "block_fetches_in_flight",
            "requests",
            "Block fetches in flight.",
            lambda: loads.under_way,
        )
        counter("bytes_fetched", "bytes", "Bytes fetched.", lambda: loads.bytes_fetched)
        counter(
            "bytes_wasted", "bytes", "Bytes prefetched, never read.", lambda: loads.bytes_wasted
        )
        gauge("block_bytes", "bytes", "Memory of blocks.", lambda: memory.used)
        gauge("block_bytes_limit", "bytes", "Its limit: --memory-limit.", lambda: memory.limit)
        gauge("readahead_streams", "streams", "Sequential readers.", lambda: len(streams))

    def close(self) -> None:
        """Cancel all loads; whoever waits for one is told so. To be called before the nursery ends: a load may want a task of it."""
        self._loads.cancel_all()

    def _shelf(self, version: ObjectVersion) -> VersionBlocks:
        shelf = self._shelves.get(version)
        if shelf is None:
            shelf = self._shelves[version] = VersionBlocks(version, self._geometry)
        return shelf
