"""Outages of the store: from the first operation that it fails, to the first that it completes.

An operation fails when its retries are exhausted, so a single lost request is no outage. A response
that the object is absent or replaced is a success: the store is there. An operation that began
before the last success tells nothing new when it fails. For the event loop.

An outage of one of several buckets lapses: if nobody asks it again, nobody is kept waiting, and no
success can end it. One that fails again has lasted since its first failure.
"""

import logging
import math
from collections.abc import Callable

import trio

from s3mount.errors import DeadlineExceeded, NotFound, StaleVersion, StoreError

log = logging.getLogger(__name__)


class OutageTracker:
    """Tells in the log when an outage ends; *clock* is that of the operations.

    *is_elsewhere* tells a failure that sends the caller to another store: this one is there. An
    outage has lapsed *lapses_after* seconds after the last operation that failed in it.

    State: *_began* is when the present outage began, None without one; *_failures* are the
    operations that failed in it, and *_failed* is when the last of them did. *_succeeded* is when
    the last operation succeeded.
    """

    def __init__(
        self,
        clock: Callable[[], float] = trio.current_time,
        is_elsewhere: Callable[[BaseException], bool] = lambda _: False,
        *,
        lapses_after: float = math.inf,
    ) -> None:
        self._clock = clock
        self._is_elsewhere = is_elsewhere
        self._lapses_after = lapses_after
        self._began: float | None = None
        self._failures = 0
        self._failed = -math.inf
        self._succeeded = -math.inf

    @property
    def seconds(self) -> float:
        """How long the present outage lasts; 0 without one, or if it has lapsed."""
        if self._began is None:
            return 0.0
        now = self._clock()
        return 0.0 if now - self._failed > self._lapses_after else now - self._began

    def record(self, error: BaseException | None, began: float) -> None:
        """Record how an operation ended that *began* then: *error* is None if it succeeded."""
        if error is None or self._is_response(error):
            self._succeeded = self._clock()
            if self._began is not None:
                self._end(self._began)
        elif isinstance(error, StoreError | DeadlineExceeded) and began >= self._succeeded:
            self._failed = self._clock()
            self._began = self._failed if self._began is None else self._began
            self._failures += 1

    def _is_response(self, error: BaseException) -> bool:
        return isinstance(error, NotFound | StaleVersion) or self._is_elsewhere(error)

    def _end(self, began: float) -> None:
        seconds, failures = self._clock() - began, self._failures
        self._began, self._failures = None, 0
        log.info(
            "the store responds again, after %.0f s; failed operations meanwhile: %d",
            seconds,
            failures,
            extra={"outage_seconds": round(seconds, 3), "failed_operations": failures},
        )
