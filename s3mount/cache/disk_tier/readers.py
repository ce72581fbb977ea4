"""Threads that read the disk: which jobs run, which wait, and which take too long.

Invariants:

1. At most READERS jobs run, of *octets_max* in all, or one. Demands run before prefetches.
2. *on_end* of a job is called once, in the event loop, unless it was withdrawn before it ran.
3. A job that has run for SLOW_AFTER is told so, once, and keeps its thread until it ends. Jobs that
   wait end with BypassedError then, and so do those that come while such jobs leave them no thread,
   or no bytes. So no job waits for one that has no deadline.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Generic, Protocol, TypeVar

import outcome
import trio

from s3mount import unawaited
from s3mount.s3.object_store import Priority

READERS: Final = 4
WAITING_MAX: Final = 8  # demands that wait: far fewer than a disk's queue has room for
SLOW_AFTER: Final = 0.5  # seconds: a store that is far away has responded by then

T = TypeVar("T")


class BypassedError(Exception):
    """The job was not run, because the disk is too slow."""


class Threads(Protocol):
    """`ThreadPool`, as far as it is used here."""

    def submit(
        self, function: Callable[[], T], on_end: Callable[[outcome.Outcome[T]], None]
    ) -> None: ...


class DiskJob(Generic[T]):
    """Call of *function* that reads *octets*; *on_slow* is called if it takes too long."""

    __slots__ = ("_function", "deadline", "has_ended", "octets", "on_end", "on_slow", "priority")

    def __init__(
        self,
        function: Callable[[], T],
        octets: int,
        priority: Priority,
        on_end: Callable[["DiskJob[T]", outcome.Outcome[T]], None],
        on_slow: Callable[[], None],
    ) -> None:
        self._function = function
        self.octets = octets
        self.priority = priority
        self.on_end = on_end
        self.on_slow = on_slow
        self.deadline: float | None = None  # of trio's clock, while it is not too slow
        self.has_ended = False  # in its thread; the event loop may yet have to learn of it

    def run(self) -> T:
        """Call the function, in a thread."""
        try:
            return self._function()
        finally:
            self.has_ended = True


class DiskReaders:
    """Runs jobs in *threads*; *on_slow* is called before the jobs that are too slow are told."""

    def __init__(self, threads: Threads, octets_max: int, on_slow: Callable[[], None]) -> None:
        self._threads = threads
        self._octets_max = octets_max
        self._on_slow = on_slow
        # the jobs that wait, and those that run, in the order of their deadlines; the bytes of
        # these; whether a task watches the deadlines
        self._waiting: list[DiskJob[object]] = []
        self._running: dict[DiskJob[object], None] = {}
        self._octets = 0
        self._is_watched = False

    @property
    def is_stuck(self) -> bool:
        """Whether every thread has a job that is too slow."""
        return sum(job.deadline is None for job in self._running) >= READERS

    @property
    def is_behind(self) -> bool:
        """Whether so many demands wait that the event loop is to have the kernel begin no more.

        Even a read that waits for nothing waits for room in the queue of the disk: 128 on a loop
        device that hangs, and the loop with it.
        """
        if len(self._waiting) < WAITING_MAX:
            return False
        demands = sum(job.priority is Priority.DEMAND for job in self._waiting)
        return demands >= WAITING_MAX

    def submit(self, job: DiskJob[T]) -> None:
        """Run *job* as soon as may be; its *on_end* is called later."""
        if not self._may_run(job):
            token = trio.lowlevel.current_trio_token()
            token.run_sync_soon(_bypass, job)
            return
        self._waiting.append(job)  # type: ignore[arg-type]  # only its own *on_end* sees the result
        self._start_next()

    def withdraw(self, job: DiskJob[T]) -> bool:
        """Do not run *job*; False if it runs, or has ended."""
        if job not in self._waiting:
            return False
        self._waiting.remove(job)  # type: ignore[arg-type]
        return True

    def _may_run(self, job: DiskJob[T]) -> bool:
        """Whether *job* can run before those end that are too slow."""
        slow = [each.octets for each in self._running if each.deadline is None]
        return not slow or (len(slow) < READERS and sum(slow) + job.octets <= self._octets_max)

    def _start_next(self) -> None:
        while self._waiting and len(self._running) < READERS:
            job = min(self._waiting, key=lambda job: job.priority)  # the first of the highest
            if self._running and self._octets + job.octets > self._octets_max:
                return
            self._waiting.remove(job)
            self._run(job)

    def _run(self, job: DiskJob[object]) -> None:
        job.deadline = trio.current_time() + SLOW_AFTER
        self._running[job] = None
        self._octets += job.octets
        if not self._is_watched:
            self._is_watched = True
            trio.lowlevel.spawn_system_task(self._watch)
        self._threads.submit(job.run, partial(self._on_job_end, job))

    def _on_job_end(self, job: DiskJob[object], result: outcome.Outcome[object]) -> None:
        del self._running[job]
        self._octets -= job.octets
        unawaited.call("the end of a read of the disk cache", job.on_end, job, result)
        self._start_next()

    async def _watch(self) -> None:
        """Look at the deadlines until no job runs that has one."""
        try:
            while (deadline := self._next_deadline()) is not None:
                await trio.sleep_until(deadline)
                unawaited.call("the deadlines of the disk cache", self._end_slow)
        finally:
            self._is_watched = False

    def _next_deadline(self) -> float | None:
        return min(
            (job.deadline for job in self._running if job.deadline is not None), default=None
        )

    def _end_slow(self) -> None:
        now = trio.current_time()
        slow = [job for job in self._running if job.deadline is not None and job.deadline <= now]
        for job in slow:
            job.deadline = None
        slow = [job for job in slow if not job.has_ended]
        if not slow:
            return
        self._on_slow()
        waiting, self._waiting = self._waiting, []
        for job in slow:
            unawaited.call("a slow read of the disk cache", job.on_slow)
        for job in waiting:
            _bypass(job)


def _bypass(job: DiskJob[T]) -> None:
    """End *job*, which was not run."""
    bypassed = outcome.Error(BypassedError())
    unawaited.call("a read past the disk cache", job.on_end, job, bypassed)
