"""One row of the catalogue: a misbehaviour, when it is met, and what is right then."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, auto

from tests.faults.bucket import Kind
from tests.faults.hostile_store import Fault, HostileStore, Step, behave
from tests.faults.workloads import Workload

TIMEOUT = 4.0  # the mount's --timeout, seconds
OUTAGE_SECONDS = 1.0  # how long a outage lasts that happens once
GRACE = 2.0  # seconds beyond it until a user must have been answered


class Outcome(Flag):
    """What the user is told. Several joined: either, as may befall; wrong bytes or names are never among them.

    FAILED is what comes of a fault that may pass and does not: EIO when attempts are used up, ETIMEDOUT when time is.
    """

    RIGHT = auto()
    EIO = auto()
    ETIMEDOUT = auto()
    EACCES = auto()
    ENOENT = auto()
    ESTALE = auto()
    FAILED = EIO | ETIMEDOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Misbehaviour:
    """*fault* is met by requests of kind *on* during *workload*: by the first (behind *skip*), then by every one for ever.

    Or *outage* befalls the whole store, for a second or for ever. *once* and *always* are what is right, each where it makes sense; *after* what is right when it is over, at the last of
    *tries_after*: a listing that goes on with a token of the store's own making fails once more.
    """

    name: str
    workload: Workload
    on: Kind | None = None
    fault: Fault = behave
    outage: Callable[[HostileStore], None] | None = None
    once: Outcome | None = None
    always: Outcome | None = None
    after: Outcome = Outcome.RIGHT
    tries_after: int = 1
    skip: int = 0
    page_size: int = 1000

    def step(self, place: str, *, is_once: bool) -> Step:
        return Step(self.on, self.fault, place, self.skip, 1 if is_once else math.inf)
