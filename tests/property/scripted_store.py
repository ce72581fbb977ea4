"""A store whose answers come when, and as, a test says: for the orders and the ill luck that no real server can be made to have.

Until an answer is let through its buffer holds rubbish, written again and again: whoever reads it too early, or is lent it
while a load still fills it, reads rubbish. A cancelled load goes on until it is let through, as one in a thread does.
"""

import random
from dataclasses import dataclass, field

import trio

from s3mount.errors import S3MountError
from s3mount.s3.store import Demand, OnToken, Urgency
from s3mount.s3.values import ListPage, ListQuery, ObjectStat, ObjectVersion, Revalidation, Span


def content_of(version: ObjectVersion) -> bytes:
    """What the store says that *version* holds: bytes that tell every place from every other."""
    return random.Random(f"{version.key} {version.etag}").randbytes(version.size)


@dataclass(eq=False)
class Load:
    """A GET that was sent and not answered."""

    version: ObjectVersion
    span: Span
    into: memoryview
    demand: Demand
    answered: trio.Event = field(default_factory=trio.Event)
    error: Exception | None = None
    is_cancelled: bool = False

    def __post_init__(self) -> None:
        self.urgency = self.demand.urgency  # what it was sent with

    def scribble(self) -> None:
        self.into[:] = b"\xee" * len(self.into)

    def land(self) -> None:
        self.answered.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.answered.set()


class ScriptedStore:
    """An ObjectStore of ranges."""

    def __init__(self) -> None:
        self.loads: list[Load] = []  # under way
        self.asked: list[tuple[str, Span, Urgency]] = []  # all there ever were
        self.is_prompt = False
        self._contents: dict[ObjectVersion, bytes] = {}

    def content(self, version: ObjectVersion) -> bytes:
        if version not in self._contents:
            self._contents[version] = content_of(version)
        return self._contents[version]

    async def get_range(
        self, version: ObjectVersion, span: Span, into: memoryview, demand: Demand | None = None
    ) -> None:
        assert len(into) == len(span) > 0
        assert span.stop <= version.size
        load = Load(version, span, into, demand or Demand())
        load.scribble()
        self.asked.append((version.key, span, load.urgency))
        self.loads.append(load)
        if self.is_prompt:
            load.land()
        try:
            await self._answer(load)
        finally:
            self.loads.remove(load)

    async def head(self, key: str) -> ObjectStat:  # noqa: ARG002
        raise AssertionError("blocks ask for ranges only")

    async def list_page(
        self,
        query: ListQuery,  # noqa: ARG002
        demand: Demand | None = None,  # noqa: ARG002
        on_token: OnToken | None = None,  # noqa: ARG002
    ) -> ListPage:
        raise AssertionError("blocks ask for ranges only")

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:  # noqa: ARG002
        raise AssertionError("blocks ask for ranges only")

    def scribble(self) -> None:
        """Let every load under way write to its buffer."""
        for load in self.loads:
            load.scribble()

    def land_all(self) -> None:
        for load in list(self.loads):
            load.land()

    def let_go(self) -> None:
        """Let everything through, from now on too: the play is over, however it went."""
        self.is_prompt = True
        self.land_all()

    def fail_all(self, error: S3MountError) -> None:
        for load in list(self.loads):
            load.fail(error)

    async def _answer(self, load: Load) -> None:
        try:
            await load.answered.wait()
        except trio.Cancelled:
            load.is_cancelled = True
            with trio.CancelScope(shield=True):
                await load.answered.wait()
            load.scribble()
            raise
        if load.error is not None:
            raise load.error
        load.into[:] = self.content(load.version)[load.span.start : load.span.stop]
