"""A store whose answers come when, and as, a test says: for the orders and the ill luck that no real server can be made to have.

Until an answer is let through its buffer holds rubbish, written again and again: whoever reads it too early, or is lent it
while a load still fills it, reads rubbish. A cancelled load goes on until it is let through, as one in a thread does.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from s3mount.cache.block_cache import BlockCache
from s3mount.errors import S3MountError
from s3mount.s3.model import ByteRange, ListPage, ListQuery, ObjectStat, ObjectVersion, Revalidation
from s3mount.s3.object_store import Demand, OnToken, Priority


def content_of(version: ObjectVersion) -> bytes:
    """What the store says that *version* holds: bytes that tell every place from every other."""
    return random.Random(f"{version.key} {version.etag}").randbytes(version.size)


@dataclass(eq=False)
class Load:
    """A GET that was sent and not answered."""

    version: ObjectVersion
    span: ByteRange
    into: memoryview
    demand: Demand
    answered: trio.Event = field(default_factory=trio.Event)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.urgency = self.demand.urgency  # what it was sent with

    def scribble(self) -> None:
        self.into[:] = b"\xee" * len(self.into)

    def land(self) -> None:
        self.answered.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.answered.set()


@dataclass(eq=False)
class BegunLoad(Load):
    """A GET that was sent at once; where it fails, what finishes it fails too, or asks once more.

    One that is cancelled goes on until it is let through, as one does whose thread has yet to notice.
    """

    store: "ScriptedStore" = field(kw_only=True)
    ended: Callable[[], None] = field(kw_only=True)
    is_done: bool = False
    asks_once_more: bool = False
    is_cancelled: bool = False

    def land(self) -> None:
        if self in self.store.loads:
            self.into[:] = self.store.content(self.version)[self.span.start : self.span.stop]
            self.is_done = True
            self._end()

    def fail(self, error: Exception) -> None:
        self.error = error
        self._end()

    async def see_through(self, has_ended: trio.Event) -> None:
        await has_ended.wait()

    def cancel(self) -> None:
        self.is_cancelled = True

    async def finish(self) -> None:
        assert self.error is not None
        await trio.lowlevel.checkpoint()
        if not self.asks_once_more:
            raise self.error
        await self.store.get_range(self.version, self.span, self.into, self.demand)

    def _end(self) -> None:
        self.store.loads.remove(self)
        self.ended()


class ScriptedStore:
    """An ObjectStore of ranges. *sends_at_once*: a load needs not wait for its place."""

    def __init__(self, *, sends_at_once: bool = False) -> None:
        self.sends_at_once = sends_at_once
        self.loads: list[Load] = []  # under way
        self.asked: list[tuple[str, ByteRange, Priority]] = []  # all there ever were
        self.is_prompt = False
        self._contents: dict[ObjectVersion, bytes] = {}

    def content(self, version: ObjectVersion) -> bytes:
        if version not in self._contents:
            self._contents[version] = content_of(version)
        return self._contents[version]

    async def get_range(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: memoryview,
        demand: Demand | None = None,
    ) -> None:
        load = Load(version, span, into, demand or Demand())
        self._note(load)
        if self.is_prompt:
            load.land()
        try:
            await self._answer(load)
        finally:
            self.loads.remove(load)

    def has_place(self) -> bool:
        return True

    def begin_range(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: memoryview,
        demand: Demand,
        ended: Callable[[], None],
    ) -> "BegunLoad | None":
        if not self.sends_at_once:
            return None
        load = BegunLoad(version, span, into, demand, store=self, ended=ended)
        self._note(load)
        if self.is_prompt:
            trio.lowlevel.current_trio_token().run_sync_soon(load.land)
        return load

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

    def given_up_by(self, cache: BlockCache) -> list[Load]:
        """The loads under way that nobody wants any more."""
        demands = [flight.demand for flight in cache._loads._flights if flight.is_given_up]
        return [load for load in self.loads if load.demand in demands]

    def fail_all(self, error: S3MountError) -> None:
        for load in list(self.loads):
            load.fail(error)

    def _note(self, load: Load) -> None:
        assert len(load.into) == len(load.span) > 0
        assert load.span.stop <= load.version.size
        load.scribble()
        self.asked.append((load.version.key, load.span, load.urgency))
        self.loads.append(load)

    async def _answer(self, load: Load) -> None:
        try:
            await load.answered.wait()
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await load.answered.wait()
            load.scribble()
            raise
        if load.error is not None:
            raise load.error
        load.into[:] = self.content(load.version)[load.span.start : load.span.stop]
