"""One row of the catalogue: a misbehaviour, when it is met, and what is right then."""

import math
from dataclasses import dataclass
from enum import Flag, auto

from tests.faults.bucket import Kind
from tests.faults.hostile import Fault, Step
from tests.faults.workloads import Workload

TIMEOUT = 4.0  # the mount's --timeout, seconds
GRACE = 2.0  # seconds beyond it until a user must have been answered


class Outcome(Flag):
    """What the user is told. Several joined: either, as may befall; wrong bytes or names are never among them."""

    RIGHT = auto()
    EIO = auto()
    ETIMEDOUT = auto()
    EACCES = auto()
    ENOENT = auto()
    ESTALE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Misbehaviour:
    """*fault* met by requests of kind *on* during *workload*: by the first (behind *skip*), then by every one for ever.

    *once* and *always* are what is right, each where it makes sense; *after* what is right when it is over.
    """

    name: str
    workload: Workload
    on: Kind | None
    fault: Fault
    once: Outcome | None = None
    always: Outcome | None = None
    after: Outcome = Outcome.RIGHT
    skip: int = 0
    page_size: int = 1000

    def step(self, place: str, *, is_once: bool) -> Step:
        return Step(self.on, self.fault, place, self.skip, 1 if is_once else math.inf)
