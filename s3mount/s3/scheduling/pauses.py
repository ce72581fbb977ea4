"""Pauses between the attempts at an operation, and how many attempts there are. Pure."""

import random
from collections.abc import Callable, Iterator

from s3mount.frozen_dataclass import dataclass
from s3mount.s3.transport import Retryable

ATTEMPTS = 10
INVALID_ATTEMPTS = 3
FIRST_PAUSE = 0.1  # seconds, at most
LONGEST_PAUSE = 5.0  # seconds, at most
INVALID_PAUSE = 1.0  # seconds, at most: the first after an invalid response
MUCH_PROGRESS = 64 * 1024  # bytes of an attempt after which the next is sent at once
LITTLE_PROGRESS = 1024  # bytes; a store that brings fewer at a time is not to be asked often
PROGRESS_PAUSE = 0.01  # seconds after an attempt that has brought less than much
LONG_PROGRESS_PAUSE = 0.03  # seconds after one that has brought little


def pauses(chance: Callable[[], float] = random.random) -> Iterator[float]:
    """Seconds to wait after each attempt but the last; *chance* gives numbers in [0, 1). Pure.

    Exponential, with jitter in half of it. The other half is certain, so that ten attempts outlast
    a store that is away for ten seconds.
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    for attempt in range(ATTEMPTS - 1):
        yield (1 + chance()) / 2 * min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)


def invalid_pauses(chance: Callable[[], float] = random.random) -> Iterator[float]:
    """Seconds to wait after each invalid response but the last: three at most in all. Pure.

    Longer than the first of `pauses`: three attempts should outlast a peer that is replaced.
    """
    for attempt in range(INVALID_ATTEMPTS - 1):
        yield (1 + chance()) / 2 * INVALID_PAUSE * 2**attempt


@dataclass(frozen=True, slots=True)
class PausesLeft:
    """The pauses that an operation may still make: after invalid responses, after all else."""

    after_invalid: Iterator[float]
    after_others: Iterator[float]

    def next_after(self, failure: Retryable) -> float | None:
        """Return the pause after *failure*; None if it was the last attempt."""
        return next(self.after_invalid if failure.is_invalid else self.after_others, None)


def pause_after_progress(gained: int) -> float:
    """Seconds to wait after an attempt that has brought *gained* bytes, and then failed."""
    if gained >= MUCH_PROGRESS:
        return 0.0
    return PROGRESS_PAUSE if gained >= LITTLE_PROGRESS else LONG_PROGRESS_PAUSE
