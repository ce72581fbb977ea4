"""Priority semaphore with an AIMD concurrency limit, for all requests to one store.

Invariants, however requests acquire, release, are promoted or cancelled:

1. A request acquires its permit only while fewer are held than the limit allows. A reduced limit
   takes no permit away, it only lets fewer be acquired.
2. No prefetch request acquires a permit while a demand request waits.
3. Prefetch requests leave a share of the limit to demand requests: an eighth, at least one, but
   never the last permit.
4. Within one priority the order is first come, first served. A prefetch request that is promoted
   while it waits joins the end of the demand queue. A permit that is held keeps its priority.
5. A request that waits acquires as soon as 1 to 3 allow: no permit is free beside a request that
   might hold it.
6. A request that is cancelled while it waits leaves no trace.

The store's throttling moves the limit as TCP does (AIMD). A throttled request halves it, once for
all requests that were in flight together. Each success raises it by one part of itself, so one
round of successes raises it by one.

It begins at a third of its maximum, or START, and rises further only while most of it is used: some
stores serve a fixed number of connections, and leave requests over others without a response. So a
request that times out lowers it to where it began, for PAUSE_MIN successes, the next time for twice
as many; as many successes after a pause halve the next one. A request that left a silent connection
for a proven one lowers it to as many as are proven, for SILENCE_PAUSE_MIN successes, by the same
rule. The limit does not rise while a connection is silent for longer than responses usually take.

A mount of one bucket has one limiter, for all its requests. The limiters of several buckets share
permits as well: see `bucket_limiter`.
"""

import math

import outcome
import trio

from s3mount.errors import S3MountError, Unreachable
from s3mount.frozen_dataclass import dataclass
from s3mount.s3.object_store import Priority
from s3mount.s3.silent_connections import SilentConnections
from s3mount.s3.transport import Retryable

START = 32  # requests at least that may be in flight from the start
USED_MIN = 0.75  # such a part of the limit is in use before it rises further
PAUSE_MIN = 10_000  # successes
SILENCE_PAUSE_MIN = 1_000  # successes; such a stall is a second, and no timeout
RESERVE = 8  # one of so many permits is kept from prefetch, and from each of several buckets


class AimdLimit:
    """Number of requests that the store can serve at once, between one and *limit*. Pure."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._start = min(limit, max(START, limit // 3))
        # *round* counts the reductions: a request sent before the last one tells nothing new by
        # being throttled
        self._allowed = float(self._start)
        self.round = 0
        # the highest it was lately, as far as that is not known to be too much; the successes until
        # it may exceed where it began, and how many they are the next time
        self._highest = self._allowed
        self._pause = _Pause(PAUSE_MIN)
        self._silence_pause = _Pause(SILENCE_PAUSE_MIN)

    @property
    def allowed(self) -> int:
        return int(self._allowed)

    @property
    def is_reduced(self) -> bool:
        """Whether throttling has lowered it, and successes have not raised it again yet."""
        return self._allowed < self._highest

    def on_success(self, in_flight: float = math.inf, *, is_stalled: bool = False) -> None:
        """Account for a response, to one of *in_flight* requests.

        *is_stalled*: a new connection is silent.
        """
        is_paused = self._pause.on_success() | self._silence_pause.on_success()
        may_rise = in_flight >= USED_MIN * self._allowed and not is_paused and not is_stalled
        most = float(self._limit) if may_rise else self._highest
        self._allowed = min(most, self._allowed + 1 / self._allowed)
        self._highest = max(self._highest, self._allowed)

    def reset(self) -> None:
        """Forget all throttling."""
        self._allowed = self._highest = float(self._start)
        self._pause, self._silence_pause = _Pause(PAUSE_MIN), _Pause(SILENCE_PAUSE_MIN)

    def on_silence(self, responsive: int) -> None:
        """Account for new connections without a response, beside *responsive* others."""
        self._highest = max(1.0, min(self._highest, responsive))
        self._allowed = min(self._allowed, self._highest)
        self._silence_pause.begin()

    def on_throttle(self, round_: int, *, is_timeout: bool = False) -> None:
        """Account for a request that was sent in *round_* and throttled, or had no response."""
        if is_timeout and self._highest > self._start:
            self._highest = float(self._start)
            self._pause.begin()
        if round_ == self.round:
            self._allowed = max(1.0, self._allowed / 2)
            self.round += 1
        self._allowed = min(self._allowed, self._highest)


class _Pause:
    """Number of successes before the limit rises again: at least *least*, more after failures."""

    def __init__(self, least: int) -> None:
        self._least = least
        self._next = least
        self._left = 0
        self._since = 0  # successes since it ended

    def begin(self) -> None:
        """Begin a pause, unless there is one: what follows a failure is one failure."""
        if self._left:
            return
        self._left, self._since = self._next, 0
        self._next *= 2

    def on_success(self) -> bool:
        """Account for a success; return whether it is in the pause still."""
        if self._left:
            self._left -= 1
        elif self._next > self._least:
            self._since += 1
            if self._since >= self._next:
                self._next, self._since = self._next // 2, 0
        return self._left > 0


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to have one request in flight, until its thread or the event loop has ended it.

    It is held even if nobody waits for the request any more, so that the limiter counts what
    really is in flight. Permits of one priority and one round are equal, and share one object.
    """

    limiter: "Limiter"
    priority: Priority
    round: int

    def release(self) -> None:
        self.limiter.release(self.priority)

    def end(self, result: outcome.Outcome[object]) -> None:
        """Release the permit, and tell the limiter what *result* says about the store's load."""
        self.release()
        error = result.error if isinstance(result, outcome.Error) else None
        if error is None or isinstance(error, S3MountError):  # a refusal is a response too
            self.limiter.on_success()
        elif isinstance(error, Retryable) and error.is_throttle:
            is_timeout = isinstance(error.failure, Unreachable)
            self.limiter.on_throttle(self.round, is_timeout=is_timeout)


