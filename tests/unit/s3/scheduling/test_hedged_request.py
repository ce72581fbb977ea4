"""Two attempts at one read, in every order that a store and a reader can bring about.

No thread: a test says what each attempt does when.
"""

import gc
import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import outcome
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from s3mount.errors import StoreError
from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.attempt import Attempt
from s3mount.s3.scheduling.cancel_token import RequestCancelledError
from s3mount.s3.scheduling.hedge_policy import HedgePolicy
from s3mount.s3.scheduling.hedged_request import HedgedRequest
from s3mount.s3.scheduling.limiter import Limiter
from s3mount.s3.transport import Retryable

CONTENT = b"content"
LATE = 0.1  # seconds
CANCELLED = RequestCancelledError


@dataclass(eq=False)
class Actor:
    """What an attempt does, in a thread or without one: get the buffer, write, end.

    *has_begun*: bytes of the response are here, but not all.
    """

    attempt: Attempt[Any]
    buffer: memoryview | None = None
    has_begun: bool = False
    has_ended: bool = False

    def answer(self) -> None:
        """The head of its response comes."""
        try:
            self.buffer = self.attempt.claim_buffer()
        except RequestCancelledError as exc:
            self.end(outcome.Error(exc))
        else:
            self.scribble()

    def scribble(self) -> None:
        if self.buffer is not None and not self.has_ended:
            self.buffer[:] = b"\xee" * len(CONTENT)

    def finish(self) -> None:
        if self.buffer is None:
            self.answer()
        if self.buffer is not None:
            self.buffer[:] = CONTENT
            self.end(outcome.Value("told"))

    def fail(self, error: Exception | None = None) -> None:
        self.scribble()
        self.end(outcome.Error(error or StoreError("ill luck")))

    def end(self, result: outcome.Outcome[Any]) -> None:
        self.has_ended = True
        self.attempt.end(result)


class Read(HedgedRequest[Any]):
    """A read whose rounds are noted."""

    result: outcome.Outcome[str] | None = None

    def _round_ended(self, result: outcome.Outcome[str]) -> None:
        assert self.result is None
        self.result = result


class UnusedSender:
    """The sender of a read whose executor sends nothing."""

    def hedged(self) -> "UnusedSender":
        return self


class Play:
    """A read, the attempts it made, and what came of it. Stands in for the executor, too."""

    def __init__(self, priority: Priority = Priority.DEMAND, *, late_after: float = LATE) -> None:
        self.limiter = Limiter(4)
        self.policy = HedgePolicy(self.limiter)
        self.policy.latency.late_after = late_after
        self.buffer = bytearray(len(CONTENT))
        self.actors: list[Actor] = []
        self.read = Read(
            self,  # type: ignore[arg-type]
            self.policy,
            UnusedSender(),  # type: ignore[arg-type]
            memoryview(self.buffer),
            priority,
        )

    @property
    def result(self) -> outcome.Outcome[str] | None:
        return self.read.result

    @property
    def in_flight(self) -> list[Actor]:
        return [actor for actor in self.actors if not actor.has_ended]

    def start(self, attempt: Attempt[Any]) -> None:
        """`Executor.start`."""
        self.actors.append(Actor(attempt))
        attempt.pending = self.actors[-1]  # type: ignore[assignment]

    def start_round(self) -> None:
        self.read.result = None
        permit = self.limiter.acquire_nowait(self.read.priority)
        assert permit is not None
        self.read.start_round(permit)

    async def become_late(self, clock: MockClock) -> None:
        await wait_all_tasks_blocked()
        clock.jump(LATE)
        await wait_all_tasks_blocked()


async def started(clock: MockClock, *, is_late: bool = True, **kind: Priority) -> Play:
    """A read in flight."""
    play = Play(**kind)
    play.start_round()
    if is_late:
        await play.become_late(clock)
    return play


async def test_a_read_whose_response_comes_in_time_is_sent_once(mock_clock: MockClock) -> None:
    play = await started(mock_clock, is_late=False)

    play.actors[0].finish()
    await play.become_late(mock_clock)

    assert play.result == outcome.Value("told")
    assert len(play.actors) == 1


async def test_a_response_that_has_begun_is_not_late(mock_clock: MockClock) -> None:
    play = await started(mock_clock, is_late=False)

    play.actors[0].answer()
    await play.become_late(mock_clock)
    play.actors[0].finish()

    assert len(play.actors) == 1


async def test_a_response_that_comes_without_a_thread_is_not_late(mock_clock: MockClock) -> None:
    play = await started(mock_clock, is_late=False)

    play.actors[0].has_begun = True
    await play.become_late(mock_clock)
    play.actors[0].finish()

    assert len(play.actors) == 1


