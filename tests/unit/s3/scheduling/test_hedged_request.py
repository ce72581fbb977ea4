"""Two attempts at one read, in every order in which a store and a reader can have it; no thread: a test says what each attempt does when."""

import math
import weakref
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
from s3mount.s3.object_store import Demand, Priority
from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError
from s3mount.s3.scheduling.executor import Into
from s3mount.s3.scheduling.hedge_policy import HedgePolicy
from s3mount.s3.scheduling.hedged_request import HedgedRequest
from s3mount.s3.scheduling.limiter import Limiter, Permit
from s3mount.s3.scheduling.thread_pool import Ended
from s3mount.s3.transport import Retryable

CONTENT = b"content"
LATE = 0.1  # seconds


@dataclass(eq=False)
class Attempt:
    """What an attempt does, in a thread or without one: get the buffer, write, end. *has_begun*: bytes are here, but not all."""

    into: Into
    cord: CancelToken
    ended: Ended[Any]
    buffer: memoryview | None = None
    has_begun: bool = False
    has_ended: bool = False

    def answer(self) -> None:
        """Its head comes."""
        try:
            self.buffer = self.into()
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
        self.ended(result)


class Play:
    """A race, the attempts it made, and what came of it."""

    def __init__(self, urgency: Priority = Priority.DEMANDED) -> None:
        self.gate = Limiter(4)
        self.hedging = HedgePolicy(self.gate)
        for _ in range(100):
            self.hedging.begin()
        self.hedging.latency.late_after = LATE
        self.demand = Demand(urgency)
        self.buffer = bytearray(len(CONTENT))
        self.attempts: list[Attempt] = []
        self.scope = trio.CancelScope()
        self.result: outcome.Outcome[str] | None = None
        self.bug: Exception | None = None
        self.has_ended = False

    async def run_and_note(self) -> None:
        try:
            await self.run()
        except ZeroDivisionError as exc:
            self.bug = exc

    @property
    def under_way(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if not attempt.has_ended]

    def send(self, _ask: object, into: Into, cord: CancelToken, ended: Ended[Any]) -> Attempt:
        """In the place of `Dispatch`."""
        self.attempts.append(Attempt(into, cord, ended))
        return self.attempts[-1]

    async def run(self) -> None:
        ticket = Permit(self.gate, self.demand.urgency)
        await ticket.enter()
        self.race = race = HedgedRequest[Any](
            self,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            lambda ticket, _: ticket.leave(),
            memoryview(self.buffer),
            self.hedging.begin(),
        )
        with self.scope:
            try:
                self.result = outcome.Value(await race.run(ticket, self.demand))
            except (StoreError, Retryable, RequestCancelledError) as exc:
                self.result = outcome.Error(exc)
        self.has_ended = True
        assert not any(attempt.buffer is not None for attempt in self.under_way)


async def begun(
    nursery: trio.Nursery, clock: MockClock, *, is_late: bool = True, **kind: Priority
) -> Play:
    """A read that is under way."""
    play = Play(**kind)
    nursery.start_soon(play.run)
    await wait_all_tasks_blocked()
    if is_late:
        clock.jump(LATE)
        await wait_all_tasks_blocked()
    return play


