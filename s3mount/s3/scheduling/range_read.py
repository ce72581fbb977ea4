"""Read of one byte range of one version: hedged, retried, with one callback at its end.

The first attempt is sent from within `start_read` if a permit is free. Only a read that has to
wait, for a permit or for another attempt, has a task. That is a system task of the event loop. It
waits for no attempt when it is cancelled, so nothing holds it up at the end of the run.

Invariants:

1. *on_end* is called once, in the event loop, and never from within `start_read` or `cancel`.
   Nobody writes into the buffer from then on. If `start_read` raises, it is not called.
2. A cancelled read ends as soon as no attempt is in flight, whatever it waited for.
3. A version that was replaced is read by its version id, if that is known. A refusal that the
   condition may have caused is asked once more without it: the response itself tells its version.
   Else the read fails with StaleVersion.
4. A bug ends the read with itself, and nothing but the read.
"""

import logging
from collections.abc import Callable
from typing import Final, Protocol, TypeGuard

import outcome
import trio

from s3mount import unawaited
from s3mount.errors import (
    AccessDenied,
    Archived,
    CredentialsRefused,
    NotFound,
    S3MountError,
    StaleVersion,
)
from s3mount.s3.model import SYNTHETIC_ETAG, ByteRange, ObjectVersion, Reason
from s3mount.s3.object_store import OnReadEnd, Priority
from s3mount.s3.scheduling.attempt import Sender
from s3mount.s3.scheduling.cancel_token import RequestCancelledError
from s3mount.s3.scheduling.hedge_policy import HedgePolicy
from s3mount.s3.scheduling.hedged_request import HedgedRequest
from s3mount.s3.scheduling.limiter import Permit
from s3mount.s3.scheduling.retry import Retrier
from s3mount.s3.scheduling.store_scheduling import StoreScheduling
from s3mount.s3.transport import Retryable
from s3mount.unawaited import ExpectedError

log = logging.getLogger(__name__)

# what stores and proxies answer to an If-Match that they cannot read, beside S3's own 412
CONDITION_REFUSALS: Final = frozenset((304, 400, 403, 405, 412, 416, 501))
PRECONDITION_FAILED: Final = 412  # the ETag is not current, says the store
REFUTED_MAX: Final = 3  # reads; then the store's conditions are not relied on any more


class MakeSender(Protocol):
    """Factory of what sends each attempt at a read, by a deadline in seconds of trio's clock."""

    def __call__(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        deadline: float,
        *,
        is_conditional: bool,
        reason: Reason,
    ) -> Sender[str | None]: ...


class ReadScheduler:
    """Scheduler of the reads of one store, with what they share.

    What *make_sender* makes returns the version id, if the store tells one. *timeout* is in
    seconds. `uses_conditions` until the store has refused several current versions.
    `doubts_etags` if it did so because of their ETags (412). *has_moved* tells a failure that says
    that the bucket is elsewhere, where another open finds it: what was read is gone.
    """

    def __init__(
        self,
        retrier: Retrier,
        scheduling: StoreScheduling,
        make_sender: MakeSender,
        timeout: float,
        *,
        has_moved: Callable[[BaseException], bool] = lambda _: False,
    ) -> None:
        self.retrier = retrier
        self.has_moved = has_moved
        self.executor = scheduling.executor
        self.make_sender = make_sender
        self.hedge_policy = HedgePolicy(scheduling.limiter)
        self.uses_conditions = True
        self.doubts_etags = False
        self._refuted = 0  # reads that only the condition made fail
        self._limiter = scheduling.limiter
        self._timeout = timeout

    def start_read(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,
        on_end: OnReadEnd,
        priority: Priority,
        *,
        reason: Reason = Reason.READ,
    ) -> "RangeRead":
        """`ObjectStore.start_read`."""
        deadline = trio.current_time() + self._timeout
        read = RangeRead(
            self,
            version,
            byte_range,
            into,
            on_end=on_end,
            priority=priority,
            reason=reason,
            deadline=deadline,
        )
        permit = self._limiter.acquire_nowait(priority)
        if permit is None:
            read.start_task(None)
        else:
            read.start_round(permit)
        return read

    def record_refuted_condition(self, *, is_of_etag: bool) -> None:
        """Count a read of a current version that was refused with If-Match, and not without it."""
        self._refuted += 1
        self.doubts_etags |= is_of_etag
        if self._refuted == REFUTED_MAX:
            self.uses_conditions = False
            log.info("the store refuses conditions for current versions: none is sent any more")


