"""Read of which the disk has some bytes, or may have some; the next source has the others.

Invariants:

1. *on_end* is called once, later and in the event loop. Nobody writes to the buffer from then on,
   or it is held and the failure is BufferLost. That hold ends when nobody writes any more.
2. Each byte is written by one of them: the disk, or the next source after the disk has failed to.
   Gaps that touch are one request, so none is read before it is known what follows it.
3. What the disk does not have in time, or not rightly, is no failure of the read.
4. After a failure of the next source, or a cancellation, nothing more is started.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import outcome
import trio

from s3mount import unawaited
from s3mount.cache.block_source import BufferLost
from s3mount.cache.disk_tier.names import NamedVersion, SegmentPart, segment_parts
from s3mount.cache.disk_tier.presence_table import Presence
from s3mount.cache.disk_tier.readers import BypassedError, DiskJob
from s3mount.cache.disk_tier.segment_reading import (
    Found,
    find_and_read,
    joined,
    read_runs,
    wide_gaps,
)
from s3mount.cache.disk_tier.tier import DiskTier
from s3mount.cache.ranges import gaps
from s3mount.disk.segment import Segment
from s3mount.s3.model import ByteRange, ObjectVersion, Reason
from s3mount.s3.object_store import OnReadEnd, Priority, StartedRead
from s3mount.unawaited import ExpectedError

INLINE_MAX: Final = 256 << 10  # bytes that are read in the event loop, if they are in memory


class ReadCancelledError(ExpectedError):
    """The read was cancelled before it had all bytes."""


class _Task(NamedTuple):
    """Part of the read that the disk is to do: *runs* of *part*.

    *generation* is that of the presence table if the segment has to be found.
    """

    part: SegmentPart
    runs: list[ByteRange]
    generation: int | None

    @property
    def octets(self) -> int:
        return sum(map(len, self.runs))


class DiskRead:
    """`StartedRead` of *byte_range*, after `start`."""

    __slots__ = (
        "_byte_range",
        "_error",
        "_fetched",
        "_finds",
        "_gaps",
        "_into",
        "_is_cancelled",
        "_is_lost",
        "_jobs",
        "_named",
        "_on_end",
        "_priority",
        "_reads",
        "_reason",
        "_tier",
        "_version",
    )

    def __init__(
        self,
        tier: DiskTier,
        named: NamedVersion,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,
        *,
        on_end: OnReadEnd,
        priority: Priority,
        reason: Reason,
    ) -> None:
        self._tier = tier
        self._named = named
        self._version = version
        self._byte_range = byte_range
        self._into: memoryview | None = into
        self._on_end: OnReadEnd | None = on_end
        self._priority = priority
        self._reason = reason
        # jobs and reads that have not ended, and how many jobs have to find their segment; what the
        # next source is yet to be asked for; what it has read
        self._jobs: set[DiskJob[Found]] = set()
        self._finds = 0
        self._reads: dict[int, StartedRead] = {}
        self._gaps: list[ByteRange] = []
        self._fetched: list[ByteRange] = []
        self._error: BaseException | None = None
        self._is_cancelled = False
        self._is_lost = False

    def start(self) -> None:
        """Read what the disk has, and the rest from the next source."""
        for part in segment_parts(self._named.name, self._byte_range):
            self._start_part(part)
        self._read_gaps()
        self._end_soon_if_idle()

    def promote(self) -> None:
        self._priority = Priority.DEMAND
        for job in self._jobs:
            job.priority = Priority.DEMAND
        for read in self._reads.values():
            read.promote()

    def cancel(self) -> None:
        if self._on_end is not None:
            self._is_cancelled = True
            self._stop()
            self._end_soon_if_idle()

    # ---- the disk ------------------------------------------------------------------------------

    def _start_part(self, part: SegmentPart) -> None:
        tier = self._tier
        found = tier.presence.find(self._named.digest, *part)
        wanted = ByteRange(part.start, part.stop)
        if found is Presence.ABSENT:
            self._gaps.append(wanted)
        elif found is Presence.UNKNOWN:
            self._finds += 1
            find = partial(find_and_read, tier.disk, self._named, part, self._slice)
            self._submit(find, _Task(part, [wanted], tier.presence.generation))
        else:
            absent = wide_gaps(found, wanted)
            self._gaps += absent
            if runs := list(gaps(wanted, absent)):
                self._read_runs(found, _Task(part, runs, None))

    def _read_runs(self, segment: Segment, task: _Task) -> None:
        """Read from *segment*: in the event loop if it is little, and in memory."""
        read = partial(read_runs, self._tier.disk, segment, task.runs, self._slice)
        if task.octets <= INLINE_MAX and not self._tier.readers.is_behind:
            result = outcome.capture(read, nowait=True)
            if not _is_late(result):
                self._account(task, result)
                return
        self._submit(read, task)

    def _submit(self, function: Callable[[], Found], task: _Task) -> None:
        on_end = partial(self._on_job_end, task)
        job = DiskJob(function, task.octets, self._priority, on_end, self._on_slow)
        self._jobs.add(job)
        self._tier.readers.submit(job)

    def _on_job_end(self, task: _Task, job: DiskJob[Found], result: outcome.Outcome[Found]) -> None:
        self._jobs.discard(job)
        self._finds -= task.generation is not None
        self._account(task, result)
        self._read_gaps()
        self._end_if_idle()

    def _account(self, task: _Task, result: outcome.Outcome[Found]) -> None:
        """Account for what the disk has done."""
        digest, number = self._named.digest, task.part.number
        if isinstance(result, outcome.Error):
            if not isinstance(result.error, BypassedError):
                self._tier.health.record_failure(result.error)
            unawaited.drop_frames(result.error)
            self._gaps += task.runs
            return
        segment, missing, others = result.unwrap()
        self._gaps += missing
        if task.generation is not None:
            self._tier.presence.put(digest, number, segment, task.generation)
            for each in others:
                self._tier.presence.put_unknown(each, task.generation)
        if segment is not None and any(segment.has(each.start, each.stop) for each in missing):
            self._tier.presence.forget(digest, number)  # evicted, or damaged

    # ---- the next source -----------------------------------------------------------------------

    def _read_gaps(self) -> None:
        """Read from the next source what the disk does not have, as soon as that is known."""
        if not self._gaps or self._finds or self._is_stopping:
            return
        wanted = joined(self._gaps)
        if not self._tier.next_source.has_ranges():
            if self._jobs:
                return
            wanted = [ByteRange(wanted[0].start, wanted[-1].stop)]
        self._gaps = []
        for gap in wanted:
            if not self._is_stopping:
                self._start_read(gap)

    def _start_read(self, gap: ByteRange) -> None:
        try:
            self._reads[gap.start] = self._tier.next_source.start_read(
                self._version,
                gap,
                self._slice(gap),
                partial(self._on_read_end, gap),
                self._priority,
                reason=self._reason,
            )
        except Exception as exc:  # noqa: BLE001 - a bug: the caller of the read is told
            self._fail(exc)

    def _on_read_end(
        self, gap: ByteRange, version: ObjectVersion, error: BaseException | None
    ) -> None:
        del self._reads[gap.start]
        # once doubted, whatever the other requests are told
        self._version = version.doubted() if self._version.is_doubted else version
        if error is None:
            self._fetched.append(gap)
        else:
            self._fail(error)
        self._end_if_idle()

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
            self._stop()

    # ---- the end -------------------------------------------------------------------------------

    @property
    def _is_stopping(self) -> bool:
        return self._error is not None or self._is_cancelled or self._is_lost

    def _on_slow(self) -> None:
        """A job goes on writing to the buffer, and nothing tells for how long."""
        if self._on_end is None:
            return
        assert self._into is not None
        self._is_lost = True
        self._tier.holds.hold(self._into)
        self._stop()
        self._tell(BufferLost())

    def _stop(self) -> None:
        """Let what has not ended end soon."""
        for job in list(self._jobs):
            if self._tier.readers.withdraw(job):
                self._jobs.discard(job)
        for read in self._reads.values():
            read.cancel()

    def _end_soon_if_idle(self) -> None:
        if not self._jobs and not self._reads:
            token = trio.lowlevel.current_trio_token()
            token.run_sync_soon(unawaited.call, "the end of a read", self._end_if_idle)

    def _end_if_idle(self) -> None:
        """End the read, or its hold of a buffer that was lost, if nobody writes any more."""
        if self._jobs or self._reads or self._into is None:
            return
        if self._is_lost:
            self._tier.holds.let_go(self._into)
            self._into = None
            return
        error = self._error
        if error is None and self._is_cancelled:
            error = ReadCancelledError()
        if error is None:
            self._record_success()
        self._tell(error)
        self._into = None
        self._tier.writer.start()

    def _record_success(self) -> None:
        """Account for a buffer that is filled, and have written what the disk had not."""
        tier, counts = self._tier, self._tier.counts
        counts.octets += len(self._byte_range) - sum(map(len, self._fetched))
        if not self._fetched:
            counts.hits += 1
            return
        counts.misses += 1
        if self._reason is Reason.VERIFY or self._version.is_doubted or not tier.health.is_usable:
            return
        assert self._into is not None
        for gap in self._fetched:
            tier.writer.add(self._named, gap.start, self._slice(gap), self._into)

    def _tell(self, error: BaseException | None) -> None:
        on_end, self._on_end = self._on_end, None
        assert on_end is not None
        unawaited.call("the callback of a read", on_end, self._version, error)

    def _slice(self, part: ByteRange) -> memoryview:
        """The buffer of *part*, which is not given back before the read has ended."""
        assert self._into is not None
        if part == self._byte_range:
            return self._into
        start = self._byte_range.start
        return self._into[part.start - start : part.stop - start]


def _is_late(result: outcome.Outcome[Found]) -> bool:
    """Whether the disk would have had to be waited for.

    Drops the frames of such an error. They hold the buffer, and *result*, and would keep both
    until the garbage collector runs.
    """
    if not isinstance(result, outcome.Error) or not isinstance(result.error, BlockingIOError):
        return False
    unawaited.drop_frames(result.error)
    return True
