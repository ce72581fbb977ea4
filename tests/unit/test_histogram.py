"""The histogram of durations: percentiles, limits of its buckets, and sums."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.histogram import LEAST, Histogram, Percentiles

WITHIN = 2 ** (1 / 4)  # a bucket to the next


def _histogram(*seconds: float) -> Histogram:
    histogram = Histogram()
    for each in seconds:
        histogram.add(each)
    return histogram


@given(st.lists(st.floats(2 * LEAST, 100.0), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_quantile_is_right_to_within_a_bucket(seconds: list[float], share: float) -> None:
    exact = sorted(seconds)[math.ceil(share * len(seconds)) - 1]

    quantile = _histogram(*seconds).quantile(share)

    assert quantile is not None
    assert exact / WITHIN <= quantile * (1 + 1e-9)
    assert quantile <= exact * WITHIN * (1 + 1e-9)


def test_without_samples_there_are_no_percentiles() -> None:
    assert Percentiles(0, None, None, None) == _histogram().percentiles()


def test_samples_outside_of_the_buckets_are_counted() -> None:
    sample = _histogram(0.0, 1e9).sample()

    assert sample.count == 2
    assert sample.buckets[0] == (LEAST, 1)
    assert sample.buckets[-2][1] == 1
    assert sample.buckets[-1] == (math.inf, 2)


def test_a_merged_histogram_has_the_samples_of_both() -> None:
    both = _histogram(0.1, 0.2)
    both.merge(_histogram(0.4))

    assert _histogram(0.1, 0.2, 0.4).sample().buckets == both.sample().buckets
    assert pytest.approx(0.7) == both.total
