"""Policy of connections that a store accepts and leaves silent: when a request leaves one.

Some stores and proxies serve a fixed number of connections. They accept more, and leave requests
over those without a response. A connection is *silent* while it is opened, and from its first
request to the first response, and *proven* from then on. Pure, apart from its lock: it knows no
sockets.

Invariants:

1. A request leaves a connection that has been silent for PATIENCE_MIN, and for PATIENCE_FACTOR
   times the slowest of the latest responses. Each move that is in vain doubles that time, and each
   confirmed one halves it again.
2. Few moves are in flight: TRIALS, and twice as many after each confirmed one, until one is in
   vain. So a store that has become slow altogether does not get everything twice.
3. A move is confirmed if the response over a proven connection comes in half the time at most that
   the other connection was silent. That is evidence of a limit of connections.
4. So is a request over a silent connection that another attempt at the same read, a hedge, has
   overtaken once its response is late. One whose reader gave it up tells nothing.
5. A limit is found by EVIDENCE_MIN of these, with no other new connection proven meanwhile. One
   alone may be a response that was slow, as any store has.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

PATIENCE_MIN: Final = 1.0  # seconds
PATIENCE_FACTOR: Final = 3.0
DOUBTS_MAX: Final = 5  # then a request waits for half a minute, as for any response
TRIALS: Final = 2
LATE_MIN: Final = 0.15  # seconds; of a request that another attempt overtakes: hedges wait longer
EVIDENCE_MIN: Final = 2  # requests
STALLED_MIN: Final = 0.05  # seconds of silence with which no more connections are opened
STALLED_FACTOR: Final = 2.0  # times the slowest of the latest responses
DECAY: Final = 0.98  # of the slowest response, with each other one


class SilentConnections:
    """The silent connections of a mount, and what they tell. Thread-safe.

    *limits_found* counts the evidence of a limit of connections, and *responsive* is how many
    connections were proven at the latest one. *clock* is monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.limits_found = 0
        self.responsive = 0
        self._slowest = 0.0  # of the latest responses; a lost update does no harm
        # under the lock: when each silence began, the oldest first; moves in vain; moves in flight,
        # and how many there may be; evidence of a limit since a new connection was proven
        self._lock = threading.Lock()
        self._silences: dict[object, float] = {}
        self._doubts = 0
        self._moves = 0
        self._moves_max = TRIALS
        self._evidence = 0

    @property
    def patience(self) -> float:
        """How many seconds a connection is silent before its request leaves it."""
        usual = max(PATIENCE_MIN, PATIENCE_FACTOR * self._slowest)
        return usual * (1 << self._doubts)

    def record_response(self, seconds: float) -> None:
        """Account for a response *seconds* after its request."""
        self._slowest = max(seconds, self._slowest * DECAY)

    @property
    def is_stalled(self) -> bool:
        """Whether a connection is silent for longer than responses usually take."""
        if not self._silences:
            return False
        late = self._clock() - max(STALLED_MIN, STALLED_FACTOR * self._slowest)
        with self._lock:
            return next(iter(self._silences.values()), late) < late

    def begin_silence(self) -> object:
        """Account for a new connection; `end_silence` follows, with what is returned."""
        silence = object()
        with self._lock:
            self._silences[silence] = self._clock()
        return silence

    def end_silence(self, silence: object, *, is_proven: bool) -> None:
        """Account for the end of a silence: by a response, or by the end of the connection."""
        with self._lock:
            del self._silences[silence]
            if is_proven:
                self._evidence = 0

    def begin_move(self, age: float) -> bool:
        """Whether a request leaves its connection after *age* seconds; then `end_move` follows."""
        with self._lock:
            may_move = age >= self.patience and self._moves < self._moves_max
            self._moves += may_move
            return may_move

    def end_move(self, age: float, seconds: float | None, responsive: int) -> None:
        """Account for a move off a connection that was silent for *age* seconds.

        The response came *seconds* after the request over another connection, of *responsive*;
        infinity if all of those were busy; None if none came that tells anything.
        """
        with self._lock:
            self._moves -= 1
            if seconds is None:
                return
            if seconds > age / 2:
                self._doubts = min(DOUBTS_MAX, self._doubts + 1)
                self._moves_max = TRIALS
                return
            self._doubts = max(0, self._doubts - 1)
            self._moves_max = min(1024, 2 * self._moves_max)
            self._add_evidence(responsive)

    def record_lost(self, age: float, responsive: int) -> None:
        """Account for a request that was overtaken after *age* seconds of silence."""
        if age < max(LATE_MIN, self._slowest) or not responsive:
            return
        with self._lock:
            self._add_evidence(responsive)

    def _add_evidence(self, responsive: int) -> None:
        self._evidence += 1
        if self._evidence >= EVIDENCE_MIN:
            self._evidence = 0
            self.responsive = responsive
            self.limits_found += 1