class PermitWaiter:
    """One request on its way to a permit."""

    __slots__ = ("_limiter", "priority")

    def __init__(self, limiter: "Limiter", priority: Priority) -> None:
        self._limiter = limiter
        self.priority = priority

    async def acquire(self, deadline: float = math.inf) -> Permit:
        """Wait for a permit. A checkpoint only if it waits, or is cancelled.

        TooSlowError past *deadline*, of trio's clock. A prefetch request is told so only when its
        turn comes: a cancel scope costs more than all the rest.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        permit = self._limiter.acquire_nowait(self.priority)
        if permit is not None:
            return permit
        if self.priority is Priority.PREFETCH:
            permit = await self._limiter.wait(self)
            if trio.current_time() < deadline:
                return permit
            permit.release()  # an attempt would time out, which counts as a throttle
            raise trio.TooSlowError
        with trio.fail_at(deadline):
            return await self._limiter.wait(self)

    def promote(self) -> None:
        """Give the request demand priority, if it waits still."""
        self._limiter.promote(self)


class Limiter:
    """At most *limit* permits at once, demand requests first; for one trio run.

    *silent_connections* are those of the transport.
    """

    def __init__(self, limit: int, silent_connections: SilentConnections | None = None) -> None:
        self.aimd = AimdLimit(limit)
        self._silent_connections = silent_connections or SilentConnections()
        # how many of those that were found the limit accounts for: an old one may be none any more
        self._limits_found = self._silent_connections.limits_found
        self.throttles = 0
        # The permits held, and the tasks that wait, by priority. A task that was rescheduled has
        # been counted already. `_permits` are the objects shared by the requests of one round.
        self._held = dict.fromkeys(Priority, 0)
        self._waiting: dict[Priority, dict[PermitWaiter, trio.lowlevel.Task]] = {
            priority: {} for priority in Priority
        }
        self._permits: dict[Priority, Permit] = {}

    @property
    def held(self) -> int:
        """Permits held now, by requests in flight."""
        return sum(self._held.values())

    def has_capacity(self, priority: Priority) -> bool:
        """Whether a new request of *priority* needs not wait."""
        return self._has_room(priority) and not self._waiting[priority]

    def acquire_nowait(self, priority: Priority) -> Permit | None:
        """A permit, if no request has to wait for it; else None."""
        if not self.has_capacity(priority):
            return None
        self._held[priority] += 1
        return self._permit(priority)

    async def wait(self, waiter: PermitWaiter) -> Permit:
        """Wait in the queue for a permit."""
        self._waiting[waiter.priority][waiter] = trio.lowlevel.current_task()

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            del self._waiting[waiter.priority][waiter]  # at once: it must not be admitted any more
            self._admit()  # prefetch requests may have waited for this one only
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:  # while the permit was on its way
            self.release(waiter.priority)
            raise
        return self._permit(waiter.priority)

    def promote(self, waiter: PermitWaiter) -> None:
        task = self._waiting[Priority.PREFETCH].pop(waiter, None)
        if task is not None:
            waiter.priority = Priority.DEMAND
            self._waiting[Priority.DEMAND][waiter] = task
            self._admit()

    def release(self, priority: Priority) -> None:
        self._held[priority] -= 1
        self._admit()

    def on_success(self) -> None:
        silent_connections = self._silent_connections
        if self._limits_found != silent_connections.limits_found:
            self._limits_found = silent_connections.limits_found
            self.aimd.on_silence(silent_connections.responsive)
        # with the one that has just ended
        self.aimd.on_success(self.held + 1, is_stalled=silent_connections.is_stalled)
        self._admit()

    def on_throttle(self, round_: int, *, is_timeout: bool = False) -> None:
        self.throttles += 1
        self.aimd.on_throttle(round_, is_timeout=is_timeout)

    def _permit(self, priority: Priority) -> Permit:
        permit = self._permits.get(priority)
        if permit is None or permit.round != self.aimd.round:
            permit = self._permits[priority] = Permit(self, priority, self.aimd.round)
        return permit

    def _has_room(self, priority: Priority, allowed: int | None = None) -> bool:
        """Whether a permit of *priority* is free, of *allowed*; by default of the AIMD limit's."""
        if allowed is None:
            allowed = self.aimd.allowed
        if self.held >= allowed:
            return False
        if priority is Priority.DEMAND:
            return True
        reserved = min(max(1, allowed // RESERVE), allowed - 1)
        return (
            not self._waiting[Priority.DEMAND]
            and self._held[Priority.PREFETCH] < allowed - reserved
        )

    def _admit(self) -> None:
        for priority, queue in self._waiting.items():
            while queue and self._has_room(priority):
                self._held[priority] += 1
                trio.lowlevel.reschedule(queue.pop(next(iter(queue))))
