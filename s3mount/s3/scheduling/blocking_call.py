"""Call of a blocking function in a thread, under a deadline, as the retrier makes it."""

import time
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

import trio

from s3mount.errors import S3MountError
from s3mount.s3.object_store import Priority, RequestPriority
from s3mount.s3.scheduling.limiter import Permit
from s3mount.thread_pool import ThreadPool

T = TypeVar("T")


class BlockingCall(Generic[T]):
    """`Call` of *function* in a thread, with a deadline in `time.monotonic()` seconds.

    The thread may be left behind: it writes to nothing of the caller's.
    """

    def __init__(
        self,
        kind: str,
        key: str,
        function: Callable[[float], T],
        *,
        deadline: float,
        thread_pool: ThreadPool,
        priority: RequestPriority | None = None,
    ) -> None:
        self.kind = kind
        self.key = key
        self.deadline = deadline
        self._function = function
        self._thread_pool = thread_pool
        self._priority = priority or RequestPriority()

    @property
    def priority(self) -> Priority:
        return self._priority.level

    @property
    def on_promote(self) -> Callable[[], None] | None:
        return self._priority.on_promote

    @on_promote.setter
    def on_promote(self, callback: Callable[[], None] | None) -> None:
        self._priority.on_promote = callback

    async def send(self, permit: Permit) -> T:
        call = partial(self._function, monotonic(self.deadline))
        with trio.fail_at(self.deadline):
            return await self._thread_pool.run(call, permit.end)

    def use_other_request(self, failure: S3MountError) -> bool:  # noqa: ARG002 - there is none
        return False

    def take_progress(self) -> int:
        return 0


def monotonic(deadline: float) -> float:
    """*deadline*, of trio's clock, in the `time.monotonic()` seconds that threads use."""
    return time.monotonic() + deadline - trio.current_time()
