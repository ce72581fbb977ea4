"""One read, asked of the store once, or twice where the answer is late: the answer that begins first fills the buffer.

What always holds, in whichever order attempts are answered or fail, and whenever the read is cancelled:

1. One buffer, one writer. An attempt gets the buffer when the head of its answer is here and is right, unless another has it. So two
   attempts race for it, and the one that loses has written nothing.
2. There are two attempts at most. The second is sent where the first is late, somebody waits for the answer, and `hedging` lets it.
3. The first good answer is the answer, and the other attempt is cut. A failure is one only when no attempt is under way any more,
   and then it is the first.
4. `cancel` cuts every attempt, and none is sent afterwards. It waits for nothing: the read is settled when the last attempt has
   ended, and nobody writes into the buffer from then on. Who awaits `run` and is cancelled waits until then.
5. An attempt has its place in the gate until it has ended, in its thread or in the run; one that cannot be sent gives it back at once.
6. A settled read refers to no buffer, and what its attempts raised to no frames: an expected failure leaves no cycle that would keep a
   buffer until the collector runs.
7. A failure that becomes nobody's answer is logged.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, TypeVar

import outcome
import trio

from s3mount import unawaited
from s3mount.errors import S3MountError
from s3mount.s3.object_store import Demand, Priority
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.scheduling.executor import Ask, Executor
from s3mount.s3.scheduling.hedge_policy import Hedge
from s3mount.s3.scheduling.limiter import Permit
from s3mount.s3.transport import PendingResponse, Retryable

T = TypeVar("T")

_NO_BUFFER: Final = memoryview(b"")


class _Attempt:
    """*answered_at* is when its answer was seen, or could not be any more; in `time.monotonic()` seconds.

    A thread sees the head; where no thread waits, an answer is seen when all of it is here.
    """

    __slots__ = ("answered_at", "begun_at", "cord", "has_turn", "is_hedge", "sent", "ticket")

    def __init__(self, ticket: Permit, *, is_hedge: bool) -> None:
        self.ticket = ticket
        self.is_hedge = is_hedge
        self.cord = CancelToken()
        self.has_turn = False
        self.begun_at = time.monotonic()
        self.answered_at: float | None = None
        self.sent: PendingResponse[object] | None = None  # where no thread makes it

    @property
    def has_begun(self) -> bool:
        """Whether some of its answer is here."""
        return self.answered_at is not None or (self.sent is not None and self.sent.has_begun)


class HedgedRequest(Generic[T]):
    """One read into *buffer*. *ask* makes each attempt, *ended* is told how it went.

    Either one awaits `run`, or one calls `begin`, and sees to it oneself that a late answer is asked for again.
    """

    def __init__(
        self,
        dispatch: Executor,
        ask: Ask[T],
        ended: Callable[[Permit, outcome.Outcome[T]], None],
        buffer: memoryview,
        hedge: Hedge,
    ) -> None:
        self._dispatch = dispatch
        self._ask = ask
        self._ended = ended
        self._buffer = buffer
        self._hedge = hedge
        self._turn = threading.Lock()  # whose it is may write into the buffer; given up in the run
        # the attempts that have not ended, the answer so far, who is told, once, that it stays that, and whether anybody wants it
        self._under_way: list[_Attempt] = []
        self._answer: outcome.Outcome[T] | None = None
        self._settled: Callable[[], None] | None = None
        self._is_cancelled = False
        self._begun_at = 0.0

    @property
    def is_won(self) -> bool:
        """Whether the buffer holds what was asked for."""
        return isinstance(self._answer, outcome.Value)

    @property
    def answer(self) -> outcome.Outcome[T]:
        """What it came to, once it is settled; RequestCancelledError if it was cancelled and came to nothing else."""
        return outcome.Error(RequestCancelledError()) if self._answer is None else self._answer

    def begin(self, ticket: Permit, settled: Callable[[], None]) -> None:
        """Send the first attempt; *settled* is called, later, when there is an answer. *ticket* has entered."""
        self._settled = settled
        self._begun_at = trio.current_time()
        self._send(_Attempt(ticket, is_hedge=False))

    async def run(self, ticket: Permit, demand: Demand) -> T:
        """The answer. *ticket* has entered. A checkpoint."""
        is_settled, is_noticed = (
            trio.Event(),
            trio.Event(),
        )  # noticed: somebody waits, or nobody needs to any more

        def settle() -> None:
            is_settled.set()
            is_noticed.set()

        self.begin(ticket, settle)
        try:
            if demand.urgency is Priority.AHEAD:
                demand.on_rise = is_noticed.set
                await is_noticed.wait()
            await self.see_through(is_settled)
        except (
            BaseException
        ):  # cancelled, or a bug: either way the buffer is handed back with this call
            self.cancel()
            with trio.CancelScope(shield=True):  # attempts keep to the deadline by themselves
                await is_settled.wait()
            raise
        finally:
            demand.on_rise = None
        return self._hand_over().unwrap()

    def _hand_over(self) -> outcome.Outcome[T]:
        """The answer, which is kept here no longer: it will refer to the frame that raises it."""
        answer, self._answer = self.answer, None
        return answer

    def cancel(self) -> None:
        """End it: nobody needs the bytes. It is settled as soon as no attempt is under way."""
        self._is_cancelled = True
        for attempt in self._under_way:
            attempt.cord.pull()

    async def see_through(self, is_settled: trio.Event) -> None:
        """Wait for *is_settled*, and meanwhile ask again where the answer is late."""
        with trio.move_on_at(self._begun_at + self._hedge.late_after):
            await is_settled.wait()
        if not is_settled.is_set():
            self._ask_again()
            await is_settled.wait()

    def _ask_again(self) -> None:
        """Send the second attempt, unless the answer has begun, or is there, or must not be asked for twice."""
        if (
            self._settled is None
            or self._is_cancelled
            or any(attempt.has_begun for attempt in self._under_way)
        ):
            return
        if (ticket := self._hedge.enter_nowait()) is not None:
            self._send(_Attempt(ticket, is_hedge=True))

    def _settle(self) -> None:
        if self._settled is not None:
            settled, self._settled = self._settled, None
            self._buffer = _NO_BUFFER
            unawaited.call("the callback of a read", settled)

    def _send(self, attempt: _Attempt) -> None:
        self._under_way.append(attempt)
        into, ended = partial(self._take_turn, attempt), partial(self._land, attempt)
        try:
            attempt.sent = self._dispatch.send(self._ask, into, attempt.cord, ended)
        except BaseException:  # raised again: it was not sent, and nothing will be told
            self._under_way.remove(attempt)
            attempt.ticket.leave()
            raise

    def _take_turn(self, attempt: _Attempt) -> memoryview:
        """The buffer, for *attempt*, in its thread or in the run."""
        attempt.answered_at = time.monotonic()
        if not self._turn.acquire(blocking=False):
            raise RequestCancelledError
        attempt.has_turn = True
        return self._buffer

    def _land(self, attempt: _Attempt, result: outcome.Outcome[T]) -> None:
        """*attempt* has ended. What fails in the accounting for it is its outcome."""
        self._under_way.remove(attempt)
        attempt.sent = None  # which refers to the attempt
        try:
            self._account(attempt, result)
        except Exception as exc:  # noqa: BLE001 - who waits for the read is told
            result = outcome.Error(exc)
        match result:
            case outcome.Value():
                self._win(result)
            case outcome.Error(error=error):
                self._fail(attempt, error)
        if not self._under_way:
            self._settle()

    def _account(self, attempt: _Attempt, result: outcome.Outcome[T]) -> None:
        self._ended(attempt.ticket, result)
        if attempt.answered_at is not None:
            self._hedge.answered(attempt.answered_at - attempt.begun_at)
        if attempt.is_hedge and isinstance(result, outcome.Value):
            self._hedge.won()

    def _win(self, result: outcome.Outcome[T]) -> None:
        former, self._answer = self._answer, result
        if isinstance(former, outcome.Error):
            unawaited.report("one of two attempts at a read", former.error)
        for other in self._under_way:
            other.answered_at = time.monotonic()  # that it takes at least so long is worth knowing
            other.cord.pull()
        self._settle()

    def _fail(self, attempt: _Attempt, error: BaseException) -> None:
        if attempt.has_turn:
            self._turn.release()
        if isinstance(error, S3MountError | Retryable | RequestCancelledError):
            unawaited.drop_frames(error)
        if isinstance(error, RequestCancelledError):
            return
        if self._answer is None and not self._is_cancelled:
            self._answer = outcome.Error(error)
        else:
            unawaited.report("an attempt at a read", error)
