"""Limiter of the requests that wait for the store, fair among users.

All requests of the kernel share the slots of one session and the connections of one store. Invariants, whoever enters, leaves
or is cancelled, in any order:

1. The requests of one uid that are admitted cost at most *share* together; a request that costs more is admitted alone.
2. Within one uid it is first come, first served. No uid waits for another.
3. A request that invariants 1 and 2 let in is admitted at once.
4. At most *queue* requests of one uid, and *total* of all, are admitted or waiting; TooManyRequests is raised beyond that.
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
    """The requests of one uid: how many there are, what the admitted ones cost together, and what those that wait will cost."""

    requests: int = 0
    cost: int = 0
    waiting: dict[trio.lowlevel.Task, int] = field(
        default_factory=dict
    )  # in the order in which they came


class UserLimiter:
    """Belongs to one trio run."""

    def __init__(self, *, share: float, queue: float, total: float) -> None:
        self._share = share
        self._queue = queue
        self._total = total
        self._is_unlimited = share == queue == total == math.inf
        self._users: dict[int, _User] = {}  # those that have requests
        self._requests = 0

    def admitted(self, uid: int, cost: int = 1) -> AbstractAsyncContextManager[None]:
        """The block is entered once a request of *uid* is admitted: a checkpoint only if it waits.

        Raises TooManyRequests.
        """
        return _UNLIMITED if self._is_unlimited else _Admission(self, uid, cost)

    async def enter(self, uid: int, cost: int) -> None:
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

    def leave(self, uid: int, cost: int) -> None:
        user = self._users[uid]
        user.cost -= cost
        self._remove(uid, user)

    async def _wait(self, uid: int, user: _User, cost: int) -> None:
        """Wait until another request admits this one, which counts it in."""
        user.waiting[trio.lowlevel.current_task()] = cost
        task = trio.lowlevel.current_task()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            del user.waiting[task]  # at once: nobody shall admit it before its task wakes up
            self._remove(uid, user)  # a cheaper one may have waited for this one only
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
    """An asynchronous context manager; one of contextlib costs five times as much."""

    __slots__ = ("_cost", "_limiter", "_uid")

    def __init__(self, limiter: UserLimiter, uid: int, cost: int) -> None:
        self._limiter = limiter
        self._uid = uid
        self._cost = cost

    async def __aenter__(self) -> None:
        await self._limiter.enter(self._uid, self._cost)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._limiter.leave(self._uid, self._cost)
