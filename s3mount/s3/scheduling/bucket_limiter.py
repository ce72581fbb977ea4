"""Fair sharing (max-min) of the permits of a mount among the limiters of its buckets.

Each bucket has an AIMD limit of its own: a bucket that throttles, or does not respond, lowers no
other one's. A host that serves few connections lowers those of all its buckets, which share them.
Below that, all buckets share the permits. Invariants, beside those of `limiter`,
however requests of any bucket acquire, release, are promoted or cancelled:

1. No more permits are held than there are, by all buckets together.
2. A bucket acquires only while it leaves a reserve to the others: an eighth of the permits that no
   other bucket holds, at least one. The first permit of a bucket may be the last one, so a reserve
   is found by the next bucket, and the one after it.
3. No prefetch request acquires a permit while a demand request waits for a shared permit, of
   whichever bucket. One that waits only for the AIMD limit of its bucket keeps no other bucket
   waiting. All prefetch requests together leave an eighth of the permits to demand requests.
4. Of the buckets that wait, the one that holds the fewest permits is the next to acquire; of those
   that hold as many, the one that has waited the longest.
5. A request that waits acquires as soon as its own limiter and 1 to 3 allow.
"""

import trio

from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.executor import Executor
from s3mount.s3.scheduling.limiter import RESERVE, Limiter, Permit, PermitWaiter
from s3mount.s3.scheduling.store_scheduling import StoreScheduling, not_sent
from s3mount.s3.silent_connections import SilentConnections
from s3mount.thread_pool import ThreadPool


class SharedPermits:
    """The *limit* permits of several buckets; for one trio run."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # the permits held by all buckets, and the limiters that requests wait in: one that admits
        # goes to the end. That of the last response.
        self.held = dict.fromkeys(Priority, 0)
        self._waiting: dict[BucketLimiter, None] = {}
        self._last_success: BucketLimiter | None = None

    def has_capacity(self) -> bool:
        """Whether a new prefetch request needs not wait, in the bucket that responded last.

        A bucket that does not respond says nothing of the prefetches in others.
        """
        latest = self._last_success
        return latest is None or latest.has_capacity(Priority.PREFETCH)

    def share(self, held: int) -> int:
        """Return how many permits a bucket may hold that holds *held*: one at least, if any."""
        unused = self.limit - sum(self.held.values()) + held
        return unused - _reserve(unused)

    def has_room(self, priority: Priority) -> bool:
        """Whether a permit of *priority* is free for any bucket."""
        if sum(self.held.values()) >= self.limit:
            return False
        if priority is Priority.DEMAND:
            return True
        return self.held[priority] < self.limit - _reserve(self.limit) and not any(
            each.is_demand_kept_waiting() for each in self._waiting
        )

    def record_success(self, limiter: "BucketLimiter") -> None:
        self._last_success = limiter

    def add_waiting(self, limiter: "BucketLimiter") -> None:
        self._waiting.setdefault(limiter)

    def admit(self) -> None:
        """Let requests that wait acquire what they may."""
        if not self._waiting:
            return
        for priority in Priority:
            while (limiter := self._next(priority)) is not None:
                limiter.admit_first(priority)
                del self._waiting[limiter]
                self._waiting[limiter] = None
        self._waiting = {each: None for each in self._waiting if each.has_waiting()}

    def _next(self, priority: Priority) -> "BucketLimiter | None":
        ready = (each for each in self._waiting if each.may_admit(priority))
        return min(ready, key=lambda each: each.held, default=None)


class BucketLimiter(Limiter):
    """`Limiter` of one bucket, within the permits of *shared*."""

    def __init__(
        self, shared: SharedPermits, silent_connections: SilentConnections | None = None
    ) -> None:
        super().__init__(shared.limit, silent_connections)
        self._shared = shared

    def acquire_nowait(self, priority: Priority) -> Permit | None:
        permit = super().acquire_nowait(priority)
        if permit is not None:
            self._shared.held[priority] += 1
        return permit

    async def wait(self, waiter: PermitWaiter) -> Permit:
        self._shared.add_waiting(self)
        return await super().wait(waiter)

    def release(self, priority: Priority) -> None:
        self._shared.held[priority] -= 1
        super().release(priority)

    def on_success(self) -> None:
        self._shared.record_success(self)
        super().on_success()

    def on_throttle(self, round_: int, *, is_timeout: bool = False) -> None:
        super().on_throttle(round_, is_timeout=is_timeout)
        self._admit()  # demand requests that wait for this bucket now keep no prefetch waiting

    def has_waiting(self) -> bool:
        """Whether a request waits."""
        return any(self._waiting.values())

    def may_admit(self, priority: Priority) -> bool:
        """Whether a request of *priority* waits that may acquire."""
        return bool(self._waiting[priority]) and self._has_room(priority)

    def admit_first(self, priority: Priority) -> None:
        """Let the first request of *priority* that waits acquire."""
        queue = self._waiting[priority]
        self._held[priority] += 1
        self._shared.held[priority] += 1
        trio.lowlevel.reschedule(queue.pop(next(iter(queue))))

    def is_demand_kept_waiting(self) -> bool:
        """Whether a demand request waits for a shared permit, and not for the AIMD limit."""
        return bool(self._waiting[Priority.DEMAND]) and self.held < self.aimd.allowed

    def _has_room(self, priority: Priority, allowed: int | None = None) -> bool:
        if not self._shared.has_room(priority):
            return False
        share = min(self.aimd.allowed, self._shared.share(self.held))
        return super()._has_room(priority, share if allowed is None else min(allowed, share))

    def _admit(self) -> None:
        self._shared.admit()


class AccountScheduling:
    """Permits and threads of up to *max_connections* requests at once; for one trio run."""

    def __init__(self, max_connections: int) -> None:
        self._permits = SharedPermits(max_connections)
        self._thread_pool = ThreadPool(not_sent)
        self._executor = Executor(self._thread_pool)
        self.has_capacity = self._permits.has_capacity

    def for_store(self, silent_connections: SilentConnections | None = None) -> StoreScheduling:
        """Return that of one more store, which is closed with this object.

        *silent_connections* are those of its transport.
        """
        limiter = BucketLimiter(self._permits, silent_connections)
        return StoreScheduling(limiter, self._thread_pool, self._executor)

    def close(self) -> None:
        """Let the threads end, those that make an attempt after it."""
        self._thread_pool.close()


def _reserve(permits: int) -> int:
    """Return how many of *permits* are kept free: never the last one."""
    return min(max(1, permits // RESERVE), permits - 1)
