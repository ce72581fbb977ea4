"""Retries: one loop over the attempts at an operation, until it succeeds or its deadline passes.

Invariants:

1. An operation ends by its deadline: with its result, the failure of the last attempt, or
   DeadlineExceeded if time ran out during an attempt, or while it waited for a permit. If that
   attempt had less than half of the timeout, it tells nothing: the failure before it is raised. A
   read may take as much longer as its thread takes to notice.
2. Only a Retryable failure is retried, after a pause, for ATTEMPTS attempts in all. An invalid
   response is not the first sign of a store that recovers: INVALID_ATTEMPTS of them fail the
   operation. If credentials were refused, the operation is retried at once, once, if there may be
   others by then. An attempt that has brought bytes is not counted, nor one after which the request
   is another.
3. An attempt for which this host has no thread is retried like any other, unless nobody waits for
   the operation: then it fails.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, TypeVar

import trio

from s3mount import unawaited
from s3mount.errors import (
    CredentialsRefused,
    DeadlineExceeded,
    NotFound,
    S3MountError,
    StaleVersion,
)
from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.blocking_call import monotonic
from s3mount.s3.scheduling.limiter import Limiter, Permit, PermitWaiter
from s3mount.s3.scheduling.outage import OutageTracker
from s3mount.s3.scheduling.pauses import PausesLeft, invalid_pauses, pause_after_progress
from s3mount.s3.transport import Retryable
from s3mount.thread_pool import ThreadPool

log = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Call(Protocol[T_co]):
    """An operation under a deadline, in seconds of trio's clock. *kind* and *key* are for logs."""

    kind: str
    on_promote: Callable[[], None] | None

    @property
    def key(self) -> str: ...

    @property
    def deadline(self) -> float: ...

    @property
    def priority(self) -> Priority: ...

    async def send(self, permit: Permit) -> T_co:
        """Make one attempt, which ends *permit*. TooSlowError past the deadline."""
        ...

    def use_other_request(self, failure: S3MountError) -> bool:
        """Go on with another request after *failure*, which is final; False if there is none."""
        ...

    def take_progress(self) -> int:
        """Return how many bytes were received since the last call, and will not be asked again."""
        ...


class RenewCredentials(Protocol):
    """Call that renews the credentials, and returns whether another attempt may succeed. Blocks."""

    def __call__(self, deadline: float, *, is_expired: bool) -> bool: ...


