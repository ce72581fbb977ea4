"""Invalidations of names and of subtrees, and that none is missed once it has expired."""

import math
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.invalidations import SUBTREES_MAX, Invalidations
from s3mount.filesystem.namespace.tree import LOOKUP_TO_OPEN
from s3mount.filesystem.namespace.ttl_policy import StrictClock, TtlPolicy
from tests.unit.filesystem.evidence import never_expiring, proven

BUCKET = "b"


def ignore(time: float) -> None:
    """Nothing overflows here."""


def test_a_subtree_is_all_below_its_directory_and_nothing_beside_it() -> None:
    invalidations = never_expiring()

    invalidations.add_subtree((BUCKET, "a/b/"), 5.0)

    for inside in ("a/b/", "a/b/c/", "a/b/c/d/"):
        assert invalidations.last((BUCKET, inside), b"x") == 5.0
        assert invalidations.newest(BUCKET, inside) == 5.0
    for outside in ("", "a/", "a/bc/", "b/"):
        assert invalidations.last((BUCKET, outside), b"x") == -math.inf
    assert invalidations.last(("other", "a/b/"), b"x") == -math.inf


def test_the_later_of_a_name_and_of_a_directory_above_it_counts() -> None:
    invalidations = never_expiring()
    invalidations.add((BUCKET, "a/"), b"y", 4.0)
    invalidations.add_subtree((BUCKET, "a/"), 5.0)
    invalidations.add((BUCKET, "a/"), b"x", 6.0)

    assert invalidations.last((BUCKET, "a/"), b"x") == 6.0
    assert invalidations.last((BUCKET, "a/"), b"y") == 5.0
    assert invalidations.newest(BUCKET, "a/") == 6.0


def test_too_many_subtrees_invalidate_everything_older() -> None:
    times: list[float] = []
    invalidations = Invalidations(times.append, lambda: 0.0, math.inf)

    for number in range(SUBTREES_MAX + 1):
        invalidations.add_subtree((BUCKET, f"{number}/"), float(number))

    assert times == [float(SUBTREES_MAX)]
    assert invalidations.last((BUCKET, "0/"), b"x") == -math.inf
    assert invalidations.last((BUCKET, f"{SUBTREES_MAX}/"), b"x") == float(SUBTREES_MAX)


@dataclass
class Clock:
    """Clock that a test moves."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_invalidations_are_dropped_after_the_lifetime_of_metadata() -> None:
    clock = Clock()
    invalidations = Invalidations(ignore, clock, 10.0)
    invalidations.add((BUCKET, "a/"), b"x", 0.0)
    clock.now = 6.0
    invalidations.add_subtree((BUCKET, "a/"), 6.0)
    invalidations.add((BUCKET, "b/"), b"x", 7.0)

    clock.now = 10.0
    assert invalidations.newest(BUCKET, "a/") == 6.0
    assert len(invalidations) == 2
    clock.now = 16.0
    assert invalidations.last_subtree(BUCKET, "a/") == -math.inf
    assert invalidations.newest(BUCKET, "b/") == 7.0
    clock.now = 17.0
    assert invalidations.last((BUCKET, "b/"), b"x") == -math.inf
    assert len(invalidations) == 0
    assert not invalidations._newest


def test_one_that_is_repeated_is_kept_from_then_on() -> None:
    clock = Clock()
    invalidations = Invalidations(ignore, clock, 10.0)
    for clock.now in (0.0, 1.0, 8.0):
        invalidations.add_subtree((BUCKET, "a/"), clock.now)
        invalidations.add_subtree((BUCKET, f"{clock.now}/"), clock.now)

    clock.now = 12.0

    assert invalidations.last_subtree(BUCKET, "a/") == 8.0
    assert len(invalidations) == 2


def test_expired_ones_are_no_reason_to_invalidate_everything() -> None:
    clock, times = Clock(), list[float]()
    invalidations = Invalidations(times.append, clock, 10.0)

    for number in range(3 * SUBTREES_MAX):
        clock.now = float(number)
        invalidations.add_subtree((BUCKET, f"{number}/"), clock.now)

    assert times == []
    assert len(invalidations) == 10


@dataclass
class Directory:
    """A directory with dentries, under invalidations that expire and under those that never do."""

    ttl: TtlPolicy
    clock: Clock = field(default_factory=Clock)
    at: tuple[str, str] = (BUCKET, "a/b/")

    def __post_init__(self) -> None:
        self.strict = StrictClock(self.clock)
        lifetime = self.ttl.usable_for(LOOKUP_TO_OPEN)
        self.each_invalidations = (
            Invalidations(ignore, self.strict.now, lifetime),
            never_expiring(),
        )
        self.states = [DirectoryState(self.at, each) for each in self.each_invalidations]
        self.requested: list[float] = [self.strict.tick()]

    def act(self, action: str, amount: float) -> None:
        match action:
            case "request":
                self.requested.append(self.strict.tick())
            case "respond":  # to the oldest request
                dentry = CachedDentry(self.requested[0], None)
                del self.requested[: len(self.requested) - 1]
                for state in self.states:
                    state.put(b"x", dentry)
            case "list":
                listing = DirectoryListing(*self.at, self.requested[0], proven())
                listing.fill([Entry(b"y", 1, 1, "e")], 0)
                for state in self.states:
                    state.scan = ListingScan(listing, None)
            case "invalidate":
                time = self.strict.tick()
                for each in self.each_invalidations:
                    each.add(self.at, b"x", time)
            case "refresh":
                time = self.strict.tick()
                for each in self.each_invalidations:
                    each.add_subtree((BUCKET, "a/"), time)
            case _:
                self.clock.now += amount

    def usable(self) -> list[list[object]]:
        """What either has that may be used now: by lookups, opens, readers, and in its grace."""
        now = self.strict.now()
        return [
            [
                *(self._usable(state, name, now) for name in (b"x", b"y")),
                state.is_fresh(now, self.ttl),
            ]
            for state in self.states
        ]

    def _usable(self, state: DirectoryState, name: bytes, now: float) -> tuple[object, ...]:
        known = state.get(name)
        if known is None:
            return None, False, False
        left = self.ttl.remaining(known.requested_at, now, exists=known.exists)
        is_recent = self.ttl.is_recent(known.requested_at, now, LOOKUP_TO_OPEN)
        return state.get_fresh(name, now, self.ttl), is_recent, left > -self.ttl.grace


_seconds = st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0, 60.0, math.inf])
_actions = st.sampled_from(["request", "respond", "list", "invalidate", "refresh", "wait", "wait"])


@settings(max_examples=1000)
@given(
    st.builds(TtlPolicy, _seconds, _seconds, st.sampled_from([0.0, 3.0])),
    st.lists(
        st.tuples(_actions, st.sampled_from([0.25, 0.5, 1.0, 2.5, 4.0, 40.0])),
        min_size=4,
        max_size=30,
    ),
)
def test_what_may_be_used_is_the_same_as_if_invalidations_never_expired(
    ttl: TtlPolicy, script: list[tuple[str, float]]
) -> None:
    directory = Directory(ttl)

    for action, amount in script:
        directory.act(action, amount)

        expiring, kept = directory.usable()
        assert expiring == kept
