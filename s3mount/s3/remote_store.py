"""The store as the rest of the house asks it: a Transport's single attempts made into answers within a deadline.

Each question: wait at the gate, have one attempt made, by a worker thread or for a small read in the run (`dispatch`), and judge its
outcome. What always holds:

1. A question ends within *timeout* seconds of its call, by the answer, or by an S3MountError: the last attempt's failure where
   attempts or time were used up between two of them, DeadlineExceeded where time ran out in one, or at the gate. A read may take as
   much longer as its thread takes to notice; one that nobody waits for is told at the gate only when its turn comes.
2. Only a Retryable is tried again, after a pause, `backoff.ATTEMPTS` times at most. Credentials that were refused as expired are
   renewed and tried again at once, once.
3. Whoever is cancelled is let go at once, and its thread ends by itself; but for `get_range`, which cuts its attempts and waits
   until no thread writes into the caller's buffer. A thread keeps its place in the gate until it ends.
4. Reading a version that was replaced goes on by its version id where that is known; else it is StaleVersion.
5. An attempt at a read whose answer is late may have a second one beside it (`race`, `hedging`).
6. `begin_range` makes the first attempt of a `get_range` and nobody waits for it; what it came to is judged by `finish`, or by nobody
   where it was cancelled.
7. An attempt for which this host has no thread is tried again like any other, unless nobody waits for its read: that one fails.
8. What is told in the run's callbacks raises nothing there: it would end the mount.
"""

import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

import outcome
import trio

from s3mount.errors import AccessDenied, DeadlineExceeded, NotFound, S3MountError, StaleVersion
from s3mount.s3.model import (
    ByteRange,
    ListPage,
    ListQuery,
    Modified,
    ObjectStat,
    ObjectVersion,
    Revalidation,
)
from s3mount.s3.object_store import Demand, OnToken, Priority, StartedRead
from s3mount.s3.scheduling import backoff, unawaited
from s3mount.s3.scheduling.cancel_token import CancelToken
from s3mount.s3.scheduling.executor import Executor
from s3mount.s3.scheduling.hedge_policy import Hedge, HedgePolicy
from s3mount.s3.scheduling.hedged_request import HedgedRequest
from s3mount.s3.scheduling.limiter import Limiter, Permit
from s3mount.s3.scheduling.thread_pool import ThreadPool
from s3mount.s3.transport import PendingResponse, Retryable, Transport
from s3mount.s3.version_id_cache import VersionIdCache

log = logging.getLogger(__name__)

_PREPARED = 8  # connections; see docs/decisions/connection-setup.md

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What was asked of the store so far. *requests* by kind, each attempt counted; *bytes_read* of bodies only.

    *hedges* are reads that were asked a second time because the answer was late, *hedges_won* those of them where the second answer
    came first. *allowed*: how many requests at once the store stands, as far as is known now.
    """

    requests: Mapping[str, int]
    retries: int
    throttles: int
    errors: int
    bytes_read: int
    hedges: int
    hedges_won: int
    allowed: int


class _Question(NamedTuple):
    """One call."""

    kind: str
    key: str
    demand: Demand


class _Read(NamedTuple):
    """One `get_range`; *deadline* is in seconds of trio's clock."""

    version: ObjectVersion
    span: ByteRange
    into: memoryview
    demand: Demand
    hedge: Hedge
    deadline: float


class _RangeAttempt(NamedTuple):
    """`dispatch.Ask`; *until* is in `time.monotonic()` seconds."""

    transport: Transport
    version: ObjectVersion
    span: ByteRange
    version_id: str | None
    until: float

    def begin(
        self, into: Callable[[], memoryview], *, cord: CancelToken
    ) -> PendingResponse[str | None] | None:
        return self.transport.begin_range(
            self.version,
            self.span,
            into,
            version_id=self.version_id,
            deadline=self.until,
            cord=cord,
        )

    def __call__(self, into: Callable[[], memoryview], *, cord: CancelToken) -> str | None:
        return self.transport.get_range(
            self.version,
            self.span,
            into,
            version_id=self.version_id,
            deadline=self.until,
            cord=cord,
        )


