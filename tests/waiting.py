"""Polling with a deadline, and waiting for a lifetime to end."""

import time
from collections.abc import Callable

WITHIN = 20.0  # seconds, patient enough for a busy machine
_MARGIN = 0.2  # seconds


def wait_until(is_so: Callable[[], bool], within: float = WITHIN) -> None:
    """Poll until *is_so*, for changes without an event; AssertionError after *within* seconds."""
    give_up = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < give_up, f"it did not become so within {within:.0f} s"
        time.sleep(0.02)


def outlast(lifetime: float) -> None:
    """Wait until what is *lifetime* seconds old at most has expired, which no event tells.

    A longer wait changes nothing, so that a busy machine does not either.
    """
    time.sleep(lifetime + _MARGIN)
