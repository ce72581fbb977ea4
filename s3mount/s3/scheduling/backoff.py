"""How long to wait before asking again: exponential, half of it left to chance. Pure.

The other half is sure, so that a store that is away for ten seconds is waited for, however the dice fall.

https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from collections.abc import Callable, Iterator

ATTEMPTS = 10
FIRST_PAUSE = 0.1  # seconds, at most
LONGEST_PAUSE = 5.0  # seconds, at most


def pauses(random: Callable[[], float]) -> Iterator[float]:
    """Seconds to wait after each attempt but the last; *random* gives numbers in [0, 1)."""
    for attempt in range(ATTEMPTS - 1):
        yield (1 + random()) / 2 * min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)
