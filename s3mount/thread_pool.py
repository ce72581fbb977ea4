"""Thread pool: blocking calls in threads, whose outcomes come back into the event loop.

It does what `trio.to_thread` does, for callers that have a limit of their own: threads that stay, a
queue, and one wake-up of the event loop for all outcomes that are there by then. It costs a third
of the CPU, which counts if a call is one small object.

Invariants:

1. A thread is busy until the callback of its call has run, in the event loop, also if nobody
   waits any more.
2. A thread is started only if none is idle, so there are as many as there were calls at once.
   Threads are daemons, and no exit waits for them.
3. Every callback is called. A thread first adds the outcome, and then looks whether the event loop
   was woken. The event loop first notes that it has to be woken again, and then takes the outcomes.
4. If no thread can be started, the callback gets that failure, later and in the event loop.
5. A callback that raises ends nothing but its own request.
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

T = TypeVar("T")

OnEnd = Callable[[outcome.Outcome[T]], None]
"""Called with the outcome of a call, in the event loop."""


class _Call:
    """A call, its callback, and its outcome."""

    __slots__ = ("function", "on_end", "outcome")

    def __init__(self, function: Callable[[], Any], on_end: OnEnd[Any]) -> None:
        self.function = function
        self.on_end = on_end
        self.outcome: outcome.Outcome[Any] | None = None


class ThreadPool:
    """Threads for blocking calls; for one trio run.

    *make_failure* makes the failure of a call for which no thread can be started, from its message.
    """

    def __init__(self, make_failure: Callable[[str], Exception] = RuntimeError) -> None:
        self._make_failure = make_failure
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        # the ended calls whose callbacks wait, and whether the event loop was woken for them
        self._ended: deque[_Call] = deque()
        self._is_woken = False
        self._threads = 0
        self._idle = 0

    async def run(self, function: Callable[[], T], on_end: OnEnd[T]) -> T:
        """What *function* returns or raises in a thread.

        A checkpoint. *on_end* is called in the event loop when the call has ended, in any case.
        Raises what *on_end* raises. A cancellation leaves the call behind.
        """
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()

        def wake(result: outcome.Outcome[T]) -> None:
            try:
                on_end(result)
            except Exception as exc:  # noqa: BLE001 - the caller's bug, raised to the caller
                result = outcome.Error(exc)
            if task is not None:
                trio.lowlevel.reschedule(task, result)
            elif isinstance(result, outcome.Error):
                unawaited.report("an abandoned call", result.error)

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            nonlocal task
            task = None
            return trio.lowlevel.Abort.SUCCEEDED

        self.submit(function, wake)
        result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    def submit(self, function: Callable[[], T], on_end: OnEnd[T]) -> None:
        """Call *function* in a thread; *on_end* gets its outcome, later and in the event loop.

        That is what *make_failure* makes if no thread can be started.
        """
        if self._idle:
            self._idle -= 1
        elif not self._start_thread(on_end):
            return
        self._calls.put(_Call(function, on_end))

    def _start_thread(self, on_end: OnEnd[Any]) -> bool:
        token = trio.lowlevel.current_trio_token()
        try:  # `threading` would have the event loop wait until the thread is up
            _thread.start_new_thread(self._work, (token,))
        except (RuntimeError, MemoryError) as exc:  # pids.max, RLIMIT_NPROC, no memory for a stack
            result = outcome.Error(self._make_failure(f"no thread can be started: {exc}"))
            token.run_sync_soon(unawaited.call, "the callback of a thread", on_end, result)
            return False
        self._threads += 1
        return True

    def close(self) -> None:
        """Let idle threads end, and busy ones after their calls."""
        for _ in range(self._threads):
            self._calls.put(None)
        self._threads = 0

    def _work(self, token: trio.lowlevel.TrioToken) -> None:
        while (call := self._calls.get()) is not None:
            call.outcome = outcome.capture(call.function)
            self._ended.append(call)
            if not self._is_woken:
                self._is_woken = True
                with contextlib.suppress(trio.RunFinishedError):  # the mount has ended
                    token.run_sync_soon(self._tell)
            del call  # an idle thread keeps no result

    def _tell(self) -> None:
        self._is_woken = False
        while self._ended:
            call = self._ended.popleft()
            self._idle += 1
            assert call.outcome is not None
            unawaited.call("the callback of a thread", call.on_end, call.outcome)
