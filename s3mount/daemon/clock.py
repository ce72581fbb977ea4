"""Clock of a mount's cached metadata."""

import time


def now() -> float:
    """Return seconds, also of suspension: cached metadata ages while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
