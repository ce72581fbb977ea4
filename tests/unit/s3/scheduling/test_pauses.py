from hypothesis import given
from hypothesis import strategies as st

from s3mount.s3.scheduling.pauses import (
    ATTEMPTS,
    INVALID_ATTEMPTS,
    LONGEST_PAUSE,
    invalid_pauses,
    pauses,
)


@given(st.floats(0, 1, exclude_max=True))
def test_pauses_are_bounded_and_one_fewer_than_attempts(number: float) -> None:
    waits = list(pauses(lambda: number))

    assert len(waits) == ATTEMPTS - 1
    assert all(0 <= wait <= LONGEST_PAUSE for wait in waits)


def test_pauses_grow_until_the_longest() -> None:
    waits = list(pauses(lambda: 1.0))

    assert waits == sorted(waits)
    assert waits[0] < 0.2
    assert waits[-1] == LONGEST_PAUSE


@given(st.floats(0, 1, exclude_max=True))
def test_invalid_responses_are_retried_for_a_few_seconds(number: float) -> None:
    waits = list(invalid_pauses(lambda: number))

    assert len(waits) == INVALID_ATTEMPTS - 1
    assert 1 < sum(waits) <= 3  # longer than the second that a peer needs to be replaced