async def test_a_read_that_is_answered_in_time_is_asked_once(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    play = await begun(nursery, mock_clock, is_late=False)

    play.attempts[0].finish()
    mock_clock.jump(LATE)
    await wait_all_tasks_blocked()

    assert play.result == outcome.Value("told")
    assert len(play.attempts) == 1


async def test_an_answer_that_has_begun_is_not_late(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    play = await begun(nursery, mock_clock, is_late=False)

    play.attempts[0].answer()
    mock_clock.jump(LATE)
    await wait_all_tasks_blocked()
    play.attempts[0].finish()

    assert len(play.attempts) == 1


async def test_nor_is_one_that_comes_without_a_thread(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    play = await begun(nursery, mock_clock, is_late=False)

    play.attempts[0].has_begun = True
    mock_clock.jump(LATE)
    await wait_all_tasks_blocked()
    play.attempts[0].finish()

    assert len(play.attempts) == 1


async def test_the_second_answer_counts_where_it_begins_first_and_the_first_attempt_is_cut(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    play = await begun(nursery, mock_clock)
    first, second = play.attempts
    cuts = []
    first.cord.tie(lambda: cuts.append("first"))

    second.answer()
    second.finish()
    await wait_all_tasks_blocked()
    inside = play.gate.inside
    first.fail()

    assert (play.result, bytes(play.buffer)) == (outcome.Value("told"), CONTENT)
    assert cuts == ["first"]
    assert (inside, play.gate.inside) == (1, 0)
    assert (play.hedging.sent, play.hedging.won) == (1, 1)


async def test_the_first_answer_counts_where_it_begins_first_after_all(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    play = await begun(nursery, mock_clock)
    first, second = play.attempts

    first.answer()
    second.answer()
    is_outrun = second.has_ended
    first.finish()
    await wait_all_tasks_blocked()

    assert is_outrun
    assert (play.result, bytes(play.buffer)) == (outcome.Value("told"), CONTENT)
    assert (play.hedging.sent, play.hedging.won) == (1, 0)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("has_begun", [False, True])
async def test_the_failure_of_one_attempt_is_not_the_readers(
    nursery: trio.Nursery, mock_clock: MockClock, number: int, *, has_begun: bool
) -> None:
    play = await begun(nursery, mock_clock)
    if has_begun:
        play.attempts[number].answer()

    play.attempts[number].fail()
    await wait_all_tasks_blocked()
    before = play.result
    play.attempts[1 - number].finish()
    await wait_all_tasks_blocked()

    assert before is None
    assert (play.result, bytes(play.buffer)) == (outcome.Value("told"), CONTENT)


async def test_where_both_fail_the_first_failure_is_told(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    play = await begun(nursery, mock_clock)
    failures = [StoreError("one"), StoreError("two")]

    for attempt, failure in zip(reversed(play.attempts), failures, strict=True):
        attempt.fail(failure)
    await wait_all_tasks_blocked()

    assert isinstance(play.result, outcome.Error)
    assert play.result.error is failures[0]


async def test_a_read_ahead_that_is_late_is_asked_again_when_somebody_waits(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    play = await begun(nursery, mock_clock, urgency=Priority.AHEAD)

    before = len(play.attempts)
    play.demand.rise()
    await wait_all_tasks_blocked()
    after = len(play.attempts)
    play.attempts[0].finish()

    assert (before, after) == (1, 2)


async def test_nothing_is_asked_again_after_the_end(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    play = await begun(nursery, mock_clock, urgency=Priority.AHEAD)

    play.attempts[0].finish()
    await wait_all_tasks_blocked()
    play.demand.rise()

    assert len(play.attempts) == 1


async def test_the_times_of_all_attempts_are_learned(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    play = await begun(nursery, mock_clock)

    play.attempts[1].finish()
    play.attempts[0].fail()

    assert len(play.hedging.latency._samples) == 2


async def test_nothing_is_asked_again_between_the_failure_and_its_telling(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    play = await begun(nursery, mock_clock, urgency=Priority.AHEAD)

    play.attempts[0].fail()
    play.demand.rise()  # before the reader's task has its turn

    assert len(play.attempts) == 1


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_cancelled_read_cuts_its_attempts_and_waits_for_them(
    nursery: trio.Nursery, mock_clock: MockClock, *, is_late: bool
) -> None:
    play = await begun(nursery, mock_clock, is_late=is_late)
    cuts: list[int] = []
    for number, attempt in enumerate(play.attempts):
        attempt.cord.tie(partial(cuts.append, number))

    play.scope.cancel()
    await wait_all_tasks_blocked()
    inside = play.gate.inside
    for attempt in play.attempts:
        attempt.fail(RequestCancelledError())
    await wait_all_tasks_blocked()

    assert cuts == list(range(1 + is_late))
    assert (inside, play.gate.inside) == (1 + is_late, 0)
    assert play.has_ended


async def test_a_cancelled_read_is_not_asked_again(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    play = await begun(nursery, mock_clock, is_late=False)

    play.race.cancel()
    mock_clock.jump(LATE)
    await wait_all_tasks_blocked()
    play.attempts[0].fail(RequestCancelledError())
    await wait_all_tasks_blocked()

    assert len(play.attempts) == 1
    assert play.has_ended


async def test_an_attempt_that_cannot_be_sent_keeps_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play = Play()
    monkeypatch.setattr(play, "send", _broken)

    with pytest.raises(ZeroDivisionError):
        await play.run()

    assert play.gate.inside == 0


async def test_a_bug_in_the_accounting_fails_the_read(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    play = Play()
    monkeypatch.setattr(play.hedging.latency, "add", _broken)
    nursery.start_soon(play.run_and_note)
    await wait_all_tasks_blocked()

    play.attempts[0].finish()
    await wait_all_tasks_blocked()

    assert isinstance(play.bug, ZeroDivisionError)
    assert play.gate.inside == 0


async def test_a_bug_in_an_attempt_that_lost_is_logged(
    nursery: trio.Nursery,
    mock_clock: MockClock,
    expected_warnings: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected_warnings.append("this is a bug")
    for number in (0, 1):  # the one that fails first
        play = await begun(nursery, mock_clock)
        play.attempts[number].answer()
        play.attempts[number].fail(ZeroDivisionError())
        play.attempts[1 - number].finish()
        await wait_all_tasks_blocked()
    play = await begun(nursery, mock_clock)
    play.attempts[0].finish()
    play.attempts[1].fail(ZeroDivisionError())

    assert [record.exc_info is not None for record in caplog.records] == [True] * 3


async def test_a_settled_read_is_freed_without_the_collector(
    nursery: trio.Nursery, mock_clock: MockClock
) -> None:
    for end in ("finish", "fail", "cut"):
        play = await begun(nursery, mock_clock)
        for attempt in play.under_way:
            if not attempt.has_ended:
                attempt.answer()
        for attempt in play.under_way:
            if end == "finish":
                attempt.finish()
            else:
                attempt.fail(
                    RequestCancelledError() if end == "cut" else Retryable(StoreError("ill luck"))
                )
        play.scope.cancel()
        await wait_all_tasks_blocked()
        race = weakref.ref(play.race)
        play.attempts.clear()
        del play.race, play.result, attempt

        assert race() is None, end


def _broken(*_: object) -> None:
    raise ZeroDivisionError


@settings(deadline=None)
@given(
    urgency=st.sampled_from(Priority),
    late_after=st.sampled_from((LATE, math.inf)),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["answer", "finish", "fail", "late", "rise", "cancel", "cut"]),
            st.integers(0, 1),
            st.booleans(),
        ),
        max_size=10,
    ),
)
def test_whatever_happens_a_race_keeps_its_promises(
    urgency: Priority, late_after: float, steps: list[tuple[str, int, bool]]
) -> None:
    clock = MockClock()
    trio.run(_perform, urgency, late_after, steps, clock, clock=clock)


async def _perform(
    urgency: Priority, late_after: float, steps: list[tuple[str, int, bool]], clock: MockClock
) -> None:
    play = Play(urgency)
    play.hedging.latency.late_after = late_after
    async with trio.open_nursery() as nursery:
        nursery.start_soon(play.run)
        await wait_all_tasks_blocked()
        for name, number, is_alone in [*steps, ("finish", 0, True), ("finish", 0, True)]:
            _do(play, clock, name, number)
            if is_alone:
                await wait_all_tasks_blocked()
                _check(play)
    assert play.gate.inside == 0
    assert play.demand.on_rise is None


def _do(play: Play, clock: MockClock, name: str, number: int) -> None:
    match name:
        case "late":
            clock.jump(LATE)
        case "rise":
            play.demand.rise()
        case "cancel":
            play.scope.cancel()
        case "cut":
            play.race.cancel()
        case _ if play.under_way:
            attempt = play.under_way[number % len(play.under_way)]
            if name != "answer" or attempt.buffer is None:
                getattr(attempt, name)()
    for attempt in play.attempts:
        attempt.scribble()


def _check(play: Play) -> None:
    writers = [attempt for attempt in play.under_way if attempt.buffer is not None]
    assert len(play.attempts) <= 2
    assert len(writers) <= 1
    assert not play.race._is_cancelled or all(attempt.cord.is_pulled for attempt in play.under_way)
    assert play.gate.inside == len(play.under_way)
    if play.result is not None:
        assert not writers
    if isinstance(play.result, outcome.Value):
        assert bytes(play.buffer) == CONTENT
    if isinstance(play.result, outcome.Error):
        assert not play.under_way
