"""How an attempt at a read is made: in the run, where nothing has to be waited for but bytes that come; else in a thread.

A small answer over a connection that is open costs a thread hardly more than being woken, twice or more, and the interpreter's
lock each time. So it is asked for in the run, which watches all such sockets together (an `epoll` inside trio's), and judged when all of
it is here, by the very code that a thread would run, and which then finds nothing to wait for.

What always holds:

1. The run never waits for a peer. What is not all here, or does not look as was hoped for, is finished in a thread: so deadlines, and
   whatever may need a new connection, are the business of code that may block.
2. What was sent is finished once, and its outcome told once, in the run.
3. What does not come within PATIENCE is a thread's to wait for.
4. Nothing is watched any more when it is being finished.
5. What was sent and then cut is finished in the run, which has nothing to wait for then.
6. Whatever fails here, or in a callback, fails one attempt: the tasks that watch go on.
"""

import contextlib
import select
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import outcome
import trio

from s3mount import unawaited
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.scheduling.thread_pool import Ended, ThreadPool
from s3mount.s3.transport import PendingResponse, ReceiveState, Retryable

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

PATIENCE = 0.5  # seconds; a stall begins to be counted so much later

Into = Callable[[], memoryview]


class Ask(Protocol[T_co]):
    """One attempt, which calls *into* for the buffer, and may be ended by *cord*."""

    def begin(self, into: Into, *, cord: CancelToken) -> PendingResponse[T_co] | None:
        """Send it without waiting; None where that cannot be."""
        ...

    def __call__(self, into: Into, *, cord: CancelToken) -> T_co:
        """Make it, blocking."""
        ...


class _Watch(NamedTuple):
    """What was *sent*, *at* which second of trio's clock."""

    sent: PendingResponse[Any]
    descriptor: int
    cord: CancelToken
    ended: Ended[Any]
    at: float


class Executor:
    """Belongs to one trio run. *workers* make what cannot be made here."""

    def __init__(self, workers: ThreadPool) -> None:
        self._workers = workers
        self._watched: dict[
            int, _Watch
        ] = {}  # by file descriptor, in the order in which they were sent
        self._epoll: select.epoll | None = None  # from the first one to the end of the run
        self._is_watching = trio.Event()

    def send(
        self, ask: Ask[T], into: Into, cord: CancelToken, ended: Ended[T]
    ) -> PendingResponse[T] | None:
        """Have *ask* made; *ended* is told its outcome, later and in the run. What was sent, where no thread makes it."""
        sent = ask.begin(into, cord=cord)
        if sent is None:
            self._workers.submit(partial(ask, into, cord=cord), ended)
        else:
            self._watch_or_wait(_Watch(sent, sent.fileno(), cord, ended, trio.current_time()))
        return sent

    def _watch_or_wait(self, watch: _Watch) -> None:
        try:
            self._watch(watch)
        except OSError:  # the system has no more descriptors, or watches, for anybody
            self._finish_in_a_thread(watch)
        except BaseException:  # raised again: the caller is told, and nothing else will be
            _give_up(watch)
            raise

    def _watch(self, watch: _Watch) -> None:
        if self._epoll is None:
            self._epoll = select.epoll()
            trio.lowlevel.spawn_system_task(self._take_in, self._epoll)
            trio.lowlevel.spawn_system_task(self._lose_patience)
        self._epoll.register(watch.descriptor, select.EPOLLIN)
        self._watched[watch.descriptor] = watch
        self._is_watching.set()

    async def _take_in(self, epoll: select.epoll) -> None:
        with epoll:
            while True:
                await trio.lowlevel.wait_readable(epoll.fileno())
                for descriptor, _ in epoll.poll(0):
                    self._attend(descriptor, self._gather)

    async def _lose_patience(self) -> None:
        while True:
            await self._is_watching.wait()
            if (oldest := next(iter(self._watched.values()), None)) is None:
                self._is_watching = trio.Event()
                continue
            await trio.sleep_until(oldest.at + PATIENCE)
            now = trio.current_time()
            for descriptor in [
                each for each, watch in self._watched.items() if watch.at + PATIENCE <= now
            ]:
                self._attend(descriptor, self._hand_over)

    def _attend(self, descriptor: int, step: Callable[[_Watch], None]) -> None:
        """Take *step* with what is watched at *descriptor*, unless a callback has ended it just now."""
        if (watch := self._watched.get(descriptor)) is None:
            return
        try:
            step(watch)
        except Exception as exc:  # noqa: BLE001 - a bug in one attempt, which the task that watches all of them survives
            if self._watched.get(descriptor) is watch:
                self._forget(watch)
            _give_up(watch)
            _tell(watch, outcome.Error(exc))

    def _gather(self, watch: _Watch) -> None:
        coming = watch.sent.gather()
        if coming is ReceiveState.WHOLE or (
            coming is ReceiveState.OTHERWISE and watch.cord.is_pulled
        ):
            self._forget(watch)
            _tell(watch, outcome.capture(watch.sent.finish))
        elif coming is ReceiveState.OTHERWISE:
            self._hand_over(watch)

    def _hand_over(self, watch: _Watch) -> None:
        self._forget(watch)
        self._finish_in_a_thread(watch)

    def _finish_in_a_thread(self, watch: _Watch) -> None:
        self._workers.submit(watch.sent.finish, partial(self._finished, watch))

    @staticmethod
    def _finished(watch: _Watch, result: outcome.Outcome[Any]) -> None:
        match result:
            case outcome.Error(
                error=Retryable(is_unsent=True)
            ):  # no thread could be started: the connection is given up
                _give_up(watch)
        watch.ended(result)

    def _forget(self, watch: _Watch) -> None:
        assert self._epoll is not None
        del self._watched[watch.descriptor]
        with contextlib.suppress(OSError):  # it was closed, and with that is no longer watched
            self._epoll.unregister(watch.descriptor)


def _give_up(watch: _Watch) -> None:
    """Finish what nobody will wait for, so that its connection is closed."""
    watch.cord.pull()
    outcome.capture(watch.sent.finish)


def _tell(watch: _Watch, result: outcome.Outcome[Any]) -> None:
    unawaited.call("the callback of an attempt", watch.ended, result)
