"""What is held of one object version: blocks, filled or being filled, in order and without overlap.

Bookkeeping only: no await, no store, no policy. `cache` brings blocks and takes them away.
"""

from bisect import bisect_right, insort
from collections.abc import Iterator
from operator import attrgetter
from typing import Final

import trio

from s3mount.cache.ranges import FetchSizes, gaps
from s3mount.cache.readahead import Readahead
from s3mount.errors import S3MountError
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_store import Demand, Priority, StartedRead

_start: Final = attrgetter("start")


class BlockFetch:
    """A load under way. *ended* is set once the block has landed or *error* says why it never will.

    *urgency* is what it began with, and *demand* what it has now. *begun* is its first attempt, where that was sent without a
    task; *scope* is of its task, where it needs one. *error* has no traceback, and is raised as a copy to each who waits.
    """

    __slots__ = ("begun", "demand", "ended", "error", "is_given_up", "scope", "urgency")

    def __init__(self, urgency: Priority) -> None:
        self.urgency = urgency
        self.demand = Demand(urgency)
        self.ended = trio.Event()
        self.begun: StartedRead | None = None
        self.scope: trio.CancelScope | None = None
        self.is_given_up = False
        self.error: S3MountError | None = None

    def give_up(self) -> None:
        """Nobody wants it any more: its request is cancelled, it ends as soon as nobody writes to its buffer, and does not land."""
        self.is_given_up = True
        if self.begun is not None:
            self.begun.cancel()
        if self.scope is not None:
            self.scope.cancel()


class Block:
    """Some bytes of one object version, contiguous, fetched by one GET.

    With a *flight* it is being filled, and *waiters* are the readers that will want it when they wake up. Without one it has
    landed, and *buffer* holds its bytes; the buffer is None before memory was found and after it was taken away.
    """

    __slots__ = ("buffer", "flight", "shelf", "start", "stop", "waiters", "was_read")

    def __init__(
        self, shelf: "VersionBlocks", span: ByteRange, buffer: memoryview | None = None
    ) -> None:
        self.shelf = shelf
        self.start, self.stop = span.start, span.stop
        self.flight: BlockFetch | None = None
        self.buffer = buffer
        self.waiters = 0
        self.was_read = False

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def span(self) -> ByteRange:
        return ByteRange(self.start, self.stop)

    @property
    def is_landed(self) -> bool:
        return self.flight is None and self.buffer is not None


class VersionBlocks:
    """The blocks of one object version, and the readahead over it.

    *readers* counts its open handles, *last_read* is the number of the mount's reads by its last one.
    """

    __slots__ = (
        "__weakref__",
        "_blocks",
        "_starts",
        "geometry",
        "last_read",
        "readahead",
        "readers",
        "version",
    )

    def __init__(self, version: ObjectVersion, geometry: FetchSizes) -> None:
        self.version = version
        self.geometry = geometry.for_version(version)
        self.readahead = Readahead(version.size, self.geometry)
        self.readers = 0
        self.last_read = 0
        self._starts: list[
            int
        ] = []  # of `_blocks`, in step with it: bisect is quicker without a key
        self._blocks: list[Block] = []

    def __len__(self) -> int:
        return len(self._blocks)

    def find(self, offset: int) -> Block | None:
        """The block that holds, or will hold, the byte at *offset*."""
        index = bisect_right(self._starts, offset) - 1
        if index >= 0 and offset < (block := self._blocks[index]).stop:
            return block
        return None

    def overlapping(self, span: ByteRange) -> list[Block]:
        """The blocks with bytes of *span*, in order."""
        first = max(0, bisect_right(self._starts, span.start) - 1)
        last = bisect_right(self._starts, span.stop - 1)
        return [block for block in self._blocks[first:last] if block.stop > span.start]

    def gaps(self, span: ByteRange) -> Iterator[ByteRange]:
        """The parts of *span* that no block holds or will hold."""
        return gaps(span, [block.span for block in self.overlapping(span)])

    def add(self, block: Block) -> None:
        insort(self._starts, block.start)
        insort(self._blocks, block, key=_start)

    def remove(self, block: Block) -> None:
        index = bisect_right(self._starts, block.start) - 1
        assert self._blocks[index] is block
        del self._starts[index], self._blocks[index]

    def rest(self) -> list[Block]:
        """All blocks, and readahead begins anew: nobody reads this version any more."""
        self.readahead = Readahead(self.version.size, self.geometry)
        return list(self._blocks)
