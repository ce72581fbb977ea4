"""Reference model of a bucket with versions: what it has been at each moment.

Pure, slow and obvious. A moment is a number; what happens at one moment happens in turn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from hypothesis import strategies as st

from tests.property.strategies import keys as any_keys

Kind = Literal["put", "delete", "undelete", "purge", "wait"]
MOMENTS = 6


class Step(NamedTuple):
    """One change of *key*, or one moment that passes.

    undelete: delete its newest version for good if that is a delete marker. purge: delete its
    newest version for good, whatever it is.
    """

    kind: Kind
    key: str = ""
    body: bytes = b""


class Event(NamedTuple):
    """A version that is still there; *body* is None for a delete marker."""

    moment: int
    version_id: str
    body: bytes | None


class Writer(Protocol):
    """A bucket that steps are taken in."""

    def put(self, key: str, body: bytes, moment: int) -> str:
        """Return the version id."""
        ...

    def delete(self, key: str, moment: int) -> str | None:
        """Return the version id of the delete marker; None if there is none.

        moto makes none if there is nothing to delete.
        """
        ...

    def delete_version(self, key: str, version_id: str) -> None: ...


@dataclass
class VersionHistory:
    """History of a bucket that *writer* holds."""

    writer: Writer
    moment: int = 0
    events: dict[str, list[Event]] = field(default_factory=dict)

    def take(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._take(step)

    def _take(self, step: Step) -> None:
        events = self.events.setdefault(step.key, []) if step.key else []
        match step.kind:
            case "wait":
                self.moment += 1
            case "put":
                version_id = self.writer.put(step.key, step.body, self.moment)
                events.append(Event(self.moment, version_id, step.body))
            case "delete":
                marker = self.writer.delete(step.key, self.moment)
                if marker is not None:
                    events.append(Event(self.moment, marker, None))
            case _ if events and (step.kind == "purge" or events[-1].body is None):
                self.writer.delete_version(step.key, events.pop().version_id)

    def bodies_at(self, moment: int) -> Mapping[str, bytes]:
        """Return the bucket as it was when *moment* ended, of what is still there."""
        bodies = {}
        for key, events in self.events.items():
            until = [event for event in events if event.moment <= moment]
            if until and until[-1].body is not None:
                bodies[key] = until[-1].body
        return bodies


def histories(
    keys: st.SearchStrategy[str] = any_keys, max_size: int = 20
) -> st.SearchStrategy[list[Step]]:
    """Generate steps in a bucket of few keys."""
    some = st.lists(keys, min_size=1, max_size=6)
    return some.flatmap(lambda chosen: st.lists(_steps(chosen), max_size=max_size))


def _steps(keys: Sequence[str]) -> st.SearchStrategy[Step]:
    key = st.sampled_from(keys)
    return st.one_of(
        st.builds(Step, st.just("put"), key, st.binary(max_size=2)),
        st.builds(Step, st.sampled_from(["delete", "undelete", "purge"]), key),
        st.just(Step("wait")),
    )
