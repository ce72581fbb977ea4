"""Worker threads: a blocking call is handed over, and its outcome brought back into the trio run.

What `trio.to_thread` does, for callers who bring their own limit: threads that stay, a queue, and one wake-up of the run for all
outcomes that have come by then. It costs a third of the CPU, which counts where a call is one small object.

Invariants: a call's thread is busy until its outcome has been told, in the run, also where nobody waits any more; a thread is started
only where none is idle, so there are as many as there were calls at once; threads are daemons, and no exit waits for them. What
has ended is told: a thread first adds it and then looks whether the run has been woken, the run forgets that it has been and then takes.
A call whose thread cannot be started is told so in the same way, later and in the run. What the told one raises ends nothing but
its own request.
"""

import _thread
import contextlib
import queue
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import outcome
import trio

from s3mount import unawaited
from s3mount.errors import StoreError
from s3mount.s3.transport import Retryable

T = TypeVar("T")

Ended = Callable[[outcome.Outcome[T]], None]
"""Is told the outcome of a call, in the run."""


class _Job:
    """One call, and who is told its outcome."""

    __slots__ = ("call", "ended", "outcome")

    def __init__(self, call: Callable[[], Any], ended: Ended[Any]) -> None:
        self.call = call
        self.ended = ended
        self.outcome: outcome.Outcome[Any] | None = None


class ThreadPool:
    """Threads for blocking calls; belongs to one trio run."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._ended: deque[_Job] = deque()  # and not told yet
        self._is_woken = False  # the run, to tell them
        self._threads = 0
        self._idle = 0

    async def run(self, call: Callable[[], T], ended: Ended[T]) -> T:
        """What *call* returns or raises in a thread. *ended* is told in the run when the thread has ended it, in any case.

        A checkpoint. Where it is cancelled, the call is left behind. Raises what *ended* raises.
        """
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()

        def land(result: outcome.Outcome[T]) -> None:
            try:
                ended(result)
            except Exception as exc:  # noqa: BLE001 - the caller's bug, which the caller is told
                result = outcome.Error(exc)
            if task is not None:
                trio.lowlevel.reschedule(task, result)
            elif isinstance(result, outcome.Error):
                unawaited.report("an abandoned call", result.error)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            nonlocal task
            task = None
            return trio.lowlevel.Abort.SUCCEEDED

        self.submit(call, land)
        answer: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return answer

    def submit(self, call: Callable[[], T], ended: Ended[T]) -> None:
        """Have *call* made in a thread; *ended* is told its outcome, later and in the run: a Retryable if no thread can be started."""
        if self._idle:
            self._idle -= 1
        else:
            token = trio.lowlevel.current_trio_token()
            try:
                _thread.start_new_thread(
                    self._work, (token,)
                )  # `threading` would have the run wait until it is up
            except (
                RuntimeError,
                MemoryError,
            ) as exc:  # pids.max, RLIMIT_NPROC, or no memory for a stack
                failure = Retryable(StoreError(f"no thread can be started: {exc}"), is_unsent=True)
                token.run_sync_soon(
                    unawaited.call, "the callback of a thread", ended, outcome.Error(failure)
                )
                return
            self._threads += 1
        self._jobs.put(_Job(call, ended))

    def close(self) -> None:
        """Let idle threads end, and busy ones after their calls."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0

    def _work(self, token: trio.lowlevel.TrioToken) -> None:
        while (job := self._jobs.get()) is not None:
            job.outcome = outcome.capture(job.call)
            self._ended.append(job)
            if not self._is_woken:
                self._is_woken = True
                with contextlib.suppress(
                    trio.RunFinishedError
                ):  # the mount has ended, and nobody is interested
                    token.run_sync_soon(self._land)
            del job  # no thread keeps an answer while it is idle

    def _land(self) -> None:
        self._is_woken = False
        while self._ended:
            job = self._ended.popleft()
            self._idle += 1
            assert job.outcome is not None
            unawaited.call("the callback of a thread", job.ended, job.outcome)