async def test_the_second_response_counts_if_it_begins_first_and_the_first_attempt_is_cancelled(
    mock_clock: MockClock,
) -> None:
    play = await started(mock_clock)
    first, second = play.actors
    cuts = []
    first.attempt.attach(lambda: cuts.append("first"))

    second.answer()
    second.finish()
    held = play.limiter.held
    first.fail()

    assert (play.result, bytes(play.buffer)) == (outcome.Value("told"), CONTENT)
    assert cuts == ["first"]
    assert (first.attempt.has_lost, second.attempt.has_lost) == (True, False)
    assert (held, play.limiter.held) == (1, 0)
    assert (play.policy.sent, play.policy.won) == (1, 1)


async def test_the_first_response_counts_if_it_begins_first_after_all(
    mock_clock: MockClock,
) -> None:
    play = await started(mock_clock)
    first, second = play.actors

    first.answer()
    second.answer()
    is_second_ended = second.has_ended
    first.finish()

    assert is_second_ended
    assert (play.result, bytes(play.buffer)) == (outcome.Value("told"), CONTENT)
    assert (play.policy.sent, play.policy.won) == (1, 0)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("has_begun", [False, True])
async def test_the_failure_of_one_attempt_is_not_the_readers(
    mock_clock: MockClock, number: int, *, has_begun: bool
) -> None:
    play = await started(mock_clock)
    if has_begun:
        play.actors[number].answer()

    play.actors[number].fail()
    before = play.result
    play.actors[1 - number].finish()

    assert before is None
    assert (play.result, bytes(play.buffer)) == (outcome.Value("told"), CONTENT)


async def test_if_both_fail_the_result_is_the_first_failure(mock_clock: MockClock) -> None:
    play = await started(mock_clock)
    failures = [StoreError("one"), StoreError("two")]

    for actor, failure in zip(reversed(play.actors), failures, strict=True):
        actor.fail(failure)

    assert isinstance(play.result, outcome.Error)
    assert play.result.error is failures[0]


async def test_a_prefetch_that_is_late_is_hedged_when_a_reader_waits(
    mock_clock: MockClock,
) -> None:
    play = await started(mock_clock, priority=Priority.PREFETCH)

    before = len(play.actors)
    play.read.promote()
    await wait_all_tasks_blocked()
    after = len(play.actors)
    play.actors[0].finish()

    assert (before, after) == (1, 2)


async def test_nothing_is_hedged_after_the_end(mock_clock: MockClock) -> None:
    play = await started(mock_clock, priority=Priority.PREFETCH)

    play.actors[0].finish()
    play.read.promote()
    await play.become_late(mock_clock)

    assert len(play.actors) == 1


async def test_nothing_is_hedged_after_a_failure(mock_clock: MockClock) -> None:
    play = await started(mock_clock, is_late=False)

    play.actors[0].fail()
    await play.become_late(mock_clock)

    assert len(play.actors) == 1


async def test_a_read_is_hedged_once(mock_clock: MockClock) -> None:
    play = await started(mock_clock)
    for actor in play.actors:
        actor.fail()

    play.start_round()
    await play.become_late(mock_clock)

    assert len(play.in_flight) == 1


async def test_a_retried_read_is_hedged_in_its_second_round(mock_clock: MockClock) -> None:
    play = await started(mock_clock, is_late=False)
    play.actors[0].answer()
    play.actors[0].fail()

    play.start_round()
    await play.become_late(mock_clock)
    play.actors[2].finish()

    assert (play.result, bytes(play.buffer)) == (outcome.Value("told"), CONTENT)


async def test_the_times_of_all_attempts_are_samples(mock_clock: MockClock) -> None:
    play = await started(mock_clock)

    play.actors[1].finish()
    play.actors[0].fail()

    assert len(play.policy.latency._samples) == 2


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_cancelled_read_cancels_its_attempts_and_ends_with_the_last(
    mock_clock: MockClock, *, is_late: bool
) -> None:
    play = await started(mock_clock, is_late=is_late)
    cuts: list[int] = []
    for number, actor in enumerate(play.actors):
        actor.attempt.attach(partial(cuts.append, number))

    play.read.cancel()
    held, before = play.limiter.held, play.result
    for actor in play.actors:
        actor.fail(RequestCancelledError())

    assert cuts == list(range(1 + is_late))
    assert not any(actor.attempt.has_lost for actor in play.actors)
    assert (held, play.limiter.held) == (1 + is_late, 0)
    assert before is None
    assert isinstance(play.result, outcome.Error)
    assert isinstance(play.result.error, RequestCancelledError)