class RangeRead(HedgedRequest[str | None]):
    """`StartedRead`, and a `Call` of the retrier; *deadline* is of trio's clock."""

    kind = "GET"

    def __init__(
        self,
        scheduler: ReadScheduler,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,
        *,
        on_end: OnReadEnd,
        priority: Priority,
        reason: Reason,
        deadline: float,
    ) -> None:
        self._is_conditional = scheduler.uses_conditions
        if scheduler.doubts_etags and not self._is_conditional:
            version = version.doubted()
        sender = scheduler.make_sender(
            version, byte_range, deadline, is_conditional=self._is_conditional, reason=reason
        )
        super().__init__(scheduler.executor, scheduler.hedge_policy, sender, into, priority)
        self._scheduler = scheduler
        self._reason = reason
        self._version = version
        self._byte_range = byte_range
        self._on_end: OnReadEnd | None = on_end
        self._has_dropped_condition = False
        self.deadline = deadline
        # while there is a task: the scope of its waiting, the end of a round that it waits for, and
        # its result
        self._scope: trio.CancelScope | None = None
        self._round_end: trio.Event | None = None
        self._round_result: outcome.Outcome[str | None] | None = None

    @property
    def key(self) -> str:
        return self._version.key

    def start_task(self, failure: Exception | None) -> None:
        """Make attempts in a task; *failure* is that of a first one made already."""
        self._scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._run, self._scope, failure)

    def cancel(self) -> None:
        super().cancel()
        if self._scope is not None:
            self._scope.cancel()

    async def send(self, permit: Permit) -> str | None:
        self._round_end = trio.Event()
        try:
            self.start_round(permit)
            await self._round_end.wait()
        except trio.Cancelled:
            self.cancel()  # the read ends with its attempts, and without this task
            raise
        finally:
            self._round_end = None
        result = self._round_result
        self._round_result = None  # a failure will refer to this frame
        assert result is not None
        return result.unwrap()

    def use_other_request(self, failure: S3MountError) -> bool:
        version = self._version
        if isinstance(failure, CredentialsRefused):
            self._has_dropped_condition = False  # without it, it was refused just so
        if self._has_version_id(failure):
            self._version = version.with_version_id(version.version_id, is_replaced=True)
        elif self._may_drop_condition(failure):
            self._is_conditional, self._has_dropped_condition = False, True
            is_of_time = version.etag.startswith(SYNTHETIC_ETAG)
            if failure.status == PRECONDITION_FAILED and not is_of_time:
                self._version = version.doubted()
        else:
            return False
        self.sender = self._scheduler.make_sender(
            self._version,
            self._byte_range,
            self.deadline,
            is_conditional=self._is_conditional,
            reason=self._reason,
        )
        self._offset = 0  # the next round begins after the bytes that are there
        return True

    def _has_version_id(self, failure: S3MountError) -> bool:
        """Whether the version can be read by its version id, which has not been tried."""
        version = self._version
        is_known = version.version_id is not None and not version.is_replaced
        return is_known and isinstance(failure, StaleVersion)

    def _may_drop_condition(self, failure: S3MountError) -> bool:
        """Whether If-Match may be why the store refused, and was sent."""
        if not self._is_conditional or self._version.is_replaced or isinstance(failure, Archived):
            return False
        is_of_keys = isinstance(failure, CredentialsRefused)
        if is_of_keys and failure.code != "SignatureDoesNotMatch":  # of a proxy that edits headers
            return False
        return failure.status in CONDITION_REFUSALS

    async def _run(self, scope: trio.CancelScope, failure: Exception | None) -> None:
        result: outcome.Outcome[str | None] = outcome.Error(RequestCancelledError())
        try:
            with scope:
                result = outcome.Value(await self._scheduler.retrier.run(self, failure))
        except Exception as exc:  # noqa: BLE001 - it belongs to the reader, a bug too
            result = outcome.Error(exc)
        finally:
            del failure
            self._scope = None
            if not self._is_in_round:  # else the last attempt ends the read
                self._end(result)

    def _round_ended(self, result: outcome.Outcome[str | None]) -> None:
        if self._round_end is not None:
            self._round_result = result
            self._round_end.set()
        elif isinstance(result, outcome.Error) and self._may_go_on(result.error):
            self.start_task(result.error)
        else:
            self._end(result)

    def _may_go_on(self, error: BaseException) -> TypeGuard[Exception]:
        if self._is_cancelled:
            return False
        return isinstance(error, Retryable | CredentialsRefused) or (
            isinstance(error, S3MountError)
            and (self._has_version_id(error) or self._may_drop_condition(error))
        )

    def _end(self, result: outcome.Outcome[str | None]) -> None:
        """Tell *on_end*, once."""
        on_end, self._on_end = self._on_end, None
        assert on_end is not None
        self._drop_buffer()
        if isinstance(result, outcome.Error):
            error = self._failure(result.error)
        else:
            error = None
            unawaited.call("accounting for a read", self._record_success, result.unwrap())
        self._scheduler.retrier.record_end(self, error)
        unawaited.call("the callback of a read", on_end, self._version, error)

    def _record_success(self, version_id: str | None) -> None:
        if self._has_dropped_condition:
            self._scheduler.record_refuted_condition(is_of_etag=self._version.is_doubted)
        if version_id is not None and self._version.version_id is None:
            self._version = self._version.with_version_id(version_id)

    def _failure(self, error: BaseException) -> BaseException:
        """*error* as the reader gets it, without the frames that refer to the buffer."""
        if isinstance(error, S3MountError | ExpectedError):
            unawaited.drop_frames(error)
        if isinstance(error, NotFound | AccessDenied) and self._version.is_replaced:
            return self._stale(error, "the version being read was deleted")
        if isinstance(error, S3MountError) and self._scheduler.has_moved(error):
            return self._stale(error, "the bucket of the version being read is elsewhere now")
        return error

    def _stale(self, error: S3MountError, message: str) -> StaleVersion:
        version = self._version
        return StaleVersion(
            message,
            bucket=version.bucket,
            key=version.key,
            status=error.status,
            code=error.code,
        )
