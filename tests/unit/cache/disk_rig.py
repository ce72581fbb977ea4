"""Disk source over a scripted store, with a disk in memory and threads that run when told."""

from dataclasses import dataclass, field

import trio
from trio.testing import wait_all_tasks_blocked

from s3mount.cache.block_source import StoreSource
from s3mount.cache.buffer_holds import BufferHolds
from s3mount.cache.buffer_pool import BufferPool
from s3mount.cache.disk_tier.health import disk_health
from s3mount.cache.disk_tier.source import DiskSource
from s3mount.disk.object_name import KIB, MIB, ObjectName
from s3mount.disk.reservation import Kept
from s3mount.s3.model import ByteRange, ObjectVersion, Reason
from s3mount.s3.object_store import Priority, StartedRead
from tests.fakes.memory_disk import MemoryDisk
from tests.fakes.scripted_threads import ScriptedThreads
from tests.property.scripted_store import ScriptedStore

LARGE = ObjectVersion("b", "large", "etag", 9 * MIB + 7)
SMALL = ObjectVersion("b", "small", "etag", 100 * KIB)
MEMORY = 64 * MIB


@dataclass
class Read:
    """A read, and how it has ended."""

    byte_range: ByteRange
    into: memoryview
    started: StartedRead | None = None
    ends: list[tuple[ObjectVersion, BaseException | None]] = field(default_factory=list)

    @property
    def error(self) -> BaseException | None:
        [(_, error)] = self.ends
        return error


class DiskRig:
    """The source, and what it stands on."""

    def __init__(self, *, is_failing: bool = False, write_delay: float = 0.0) -> None:
        self.write_delay = write_delay
        self.store = ScriptedStore()
        self.disk = MemoryDisk()
        self.threads = ScriptedThreads()
        self.memory = BufferPool(MEMORY)
        self.source = self.make_source(self.memory.holds, is_failing=is_failing)

    def make_source(self, holds: BufferHolds, *, is_failing: bool = False) -> DiskSource:
        """A source for another memory."""
        return DiskSource(
            self.disk,
            StoreSource(self.store),
            holds,
            self.threads,
            namespace="n",
            memory_limit=MEMORY,
            health=disk_health(trio.current_time, is_failing=is_failing),
            write_delay=self.write_delay,
        )

    def name(self, version: ObjectVersion) -> ObjectName:
        return ObjectName("n", *version)

    def fill(self, version: ObjectVersion, start: int = 0, stop: int | None = None) -> None:
        """Have the disk keep bytes of *version*, as another mount may have done."""
        content = memoryview(self.store.content(version))[start:stop]
        self.disk.keep_all([Kept(self.name(version), start, content)])

    def start(
        self,
        version: ObjectVersion,
        start: int = 0,
        stop: int | None = None,
        reason: Reason = Reason.READ,
    ) -> Read:
        byte_range = ByteRange(start, version.size if stop is None else stop)
        into = self.memory.acquire_nowait(len(byte_range))
        assert into is not None
        read = Read(byte_range, into)
        read.started = self.source.start_read(
            version,
            byte_range,
            into,
            lambda told, error: read.ends.append((told, error)),
            Priority.DEMAND,
            reason=reason,
        )
        assert not read.ends
        return read

    async def finish(self, *, store: bool = True) -> None:
        """Let everything come to an end."""
        await wait_all_tasks_blocked()
        while self.threads.calls or (store and self.store.loads):
            self.threads.run_all()
            if store:
                self.store.land_all()
            await wait_all_tasks_blocked()

    async def read(
        self,
        version: ObjectVersion,
        start: int = 0,
        stop: int | None = None,
        reason: Reason = Reason.READ,
    ) -> memoryview:
        """Read to the end, check the bytes, and return the buffer, which is still lent."""
        read = self.start(version, start, stop, reason)
        await self.finish()
        assert read.error is None
        assert (
            self.store.content(version)[read.byte_range.start : read.byte_range.stop] == read.into
        )
        return read.into

    def asked(self) -> list[tuple[int, int]]:
        """The ranges that the store was asked for since the last look."""
        asked = [(each.start, each.stop) for _, each, _ in self.store.asked]
        self.store.asked.clear()
        return asked

    def jump(self, seconds: float) -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(seconds)
