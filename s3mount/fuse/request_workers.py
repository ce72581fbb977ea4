"""Worker tasks of the FUSE session: one reads the kernel's requests, while others handle theirs.

Most requests are answered without a wait. So the task that reads a request handles it, and reads
the next one. Only if the handler begins to wait does another task read on. pyfuse3 itself has two
tasks take turns at a lock, which costs each request a switch and a pass of the event loop.

Invariants:

1. At most one worker is the reader. It waits for a request, or handles one and has not waited yet.
2. A handler that waits makes another worker the reader, or a new one, unless *most* of them handle
   requests; then the first that has replied is the reader.
3. A worker that is needed no more is idle. More than IDLE_MAX of them end.
4. When the session has ended, for whatever reason, the waiting reader and idle workers end, and
   others after their requests. No worker starts any more.
"""

import select
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Final

import trio

IDLE_MAX: Final = 8
AT_ONCE: Final = 8  # requests that are read before other tasks get a turn

ReadRequests = Callable[[], Coroutine[Any, Any, None]]
"""Reads and handles requests, for each of which it calls `RequestWorkers.wait_request`."""


class RequestWorkers:
    """Workers of the session on *fuse_fd*."""

    def __init__(self, fuse_fd: int) -> None:
        self._fuse_fd = fuse_fd
        self._poll = select.poll()
        self._poll.register(fuse_fd, select.POLLIN)
        self._left_at_once = AT_ONCE
        self._resumes: float | None = None  # nothing is read before
        self._workers = 0
        self._has_ended = False
        self._start: Callable[[], None] | None = None
        # whose task runs, or was the last to run; who reads; who waits for its turn
        self.current: _Worker | None = None
        self._reader: _Worker | None = None
        self._idle: dict[_Worker, trio.lowlevel.Task] = {}

    async def run(self, read: ReadRequests, nursery: trio.Nursery, most: int) -> None:
        """Be the first worker, and start others in *nursery*, *most* in all.

        Called once. Ends with the session, or when one worker less will do.
        """
        self._start = partial(self._start_worker, read, nursery, most)
        self._workers += 1
        await self._work(read)

    def pause(self, seconds: float) -> None:
        """Read nothing for so long."""
        self._resumes = trio.current_time() + seconds
        self._left_at_once = 0

    async def wait_request(self) -> bool:
        """Wait until the current worker is to read a request; False if it is to end."""
        worker = self.current
        assert worker is not None
        if self._reader is worker and self._left_at_once and self._poll.poll(0):
            self._left_at_once -= 1
            return True
        worker.is_in_handler = False
        try:
            if self._reader is not worker and not await self._become_reader(worker):
                return False
            if self._resumes is not None:
                await trio.sleep_until(self._resumes)
                self._resumes = None
            if not await self._wait_readable():
                return False
        except trio.ClosedResourceError:
            return False
        finally:
            worker.is_in_handler = True
        self._left_at_once = AT_ONCE
        return True

    def on_wait(self, worker: "_Worker") -> None:
        """The handler of *worker* begins to wait, or goes on waiting."""
        if self._reader is not worker:
            return
        self._reader = None
        if self._has_ended:
            return
        if self._idle:
            self._reader, task = self._idle.popitem()
            trio.lowlevel.reschedule(task)
        elif self._start is not None:
            self._start()

    def _start_worker(self, read: ReadRequests, nursery: trio.Nursery, most: int) -> None:
        if self._workers < most:
            self._workers += 1
            nursery.start_soon(self._work, read)

    async def _work(self, read: ReadRequests) -> None:
        worker = _Worker(self, read())
        try:
            await worker
        finally:
            self._workers -= 1
            if self._reader is worker:
                self._reader = None
            if not worker.is_surplus:
                self._end()

    async def _become_reader(self, worker: "_Worker") -> bool:
        """Wait until *worker* is the reader; False if it is to end."""
        if self._has_ended:
            return False
        if self._reader is None:
            self._reader = worker
            return True
        if len(self._idle) >= IDLE_MAX:
            worker.is_surplus = True
            return False
        self._idle[worker] = trio.lowlevel.current_task()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            del self._idle[worker]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return self._reader is worker

    async def _wait_readable(self) -> bool:
        """Wait for a request; False if the session has ended.

        Raises trio.ClosedResourceError if it ends meanwhile.
        """
        while not self._has_ended:
            await trio.lowlevel.wait_readable(self._fuse_fd)
            # The kernel withdraws a request whose caller is killed. A read of nothing costs one of
            # pyfuse3's buffers, which it leaks; any user could kill callers until memory is short.
            if self._poll.poll(0):
                return True
        return False

    def _end(self) -> None:
        self._has_ended = True
        trio.lowlevel.notify_closing(self._fuse_fd)  # wakes the reader
        while self._idle:
            trio.lowlevel.reschedule(self._idle.popitem()[1])


class _Worker:
    """Awaitable of *requests*, which tells *workers* when a handler waits.

    *is_surplus*: it ends, and the session does not.
    """

    __slots__ = ("_requests", "_workers", "is_in_handler", "is_surplus")

    def __init__(self, workers: RequestWorkers, requests: Coroutine[Any, Any, None]) -> None:
        self._workers = workers
        self._requests = requests
        self.is_in_handler = False
        self.is_surplus = False

    def __await__(self) -> Generator[Any, Any, None]:
        workers, requests = self._workers, self._requests
        resume: Callable[[Any], Any] = requests.send
        sent = None
        try:
            while True:
                workers.current = self
                trap = resume(sent)
                del sent  # it may hold what a thread has read, and the next wait may be long
                if self.is_in_handler:
                    workers.on_wait(self)
                try:
                    sent = yield trap
                    resume = requests.send
                except BaseException as exc:  # noqa: BLE001 - it goes where it would have gone
                    sent, resume = exc, requests.throw
        except StopIteration:
            return
