"""What fills the link is told by how long large fetches take, whatever else is in flight."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.cache.link_load import LinkLoad
from s3mount.cache.prefetch_budget import PrefetchBudget
from s3mount.cache.ranges import MIB

PART = 8 * MIB


@given(
    rate=st.integers(10 * MIB, 3000 * MIB),
    alone=st.floats(0.01, 1.0),
    parts=st.integers(1, 24),
)
def test_a_link_is_filled_by_its_rate_times_the_least_time_of_a_fetch(
    rate: int, alone: float, parts: int
) -> None:
    load, in_flight = LinkLoad(), parts * PART
    alone = max(alone, PART / rate)
    load.record(PART, alone, PART)

    for _ in range(30):
        load.record(PART, max(alone, in_flight / rate), in_flight)

    assert load.filling == pytest.approx(min(in_flight, rate * alone), rel=0.15)


def test_short_fetches_tell_nothing() -> None:
    load = LinkLoad()

    load.record(1000, 0.02, 1000)
    load.record(PART, 0.1, PART)
    known = load.filling
    load.record(2 * MIB, 0.01, 16 * PART)

    assert load.filling == known > 0


def test_the_first_half_of_the_memory_may_displace_what_is_to_be_written() -> None:
    budget = PrefetchBudget(32 * PART)
    budget.acquire(15 * PART, is_warm=False)

    assert budget.may_displace(PART)
    assert not budget.may_displace(2 * PART)


def test_what_fills_the_link_may_displace_what_is_to_be_written() -> None:
    budget = PrefetchBudget(32 * PART)
    budget.acquire(16 * PART, is_warm=False)

    for _ in range(20):
        budget.link.record(PART, 0.1, 16 * PART)  # as fast as they could be

    assert budget.may_displace(PART)
    assert not budget.may_displace(5 * PART)
