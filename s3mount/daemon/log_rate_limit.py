"""A rate limit for the log: a user or a store that provokes failure after failure fills no disk.

A kind of record is its logger, level and template, and, where the record names them, operation and error code. Invariants: of each
kind at most a burst passes in a period, which begins with the first of them; how many did not is told, with the next record of any
kind once the period is over, or by `tell`; the memory is bounded, whatever is logged.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

PERIOD: Final = 60.0  # seconds
BURST: Final = 5  # records of a kind in a period, at WARNING and above
BURST_INFO: Final = 50  # at INFO, from what serves requests; what a signal asks for, `service` logs, and that is not limited
KINDS_MAX: Final = 128
_TEXT_MAX: Final = 200  # characters of a template, which libraries may have filled in already

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
    """The filter of a handler; from any thread. *clock* is monotonic, in seconds. Unless *is_limiting*, it only counts.

    State, under *_lock*: *_periods* has a period for each kind that was seen in the last one; *warnings* and *suppressed* count
    since the start.
    """

    def __init__(self, clock: Callable[[], float], *, is_limiting: bool = True) -> None:
        super().__init__()
        self._clock = clock
        self._is_limiting = is_limiting
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
            ended = self._take_ended(now)
            passes = self._count(record, now, burst)
        _log_suppressed(ended, now)  # through this filter again, so without the lock
        return passes

    def tell(self) -> None:
        """Log what was suppressed and not told yet."""
        now = self._clock()
        with self._lock:
            untold = {
                kind: _Period(each.began, suppressed=each.suppressed)
                for kind, each in self._periods.items()
            }
            for period in self._periods.values():
                period.suppressed = 0
        _log_suppressed(untold, now)

    def _take_ended(self, now: float) -> dict[_Kind, _Period]:
        ended = {
            kind: period for kind, period in self._periods.items() if now - period.began >= PERIOD
        }
        for kind in ended:
            del self._periods[kind]
        return ended

    def _count(self, record: logging.LogRecord, now: float, burst: int) -> bool:
        self.warnings += record.levelno >= logging.WARNING
        period = self._periods.setdefault(self._kind(record), _Period(now))
        if period.passed < burst or not self._is_limiting:
            period.passed += 1
            return True
        period.suppressed += 1
        self.suppressed += 1
        return False

    def _kind(self, record: logging.LogRecord) -> _Kind:
        """Of more kinds than can be kept apart, the rest is one."""
        kind = _Kind(record.name, record.levelno, _text(record))
        if kind in self._periods or len(self._periods) < KINDS_MAX:
            return kind
        return _Kind(__name__, logging.WARNING, "other records")


def _burst(record: logging.LogRecord) -> int | None:
    """None without a limit."""
    if record.name == __name__ or record.levelno < logging.INFO:
        return None
    if record.levelno >= logging.WARNING:
        return BURST
    return None if str(record.name).startswith("s3mount.daemon.") else BURST_INFO


def _text(record: logging.LogRecord) -> str:
    """What a kind is called where its suppressed records are told."""
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
