import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.limiter import RESERVE, AimdLimit, Limiter, Permit

DEMANDED, AHEAD = Priority.DEMANDED, Priority.AHEAD


async def crowd(
    nursery: trio.Nursery, gate: Limiter, urgency: Priority, count: int
) -> list[Permit]:
    """Let *count* tasks come in, or wait."""
    tickets = [Permit(gate, urgency) for _ in range(count)]
    for ticket in tickets:
        nursery.start_soon(ticket.enter)
    await trio.testing.wait_all_tasks_blocked()
    return tickets


async def pass_through(ticket: Permit, name: str, order: list[str]) -> None:
    await ticket.enter()
    order.append(name)
    ticket.leave()


async def test_no_more_enter_than_are_allowed() -> None:
    gate = Limiter(4)

    async with trio.open_nursery() as nursery:
        tickets = await crowd(nursery, gate, DEMANDED, 6)
        assert gate.inside == 4
        tickets[0].leave()
        tickets[1].leave()

    assert gate.inside == 4


async def test_a_demanded_request_passes_the_speculative_ones_that_wait() -> None:
    gate = Limiter(1)
    order: list[str] = []

    first = Permit(gate, DEMANDED)
    await first.enter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_through, Permit(gate, AHEAD), "speculative", order)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(pass_through, Permit(gate, DEMANDED), "demanded", order)
        await trio.testing.wait_all_tasks_blocked()
        first.leave()

    assert order == ["demanded", "speculative"]


async def test_speculation_that_comes_to_be_demanded_passes_the_rest_of_it_but_not_the_demanded_before_it() -> (
    None
):
    gate = Limiter(1)
    order: list[str] = []
    first = Permit(gate, DEMANDED)
    await first.enter()

    async with trio.open_nursery() as nursery:
        tickets = {name: Permit(gate, AHEAD) for name in ("ahead 1", "ahead 2", "ahead 3")}
        for name, ticket in [*tickets.items(), ("demanded", Permit(gate, DEMANDED))]:
            nursery.start_soon(pass_through, ticket, name, order)
            await trio.testing.wait_all_tasks_blocked()
        tickets["ahead 3"].promote()
        first.leave()

    assert order == ["demanded", "ahead 3", "ahead 1", "ahead 2"]


async def test_promotion_opens_the_places_kept_from_speculation() -> None:
    gate = Limiter(16)

    async with trio.open_nursery() as nursery:
        await crowd(nursery, gate, AHEAD, 20)
        before = gate.inside
        next(iter(gate._waiting[AHEAD])).promote()
        await trio.testing.wait_all_tasks_blocked()
        assert gate.inside == before + 1
        nursery.cancel_scope.cancel()


async def test_promotion_of_one_that_is_inside_changes_nothing() -> None:
    gate = Limiter(2)
    ticket = Permit(gate, AHEAD)
    await ticket.enter()

    ticket.promote()
    ticket.leave()
    ticket.promote()

    assert gate.inside == 0
    assert gate._inside == {DEMANDED: 0, AHEAD: 0}


async def test_speculation_leaves_places_to_whoever_is_demanded() -> None:
    gate = Limiter(16)

    async with trio.open_nursery() as nursery:
        await crowd(nursery, gate, AHEAD, 20)
        assert gate.inside == 16 - 16 // RESERVE
        with trio.fail_after(5):
            await Permit(gate, DEMANDED).enter()
        nursery.cancel_scope.cancel()


async def test_with_one_place_speculation_goes_on_when_nobody_demands() -> None:
    gate = Limiter(1)

    with trio.fail_after(5):
        await Permit(gate, AHEAD).enter()

    assert gate.inside == 1


async def test_a_cancelled_demand_lets_speculation_in() -> None:
    gate = Limiter(4)
    gate.allowance.throttled(0)
    inside = [Permit(gate, DEMANDED), Permit(gate, DEMANDED)]
    for ticket in inside:
        await ticket.enter()
    demand = trio.CancelScope()

    async def wait() -> None:
        with demand:
            await Permit(gate, DEMANDED).enter()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(Permit(gate, AHEAD).enter)
        await trio.testing.wait_all_tasks_blocked()
        inside[0].leave()  # the demand gets it
        inside[1].leave()
        demand.cancel()

    assert gate.inside <= 2


