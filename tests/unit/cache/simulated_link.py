"""A store behind a link, and a disk, that take the time that they would, on trio's mock clock.

They carry no bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import outcome
import trio

from s3mount.disk.reservation import Kept, Written
from s3mount.disk.usage import DiskUsage
from s3mount.s3.model import ByteRange, ObjectVersion, Reason
from s3mount.s3.object_store import OnReadEnd, Priority
from tests.fakes.memory_disk import MemoryDisk

T = TypeVar("T")


@dataclass
class Fetch:
    """`StartedRead`, which ends when its bytes are through."""

    scope: trio.CancelScope

    def promote(self) -> None: ...

    def cancel(self) -> None:
        self.scope.cancel()


class SimulatedLink:
    """`ObjectStore`, as far as a cache uses it, at a link of *rate* bytes a second.

    A connection has *connection_rate* at most, after *latency* seconds. *asked* are the ranges of
    each key that were requested.
    """

    def __init__(self, rate: float, connection_rate: float, latency: float) -> None:
        self._rate = rate
        self._connection_rate = connection_rate
        self._latency = latency
        self._free_at = 0.0
        self.asked: dict[str, list[ByteRange]] = {}

    def has_capacity(self) -> bool:
        return True

    def has_ranges(self) -> bool:
        return True

    def start_read(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,  # noqa: ARG002 - nothing is carried
        on_end: OnReadEnd,
        priority: Priority,  # noqa: ARG002
        *,
        reason: Reason = Reason.READ,  # noqa: ARG002
    ) -> Fetch:
        self.asked.setdefault(version.key, []).append(byte_range)
        now, size = trio.current_time(), len(byte_range)
        self._free_at = max(self._free_at, now) + size / self._rate
        ends_at = max(self._free_at, now + self._latency + size / self._connection_rate)
        fetch = Fetch(trio.CancelScope())

        async def run() -> None:
            with fetch.scope:
                await trio.sleep_until(ends_at)
                on_end(version, None)

        trio.lowlevel.spawn_system_task(run)
        return fetch


class CountingDisk(MemoryDisk):
    """A disk that counts what it is to keep."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = 0
        self.batches = 0

    def keep_all(self, kept: Sequence[Kept]) -> Written:
        octets = sum(len(each.content) for each in kept)
        self.kept += octets
        self.batches += 1
        return Written(octets)

    def usage(self) -> DiskUsage:
        return MemoryDisk().usage()


class SimulatedThreads:
    """Threads in which a write to *disk* takes *batch_time*, and as long as its bytes do.

    *longest* is how many seconds the longest one took.
    """

    def __init__(self, disk: CountingDisk, rate: float, batch_time: float) -> None:
        self._disk = disk
        self._rate = rate
        self._batch_time = batch_time
        self.longest = 0.0

    def submit(
        self, function: Callable[[], T], on_end: Callable[[outcome.Outcome[T]], None]
    ) -> None:
        before = self._disk.kept
        result = outcome.capture(function)
        octets = self._disk.kept - before
        seconds = self._batch_time + octets / self._rate if octets else 0.0
        self.longest = max(self.longest, seconds)

        async def run() -> None:
            await trio.sleep(seconds)
            on_end(result)

        trio.lowlevel.spawn_system_task(run)
