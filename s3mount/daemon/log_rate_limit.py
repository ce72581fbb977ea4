"""Rate limit for the log, so that repeated failures of a user or a store do not fill the disk.

The kind of a record is its logger, level and template, and its operation and error code if it names
them. Invariants:

1. At most a burst of each kind passes in a period, which begins with its first record.
2. The number of suppressed records is logged with the next record of any kind after the period, or
   by `log_suppressed`.
3. The memory is bounded, whatever is logged.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

PERIOD: Final = 60.0  # seconds
BURST: Final = 5  # records of a kind in a period, at WARNING and above
BURST_INFO: Final = 50  # at INFO, but for `daemon`, which logs what a signal requests
KINDS_MAX: Final = 128
_TEXT_MAX: Final = 200  # characters of a template, which a library may have formatted already

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    level: int
    text: str


@dataclass(slots=True)
class _Period:
    began: float
    passed: int = 0
    suppressed: int = 0


class LogLimit(logging.Filter):
    """Filter of a handler. Thread-safe. *clock* is monotonic, in seconds.

    Unless `is_limiting`, it only counts. State, under *_lock*: *_periods* by kind; *warnings* and
    *suppressed* count since the start.
    """

    def __init__(self, clock: Callable[[], float], *, is_limiting: bool = True) -> None:
        super().__init__()
        self._clock = clock
        self.is_limiting = is_limiting
        self._lock = threading.Lock()
        self._periods: dict[_Kind, _Period] = {}
        self.warnings = 0
        self.suppressed = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether *record* passes."""
        burst = _burst(record)
        if burst is None:
            return True
        now = self._clock()
        with self._lock:
            ended = self._pop_ended(now)
            passes = self._count(record, now, burst)
        _log_suppressed(ended, now)  # through this filter again, so without the lock
        return passes

    def log_suppressed(self) -> None:
        """Log how many records were suppressed since that was last logged."""
        now = self._clock()
        with self._lock:
            pending = {
                kind: _Period(each.began, suppressed=each.suppressed)
                for kind, each in self._periods.items()
            }
            for period in self._periods.values():
                period.suppressed = 0
        _log_suppressed(pending, now)

    def _pop_ended(self, now: float) -> dict[_Kind, _Period]:
        ended = {
            kind: period for kind, period in self._periods.items() if now - period.began >= PERIOD
        }
        for kind in ended:
            del self._periods[kind]
        return ended

    def _count(self, record: logging.LogRecord, now: float, burst: int) -> bool:
        self.warnings += record.levelno >= logging.WARNING
        period = self._periods.setdefault(self._kind(record), _Period(now))
        if period.passed < burst or not self.is_limiting:
            period.passed += 1
            return True
        period.suppressed += 1
        self.suppressed += 1
        return False

    def _kind(self, record: logging.LogRecord) -> _Kind:
        """Return the kind of *record*; beyond `KINDS_MAX` kinds, one for all others."""
        kind = _Kind(record.name, record.levelno, _text(record))
        if kind in self._periods or len(self._periods) < KINDS_MAX:
            return kind
        return _Kind(__name__, logging.WARNING, "other records")


def _burst(record: logging.LogRecord) -> int | None:
    """Return the number of records that pass in a period; None for no limit."""
    if record.name == __name__ or record.levelno < logging.INFO:
        return None
    if record.levelno >= logging.WARNING:
        return BURST
    return None if str(record.name).startswith("s3mount.daemon.") else BURST_INFO


def _text(record: logging.LogRecord) -> str:
    """Return the name of the record's kind, as the count of suppressed records shows it."""
    named = [getattr(record, name, None) for name in ("operation", "errno")]
    words = [word for word in named if isinstance(word, str)] or [str(record.msg)]
    raised = record.exc_info[0] if record.exc_info else None
    return ": ".join([*words, *([raised.__name__] if raised else [])])[:_TEXT_MAX]


def _log_suppressed(periods: Mapping[_Kind, _Period], now: float) -> None:
    for kind, period in periods.items():
        if period.suppressed:
            log.log(
                kind.level,
                "%s: %d more like this in %.0f s were not logged",
                kind.text,
                period.suppressed,
                max(now - period.began, 0.0),
                extra={"suppressed": period.suppressed},
            )
