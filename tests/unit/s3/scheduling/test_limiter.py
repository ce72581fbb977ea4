import math

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.limiter import (
    PAUSE_MIN,
    RESERVE,
    SILENCE_PAUSE_MIN,
    START,
    AimdLimit,
    Limiter,
    Permit,
    PermitWaiter,
)

DEMAND, PREFETCH = Priority.DEMAND, Priority.PREFETCH


class Request:
    """A request that waits for a permit, and then holds it."""

    def __init__(self, limiter: Limiter, priority: Priority) -> None:
        self._waiter = PermitWaiter(limiter, priority)
        self._permit: Permit | None = None

    @property
    def priority(self) -> Priority:
        return self._waiter.priority

    @property
    def is_held(self) -> bool:
        return self._permit is not None

    async def acquire(self, deadline: float = math.inf) -> None:
        self._permit = await self._waiter.acquire(deadline)

    def promote(self) -> None:
        self._waiter.promote()

    def release(self) -> None:
        assert self._permit is not None
        self._permit.release()


async def crowd(
    nursery: trio.Nursery, limiter: Limiter, priority: Priority, count: int
) -> list[Request]:
    """Let *count* tasks come in, or wait."""
    requests = [Request(limiter, priority) for _ in range(count)]
    for request in requests:
        nursery.start_soon(request.acquire)
    await trio.testing.wait_all_tasks_blocked()
    return requests


async def pass_through(request: Request, name: str, order: list[str]) -> None:
    await request.acquire()
    order.append(name)
    request.release()


async def test_no_more_permits_are_held_than_are_allowed() -> None:
    limiter = Limiter(4)

    async with trio.open_nursery() as nursery:
        requests = await crowd(nursery, limiter, DEMAND, 6)
        assert limiter.held == 4
        first, second, *_ = [request for request in requests if request.is_held]
        first.release()
        second.release()

    assert limiter.held == 4


async def test_a_demand_request_overtakes_prefetch_requests_that_wait() -> None:
    limiter = Limiter(1)
    order: list[str] = []

    first = Request(limiter, DEMAND)
    await first.acquire()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_through, Request(limiter, PREFETCH), "prefetch", order)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(pass_through, Request(limiter, DEMAND), "demand", order)
        await trio.testing.wait_all_tasks_blocked()
        first.release()

    assert order == ["demand", "prefetch"]


async def test_a_promoted_request_overtakes_other_prefetches_but_no_earlier_demand() -> None:
    limiter = Limiter(1)
    order: list[str] = []
    first = Request(limiter, DEMAND)
    await first.acquire()

    async with trio.open_nursery() as nursery:
        requests = {name: Request(limiter, PREFETCH) for name in ("ahead 1", "ahead 2", "ahead 3")}
        for name, request in [*requests.items(), ("demand", Request(limiter, DEMAND))]:
            nursery.start_soon(pass_through, request, name, order)
            await trio.testing.wait_all_tasks_blocked()
        requests["ahead 3"].promote()
        first.release()

    assert order == ["demand", "ahead 3", "ahead 1", "ahead 2"]


async def test_a_promoted_request_may_use_the_reserve() -> None:
    limiter = Limiter(16)

    async with trio.open_nursery() as nursery:
        await crowd(nursery, limiter, PREFETCH, 20)
        before = limiter.held
        next(iter(limiter._waiting[PREFETCH])).promote()
        await trio.testing.wait_all_tasks_blocked()
        assert limiter.held == before + 1
        nursery.cancel_scope.cancel()


async def test_promotion_of_a_request_that_holds_its_permit_changes_nothing() -> None:
    limiter = Limiter(2)
    request = Request(limiter, PREFETCH)
    await request.acquire()

    request.promote()
    request.release()
    request.promote()

    assert limiter.held == 0
    assert limiter._held == {DEMAND: 0, PREFETCH: 0}


async def test_prefetch_leaves_permits_to_demand_requests() -> None:
    limiter = Limiter(16)

    async with trio.open_nursery() as nursery:
        await crowd(nursery, limiter, PREFETCH, 20)
        assert limiter.held == 16 - 16 // RESERVE
        with trio.fail_after(5):
            await Request(limiter, DEMAND).acquire()
        nursery.cancel_scope.cancel()


async def test_with_one_permit_prefetch_goes_on_without_demand() -> None:
    limiter = Limiter(1)

    with trio.fail_after(5):
        await Request(limiter, PREFETCH).acquire()

    assert limiter.held == 1


async def test_a_cancelled_demand_request_lets_prefetch_acquire() -> None:
    limiter = Limiter(4)
    limiter.aimd.on_throttle(0)
    held = [Request(limiter, DEMAND), Request(limiter, DEMAND)]
    for request in held:
        await request.acquire()
    demand = trio.CancelScope()

    async def wait() -> None:
        with demand:
            await Request(limiter, DEMAND).acquire()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(Request(limiter, PREFETCH).acquire)
        await trio.testing.wait_all_tasks_blocked()
        held[0].release()  # the demand gets it
        held[1].release()
        demand.cancel()

    assert limiter.held <= 2


