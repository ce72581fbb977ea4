import math
import random

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.hedge_policy import (
    BURST,
    LEAST,
    ROUND,
    SAMPLES,
    SHARE,
    HedgePolicy,
    Latency,
)
from s3mount.s3.scheduling.limiter import Limiter, PermitWaiter


def sent(policy: HedgePolicy, reads: int) -> int:
    """How many of so many *reads*, all of them late, are hedged, one after another."""
    before = policy.sent
    for _ in range(reads):
        policy.record_read()
        if (permit := policy.acquire_nowait()) is not None:
            permit.release()
    return policy.sent - before


def test_a_store_that_is_slow_altogether_gets_few_requests_more() -> None:
    assert sent(HedgePolicy(Limiter(8)), 1000) == pytest.approx(1000 * SHARE + BURST, abs=1)


async def test_no_hedge_waits_for_its_permit() -> None:
    limiter = Limiter(1)
    policy = HedgePolicy(limiter)
    permit = await PermitWaiter(limiter, Priority.DEMAND).acquire()

    refused = policy.acquire_nowait()
    permit.release()

    assert refused is None
    assert policy.acquire_nowait() is not None
    assert limiter.held == 1


async def test_no_hedge_overtakes_a_demand_request_that_waits() -> None:
    limiter = Limiter(2)
    policy = HedgePolicy(limiter)
    limiter.aimd.on_throttle(0)
    permit = await PermitWaiter(limiter, Priority.DEMAND).acquire()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(PermitWaiter(limiter, Priority.DEMAND).acquire)
        await trio.testing.wait_all_tasks_blocked()
        assert policy.acquire_nowait() is None
        permit.release()


def test_a_store_that_throttles_gets_no_hedge_until_the_limit_is_restored() -> None:
    limiter = Limiter(4)
    policy = HedgePolicy(limiter)

    limiter.on_throttle(0)
    refused = policy.acquire_nowait()
    while limiter.aimd.allowed < 4:
        limiter.on_success()

    assert refused is None
    assert policy.acquire_nowait() is not None


def latency_of(*samples: float) -> Latency:
    latency = Latency()
    for seconds in samples:
        latency.add(seconds)
    return latency


def test_nothing_is_late_before_enough_is_known() -> None:
    assert latency_of(*[0.02] * (ROUND - 1)).late_after == math.inf
    assert latency_of(*[0.3] * ROUND).late_after == 0.6


def test_a_response_of_a_near_store_is_not_late_at_once() -> None:
    assert latency_of(*[0.001] * ROUND).late_after == LEAST


@given(st.randoms(use_true_random=False), st.sampled_from((1, 2, 3)))
def test_a_slow_tail_does_not_make_itself_usual(chance: random.Random, percent: int) -> None:
    samples = [0.02] * (100 - percent) * 5 + [1.5] * percent * 5
    chance.shuffle(samples)

    assert latency_of(*samples, *[0.02] * ROUND).late_after == LEAST


def test_a_store_that_becomes_slow_altogether_is_not_late_for_long() -> None:
    latency = latency_of(*[0.02] * SAMPLES)

    for _ in range(2 * ROUND):
        latency.add(0.5)

    assert latency.late_after == 1.0
