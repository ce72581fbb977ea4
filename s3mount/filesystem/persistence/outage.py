"""Outages, in which metadata is served beyond its lifetime: `--serve-stale`.

An outage begins when the store fails a request and all its retries, and ends with the first
response. Meanwhile all lifetimes are longer, so what is known is served without a request; one
request in the background probes the store. Invariants:

1. What the store says (access denied, not found, replaced) is a response, and is never replaced by
   older metadata. Only a response ends an outage: a failure without one, as of credentials that
   cannot be had, does not.
2. Without a failure, the lifetimes are those of the configuration. After an outage, what had
   expired by them has expired again, in the kernel within KERNEL_TTL.
3. There is at most one probe at a time.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio

from s3mount.config import TreeConfig
from s3mount.errors import (
    CredentialsUnavailable,
    DeadlineExceeded,
    S3MountError,
    StoreError,
    Unreachable,
)
from s3mount.filesystem.namespace.ttl_policy import CLOCK_LEAD, TtlPolicy

log = logging.getLogger(__name__)

KERNEL_TTL: Final = 2.0  # seconds for which the kernel uses stale metadata, without asking
PROBE_PAUSE: Final = 2.0  # seconds between two probes
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500
_REFUSALS: Final = (501, 505, 508, 510)  # server errors of a store that is well, and will not

T = TypeVar("T")


class StaleTtlPolicy(TtlPolicy):
    """TTL policy that serves metadata up to an age of *stale* seconds while an outage lasts."""

    __slots__ = ("_fresh", "_stale", "is_extended", "stale_answers")

    def __init__(self, fresh: TtlPolicy, stale: float) -> None:
        super().__init__(fresh.positive, fresh.negative, fresh.grace)
        self._fresh = fresh
        self._stale = stale
        self.is_extended = False
        self.stale_answers = 0  # statistics: what the kernel was given beyond its lifetime

    @classmethod
    def from_config(cls, config: TreeConfig) -> "StaleTtlPolicy":
        return cls(TtlPolicy.from_config(config), config.serve_stale)

    @property
    def longest(self) -> float:
        """Seconds for which anything is served in an outage, at most."""
        return max(self._fresh.positive, self._fresh.negative, self._stale)

    def extend(self) -> None:
        """Serve what is stale, from now on."""
        self.is_extended = True
        self.positive = max(self._fresh.positive, self._stale)
        self.negative = max(self._fresh.negative, self._stale)

    def restore(self) -> None:
        """Serve what is fresh only."""
        self.is_extended = False
        self.positive, self.negative = self._fresh.positive, self._fresh.negative

    def is_servable(self, requested_at: float, now: float) -> bool:
        """Whether metadata would be served in an outage."""
        return requested_at >= self.valid_since and requested_at + self._stale > now

    def remaining_for_kernel(
        self, requested_at: float, now: float, *, exists: bool = True
    ) -> float:
        if not self.is_extended:
            return self.remaining(requested_at, now, exists=exists)
        fresh = self._fresh.positive if exists else self._fresh.negative
        if requested_at + fresh - now > CLOCK_LEAD:  # its lifetime has not passed
            return min(KERNEL_TTL, self.remaining(requested_at, now, exists=exists))
        self.stale_answers += 1
        return min(KERNEL_TTL, self.remaining(requested_at, now, exists=exists))

    def usable_for(self, least: float) -> float:
        return max(super().usable_for(least), self._stale + CLOCK_LEAD)


def is_outage(failure: BaseException) -> bool:
    """Whether *failure* means that the store cannot be reached, or only fails."""
    if isinstance(failure, DeadlineExceeded | Unreachable | CredentialsUnavailable):
        return True
    if not isinstance(failure, StoreError) or failure.status is None:
        return False
    is_failing = failure.status >= _SERVER_ERROR and failure.status not in _REFUSALS
    return is_failing or failure.status == _TOO_MANY_REQUESTS


def is_response(failure: S3MountError) -> bool:
    """Whether *failure* is what the store has said: a redirect, say, may be a proxy's."""
    return failure.status is not None and not isinstance(failure, StoreError)


class OutageMonitor:
    """Detector of outages, from the results of requests; tells *ttl*, and the log.

    *probe* sends a request; its result is recorded as those of others.

    State: *_began* is when the present outage began, None without one.
    """

    def __init__(
        self,
        ttl: StaleTtlPolicy,
        nursery: trio.Nursery,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self.ttl = ttl
        self.outages = 0  # statistics
        self._nursery = nursery
        self._clock = clock
        self._began: float | None = None
        self._probe: Callable[[], Awaitable[object]] | None = None
        self._is_probing = False

    @property
    def is_on(self) -> bool:
        """Whether the store cannot be reached."""
        return self._began is not None

    @property
    def seconds(self) -> float:
        """How long the present outage lasts; 0 without one."""
        return 0.0 if self._began is None else self._clock() - self._began

    def probe_with(self, probe: Callable[[], Awaitable[object]]) -> None:
        """Probe the store by *probe* while an outage lasts."""
        self._probe = probe

    async def observe(self, request: Awaitable[T]) -> T:
        """The result of *request*, which tells whether the store can be reached."""
        try:
            result = await request
        except S3MountError as exc:
            self.record(exc)
            raise
        self.record(None)
        return result

    def record(self, failure: S3MountError | None) -> None:
        """Record how a request ended: with *failure*, or well."""
        if failure is not None and is_outage(failure):
            self.begin(str(failure))
        elif failure is None or is_response(failure):
            self._end()

    def begin(self, reason: str) -> None:
        """Take the store for away, unless it is that already."""
        if self._began is not None:
            return
        self._began = self._clock()
        self.outages += 1
        self.ttl.extend()
        age = self.ttl.longest
        limit = "of whatever age" if math.isinf(age) else f"up to {age:.0f} s old"
        log.warning(
            "the store cannot be reached, so what is known is served, %s (--serve-stale): %s",
            limit,
            reason,
        )
        if not self._is_probing and self._probe is not None:
            self._is_probing = True
            self._nursery.start_soon(self._probe_until_end)

    def _end(self) -> None:
        if self._began is None:
            return
        seconds, self._began = self.seconds, None
        self.ttl.restore()
        log.info(
            "the store can be reached again, after %.0f s; what is stale is served no longer",
            seconds,
            extra={"stale_seconds": round(seconds, 3), "stale_answers": self.ttl.stale_answers},
        )

    async def _probe_until_end(self) -> None:
        try:
            while self._began is not None and self._probe is not None:
                try:
                    await self._probe()
                except S3MountError as exc:
                    log.debug("the store was probed: %s", exc)
                if self._began is not None:
                    await trio.sleep(PROBE_PAUSE)
        finally:
            self._is_probing = False
