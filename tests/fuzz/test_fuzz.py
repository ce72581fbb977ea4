"""Fuzzing with fresh seeds for 45 seconds.

A failure names its seed; repeat it with `python -m tests.fuzz --seed`.
"""

import random
import time

from tests.fuzz.options import options_of
from tests.fuzz.rounds import run_round

SECONDS = 45.0


def test_users_see_only_states_of_the_bucket() -> None:
    end, fresh = time.monotonic() + SECONDS, random.SystemRandom()
    while time.monotonic() < end:
        options = options_of(fresh.randrange(1 << 32))
        print(options)  # noqa: T201  # shown if the test fails
        run_round(options)
