import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.gate import RESERVE, Allowance, Gate
from s3mount.s3.store import Urgency

DEMANDED, AHEAD = Urgency.DEMANDED, Urgency.AHEAD


async def crowd(nursery: trio.Nursery, gate: Gate, urgency: Urgency, count: int) -> None:
    """Let *count* tasks come in, or wait."""
    for _ in range(count):
        nursery.start_soon(gate.enter, urgency)
    await trio.testing.wait_all_tasks_blocked()


async def test_no_more_enter_than_are_allowed() -> None:
    gate = Gate(4)

    async with trio.open_nursery() as nursery:
        await crowd(nursery, gate, DEMANDED, 6)
        assert gate.inside == 4
        gate.leave(DEMANDED)
        gate.leave(DEMANDED)

    assert gate.inside == 4


async def test_a_demanded_request_passes_the_speculative_ones_that_wait() -> None:
    gate = Gate(1)
    order: list[str] = []

    async def come(name: str, urgency: Urgency) -> None:
        await gate.enter(urgency)
        order.append(name)
        gate.leave(urgency)

    await gate.enter(DEMANDED)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(come, "speculative", AHEAD)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(come, "demanded", DEMANDED)
        await trio.testing.wait_all_tasks_blocked()
        gate.leave(DEMANDED)

    assert order == ["demanded", "speculative"]


async def test_speculation_leaves_places_to_whoever_is_demanded() -> None:
    gate = Gate(16)

    async with trio.open_nursery() as nursery:
        await crowd(nursery, gate, AHEAD, 20)
        assert gate.inside == 16 - 16 // RESERVE
        with trio.fail_after(5):
            await gate.enter(DEMANDED)
        nursery.cancel_scope.cancel()


async def test_with_one_place_speculation_goes_on_when_nobody_demands() -> None:
    gate = Gate(1)

    with trio.fail_after(5):
        await gate.enter(AHEAD)

    assert gate.inside == 1


async def test_a_cancelled_demand_lets_speculation_in() -> None:
    gate = Gate(4)
    gate.allowance.throttled(0)
    await gate.enter(DEMANDED)
    await gate.enter(DEMANDED)
    demand = trio.CancelScope()

    async def wait() -> None:
        with demand:
            await gate.enter(DEMANDED)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(gate.enter, AHEAD)
        await trio.testing.wait_all_tasks_blocked()
        gate.leave(DEMANDED)  # the demand gets it
        gate.leave(DEMANDED)
        demand.cancel()

    assert gate.inside <= 2


async def test_entering_is_a_checkpoint() -> None:
    gate = Gate(1)

    with trio.testing.assert_checkpoints():
        await gate.enter(DEMANDED)
    with trio.CancelScope() as scope:
        scope.cancel()
        await gate.enter(DEMANDED)

    assert gate.inside == 1


@given(
    limit=st.integers(1, 20),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("enter"), st.sampled_from(Urgency)),
            st.tuples(st.just("leave"), st.integers(0, 30)),
            st.tuples(st.just("cancel"), st.integers(0, 30)),
            st.tuples(st.sampled_from(["throttle", "succeed"]), st.none()),
        ),
        max_size=40,
    ),
)
def test_whatever_happens_the_gate_keeps_its_promises(limit: int, steps: list[tuple[str, int | None]]) -> None:
    trio.run(_play, limit, steps)


async def _play(limit: int, steps: list[tuple[str, int | None]]) -> None:
    gate = Gate(limit)
    inside: list[Urgency] = []
    waiting: dict[trio.CancelScope, Urgency] = {}

    async def come(urgency: Urgency, scope: trio.CancelScope) -> None:
        with scope:
            await gate.enter(urgency)
            inside.append(urgency)
        waiting.pop(scope)

    async with trio.open_nursery() as nursery:
        for name, choice in steps:
            before = len(inside)
            match name:
                case "enter":
                    scope = trio.CancelScope()
                    waiting[scope] = Urgency(choice or 0)
                    nursery.start_soon(come, Urgency(choice or 0), scope)
                case "leave" if inside:
                    gate.leave(inside.pop((choice or 0) % len(inside)))
                    before -= 1
                case "cancel" if waiting:
                    list(waiting)[(choice or 0) % len(waiting)].cancel()
                case "throttle":
                    gate.allowance.throttled(gate.allowance.round)
                case "succeed":
                    gate.succeeded()
            await trio.testing.wait_all_tasks_blocked()
            _check(gate, inside, list(waiting.values()), grew=len(inside) > before)
        nursery.cancel_scope.cancel()


def _check(gate: Gate, inside: list[Urgency], waiting: list[Urgency], *, grew: bool) -> None:
    allowed = gate.allowance.allowed
    reserved = min(max(1, allowed // RESERVE), allowed - 1)
    assert gate.inside == len(inside)
    if grew:
        assert len(inside) <= allowed
    if DEMANDED in waiting:
        assert len(inside) >= allowed
    elif AHEAD in waiting:
        assert len(inside) >= allowed or inside.count(AHEAD) >= allowed - reserved


@given(st.integers(1, 100), st.lists(st.booleans(), max_size=200))
def test_the_allowance_stays_between_one_and_its_limit(limit: int, outcomes: list[bool]) -> None:
    allowance = Allowance(limit)

    for is_success in outcomes:
        if is_success:
            allowance.succeeded()
        else:
            allowance.throttled(allowance.round)
        assert 1 <= allowance.allowed <= limit


def test_requests_that_were_under_way_together_are_throttled_once() -> None:
    allowance = Allowance(32)

    for _ in range(10):
        allowance.throttled(0)

    assert allowance.allowed == 16


@pytest.mark.parametrize("limit", [2, 8, 32])
def test_a_throttled_store_is_asked_at_full_strength_again_after_enough_successes(limit: int) -> None:
    allowance = Allowance(limit)
    allowance.throttled(0)

    successes = 0
    while allowance.allowed < limit:
        allowance.succeeded()
        successes += 1

    assert successes <= limit * limit
