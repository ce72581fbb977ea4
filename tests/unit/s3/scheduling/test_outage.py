"""Outages of the store, told by how operations end."""

import logging

import pytest

from s3mount.errors import AccessDenied, DeadlineExceeded, NotFound, StoreError
from s3mount.s3.scheduling.outage import OutageTracker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_an_outage_lasts_from_the_first_failure_to_the_next_success(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    outage = OutageTracker(clock)
    outage.record(StoreError("away"), clock.now)
    clock.now += 40
    outage.record(DeadlineExceeded("away"), clock.now)
    outage.record(AccessDenied("no credentials"), clock.now)
    clock.now += 2

    assert outage.seconds == 42
    outage.record(NotFound("absent"), clock.now)
    assert outage.seconds == 0
    outage.record(None, clock.now)

    assert [record.getMessage() for record in caplog.records] == [
        "the store responds again, after 42 s; failed operations meanwhile: 2"
    ]


def test_an_operation_that_began_before_the_last_success_begins_no_outage(clock: Clock) -> None:
    outage = OutageTracker(clock)
    began = clock.now
    clock.now += 1
    outage.record(None, clock.now)
    clock.now += 1

    outage.record(DeadlineExceeded("late"), began)

    assert outage.seconds == 0


def test_an_outage_that_lapses_is_not_told_until_it_fails_again(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A bucket that failed once, and was not asked again, was away in the metrics forever."""
    caplog.set_level(logging.INFO)
    outage = OutageTracker(clock, lapses_after=300)
    told = []

    for step, error in ((0, StoreError("away")), (300, None), (1, None), (99, StoreError("away"))):
        clock.now += step
        if error is not None:
            outage.record(error, clock.now)
        told.append(outage.seconds)
    clock.now += 1000
    outage.record(None, clock.now)

    assert told == [0, 300, 0, 400]
    assert outage.seconds == 0
    [end] = caplog.records
    assert "after 1400 s; failed operations meanwhile: 2" in end.getMessage()


def test_an_outage_of_the_only_store_does_not_lapse(clock: Clock) -> None:
    outage = OutageTracker(clock)
    outage.record(StoreError("away"), clock.now)

    clock.now += 1e6

    assert outage.seconds == 1e6
