"""Reads over retries, permits and hedges: each ends once, in every order of events.

No thread and no socket: a fake executor keeps the attempts, which end as chance has it.
"""

import random
from collections.abc import Callable
from functools import partial

import outcome
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from s3mount.errors import AccessDenied, CredentialsRefused, NotFound, StaleVersion, StoreError
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.attempt import Attempt
from s3mount.s3.scheduling.cancel_token import RequestCancelledError
from s3mount.s3.scheduling.limiter import Limiter, Permit
from s3mount.s3.scheduling.pauses import pauses
from s3mount.s3.scheduling.range_read import RangeRead, ReadScheduler
from s3mount.s3.scheduling.retry import Retrier
from s3mount.s3.scheduling.store_scheduling import StoreScheduling
from s3mount.s3.transport import Retryable
from s3mount.unawaited import ExpectedError

TIMEOUT = 10.0
LENGTH = 4
VERSION = ObjectVersion("b", "key", "etag", 4)
FAILURES = (
    lambda: Retryable(StoreError("cut"), filled=2),
    lambda: Retryable(StoreError("cut later"), filled=3),
    lambda: Retryable(StoreError("other bytes"), is_corrupt=True),
    lambda: Retryable(StoreError("another form"), is_adapted=True),
    lambda: Retryable(StoreError("ill luck")),
    lambda: Retryable(StoreError("slow down"), is_throttle=True),
    lambda: Retryable(StoreError("no thread"), is_unsent=True),
    lambda: Retryable(AccessDenied("expired"), is_stale_credentials=True),
    lambda: CredentialsRefused("denied"),
    lambda: StaleVersion("replaced"),
    lambda: NotFound("deleted"),
    lambda: AccessDenied("refused"),
)


class Sender:
    """`Sender` of what is missing after the first *filled* bytes; the fake executor sends it."""

    def __init__(self, filled: int = 0) -> None:
        self.filled = filled

    def resume(self, filled: int) -> "Sender":
        return Sender(filled)

    def hedged(self) -> "Sender":
        return self


