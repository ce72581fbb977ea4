"""Rate limit for the log, so that repeated failures of a user or a store do not fill the disk.

The kind of a record is its logger, level and template, and its operation and error code if it names
them. Records of one kind, with pauses below QUIET between them, are a streak. Invariants:

1. The first records of a streak pass at once, a burst at most. The others are counted.
2. Each suppressed record is counted in one line of the log: a minute after the last such line of
   its kind, then after three, nine, and so on, up to LONGEST_INTERVAL. So a streak of an hour makes
   a burst and five lines at most, and few kinds fill no disk.
3. These lines come with the next record, by `log_due`, which a timer calls, or by `log_suppressed`.
4. After an outage, which a record with `outage_seconds` ends, all counts are logged and all streaks
   are over: the first failure of the next outage passes. RESET_INTERVAL is between two such ends.
5. The memory is bounded, whatever is logged.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterable
from typing import Final

from s3mount.frozen_dataclass import dataclass

PERIOD: Final = 60.0  # seconds to the first count of a streak, and between calls of `log_due`
GROWTH: Final = 3  # of the time from one count of a streak to the next
LONGEST_INTERVAL: Final = 1800.0  # seconds
QUIET: Final = 300.0  # seconds without a record of its kind, after which a streak is over
RESET_INTERVAL: Final = 600.0  # seconds; a store that comes and goes has no first failures
BURST: Final = 5  # records of a streak, at WARNING and above
BURST_INFO: Final = 20  # at INFO, but for `daemon`, which logs what a signal requests
KINDS_MAX: Final = 128
_TEXT_MAX: Final = 200  # characters of a template, which a library may have formatted already

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    level: int
    text: str


@dataclass(slots=True)
class _Streak:
    """Records of one kind; *since* is its first record, or when *suppressed* were last logged."""

    since: float
    last: float
    interval: float = PERIOD
    passed: int = 0
    suppressed: int = 0


@dataclass(frozen=True, slots=True)
class _Count:
    kind: _Kind
    suppressed: int
    seconds: float


class LogLimit(logging.Filter):
    """Filter of a handler. Thread-safe. *clock* is monotonic, in seconds.

    Unless `is_limiting`, it only counts. State, under *_lock*: *_streaks* by kind, all of which
    ended at *_ended_at*; *warnings* and *suppressed* count since the start.
    """

    def __init__(self, clock: Callable[[], float], *, is_limiting: bool = True) -> None:
        super().__init__()
        self._clock = clock
        self.is_limiting = is_limiting
        self._lock = threading.Lock()
        self._streaks: dict[_Kind, _Streak] = {}
        self._ended_at = -math.inf
        self.warnings = 0
        self.suppressed = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether *record* passes."""
        burst = _burst(record)
        if burst is None:
            return True
        now = self._clock()
        with self._lock:
            due = self._take_due(now)
            if hasattr(record, "outage_seconds") and now - self._ended_at >= RESET_INTERVAL:
                due += self._end_all(now)
            passes = self._count(record, now, burst)
        _log_counts(due)  # through this filter again, so without the lock
        return passes

    def log_due(self) -> None:
        """Log how many records were suppressed, of each kind for which it is time."""
        with self._lock:
            due = self._take_due(self._clock())
        _log_counts(due)

    def log_suppressed(self) -> None:
        """Log how many records were suppressed since that was last logged."""
        with self._lock:
            pending = self._take(self._streaks, self._clock())
        _log_counts(pending)

    def _take_due(self, now: float) -> list[_Count]:
        """Return the counts that are to be logged now; forget the streaks that are over."""
        over = [kind for kind, streak in self._streaks.items() if now - streak.last >= QUIET]
        due = [
            kind
            for kind, streak in self._streaks.items()
            if streak.suppressed and now - streak.since >= streak.interval
        ]
        counts = self._take(dict.fromkeys([*over, *due]), now)
        for kind in over:
            del self._streaks[kind]
        for kind in due:
            if streak := self._streaks.get(kind):
                streak.interval = min(streak.interval * GROWTH, LONGEST_INTERVAL)
        return counts

    def _end_all(self, now: float) -> list[_Count]:
        counts = self._take(self._streaks, now)
        self._streaks.clear()
        self._ended_at = now
        return counts

    def _take(self, kinds: Iterable[_Kind], now: float) -> list[_Count]:
        """Return the counts of *kinds* that are not 0, and start them again."""
        counts = []
        for kind in kinds:
            streak = self._streaks[kind]
            if streak.suppressed:
                counts.append(_Count(kind, streak.suppressed, max(now - streak.since, 0.0)))
                streak.suppressed, streak.since = 0, now
        return counts

    def _count(self, record: logging.LogRecord, now: float, burst: int) -> bool:
        self.warnings += record.levelno >= logging.WARNING
        streak = self._streaks.setdefault(self._kind(record), _Streak(now, now))
        streak.last = now
        if streak.passed < burst or not self.is_limiting:
            streak.passed += 1
            return True
        streak.suppressed += 1
        self.suppressed += 1
        return False

    def _kind(self, record: logging.LogRecord) -> _Kind:
        """Return the kind of *record*; beyond `KINDS_MAX` kinds, one for all others."""
        kind = _Kind(record.name, record.levelno, _text(record))
        if kind in self._streaks or len(self._streaks) < KINDS_MAX:
            return kind
        return _Kind(__name__, logging.WARNING, "other records")


def _burst(record: logging.LogRecord) -> int | None:
    """Return the number of records of a streak that pass; None for no limit."""
    if record.name == __name__ or record.levelno < logging.INFO:
        return None
    if record.levelno >= logging.WARNING or hasattr(record, "outage_seconds"):
        return BURST
    return None if str(record.name).startswith("s3mount.daemon.") else BURST_INFO


def _text(record: logging.LogRecord) -> str:
    """Return the name of the record's kind, as the count of suppressed records shows it."""
    named = [getattr(record, name, None) for name in ("operation", "errno")]
    words = [word for word in named if isinstance(word, str)] or [str(record.msg)]
    raised = record.exc_info[0] if record.exc_info else None
    return ": ".join([*words, *([raised.__name__] if raised else [])])[:_TEXT_MAX]


def _log_counts(counts: Iterable[_Count]) -> None:
    for count in counts:
        log.log(
            count.kind.level,
            "%s: and %s more in the last %s",
            count.kind.text,
            f"{count.suppressed:,}",
            _duration(count.seconds),
            extra={"suppressed": count.suppressed, "seconds": round(count.seconds)},
        )


def _duration(seconds: float) -> str:
    """Return *seconds* in words that follow "the last"."""
    minutes = round(seconds / 60)
    if seconds < PERIOD:
        return f"{seconds:.0f} s"
    return "minute" if minutes == 1 else f"{minutes} minutes"