class Retrier:
    """Loop over attempts until one succeeds; counts retries and errors.

    *renew_credentials* is called in a thread, with the deadline of the operation. *bucket* and
    *timeout* are for messages.
    """

    def __init__(
        self,
        limiter: Limiter,
        thread_pool: ThreadPool,
        *,
        renew_credentials: RenewCredentials,
        pauses: Callable[[], Iterator[float]],
        bucket: str | None,
        timeout: float,
        invalid_pauses: Callable[[], Iterator[float]] = invalid_pauses,
        outage: OutageTracker | None = None,
    ) -> None:
        self._limiter = limiter
        self._thread_pool = thread_pool
        self._renew_credentials = renew_credentials
        self._pauses = pauses
        self._invalid_pauses = invalid_pauses
        self._bucket = bucket
        self._timeout = timeout
        # statistics
        self.retries = 0
        self.errors = 0
        self.outage = outage or OutageTracker()

    async def run(
        self, call: Call[T], failure: Exception | None = None, pauses: PausesLeft | None = None
    ) -> T:
        """The result of *call*; raises S3MountErrors. *failure*: of a first attempt, if made."""
        history = _History(call.deadline - self._timeout)
        try:
            return await self._run(call, failure, pauses or self._all_pauses(), history)
        except DeadlineExceeded:
            former = history.former
            if former is None or history.began < call.deadline - self._timeout / 2:
                raise
            raise former.failure.detached() from former

    async def _run(
        self, call: Call[T], failure: Exception | None, pauses: PausesLeft, history: "_History"
    ) -> T:
        is_renewed = False
        while True:
            if failure is None:
                history.began = trio.current_time()
                try:
                    return await self._attempt(call)
                except (Retryable, S3MountError) as exc:
                    failure = exc
                    unawaited.drop_frames(exc)  # which refer to the caller's buffer
            match failure:
                case S3MountError() if call.use_other_request(failure):
                    pauses, is_renewed, history.former = self._all_pauses(), False, None
                case Retryable(is_stale_credentials=True) | CredentialsRefused() if (
                    not self._is_late(call)
                ):
                    history.former = None
                    if is_renewed or not await self._renew(call, failure):
                        raise _final(failure)
                    is_renewed = True
                case Retryable(is_adapted=True):
                    history.former = None
                    await self._pause(call, failure, 0.0)
                case Retryable() if gained := call.take_progress():
                    pauses, history.former = self._all_pauses(), None
                    await self._pause(call, failure, pause_after_progress(gained))
                case Retryable():
                    history.record(failure, self._timeout / 4, call.deadline)
                    await self._pause(call, failure, pauses.next_after(failure))
                case _:
                    raise failure
            failure = None

    def record_end(self, call: Call[Any], error: BaseException | None) -> None:
        """Count and log how *call* ended; complete what *error* says."""
        self.outage.record(error, call.deadline - self._timeout)
        if error is None:
            log.debug("%s %r: done", call.kind, call.key)
        elif isinstance(error, S3MountError):
            error.bucket = error.bucket or self._bucket  # credentials know neither
            error.key = error.key or call.key
            self.errors += not isinstance(error, NotFound | StaleVersion)
            log.debug("%s %r: %s", call.kind, call.key, error)

    def _all_pauses(self) -> PausesLeft:
        return PausesLeft(self._invalid_pauses(), self._pauses())

    async def _attempt(self, call: Call[T]) -> T:
        waiter = PermitWaiter(self._limiter, call.priority)
        call.on_promote = waiter.promote
        try:
            permit = await waiter.acquire(call.deadline)
            return await call.send(permit)
        except trio.TooSlowError as exc:
            raise self._too_late(call) from exc
        finally:
            call.on_promote = None

    async def _pause(self, call: Call[Any], failure: Retryable, pause: float | None) -> None:
        """Wait until *call* may be tried again; raises why it failed if it may not."""
        if self._is_late(call):
            raise self._too_late(call) from failure
        is_hopeless = failure.is_unsent and call.priority is Priority.PREFETCH
        if pause is None or is_hopeless or trio.current_time() + pause >= call.deadline:
            raise failure.failure.detached() from failure
        log.debug("%s %r again in %.2f s: %s", call.kind, call.key, pause, failure)
        self.retries += 1
        await trio.sleep(pause)

    @staticmethod
    def _is_late(call: Call[Any]) -> bool:
        return trio.current_time() >= call.deadline

    async def _renew(self, call: Call[Any], refusal: Exception) -> bool:
        """Renew the credentials, in a thread that may be left behind; whether to try again."""
        is_expired = isinstance(refusal, Retryable)
        renew = partial(self._renew_credentials, monotonic(call.deadline), is_expired=is_expired)
        try:
            with trio.fail_at(call.deadline):
                return await self._thread_pool.run(renew, lambda _: None)
        except Retryable as exc:  # no thread can be started
            raise exc.failure.detached() from exc
        except trio.TooSlowError as exc:
            message = "the credentials have expired, and were not renewed in time"
            raise DeadlineExceeded(message, bucket=self._bucket, key=call.key) from exc

    def _too_late(self, call: Call[Any]) -> DeadlineExceeded:
        message = f"{call.kind} not answered within {self._timeout:g} s (--timeout)"
        return DeadlineExceeded(message, bucket=self._bucket, key=call.key)


class _History:
    """When the latest attempt of an operation *began*, and the failure before it, if any.

    The first attempt may have been made with the operation itself. Of failures that took long, as
    of a store that is silent, none is kept; nor is one past the deadline, which tells nothing. None
    is from before other credentials, or another request, were needed: the store had recovered.
    """

    def __init__(self, began: float) -> None:
        self.began = began
        self.former: Retryable | None = None

    def record(self, failure: Retryable, most: float, deadline: float) -> None:
        """Keep *failure* if the attempt took *most* seconds at most, and ended by *deadline*."""
        now = trio.current_time()
        if now < deadline:
            self.former = failure if now - self.began <= most else None


def _final(failure: Exception) -> Exception:
    """Return what to raise of a refusal that stands; a start reads its `__cause__`."""
    if not isinstance(failure, Retryable):
        return failure
    final = failure.failure.detached()
    final.__cause__ = failure
    return final