class Play:
    """A scheduler, its reads, and how each has ended. Stands in for executor and thread pool."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.limiter = Limiter(chance.randint(1, 4))
        self.in_flight: list[Attempt[str | None]] = []
        self.permits: list[Permit] = []  # of other requests
        self.reads: list[RangeRead] = []
        self.ends: list[list[BaseException | None]] = []
        retrier = Retrier(
            self.limiter,
            self,  # type: ignore[arg-type]
            renew_credentials=lambda *_, **__: chance.random() < 0.8,
            pauses=partial(pauses, chance.random),
            bucket="b",
            timeout=TIMEOUT,
        )
        self.scheduler = ReadScheduler(
            retrier,
            StoreScheduling(
                self.limiter,
                self,  # type: ignore[arg-type]
                self,  # type: ignore[arg-type]
            ),
            lambda *_, **__: Sender(),  # type: ignore[arg-type]
            TIMEOUT,
        )
        self.scheduler.hedge_policy.latency.late_after = 0.3

    def start(self, attempt: Attempt[str | None]) -> None:
        """`Executor.start`."""
        assert isinstance(attempt.sender, Sender)
        assert attempt.sender.filled == attempt.offset
        self.in_flight.append(attempt)

    async def run(self, *_: object) -> None:
        """`ThreadPool.run` of a renewal of credentials."""
        await trio.sleep(self.chance.choice((0.0, 2 * TIMEOUT)))
        if self.chance.random() < 0.3:
            raise Retryable(StoreError("no thread"), is_unsent=True)

    def start_read(self) -> None:
        version = VERSION
        if self.chance.random() < 0.5:
            version = VERSION.with_version_id("v1", is_replaced=self.chance.random() < 0.3)
        ends: list[BaseException | None] = []
        priority = self.chance.choice(list(Priority))
        into = memoryview(bytearray(4))

        def on_end(_: ObjectVersion, error: BaseException | None) -> None:
            assert read in self.reads, "told from within start_read"
            assert not any(each.owns_buffer for each in self.in_flight if each.owner is read)
            ends.append(error)

        read = self.scheduler.start_read(version, ByteRange(0, 4), into, on_end, priority)
        self.reads.append(read)
        self.ends.append(ends)

    def claim(self) -> None:
        """The response of an attempt begins."""
        attempt = self.chance.choice(self.in_flight)
        if not attempt.owns_buffer:
            try:
                assert len(attempt.claim_buffer()) == LENGTH
                assert isinstance(attempt.owner, RangeRead)
                assert attempt.offset <= attempt.owner._filled, "bytes are left out"
            except RequestCancelledError as exc:
                self._end(attempt, outcome.Error(exc))

    def end_attempt(self) -> None:
        attempt = self.chance.choice(self.in_flight)
        if attempt.is_cancelled and self.chance.random() < 0.8:
            self._end(attempt, outcome.Error(RequestCancelledError()))
        elif self.chance.random() < 0.7:
            self._end(attempt, outcome.Error(self.chance.choice(FAILURES)()))
        else:
            try:
                attempt.owns_buffer or attempt.claim_buffer()
            except RequestCancelledError as exc:
                self._end(attempt, outcome.Error(exc))
            else:
                self._end(attempt, outcome.Value(self.chance.choice((None, "v1"))))

    def acquire(self) -> None:
        permit = self.limiter.acquire_nowait(self.chance.choice(list(Priority)))
        if permit is not None:
            self.permits.append(permit)

    def cancel(self) -> None:
        number = self.chance.randrange(len(self.reads))
        before = list(self.ends[number])
        self.reads[number].cancel()
        assert self.ends[number] == before, "told from within cancel"

    def promote(self) -> None:
        self.chance.choice(self.reads).promote()

    def release(self) -> None:
        self.permits.pop().release()

    def step(self, clock: MockClock) -> None:
        steps: list[Callable[[], None]] = [self.start_read, self.acquire]
        steps += [partial(clock.jump, 0.5), partial(clock.jump, 5.0)]
        if self.permits:
            steps.append(self.release)
        if self.in_flight:
            steps += [self.claim, self.end_attempt, self.end_attempt]
        if self.reads:
            steps += [self.cancel, self.promote]
        self.chance.choice(steps)()

    def _end(self, attempt: Attempt[str | None], result: outcome.Outcome[str | None]) -> None:
        self.in_flight.remove(attempt)
        attempt.end(result)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(5, 60))
def test_a_read_ends_once_and_leaves_nothing_in_any_order_of_events(seed: int, steps: int) -> None:
    clock = MockClock()
    trio.run(_perform, random.Random(seed), steps, clock, clock=clock)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(5, 60))
def test_the_event_loop_ends_whatever_reads_are_in_flight(seed: int, steps: int) -> None:
    clock = MockClock()
    trio.run(_begin, Play(random.Random(seed)), steps, clock, clock=clock)


async def _begin(play: Play, steps: int, clock: MockClock) -> None:
    for _ in range(steps):
        play.step(clock)
        if play.chance.random() < 0.6:
            await wait_all_tasks_blocked()


async def _perform(chance: random.Random, steps: int, clock: MockClock) -> None:
    play = Play(chance)
    await _begin(play, steps, clock)
    while play.permits:
        play.release()
    for _ in range(100):  # more than the pauses of a read take
        await wait_all_tasks_blocked()
        while play.in_flight:
            play.end_attempt()
        clock.jump(1.0)

    assert [1] * len(play.reads) == [len(ends) for ends in play.ends]
    for read, [error] in zip(play.reads, play.ends, strict=True):
        assert read._is_cancelled or not isinstance(error, ExpectedError)
        assert not read._buffer
    assert play.limiter.held == 0
    assert not any(play.limiter._waiting.values())
    assert not play.scheduler.hedge_policy._late._times
