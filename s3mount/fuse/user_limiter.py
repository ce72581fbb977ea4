"""Limiter of the requests that wait for the store, fair among users.

All requests of the kernel share the slots of one session and the connections of one store.
Invariants, in whatever order requests enter, leave and are cancelled:

1. The admitted requests of one uid cost at most *share* in all; one that costs more is admitted
   alone.
2. Within one uid, requests are admitted in order. No uid waits for another.
3. A request that invariants 1 and 2 allow is admitted at once.
4. At most *queue* requests of one uid, and *total* of all, are admitted or waiting. Beyond that,
   TooManyRequests is raised.
5. A request that is cancelled while it waits leaves no trace.
"""

import math
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

import trio

from s3mount.errors import TooManyRequests

_UNLIMITED: Final = nullcontext()


@dataclass(slots=True)
class _User:
    """The requests of one uid, and the cost of those admitted."""

    requests: int = 0
    cost: int = 0
    waiting: dict[trio.lowlevel.Task, int] = field(default_factory=dict)  # in order; their costs


class UserLimiter:
    """Semaphore for each uid; belongs to one trio run."""

    def __init__(self, *, share: float, queue: float, total: float) -> None:
        self._share = share
        self._queue = queue
        self._total = total
        self._is_unlimited = share == queue == total == math.inf
        self._users: dict[int, _User] = {}  # with requests, by uid
        self._requests = 0

    def admitted(self, uid: int, cost: int = 1) -> AbstractAsyncContextManager[None]:
        """Enter the block when a request of *uid* is admitted; a checkpoint only if it waits.

        Raises TooManyRequests.
        """
        return _UNLIMITED if self._is_unlimited else _Admission(self, uid, cost)

    async def acquire(self, uid: int, cost: int) -> None:
        user = self._users.get(uid)
        if self._requests >= self._total or (user is not None and user.requests >= self._queue):
            raise TooManyRequests(f"too many requests of uid {uid} wait for the store")
        if user is None:
            user = self._users[uid] = _User()
        user.requests += 1
        self._requests += 1
        if not user.waiting and self._has_room(user, cost):
            user.cost += cost
        else:
            await self._wait(uid, user, cost)

    def release(self, uid: int, cost: int) -> None:
        user = self._users[uid]
        user.cost -= cost
        self._remove(uid, user)

    async def _wait(self, uid: int, user: _User, cost: int) -> None:
        """Wait until another request admits this one, and counts its cost."""
        user.waiting[trio.lowlevel.current_task()] = cost
        task = trio.lowlevel.current_task()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            del user.waiting[task]  # at once, so that it is not admitted before its task wakes up
            self._remove(uid, user)  # a cheaper request may wait behind this one
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _remove(self, uid: int, user: _User) -> None:
        user.requests -= 1
        self._requests -= 1
        while user.waiting:
            task, cost = next(iter(user.waiting.items()))
            if not self._has_room(user, cost):
                return
            del user.waiting[task]
            user.cost += cost
            trio.lowlevel.reschedule(task)
        if not user.requests:
            del self._users[uid]

    def _has_room(self, user: _User, cost: int) -> bool:
        return user.cost + cost <= self._share or not user.cost


class _Admission:
    """Asynchronous context manager of one request; contextlib's cost five times as much."""

    __slots__ = ("_cost", "_limiter", "_uid")

    def __init__(self, limiter: UserLimiter, uid: int, cost: int) -> None:
        self._limiter = limiter
        self._uid = uid
        self._cost = cost

    async def __aenter__(self) -> None:
        await self._limiter.acquire(self._uid, self._cost)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._limiter.release(self._uid, self._cost)