async def test_a_cancelled_read_is_not_hedged(mock_clock: MockClock) -> None:
    play = await started(mock_clock, is_late=False)

    play.read.cancel()
    await play.become_late(mock_clock)
    play.actors[0].fail(RequestCancelledError())

    assert len(play.actors) == 1
    assert play.result is not None


async def test_an_attempt_that_cannot_be_sent_holds_no_permit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = Play()
    monkeypatch.setattr(play, "start", _broken)

    with pytest.raises(ZeroDivisionError):
        play.start_round()

    assert play.limiter.held == 0


async def test_a_bug_in_the_accounting_fails_the_read(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play()
    monkeypatch.setattr(play.policy.latency, "add", _broken)
    play.start_round()

    play.actors[0].finish()

    assert isinstance(play.result, outcome.Error)
    assert isinstance(play.result.error, ZeroDivisionError)
    assert play.limiter.held == 0


async def test_a_bug_in_a_second_attempt_is_logged(
    mock_clock: MockClock, expected_warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected_warnings.append("this is a bug")
    for number in (0, 1):  # the attempt that fails first
        play = await started(mock_clock)
        play.actors[number].answer()
        play.actors[number].fail(ZeroDivisionError())
        play.actors[1 - number].finish()
    play = await started(mock_clock)
    play.actors[0].finish()
    play.actors[1].fail(ZeroDivisionError())

    assert [record.exc_info is not None for record in caplog.records] == [True] * 3


async def test_a_read_that_ended_is_freed_without_the_collector(mock_clock: MockClock) -> None:
    for end in ("finish", "fail", "cut"):
        with no_collector():
            play = await started(mock_clock)
            _end_all(play, end)
            read = weakref.ref(play.read)
            play.actors.clear()
            del play.read

            assert read() is None, end


def _end_all(play: Play, end: str) -> None:
    for actor in play.in_flight:
        if not actor.has_ended:
            actor.answer()
    for actor in play.in_flight:
        if end == "finish":
            actor.finish()
        else:
            actor.fail(
                RequestCancelledError() if end == "cut" else Retryable(StoreError("ill luck"))
            )


@contextmanager
def no_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _broken(*_: object) -> None:
    raise ZeroDivisionError


@settings(deadline=None)
@given(
    priority=st.sampled_from(Priority),
    late_after=st.sampled_from((LATE, math.inf)),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["answer", "finish", "fail", "late", "promote", "cancel", "retry"]),
            st.integers(0, 1),
            st.booleans(),
        ),
        max_size=14,
    ),
)
def test_the_invariants_hold_in_any_order_of_events(
    priority: Priority, late_after: float, steps: list[tuple[str, int, bool]]
) -> None:
    clock = MockClock()
    trio.run(_perform, priority, late_after, steps, clock, clock=clock)


async def _perform(
    priority: Priority, late_after: float, steps: list[tuple[str, int, bool]], clock: MockClock
) -> None:
    play = Play(priority, late_after=late_after)
    play.start_round()
    for name, number, is_alone in [*steps, ("finish", 0, True), ("finish", 0, True)]:
        _do(play, clock, name, number)
        if is_alone:
            await wait_all_tasks_blocked()
        _check(play)
    assert play.result is not None
    assert play.limiter.held == 0


def _do(play: Play, clock: MockClock, name: str, number: int) -> None:
    match name:
        case "late":
            clock.jump(LATE)
        case "promote":
            play.read.promote()
        case "cancel":
            play.read.cancel()
        case "retry":
            if isinstance(play.result, outcome.Error) and not play.read._is_cancelled:
                play.start_round()
        case _ if play.in_flight:
            actor = play.in_flight[number % len(play.in_flight)]
            if name != "answer" or actor.buffer is None:
                getattr(actor, name)()
    for actor in play.actors:
        actor.scribble()


def _check(play: Play) -> None:
    writers = [actor for actor in play.in_flight if actor.buffer is not None]
    assert len(play.in_flight) <= 2
    assert play.policy.sent <= 1
    assert len(writers) <= 1
    assert not play.read._is_cancelled or all(each.attempt.is_cancelled for each in play.in_flight)
    assert play.limiter.held == len(play.in_flight)
    if play.result is not None:
        assert not writers
        assert play.read not in play.policy._late._times
    if isinstance(play.result, outcome.Value):
        assert bytes(play.buffer) == CONTENT
    if isinstance(play.result, outcome.Error):
        assert not play.in_flight
