import pytest
import trio
import trio.testing

from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.hedge_policy import BURST, SHARE, Hedge, HedgePolicy
from s3mount.s3.scheduling.limiter import Limiter, Permit


def sent(hedging: HedgePolicy, reads: int) -> int:
    """How many of so many *reads*, all of them late, are asked a second time, one after another."""
    before = hedging.sent
    for _ in range(reads):
        if (ticket := hedging.begin().enter_nowait()) is not None:
            ticket.leave()
    return hedging.sent - before


def test_a_read_is_hedged_once() -> None:
    hedge = HedgePolicy(Limiter(8)).begin()

    assert [hedge.enter_nowait() is None for _ in range(3)] == [False, True, True]


def test_a_store_that_is_slow_altogether_is_asked_little_more() -> None:
    assert sent(HedgePolicy(Limiter(8)), 1000) == pytest.approx(1000 * SHARE + BURST, abs=1)


async def test_no_hedge_waits_for_its_place() -> None:
    gate = Limiter(1)
    hedging = HedgePolicy(gate)
    ticket = Permit(gate, Priority.DEMANDED)
    await ticket.enter()

    refused = hedging.begin().enter_nowait()
    ticket.leave()
    hedge: Hedge = hedging.begin()

    assert refused is None
    assert hedge.enter_nowait() is not None
    assert gate.inside == 1


async def test_no_hedge_passes_a_demanded_request_that_waits() -> None:
    gate = Limiter(2)
    hedging = HedgePolicy(gate)
    gate.allowance.throttled(0)
    inside, waiting = Permit(gate, Priority.DEMANDED), Permit(gate, Priority.DEMANDED)
    await inside.enter()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting.enter)
        await trio.testing.wait_all_tasks_blocked()
        assert hedging.begin().enter_nowait() is None
        inside.leave()


def test_a_store_that_throttles_is_not_asked_twice_until_it_stands_all_again() -> None:
    gate = Limiter(4)
    hedging = HedgePolicy(gate)

    gate.allowance.throttled(0)
    refused = hedging.begin().enter_nowait()
    while gate.allowance.allowed < 4:
        gate.succeeded()

    assert refused is None
    assert hedging.begin().enter_nowait() is not None
