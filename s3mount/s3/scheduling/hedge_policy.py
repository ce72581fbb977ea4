"""When a read may be asked a second time: where its answer is late, and asking again costs nobody else.

1. One hedge for a read; hedges are at most one in fifty of all reads, and a few at once, so that a store or a network that has
   become slow altogether is not asked for everything twice.
2. None while fewer requests are allowed than at most: the store was throttling lately.
3. None that would have to wait for its place.
"""

from s3mount.s3.object_store import Priority
from s3mount.s3.scheduling.latency import Latency
from s3mount.s3.scheduling.limiter import Limiter, Permit

SHARE = 0.02  # of a hedge, which each read earns
BURST = 8.0  # hedges that can be saved up


class HedgePolicy:
    """The hedges of the mount. Belongs to one trio run."""

    def __init__(self, gate: Limiter) -> None:
        self._gate = gate
        self._earned = BURST
        self.latency = Latency()
        # what came of it
        self.sent = 0
        self.won = 0

    def begin(self) -> "Hedge":
        """A read begins; what it may use."""
        self._earned = min(BURST, self._earned + SHARE)
        return Hedge(self)

    def enter_nowait(self) -> Permit | None:
        """A place in the gate for a hedge, if there may be one now."""
        ticket = Permit(self._gate, Priority.DEMANDED)
        if self._earned < 1 or self._gate.allowance.is_cut or not ticket.enter_nowait():
            return None
        self._earned -= 1
        self.sent += 1
        return ticket


class Hedge:
    """One read's right to be asked a second time."""

    __slots__ = ("_hedging", "_is_used")

    def __init__(self, hedging: HedgePolicy) -> None:
        self._hedging = hedging
        self._is_used = False

    @property
    def late_after(self) -> float:
        """Seconds after which it is time."""
        return self._hedging.latency.late_after

    def enter_nowait(self) -> Permit | None:
        """Its place in the gate; None where it may not, or did already."""
        ticket = None if self._is_used else self._hedging.enter_nowait()
        self._is_used |= ticket is not None
        return ticket

    def answered(self, seconds: float) -> None:
        """An attempt at the read had its first byte after so many *seconds*."""
        self._hedging.latency.add(seconds)

    def won(self) -> None:
        """The second attempt brought the answer."""
        self._hedging.won += 1