async def test_a_request_cancelled_as_a_permit_is_released_does_not_acquire_it() -> None:
    limiter = Limiter(1)
    first, doomed, last = (Request(limiter, DEMAND) for _ in range(3))
    await first.acquire()

    async with trio.open_nursery() as nursery, trio.open_nursery() as cancelled:
        cancelled.start_soon(doomed.acquire)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(last.acquire)
        await trio.testing.wait_all_tasks_blocked()
        cancelled.cancel_scope.cancel()
        first.release()  # before the cancelled task has its turn

    assert limiter.held == 1
    last.release()
    assert limiter.held == 0


async def test_a_request_cancelled_before_it_has_its_permit_releases_it() -> None:
    """Else its request was sent, though nobody waited for the response any more."""
    limiter = Limiter(1)
    first, doomed, last = (Request(limiter, DEMAND) for _ in range(3))
    await first.acquire()

    scope = trio.CancelScope()

    async def acquire_in_scope() -> None:
        with scope:
            await doomed.acquire()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(acquire_in_scope)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(last.acquire)
        await trio.testing.wait_all_tasks_blocked()
        first.release()
        scope.cancel()  # before the task that acquires has its turn
        await trio.testing.wait_all_tasks_blocked()

        assert (doomed.is_held, last.is_held, limiter.held) == (False, True, 1)
        nursery.cancel_scope.cancel()


async def test_a_cancelled_request_does_not_acquire() -> None:
    limiter = Limiter(2)

    await Request(limiter, DEMAND).acquire()
    with trio.CancelScope() as scope:
        scope.cancel()
        await Request(limiter, DEMAND).acquire()

    assert limiter.held == 1


@given(
    limit=st.integers(1, 20),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("acquire"), st.sampled_from(Priority)),
            st.tuples(st.just("release"), st.integers(0, 30)),
            st.tuples(st.just("cancel"), st.integers(0, 30)),
            st.tuples(st.just("promote"), st.integers(0, 30)),
            st.tuples(st.sampled_from(["swap", "late cancel"]), st.integers(0, 30)),
            st.tuples(st.sampled_from(["throttle", "succeed"]), st.none()),
        ),
        max_size=40,
    ),
)
def test_the_invariants_hold_in_any_order_of_events(
    limit: int, steps: list[tuple[str, int | None]]
) -> None:
    trio.run(_play, limit, steps)


async def _play(limit: int, steps: list[tuple[str, int | None]]) -> None:
    limiter = Limiter(limit)
    held: list[Request] = []
    waiting: dict[Request, trio.CancelScope] = {}

    async def come(request: Request, scope: trio.CancelScope) -> None:
        with scope:
            await request.acquire()
            held.append(request)
        waiting.pop(request)

    async with trio.open_nursery() as nursery:
        for name, choice in steps:
            if name == "acquire":
                request = Request(limiter, Priority(choice or 0))
                waiting[request] = trio.CancelScope()
                nursery.start_soon(come, request, waiting[request])
            else:
                _step(limiter, held, waiting, name, choice or 0)
            before = len(held)
            await trio.testing.wait_all_tasks_blocked()
            _check(
                limiter,
                [request.priority for request in held],
                [request.priority for request in waiting],
                grew=len(held) > before,
            )
        nursery.cancel_scope.cancel()
    assert not any(limiter._waiting.values())
    for request in held:
        request.release()
    assert not any(limiter._held.values())


def _step(
    limiter: Limiter,
    held: list[Request],
    waiting: dict[Request, trio.CancelScope],
    name: str,
    choice: int,
) -> None:
    if name in ("cancel", "swap") and waiting:
        list(waiting.values())[choice % len(waiting)].cancel()
    if name in ("release", "swap") and held:
        held.pop(choice % len(held)).release()
    if name == "late cancel" and waiting and held:
        held.pop(choice % len(held)).release()
        next(iter(waiting.values())).cancel()
    if name == "promote" and (everybody := [*waiting, *held]):
        everybody[choice % len(everybody)].promote()
    if name == "throttle":
        limiter.aimd.on_throttle(limiter.aimd.round)
    if name == "succeed":
        limiter.on_success()


