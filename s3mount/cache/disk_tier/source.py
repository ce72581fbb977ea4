"""Disk source: a tier of blocks on disk, over the next source.

Joins what the disk tier consists of: `names` and `presence_table` say where bytes are, and
`segment_lookups` looks many up at once. `direct_reader` reads in the event loop, `read` in the
threads of `readers`, and `writer` keeps the bytes of the next source. `health` says when all of it
is bypassed. The library below (`s3mount.disk`) knows neither the event loop nor the store.

Invariants:

1. What the disk has is a copy, under the identity of its version. A version that nothing tells from
   others of its size is neither written nor read.
2. A read that is late goes to the next source, as does each one after it for a while.
3. Without the disk all goes on as if it had nothing.
"""

from collections.abc import Callable
from typing import Final

import outcome
import trio

from s3mount.cache.block_source import BlockSource, DirectReads
from s3mount.cache.buffer_holds import BufferHolds
from s3mount.cache.disk_tier.direct_reader import DirectReader
from s3mount.cache.disk_tier.health import ReadWriteHealth
from s3mount.cache.disk_tier.metrics import register_disk_metrics
from s3mount.cache.disk_tier.names import NamedVersion, VersionNames, segment_parts
from s3mount.cache.disk_tier.presence_table import Presence, PresenceTable
from s3mount.cache.disk_tier.protocol import Disk
from s3mount.cache.disk_tier.read import DiskRead
from s3mount.cache.disk_tier.readers import SLOW_AFTER, DiskReaders, Threads
from s3mount.cache.disk_tier.segment_lookups import SegmentLookups
from s3mount.cache.disk_tier.tier import DiskReadCounts, DiskTier
from s3mount.cache.disk_tier.writer import WRITE_DELAY, DiskWriter
from s3mount.disk.object_name import EXTENT
from s3mount.metrics import Metrics
from s3mount.s3.model import ByteRange, ObjectVersion, Reason
from s3mount.s3.object_store import OnReadEnd, Priority, StartedRead

WRITE_SHARE: Final = 8  # one of so many bytes of the memory may be being written
READ_SHARE: Final = 4  # of so many, being read: a disk that hangs holds them
CLOSE_TIMEOUT: Final = 5.0  # seconds in which what waits is written at the end


class DiskSource:
    """`BlockSource` of *disk* over *next_source*, with a memory of *memory_limit* bytes.

    *namespace* says what bucket and key mean. *health* is shared by all that use the disk. Small
    writes wait for others, for *write_delay* seconds. For one trio run.
    """

    def __init__(
        self,
        disk: Disk,
        next_source: BlockSource,
        holds: BufferHolds,
        threads: Threads,
        *,
        namespace: str,
        memory_limit: int,
        health: ReadWriteHealth,
        write_delay: float = WRITE_DELAY,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._disk = disk
        self._next = next_source
        self._threads = threads
        self._presence = PresenceTable(clock)
        self._reading, self._writing = health
        self._readers = DiskReaders(threads, memory_limit // READ_SHARE, self._on_slow)
        limit = memory_limit // WRITE_SHARE
        self._writer = DiskWriter(
            disk, holds, self._presence, threads, self._writing, limit=limit, delay=write_delay
        )
        self._names = VersionNames(namespace, self._writer.mark_replaced)
        self._counts = DiskReadCounts()
        parts = self._presence, self._reading, self._readers, self._writer, self._counts
        self._tier = DiskTier(disk, next_source, holds, *parts)
        self._lookups = SegmentLookups(self._tier)
        self.extent = EXTENT
        self.direct: DirectReads | None = DirectReader(self._tier, self._usable_name)
        self.has_capacity = next_source.has_capacity
        self.has_ranges = next_source.has_ranges

    def has(self, version: ObjectVersion, byte_range: ByteRange) -> bool:
        """As far as is known here: False for what only the disk itself could tell."""
        named = self._usable_name(version)
        return named is not None and all(
            self._presence.has(named.digest, *part)
            for part in segment_parts(named.name, byte_range)
        )

    def start_read(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,
        on_end: OnReadEnd,
        priority: Priority,
        *,
        reason: Reason = Reason.READ,
    ) -> StartedRead:
        named = self._usable_name(version)
        if named is None:
            return self._next.start_read(version, byte_range, into, on_end, priority, reason=reason)
        read = DiskRead(
            self._tier,
            named,
            version,
            byte_range,
            into,
            on_end=on_end,
            priority=priority,
            reason=reason,
        )
        read.start()
        return read

    def prepare(self, version: ObjectVersion, on_absent: Callable[[], object]) -> bool:
        named = self._usable_name(version)
        if named is None or not self._disk.has_cached_reads:
            return False
        found = self._presence.find(named.digest, 0, 0, version.size)
        if found is Presence.UNKNOWN:
            self._lookups.add(named, on_absent)
            return True
        return found is not Presence.ABSENT and found.has(0, version.size)

    def keep(self, version: ObjectVersion, start: int, content: bytes) -> None:
        named = self._usable_name(version)
        if named is not None:
            self._writer.add_bytes(named, start, content)
            self._writer.start()

    def evict(self, version: ObjectVersion) -> None:
        named = self._names.find(version)
        if named is not None:
            self._writer.evict(named)

    def capacity(self) -> int:
        is_kept = self._writing.is_usable and not self._writer.is_stuck
        return self._disk.limits.size // 4 * 3 if is_kept else 0

    async def wait_kept(self) -> None:
        await self._writer.wait_done()

    def look_at_usage(self) -> None:
        """Find out in a thread what the directory holds, unless its disk fails."""
        if self._writing.is_usable:
            self._writer.look_at_usage()

    def register_metrics(self, metrics: Metrics) -> None:
        """Register what is counted of the disk."""
        register_disk_metrics(metrics, self._disk, self._tier, self._writing)

    async def close(self) -> None:
        """Write what waits, for CLOSE_TIMEOUT at most. A checkpoint."""
        with trio.move_on_after(CLOSE_TIMEOUT, shield=True):
            await self._writer.wait_done()
            closed = trio.Event()
            self._threads.submit(self._disk.close, lambda _: closed.set())
            await closed.wait()

    def _usable_name(self, version: ObjectVersion) -> NamedVersion | None:
        """The name of *version*, if the disk is to be asked for it."""
        named = self._names.find(version)
        if named is None or self._writer.is_evicting(named.digest):
            return None
        if not self._reading.is_usable:
            self._try_again(named)
            return None
        return named

    def _try_again(self, named: NamedVersion) -> None:
        """Read a little from the disk in a thread, if it is time to."""
        if self._readers.is_stuck or not self._reading.begin_trial():
            return
        began = trio.current_time()

        def end(result: outcome.Outcome[None]) -> None:
            if isinstance(result, outcome.Error):
                self._reading.record_failure(result.error)
            elif trio.current_time() - began > SLOW_AFTER:
                self._reading.record_failure(TimeoutError("a trial was slow"))
            else:
                self._reading.end_trial()

        self._threads.submit(lambda: self._read_little(named), end)

    def _read_little(self, named: NamedVersion) -> None:
        """Find and read the first extent of an object; called in a thread."""
        segment = self._disk.find(named.name, 0, named.digest)
        if segment is not None:
            stop = min(segment.stop, EXTENT)
            self._disk.read(segment, 0, stop, memoryview(bytearray(stop)))

    def _on_slow(self) -> None:
        self._reading.record_failure(TimeoutError(f"a read has taken {SLOW_AFTER} seconds"))
