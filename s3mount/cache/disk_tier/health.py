"""Health of the disk: whether it is used, or bypassed after a failure, and tried again when.

Invariants:

1. After a failure the disk is bypassed by all that use it so: blocks and records. The first pause
   is FIRST_PAUSE, or follows from the last one if the disk was well for less than PAUSE.
2. After a pause one trial is made at a time, of which no reader of blocks waits for the outcome.
   Each that fails begins another pause, of twice the length, PAUSE at most.
3. The log has one warning when it is bypassed, and one line when a trial has succeeded. That a disk
   fails again which was well for less than PAUSE is no news, nor that it cannot be written while
   it cannot be read, and the other way round: such lines are no warnings.
"""

import logging
import sqlite3
from collections.abc import Callable
from typing import Final, NamedTuple

log = logging.getLogger(__name__)

FIRST_PAUSE: Final = 1.0  # seconds
PAUSE: Final = 30.0  # seconds, at most


class DiskHealth:
    """Health of the disk as it is *used* ("read", "written"), by *clock* in seconds.

    One that *is_failing* is bypassed from the start, of which the log has a line already.
    """

    def __init__(self, used: str, clock: Callable[[], float], *, is_failing: bool = False) -> None:
        self._used = used
        self._clock = clock
        self._other: DiskHealth | None = None
        # when it failed last, or was found to be well; for how long it is bypassed after a failure
        self._tried_at = clock() if is_failing else -PAUSE
        self._pause = FIRST_PAUSE
        self._is_trying = False
        self.is_usable = not is_failing
        self.failures = 0

    def record_failure(self, exc: BaseException) -> None:
        """An operation has failed with *exc*: bypass the disk, for another pause if it is so."""
        self.failures += 1
        is_news = self.is_well and (self._other is None or self._other.is_well)
        self._lengthen_pause()
        self._tried_at = self._clock()
        self._is_trying = False
        if not isinstance(exc, OSError | sqlite3.Error):
            log.error("a bug in the disk cache", exc_info=exc)
        if self.is_usable:
            self.is_usable = False
            log.log(
                logging.WARNING if is_news else logging.INFO,
                "the disk cache cannot be %s, and is bypassed until it can (look at its disk, and "
                "whether that is full): %s",
                self._used,
                exc,
            )
        else:
            log.debug("the disk cache still cannot be %s: %s", self._used, exc)

    def share_news(self, other: "DiskHealth") -> None:
        """Warn of the disk only while *other*, that of another use of it, has not."""
        self._other = other

    def begin_trial(self) -> bool:
        """Whether the disk is to be tried again now; `record_failure` or `end_trial` follows."""
        if self.is_usable or self._is_trying or self._clock() - self._tried_at < self._pause:
            return False
        self._is_trying = True
        return True

    def end_trial(self) -> None:
        """The trial has succeeded: the disk is used again."""
        if self._is_trying:
            self._is_trying = False
            self.is_usable = True
            self._tried_at = self._clock()
            log.info("the disk cache can be %s again", self._used)

    def drop_trial(self) -> None:
        """The trial was given up: another one may be made."""
        self._is_trying = False

    @property
    def is_well(self) -> bool:
        """Whether it has been usable for PAUSE."""
        return self.is_usable and self._clock() - self._tried_at >= PAUSE

    def _lengthen_pause(self) -> None:
        if self.is_well:
            self._pause = FIRST_PAUSE
        elif self.is_usable or self._is_trying:
            self._pause = min(2 * self._pause, PAUSE)


class ReadWriteHealth(NamedTuple):
    """Health of one disk as it is read, and as it is written."""

    reading: DiskHealth
    writing: DiskHealth


def disk_health(clock: Callable[[], float], *, is_failing: bool = False) -> ReadWriteHealth:
    """Return the health of a disk, by *clock* in seconds; see `DiskHealth`."""
    health = ReadWriteHealth(
        DiskHealth("read", clock, is_failing=is_failing),
        DiskHealth("written", clock, is_failing=is_failing),
    )
    health.reading.share_news(health.writing)
    health.writing.share_news(health.reading)
    return health