def _check(limiter: Limiter, held: list[Priority], waiting: list[Priority], *, grew: bool) -> None:
    allowed = limiter.aimd.allowed
    reserved = min(max(1, allowed // RESERVE), allowed - 1)
    assert limiter.held == len(held)
    if grew:
        assert len(held) <= allowed
    if DEMAND in waiting:
        assert len(held) >= allowed
    elif PREFETCH in waiting:
        assert len(held) >= allowed or held.count(PREFETCH) >= allowed - reserved


@given(st.integers(1, 100), st.lists(st.booleans(), max_size=200))
def test_the_limit_stays_between_one_and_its_maximum(limit: int, outcomes: list[bool]) -> None:
    aimd = AimdLimit(limit)

    for is_success in outcomes:
        if is_success:
            aimd.on_success()
        else:
            aimd.on_throttle(aimd.round)
        assert 1 <= aimd.allowed <= limit


def test_requests_in_flight_together_reduce_the_limit_once() -> None:
    aimd = AimdLimit(32)

    for _ in range(10):
        aimd.on_throttle(0)

    assert aimd.allowed == 16


@pytest.mark.parametrize("limit", [2, 8, 32])
def test_enough_successes_restore_the_limit(
    limit: int,
) -> None:
    aimd = AimdLimit(limit)
    aimd.on_throttle(0)

    successes = 0
    while aimd.allowed < limit:
        aimd.on_success()
        successes += 1

    assert successes <= limit * limit


def test_the_limit_begins_at_a_third_and_rises_while_most_of_it_is_used() -> None:
    aimd = AimdLimit(96)

    for _ in range(1000):
        aimd.on_success(in_flight=20)
    assert aimd.allowed == START
    assert not aimd.is_reduced

    for _ in range(96 * 96):
        aimd.on_success(in_flight=aimd.allowed)
    assert aimd.allowed == 96


def test_a_limit_that_was_reduced_rises_to_what_it_was_however_few_are_in_flight() -> None:
    aimd = AimdLimit(96)
    aimd.on_throttle(0)

    for _ in range(1000):
        aimd.on_success(in_flight=1)
    assert aimd.allowed == START


def test_after_a_request_without_a_response_the_limit_stays_where_it_began_for_a_while() -> None:
    aimd = AimdLimit(96)
    pauses = []
    for _ in range(2):
        while aimd.allowed == START:
            aimd.on_success()
        aimd.on_throttle(aimd.round, is_timeout=True)
        aimd.on_throttle(aimd.round - 1, is_timeout=True)  # one that was sent before
        assert aimd.allowed < START

        successes = 0
        while aimd.allowed <= START:
            aimd.on_success()
            successes += 1
        pauses.append(successes)

    assert pauses[0] >= PAUSE_MIN
    assert pauses[1] >= 2 * PAUSE_MIN


def test_a_pause_is_shorter_again_after_as_many_successes() -> None:
    """A store that was away three times, months ago, need not respond 80,000 times first."""
    aimd = AimdLimit(96)
    for _ in range(3):
        while aimd.allowed == START:
            aimd.on_success()
        aimd.on_throttle(aimd.round, is_timeout=True)
        while aimd.allowed <= START:
            aimd.on_success()
    for _ in range((8 + 4 + 2) * PAUSE_MIN):
        aimd.on_success()

    aimd.on_throttle(aimd.round, is_timeout=True)
    successes = 0
    while aimd.allowed <= START:
        aimd.on_success()
        successes += 1

    assert successes < 1.5 * PAUSE_MIN


def test_silent_connections_lower_the_limit_to_those_that_respond_for_a_while() -> None:
    aimd = AimdLimit(96)

    for _ in range(5):  # of one stall
        aimd.on_silence(responsive=8)
    assert aimd.allowed == 8
    assert not aimd.is_reduced

    successes = 0
    while aimd.allowed == 8:
        aimd.on_success()
        successes += 1
    assert SILENCE_PAUSE_MIN <= successes <= SILENCE_PAUSE_MIN + 8


def test_the_limit_does_not_rise_while_new_connections_are_silent() -> None:
    aimd = AimdLimit(96)

    for _ in range(10_000):
        aimd.on_success(is_stalled=True)
    assert aimd.allowed == START

    for _ in range(96 * 96):
        aimd.on_success()
    assert aimd.allowed == 96


@given(
    st.integers(1, 100),
    st.lists(st.sampled_from(("success", "throttle", "timeout", "silence")), max_size=200),
)
def test_the_limit_recovers_from_whatever_has_happened(limit: int, events: list[str]) -> None:
    aimd = AimdLimit(limit)
    for event in events:
        match event:
            case "success":
                aimd.on_success()
            case "silence":
                aimd.on_silence(responsive=aimd.allowed // 2)
            case _:
                aimd.on_throttle(aimd.round, is_timeout=event == "timeout")
        assert 1 <= aimd.allowed <= limit
    aimd.on_throttle(aimd.round, is_timeout=True)
    aimd.on_silence(responsive=1)

    aimd._pause._left = min(aimd._pause._left, PAUSE_MIN)
    aimd._silence_pause._left = min(aimd._silence_pause._left, PAUSE_MIN)
    for _ in range(2 * PAUSE_MIN):
        aimd.on_success()
    assert aimd.allowed == limit
