"""How long a disk is bypassed after failures."""

import pytest

from s3mount.cache.disk_tier.health import FIRST_PAUSE, PAUSE, disk_health


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _warnings_are_expected(expected_warnings: list[str]) -> None:
    expected_warnings.append("the disk cache cannot be")


def _pauses(count: int, clock: Clock, *, well_for: float | None) -> list[float]:
    """Pauses after failures; the trials between them fail, or the disk is well for a while."""
    health, pauses = disk_health(clock).reading, []
    health.record_failure(OSError())
    for _ in range(count):
        began = clock.now
        while not health.begin_trial():
            clock.now += 0.5
        pauses.append(clock.now - began)
        if well_for is not None:
            health.end_trial()
            clock.now += well_for
        health.record_failure(OSError())
    return pauses


def test_pauses_between_trials_that_fail_grow() -> None:
    pauses = _pauses(7, Clock(), well_for=None)

    assert pauses == [FIRST_PAUSE, 2, 4, 8, 16, PAUSE, PAUSE]


def test_a_disk_that_soon_fails_again_is_bypassed_for_longer() -> None:
    assert _pauses(4, Clock(), well_for=PAUSE / 2) == [FIRST_PAUSE, 2, 4, 8]


def test_a_disk_that_was_well_for_long_is_tried_soon() -> None:
    assert _pauses(4, Clock(), well_for=PAUSE) == [FIRST_PAUSE] * 4


def test_failures_of_what_was_under_way_lengthen_no_pause() -> None:
    clock = Clock()
    health = disk_health(clock).reading
    for _ in range(5):
        health.record_failure(OSError())

    clock.now += FIRST_PAUSE

    assert health.begin_trial()
    assert not health.begin_trial()


def _warnings(caplog: pytest.LogCaptureFixture) -> int:
    return sum(record.levelname == "WARNING" for record in caplog.records)


@pytest.mark.parametrize(("well_for", "warnings"), [(PAUSE / 2, 1), (PAUSE, 2)])
@pytest.mark.parametrize("fails_again", ["reading", "writing"])
def test_a_disk_that_soon_fails_again_is_no_news(
    well_for: float, warnings: int, fails_again: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    health = disk_health(clock)
    health.reading.record_failure(OSError())
    clock.now += FIRST_PAUSE
    assert health.reading.begin_trial()
    health.reading.end_trial()
    clock.now += well_for

    getattr(health, fails_again).record_failure(OSError())

    assert _warnings(caplog) == warnings
