"""Executor of attempts: the event loop receives small responses, threads do everything that blocks.

A small response over an open connection costs a thread little more than being woken, twice or more,
and the interpreter's lock each time. The event loop therefore sends such a request itself, and
watches all their sockets together, with an `epoll` inside trio's. It validates a response when all
of it is here, with the code that a thread would run, which then finds nothing to wait for.

Invariants:

1. The event loop never waits for a peer. A response that is not complete, or not as expected, is
   finished by a thread. So deadlines, and new connections, belong to code that may block.
2. A request that was sent is finished once, and its callback called once, in the event loop.
3. A response that has not come within HAND_OVER_AFTER is waited for by a thread.
4. A socket is no longer watched when its response is being finished.
5. A request that was sent and then cancelled is finished in the event loop, without waiting.
6. A failure here, or in a callback, fails one attempt. The tasks that watch all of them go on.
"""

import contextlib
import select
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import outcome
import trio

from s3mount import unawaited
from s3mount.s3.scheduling.attempt import UNSENT, Attempt
from s3mount.s3.scheduling.deadline_queue import DeadlineQueue
from s3mount.s3.transport import ReceiveState, Retryable
from s3mount.thread_pool import ThreadPool

T = TypeVar("T")

HAND_OVER_AFTER = 0.5  # seconds; a stall begins to be counted so much later


class Executor:
    """Executor of attempts, by itself or with *thread_pool*; for one trio run."""

    def __init__(self, thread_pool: ThreadPool) -> None:
        self._thread_pool = thread_pool
        # The attempts whose sockets are watched, by file descriptor, and when each is handed over.
        # The epoll lives from the first of them to the end of the run.
        self._watched: dict[int, Attempt[Any]] = {}
        self._overdue: DeadlineQueue[Attempt[Any]] = DeadlineQueue(self._hand_over_late)
        self._epoll: select.epoll | None = None

    def start(self, attempt: Attempt[Any]) -> None:
        """Make *attempt*; its `end` is called later, in the event loop."""
        pending = attempt.sender.send_nowait(attempt.claim_buffer, attempt)
        if pending is None:
            send = partial(attempt.sender.send, attempt.claim_buffer, attempt)
            self._thread_pool.submit(send, attempt.end)
            return
        attempt.pending = pending
        try:
            self._watch(attempt, pending.fileno())
        except OSError:  # the system has no more descriptors, or watches, for anybody
            self._finish_in_thread(attempt)
        except BaseException:  # raised again: the caller is told, and `end` will not be called
            _abandon(attempt)
            raise

    def _watch(self, attempt: Attempt[Any], descriptor: int) -> None:
        if self._epoll is None:
            self._epoll = select.epoll()
            trio.lowlevel.spawn_system_task(self._receive_all, self._epoll)
        self._epoll.register(descriptor, select.EPOLLIN)
        attempt.descriptor = descriptor
        self._watched[descriptor] = attempt
        self._overdue.add(attempt, trio.current_time() + HAND_OVER_AFTER)

    async def _receive_all(self, epoll: select.epoll) -> None:
        with epoll:
            while True:
                await trio.lowlevel.wait_readable(epoll.fileno())
                for descriptor, _ in epoll.poll(0):
                    attempt = self._watched.get(descriptor)  # a callback may have ended it just now
                    if attempt is not None:
                        self._run_step(self._receive, attempt)

    def _hand_over_late(self, attempt: Attempt[Any]) -> None:
        if self._watched.get(attempt.descriptor) is attempt:
            self._run_step(self._hand_over, attempt)

    def _run_step(self, step: Callable[[Attempt[Any]], None], attempt: Attempt[Any]) -> None:
        try:
            step(attempt)
        except Exception as exc:  # noqa: BLE001 - a bug in one attempt; the others are watched
            if self._watched.get(attempt.descriptor) is attempt:
                self._unwatch(attempt)
            _abandon(attempt)
            _end(attempt, outcome.Error(exc))

    def _receive(self, attempt: Attempt[Any]) -> None:
        assert attempt.pending is not None
        state = attempt.pending.receive_available()
        if state is ReceiveState.PARTIAL:
            return
        if state is ReceiveState.COMPLETE or attempt.is_cancelled:
            self._unwatch(attempt)
            _end(attempt, outcome.capture(attempt.pending.finish))
        else:
            self._hand_over(attempt)

    def _hand_over(self, attempt: Attempt[Any]) -> None:
        self._unwatch(attempt)
        self._finish_in_thread(attempt)

    def _finish_in_thread(self, attempt: Attempt[Any]) -> None:
        assert attempt.pending is not None
        self._thread_pool.submit(attempt.pending.finish, partial(_end_of_thread, attempt))

    def _unwatch(self, attempt: Attempt[Any]) -> None:
        assert self._epoll is not None
        self._overdue.discard(attempt)
        del self._watched[attempt.descriptor]
        with contextlib.suppress(OSError):  # it was closed, and with that is no longer watched
            self._epoll.unregister(attempt.descriptor)
        attempt.descriptor = UNSENT


def _end_of_thread(attempt: Attempt[Any], result: outcome.Outcome[Any]) -> None:
    if isinstance(result, outcome.Error):
        error = result.error
        if isinstance(error, Retryable) and error.is_unsent:  # there was no thread to finish it
            _abandon(attempt)
    attempt.end(result)


def _abandon(attempt: Attempt[Any]) -> None:
    """Finish a request whose response nobody will wait for, so that its connection is closed."""
    attempt.cancel()
    if attempt.pending is not None:
        outcome.capture(attempt.pending.finish)


def _end(attempt: Attempt[Any], result: outcome.Outcome[Any]) -> None:
    unawaited.call("the callback of an attempt", attempt.end, result)