async def test_whoever_is_cancelled_as_a_place_becomes_free_does_not_take_it() -> None:
    gate = Limiter(1)
    first, doomed, last = (Permit(gate, DEMANDED) for _ in range(3))
    await first.enter()

    async with trio.open_nursery() as nursery, trio.open_nursery() as cancelled:
        cancelled.start_soon(doomed.enter)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(last.enter)
        await trio.testing.wait_all_tasks_blocked()
        cancelled.cancel_scope.cancel()
        first.leave()  # before the cancelled task has its turn

    assert gate.inside == 1
    last.leave()
    assert gate.inside == 0


async def test_who_is_cancelled_does_not_enter() -> None:
    gate = Limiter(2)

    await Permit(gate, DEMANDED).enter()
    with trio.CancelScope() as scope:
        scope.cancel()
        await Permit(gate, DEMANDED).enter()

    assert gate.inside == 1


@given(
    limit=st.integers(1, 20),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("enter"), st.sampled_from(Priority)),
            st.tuples(st.just("leave"), st.integers(0, 30)),
            st.tuples(st.just("cancel"), st.integers(0, 30)),
            st.tuples(st.just("promote"), st.integers(0, 30)),
            st.tuples(st.just("swap"), st.integers(0, 30)),
            st.tuples(st.sampled_from(["throttle", "succeed"]), st.none()),
        ),
        max_size=40,
    ),
)
def test_whatever_happens_the_gate_keeps_its_promises(
    limit: int, steps: list[tuple[str, int | None]]
) -> None:
    trio.run(_play, limit, steps)


async def _play(limit: int, steps: list[tuple[str, int | None]]) -> None:
    gate = Limiter(limit)
    inside: list[Permit] = []
    waiting: dict[Permit, trio.CancelScope] = {}

    async def come(ticket: Permit, scope: trio.CancelScope) -> None:
        with scope:
            await ticket.enter()
            inside.append(ticket)
        waiting.pop(ticket)

    async with trio.open_nursery() as nursery:
        for name, choice in steps:
            if name == "enter":
                ticket = Permit(gate, Priority(choice or 0))
                waiting[ticket] = trio.CancelScope()
                nursery.start_soon(come, ticket, waiting[ticket])
            else:
                _step(gate, inside, waiting, name, choice or 0)
            before = len(inside)
            await trio.testing.wait_all_tasks_blocked()
            _check(
                gate,
                [ticket.urgency for ticket in inside],
                [ticket.urgency for ticket in waiting],
                grew=len(inside) > before,
            )
        nursery.cancel_scope.cancel()
    assert not any(gate._waiting.values())
    for ticket in inside:
        ticket.leave()
    assert not any(gate._inside.values())


def _step(
    gate: Limiter,
    inside: list[Permit],
    waiting: dict[Permit, trio.CancelScope],
    name: str,
    choice: int,
) -> None:
    if name in ("cancel", "swap") and waiting:
        list(waiting.values())[choice % len(waiting)].cancel()
    if name in ("leave", "swap") and inside:
        inside.pop(choice % len(inside)).leave()
    if name == "promote" and (everybody := [*waiting, *inside]):
        everybody[choice % len(everybody)].promote()
    if name == "throttle":
        gate.allowance.throttled(gate.allowance.round)
    if name == "succeed":
        gate.succeeded()


def _check(gate: Limiter, inside: list[Priority], waiting: list[Priority], *, grew: bool) -> None:
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
    allowance = AimdLimit(limit)

    for is_success in outcomes:
        if is_success:
            allowance.succeeded()
        else:
            allowance.throttled(allowance.round)
        assert 1 <= allowance.allowed <= limit


def test_requests_that_were_under_way_together_are_throttled_once() -> None:
    allowance = AimdLimit(32)

    for _ in range(10):
        allowance.throttled(0)

    assert allowance.allowed == 16


@pytest.mark.parametrize("limit", [2, 8, 32])
def test_a_throttled_store_is_asked_at_full_strength_again_after_enough_successes(
    limit: int,
) -> None:
    allowance = AimdLimit(limit)
    allowance.throttled(0)

    successes = 0
    while allowance.allowed < limit:
        allowance.succeeded()
        successes += 1

    assert successes <= limit * limit