class _Send(Protocol[T_co]):
    """One attempt, whose *ticket* has entered the gate. TooSlowError past *deadline*, or what the attempt's thread makes of it."""

    def __call__(self, ticket: Permit, deadline: float) -> Awaitable[T_co]: ...


class _BegunRange:
    """`StartedRead`; *bring* goes on from its answer."""

    __slots__ = ("_bring", "race")

    def __init__(
        self,
        race: HedgedRequest[str | None],
        bring: Callable[[outcome.Outcome[str | None]], Awaitable[None]],
    ) -> None:
        self.race = race
        self._bring = bring

    @property
    def is_done(self) -> bool:
        return self.race.is_won

    async def see_through(self, has_ended: trio.Event) -> None:
        await self.race.see_through(has_ended)

    def cancel(self) -> None:
        self.race.cancel()

    async def finish(self) -> None:
        await self._bring(self.race.answer)


def _pauses() -> Iterator[float]:
    return backoff.pauses(random.random)


class RemoteStore:
    """`ObjectStore` over *transport*. Belongs to one trio run; *timeout* is in seconds, *bucket* is told where time runs out."""

    def __init__(
        self,
        transport: Transport,
        *,
        max_connections: int,
        timeout: float,
        bucket: str | None = None,
        pauses: Callable[[], Iterator[float]] = _pauses,
    ) -> None:
        self._transport = transport
        self._timeout = timeout
        self._bucket = bucket
        self._pauses = pauses
        self._gate = Limiter(max_connections)
        self._hedging = HedgePolicy(self._gate)
        self._workers = ThreadPool()
        self._dispatch = Executor(self._workers)
        self._pins = VersionIdCache()
        # what statistics() tells: requests by kind, and the rest
        self._requests: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    async def head(self, key: str) -> ObjectStat:
        stat = await self._answer(
            _Question("HEAD", key, Demand()),
            self._sender(lambda until: self._transport.head(key, deadline=until)),
            self._deadline(),
        )
        self._pins.remember(stat.version, stat.version_id)
        return stat

    async def list_page(
        self, query: ListQuery, demand: Demand | None = None, on_token: OnToken | None = None
    ) -> ListPage:
        hint = (
            None
            if on_token is None
            else partial(_call_in_run, trio.lowlevel.current_trio_token(), on_token)
        )
        return await self._answer(
            _Question("LIST", query.prefix, demand or Demand()),
            self._sender(
                lambda until: self._transport.list_page(query, deadline=until, on_token=hint)
            ),
            self._deadline(),
        )

    async def get_range(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: memoryview,
        demand: Demand | None = None,
    ) -> None:
        await self._bring(self._read(version, span, into, demand or Demand()))

    def has_place(self) -> bool:
        return self._gate.is_open_to(Priority.AHEAD)

    def begin_range(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: memoryview,
        demand: Demand,
        ended: Callable[[], None],
    ) -> StartedRead | None:
        pin = self._pins.get(version)
        ticket = Permit(self._gate, demand.urgency)
        if (pin is not None and pin.is_superseded) or not ticket.enter_nowait():
            return None
        read = self._read(version, span, into, demand)
        self._requests["GET"] += 1
        race = self._race(read, None, read.deadline)

        def settled() -> None:
            if race.is_won:
                log.debug("GET %r: done", version.key)
                unawaited.call(
                    "keeping count of a read", lambda: self._came(read, race.answer.unwrap())
                )
            ended()

        race.begin(ticket, settled)
        return _BegunRange(race, partial(self._bring, read))

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        answer = await self._answer(
            _Question("GET", version.key, Demand()),
            self._sender(
                lambda until: self._transport.revalidate(version, head_size, deadline=until)
            ),
            self._deadline(),
        )
        if isinstance(answer, Modified):
            self._counts["bytes_read"] += len(answer.head)
            self._pins.remember(answer.stat.version, answer.stat.version_id)
        return answer

    def prepare(self) -> None:
        """Open connections now, so that the first questions need not wait for that: a lookup asks two at once, small files more."""
        until = _monotonic(self._deadline())
        for _ in range(min(_PREPARED, self._gate.allowance.allowed)):
            self._workers.submit(partial(self._transport.prepare, deadline=until), _report_failure)

    def statistics(self) -> Statistics:
        return Statistics(
            requests=dict(self._requests + Counter(GET=self._hedging.sent)),
            retries=self._counts["retries"],
            throttles=self._counts["throttles"],
            errors=self._counts["errors"],
            bytes_read=self._counts["bytes_read"],
            hedges=self._hedging.sent,
            hedges_won=self._hedging.won,
            allowed=self._gate.allowance.allowed,
        )

    def close(self) -> None:
        """End the connections. Threads that are still under way fail, and end."""
        self._workers.close()
        self._transport.close()

    def _deadline(self) -> float:
        return trio.current_time() + self._timeout

    def _read(
        self, version: ObjectVersion, span: ByteRange, into: memoryview, demand: Demand
    ) -> _Read:
        return _Read(version, span, into, demand, self._hedging.begin(), self._deadline())

    async def _bring(self, read: _Read, made: outcome.Outcome[str | None] | None = None) -> None:
        """`get_range`, whose first attempt may have been *made*."""
        version, pin = read.version, self._pins.get(read.version)
        if pin is None or not pin.is_superseded:
            try:
                return await self._fetch(read, None, made)
            except StaleVersion as exc:
                unawaited.drop_frames(exc)  # which refer to the caller's buffer
                pin = self._pins.supersede(version)
                if pin is None:
                    raise
        try:
            await self._fetch(read, pin.version_id)
        except (NotFound, AccessDenied) as exc:
            raise StaleVersion(
                "the version being read was deleted", bucket=version.bucket, key=version.key
            ) from exc

    async def _fetch(
        self, read: _Read, version_id: str | None, made: outcome.Outcome[str | None] | None = None
    ) -> None:
        question = _Question("GET", read.version.key, read.demand)

        def send(ticket: Permit, deadline: float) -> Awaitable[str | None]:
            return self._race(read, version_id, deadline).run(ticket, read.demand)

        self._came(read, await self._answer(question, send, read.deadline, made))

    def _race(
        self, read: _Read, version_id: str | None, deadline: float
    ) -> HedgedRequest[str | None]:
        """One attempt at *read*. It keeps to the deadline by itself: nobody may go before it has ended."""
        ask = _RangeAttempt(
            self._transport, read.version, read.span, version_id, _monotonic(deadline)
        )
        return HedgedRequest(self._dispatch, ask, self._ended, read.into, read.hedge)

    def _came(self, read: _Read, version_id: str | None) -> None:
        """The bytes of *read* are here, and so is its version's id, if the store has told one."""
        self._counts["bytes_read"] += len(read.span)
        self._pins.remember(read.version, version_id)

    def _sender(self, ask: Callable[[float], T]) -> _Send[T]:
        """What has *ask* called in a thread, which may be left behind: it writes to nothing of the caller's."""

        async def send(ticket: Permit, deadline: float) -> T:
            with trio.fail_at(deadline):
                return await self._workers.run(
                    partial(ask, _monotonic(deadline)), partial(self._ended, ticket)
                )

        return send

    def _ended(self, ticket: Permit, result: outcome.Outcome[object]) -> None:
        """The thread of one attempt has ended, whether anybody waits for its *result* still or not."""
        ticket.leave()
        match result:
            case outcome.Error(error=Retryable(is_throttle=True)):
                self._counts["throttles"] += 1
                ticket.throttled()
            case (
                outcome.Value() | outcome.Error(error=S3MountError())
            ):  # a refusal is an answer too
                ticket.succeeded()

    async def _answer(
        self,
        question: _Question,
        send: _Send[T],
        deadline: float,
        made: outcome.Outcome[T] | None = None,
    ) -> T:
        """The answer to *question*, or why there is none by *deadline* (of trio's clock). Its first attempt may have been *made*."""
        try:
            answer = await self._persist(question, send, deadline, made)
        except S3MountError as exc:
            exc.bucket, exc.key = (
                exc.bucket or self._bucket,
                exc.key or question.key,
            )  # credentials know of neither
            self._counts["errors"] += not isinstance(exc, NotFound | StaleVersion)
            log.debug("%s %r: %s", question.kind, question.key, exc)
            raise
        log.debug("%s %r: done", question.kind, question.key)
        return answer

    async def _persist(
        self, question: _Question, send: _Send[T], deadline: float, made: outcome.Outcome[T] | None
    ) -> T:
        waits = self._pauses()
        is_renewed = False
        while True:
            try:
                return await self._attempt(question, send, deadline, made)
            except Retryable as fault:
                made = None
                unawaited.drop_frames(fault)  # which refer to the caller's buffer
                if fault.is_stale_credentials:
                    if is_renewed:
                        raise fault.failure.detached() from fault
                    await self._renew(question, deadline)
                    is_renewed = True
                    continue
                pause = next(waits, None)
                is_hopeless = fault.is_unsent and question.demand.urgency is Priority.AHEAD
                if pause is None or is_hopeless or trio.current_time() + pause >= deadline:
                    raise fault.failure.detached() from fault
                log.debug("%s %r again in %.2f s: %s", question.kind, question.key, pause, fault)
            self._counts["retries"] += 1
            await trio.sleep(pause)

    async def _renew(self, question: _Question, deadline: float) -> None:
        """Have the credentials renewed, in a thread that may be left behind."""
        try:
            with trio.fail_at(deadline):
                await self._workers.run(self._transport.renew_credentials, lambda _: None)
        except Retryable as fault:  # no thread can be started
            raise fault.failure.detached() from fault
        except trio.TooSlowError as exc:
            message = "the credentials have expired, and were not renewed in time"
            raise DeadlineExceeded(message, bucket=self._bucket, key=question.key) from exc

    async def _attempt(
        self, question: _Question, send: _Send[T], deadline: float, made: outcome.Outcome[T] | None
    ) -> T:
        """One attempt, or the one that was *made*. DeadlineExceeded where time runs out in it, or before it."""
        ticket = Permit(self._gate, question.demand.urgency)
        question.demand.on_rise = ticket.promote
        try:
            if made is not None:
                return made.unwrap()
            await ticket.enter(deadline)
            self._requests[question.kind] += 1
            return await send(ticket, deadline)
        except Retryable as fault:
            if trio.current_time() < deadline:
                raise
            raise self._too_late(question) from fault
        except trio.TooSlowError as exc:
            raise self._too_late(question) from exc

    def _too_late(self, question: _Question) -> DeadlineExceeded:
        message = f"{question.kind} not answered within {self._timeout:g} s"
        return DeadlineExceeded(message, bucket=self._bucket, key=question.key)


def _monotonic(deadline: float) -> float:
    """*deadline*, of trio's clock, as threads have it: in `time.monotonic()` seconds."""
    return time.monotonic() + deadline - trio.current_time()


def _report_failure(result: outcome.Outcome[None]) -> None:
    if isinstance(result, outcome.Error):
        unawaited.report("opening a connection early", result.error)


def _call_in_run(run: trio.lowlevel.TrioToken, on_token: OnToken, token: str | None) -> None:
    """Pass on what a thread was told, without waiting for it."""
    with contextlib.suppress(trio.RunFinishedError):
        run.run_sync_soon(unawaited.call, "what is told of a page to come", on_token, token)
