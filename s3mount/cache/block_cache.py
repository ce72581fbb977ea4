"""The block cache of the mount: the one object that the rest of the house holds.

Puts the room together, and remembers which versions there are blocks of.
"""

from dataclasses import dataclass
from weakref import WeakValueDictionary

import trio

from s3mount.cache.block import VersionBlocks
from s3mount.cache.block_loader import BlockLoader
from s3mount.cache.object_reader import ObjectReader
from s3mount.cache.ranges import FetchSizes
from s3mount.cache.readahead_scheduler import ReadaheadScheduler
from s3mount.config import BlockConfig
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_store import ObjectStore


@dataclass(frozen=True, slots=True)
class BlockStatistics:
    """Counts since the mount began, and what there is now.

    *loads* are GETs sent, *bytes_wasted* were fetched ahead and dropped unread, *memory_used* and *memory_limit* are bytes.
    """

    reads: int
    reads_that_waited: int
    loads: int
    loads_failed: int
    loads_cancelled: int
    loads_under_way: int
    bytes_fetched: int
    bytes_wasted: int
    memory_used: int
    memory_limit: int
    streams: int


class BlockCache:
    """Blocks of all object versions."""

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        config: BlockConfig,
        geometry: FetchSizes | None = None,
        *,
        has_readahead: bool = True,
    ) -> None:
        self._loads = BlockLoader(store, nursery, config.memory_limit)
        ahead_limit = self._loads.ahead_limit if has_readahead else 0
        self._streams = ReadaheadScheduler(self._loads, ahead_limit)
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

    def statistics(self) -> BlockStatistics:
        loads = self._loads
        return BlockStatistics(
            reads=self._streams.reads,
            reads_that_waited=self._streams.reads_that_waited,
            loads=loads.started,
            loads_failed=loads.failed,
            loads_cancelled=loads.cancelled,
            loads_under_way=loads.under_way,
            bytes_fetched=loads.bytes_fetched,
            bytes_wasted=loads.bytes_wasted,
            memory_used=loads.memory.used,
            memory_limit=loads.memory.limit,
            streams=len(self._streams),
        )

    def close(self) -> None:
        """Cancel all loads; whoever waits for one is told so. To be called before the nursery ends: a load may want a task of it."""
        self._loads.cancel_all()

    def _shelf(self, version: ObjectVersion) -> VersionBlocks:
        shelf = self._shelves.get(version)
        if shelf is None:
            shelf = self._shelves[version] = VersionBlocks(version, self._geometry)
        return shelf
