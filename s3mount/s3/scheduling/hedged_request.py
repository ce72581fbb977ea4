"""One read, sent once, or twice if the response is late: the first response fills the buffer.

A round begins with a permit and ends when its result is known. A read that is retried has several
rounds, one after another (`range_read`).

Invariants, in whichever order attempts respond or fail, and whenever the read is cancelled:

1. One buffer, one writer. An attempt gets the buffer when the head of its response is valid, unless
   the other attempt has it. The attempt that comes second has written nothing, and fails.
2. A round has at most two attempts. The second is sent if the first is late, the read has demand
   priority, and the hedge policy has a permit. A read is hedged once, in all its rounds.
3. The first valid response is the result, and the other attempt is cancelled. A failure is the
   result only if no attempt is in flight any more, and then it is the first failure.
4. `cancel` cancels every attempt, and none is sent afterwards. It waits for nothing: the round ends
   with its last attempt, and nobody writes into the buffer from then on.
5. An attempt holds its permit until it has ended. One that cannot be sent releases it at once.
6. A read that has ended refers to no buffer, and the exceptions of its attempts to no frames: an
   expected failure leaves no cycle that would keep a buffer until the garbage collector runs.
7. A failure that becomes nobody's result is logged.
8. The first `_filled` bytes of the buffer are of the version. Only the event loop changes the
   number, when the attempt that owns the buffer has ended and before another owns it. It falls, to
   0, only if the bytes have failed their check.
9. An attempt writes from its *offset* on, and gets the buffer only if `_filled` has reached that.
   So no byte is left out, and those that are written again are the same bytes of the same version.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import outcome
import trio

from s3mount import unawaited
from s3mount.errors import S3MountError
from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.attempt import Attempt, Sender
from s3mount.s3.scheduling.cancel_token import RequestCancelledError
from s3mount.s3.scheduling.executor import Executor
from s3mount.s3.scheduling.hedge_policy import HedgePolicy
from s3mount.s3.scheduling.limiter import Permit
from s3mount.s3.transport import Retryable
from s3mount.unawaited import ExpectedError

T = TypeVar("T")

_NO_BUFFER: Final = memoryview(b"")


class HedgedRequest(Generic[T]):
    """A read into *buffer*, in rounds; a subclass starts them and decides what follows each.

    *sender* sends each attempt. *on_promote* is set while the read waits for a permit.
    """

    def __init__(
        self,
        executor: Executor,
        hedge_policy: HedgePolicy,
        sender: Sender[T],
        buffer: memoryview,
        priority: Priority,
    ) -> None:
        self._executor = executor
        self._hedge_policy = hedge_policy
        self.sender = sender
        self.priority = priority
        self.on_promote: Callable[[], None] | None = None
        self._buffer = buffer
        self._buffer_lock = threading.Lock()  # its owner may write; released in the event loop
        # the bytes that are there; where the sender's begin; what was gained since `take_progress`
        self._filled = 0
        self._offset = 0
        self._gained = 0
        # the attempts in flight; the result of the round so far, and whether it may still change
        self._attempts: list[Attempt[T]] = []
        self._result: outcome.Outcome[T] | None = None
        self._is_in_round = False
        self._round_at = 0.0  # of trio's clock
        self._is_cancelled = False
        self._is_hedged = False
        hedge_policy.record_read()

    def promote(self) -> None:
        """Give the read demand priority: a reader waits for it from now on."""
        if self.priority is Priority.DEMAND:
            return
        self.priority = Priority.DEMAND
        if self.on_promote is not None:
            self.on_promote()
        if self._is_in_round:
            self._hedge_policy.watch(self, self._round_at)

    def cancel(self) -> None:
        """End the read: nobody needs the bytes."""
        self._is_cancelled = True
        for attempt in self._attempts:
            attempt.cancel()

    def take_progress(self) -> int:
        """Return how many bytes were received since the last call."""
        gained, self._gained = self._gained, 0
        return gained

    def start_round(self, permit: Permit) -> None:
        """Send the first attempt of a round; `_round_ended` is called later."""
        self._round_at = trio.current_time()
        self._is_in_round = True
        self._result = None
        if self._offset != self._filled:
            self.sender = self.sender.resume(self._filled)
            self._offset = self._filled
        self._send(Attempt(self, self.sender, permit, offset=self._offset))
        if self.priority is Priority.DEMAND:
            self._hedge_policy.watch(self, self._round_at)

    def send_hedge(self) -> None:
        """Send the second attempt, unless a response has begun or the policy forbids it."""
        if (
            self._is_hedged
            or self._is_cancelled
            or not self._is_in_round
            or any(attempt.has_response for attempt in self._attempts)
        ):
            return
        permit = self._hedge_policy.acquire_nowait()
        if permit is not None:
            self._is_hedged = True
            sender = self.sender.hedged()
            self._send(Attempt(self, sender, permit, offset=self._offset, is_hedge=True))

    def claim_buffer(self, attempt: Attempt[T]) -> memoryview:
        """The buffer for *attempt*, in its thread or in the event loop."""
        attempt.first_byte_at = time.monotonic()
        if not self._buffer_lock.acquire(blocking=False):
            raise RequestCancelledError
        if attempt.offset > self._filled:  # what came before its bytes has failed its check
            self._buffer_lock.release()
            raise RequestCancelledError
        attempt.owns_buffer = True
        return self._buffer

    def attempt_ended(self, attempt: Attempt[T], result: outcome.Outcome[T]) -> None:
        """Account for the end of *attempt*. If that fails, the attempt has failed."""
        self._attempts.remove(attempt)
        attempt.pending = None  # which refers to the attempt
        try:
            self._record(attempt, result)
        except Exception as exc:  # noqa: BLE001 - the reader is told
            result = outcome.Error(exc)
        if isinstance(result, outcome.Error):
            self._on_failure(attempt, result.error)
        else:
            self._on_success(result)
        if self._is_in_round and not self._attempts:
            self._end_round()

    def _round_ended(self, result: outcome.Outcome[T]) -> None:
        """Decide what follows a round that ended with *result*. Raises nothing."""
        raise NotImplementedError

    def _drop_buffer(self) -> None:
        """Refer to the buffer no longer: the read has ended."""
        self._buffer = _NO_BUFFER

    def _send(self, attempt: Attempt[T]) -> None:
        self._attempts.append(attempt)
        try:
            self._executor.start(attempt)
        except BaseException:  # raised again: it was not sent, and nothing will be told
            self._attempts.remove(attempt)
            self._is_in_round = bool(self._attempts)
            attempt.pending = None
            attempt.permit.release()
            raise

    def _record(self, attempt: Attempt[T], result: outcome.Outcome[T]) -> None:
        attempt.permit.end(result)
        if attempt.first_byte_at is not None:
            self._hedge_policy.latency.add(attempt.first_byte_at - attempt.sent_at)
        if attempt.is_hedge and isinstance(result, outcome.Value):
            self._hedge_policy.won += 1

    def _on_success(self, result: outcome.Outcome[T]) -> None:
        former, self._result = self._result, result
        if isinstance(former, outcome.Error):
            unawaited.report("one of two attempts at a read", former.error)
        for other in self._attempts:
            other.first_byte_at = time.monotonic()  # it takes at least so long, which is a sample
            other.has_lost = True
            other.cancel()
        self._end_round()

    def _on_failure(self, attempt: Attempt[T], error: BaseException) -> None:
        if attempt.owns_buffer:
            self._record_filled(error)
            self._buffer_lock.release()
        if isinstance(error, S3MountError | ExpectedError):
            unawaited.drop_frames(error)
        if isinstance(error, RequestCancelledError):
            return
        if self._is_in_round and self._result is None and not self._is_cancelled:
            self._result = outcome.Error(error)
        else:
            unawaited.report("an attempt at a read", error)

    def _record_filled(self, error: BaseException) -> None:
        """Account for what the owner of the buffer wrote before it failed with *error*."""
        if not isinstance(error, Retryable):
            return
        former = self._filled
        self._filled = 0 if error.is_corrupt else max(former, error.filled)
        self._gained += max(0, self._filled - former)

    def _end_round(self) -> None:
        self._is_in_round = False
        self._hedge_policy.unwatch(self)
        result, self._result = self._result, None
        if result is None:
            result = outcome.Error(RequestCancelledError())
        self._round_ended(result)
