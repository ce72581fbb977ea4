import math
import random

from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.scheduling.latency import LEAST, ROUND, SAMPLES, Latency


def latency_of(*samples: float) -> Latency:
    latency = Latency()
    for seconds in samples:
        latency.add(seconds)
    return latency


def test_nothing_is_late_before_enough_is_known() -> None:
    assert latency_of(*[0.02] * (ROUND - 1)).late_after == math.inf
    assert latency_of(*[0.3] * ROUND).late_after == 0.6


def test_an_answer_of_a_near_store_is_not_late_at_once() -> None:
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
