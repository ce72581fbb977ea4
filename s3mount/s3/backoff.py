"""How long to wait before asking again: exponential, with full jitter. Pure.

https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from collections.abc import Callable, Iterator

ATTEMPTS = 8
FIRST_PAUSE = 0.1  # seconds, at most
LONGEST_PAUSE = 5.0  # seconds, at most


def pauses(random: Callable[[], float]) -> Iterator[float]:
    """Seconds to wait after each attempt but the last; *random* gives numbers in [0, 1)."""
    for attempt in range(ATTEMPTS - 1):
        yield random() * min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)
