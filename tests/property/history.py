"""History of a bucket's contents, and the states that a result of the mount may show.

Pure. A moment is a number of clock seconds, and no two events share one. docs/semantics.md has the
rules of visibility; `tests.reference` implements them for one state, and `test_filesystem` checks
that both agree.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tests.reference import can_be_a_name, encode

DIRECTORY = -1  # the size of a directory


class Child(NamedTuple):
    """The keys of one name: *is_directory* if one is below `name/`, *size* of the object `name`."""

    is_directory: bool
    size: int | None


NOTHING = Child(is_directory=False, size=None)


class State:
    """The sizes of all objects from the moment *begin* on."""

    def __init__(self, begin: float, sizes: Mapping[str, int]) -> None:
        self.begin = begin
        self.sizes = sizes
        self._children: dict[str, dict[bytes, Child]] = {}

    def children(self, prefix: str) -> dict[bytes, Child]:
        """Return the names in the directory *prefix*."""
        if prefix not in self._children:
            found: dict[bytes, Child] = {}
            for key, size in self.sizes.items():
                if key.startswith(prefix):
                    raw, slash, _ = key[len(prefix) :].partition("/")
                    name = encode(raw)
                    if can_be_a_name(name):
                        child = found.get(name, NOTHING)
                        found[name] = (
                            child._replace(is_directory=True)
                            if slash
                            else child._replace(size=size)
                        )
            self._children[prefix] = found
        return self._children[prefix]


class History:
    """The states of a bucket, oldest first."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.states = [State(float("-inf"), dict(sizes))]

    @property
    def current(self) -> State:
        return self.states[-1]

    def change(self, now: float, key: str, size: int | None) -> None:
        """Store an object of *size* at *key*, or delete it."""
        sizes = {name: there for name, there in self.current.sizes.items() if name != key}
        self.states.append(State(now, sizes if size is None else {**sizes, key: size}))

    def between(self, since: float, until: float) -> Sequence[State]:
        """Return every state of the bucket between the two moments."""
        begins = [state.begin for state in self.states]
        return self.states[max(0, bisect_right(begins, since) - 1) : bisect_right(begins, until)]


def sizes_of(
    states: Iterable[State], prefix: str, name: bytes, *, is_list_denied: bool = False
) -> set[int | None]:
    """Return the possible results of a lookup of *name*: sizes, DIRECTORY, or None for its absence.

    HEAD and LIST are two requests, so each may see another state. If LIST is denied, HEAD decides.
    """
    children = [state.children(prefix).get(name, NOTHING) for state in states]
    results: set[int | None] = {DIRECTORY for child in children if child.is_directory}
    if is_list_denied or not all(child.is_directory for child in children):
        results |= {child.size for child in children}
    return results


def stable_names(states: Sequence[State], prefix: str) -> set[bytes]:
    """Return the names in *prefix* with a key common to all *states*: no listing may lack them."""
    common = set(states[0].sizes)
    for state in states[1:]:
        common &= state.sizes.keys()
    return set(State(0.0, dict.fromkeys(common, 0)).children(prefix))
