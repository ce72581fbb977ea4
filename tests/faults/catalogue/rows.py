"""Row of the catalogue: a misbehaviour, its requests and its correct outcomes."""

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from enum import Flag, auto

from tests.faults.bucket import Kind
from tests.faults.hostile_store import Fault, HostileStore, Step, behave
from tests.faults.workloads import Workload

TIMEOUT = 4.0  # seconds: the mount's --timeout
OUTAGE_SECONDS = 1.0  # seconds that an outage lasts which happens once
GRACE = 2.0  # seconds after the timeout within which a system call must return


class Outcome(Flag):
    """Outcome of a user's system calls; joined flags are alternatives.

    Wrong bytes and wrong names are never allowed. FAILED is the outcome of a transient fault that
    persists: EIO when the attempts are used up, ETIMEDOUT when the time is.
    """

    RIGHT = auto()
    EIO = auto()
    ETIMEDOUT = auto()
    EACCES = auto()
    ENOENT = auto()
    ESTALE = auto()
    FAILED = EIO | ETIMEDOUT


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """Fault in requests of kind *on* during *workload*, or an *outage* of the whole store.

    The fault hits one request after *skip* others, or all from there on; an outage lasts a second,
    or until it is ended. *once* and *always* are the correct outcomes, None if not applicable.
    *after* is the correct outcome at the last of *tries_after* attempts after the fault: a listing
    that continues with a false token fails once more.
    """

    name: str
    workload: Workload
    on: Kind | None = None
    fault: Fault = behave
    _: KW_ONLY
    outage: Callable[[HostileStore], None] | None = None
    once: Outcome | None = None
    always: Outcome | None = None
    after: Outcome = Outcome.RIGHT
    tries_after: int = 1
    skip: int = 0
    page_size: int = 1000

    def step(self, prefix: str, *, is_once: bool) -> Step:
        return Step(self.on, self.fault, prefix, self.skip, 1 if is_once else math.inf)
