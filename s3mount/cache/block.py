"""Blocks of one object version, ready or being fetched, in order and without overlap.

Bookkeeping only: no await, no store, no policy. `block_loader` adds blocks and removes them.
"""

import logging
from bisect import bisect_right, insort
from collections.abc import Callable
from operator import attrgetter
from typing import Final

import trio

from s3mount import unawaited
from s3mount.cache.ranges import FetchSizes, gaps
from s3mount.cache.readahead.forward_steps import StepLimit
from s3mount.cache.readahead.policy import Readahead
from s3mount.cache.readahead.stride import StrideDetector
from s3mount.errors import S3MountError, StoreError
from s3mount.s3.model import ByteRange, ObjectVersion, Reason
from s3mount.s3.object_store import Priority, StartedRead

log = logging.getLogger(__name__)

_start: Final = attrgetter("start")


class BlockFetch:
    """The fetch of one block, in flight. *on_end* is called with it when its read has ended.

    *ended* is set once the block is ready, or *error* says why it never will be. *priority* and
    *reason* are what the fetch began with. *read* is its read, once it has a buffer; *scope* is of
    its wait for one. *began* is when a large one did that had one at once, and the bytes of
    prefetches in flight then. *error* has no traceback, and is raised as a copy to each reader that
    waits.
    """

    __slots__ = (
        "_on_end",
        "began",
        "block",
        "ended",
        "error",
        "is_cancelled",
        "priority",
        "read",
        "reason",
        "scope",
    )

    def __init__(
        self,
        block: "Block",
        priority: Priority,
        reason: Reason,
        on_end: Callable[["BlockFetch", ObjectVersion, BaseException | None], None],
    ) -> None:
        self._on_end = on_end
        self.block = block
        self.priority = priority
        self.reason = reason
        self.ended = trio.Event()
        self.read: StartedRead | None = None
        self.began: tuple[float, int] | None = None
        self.scope: trio.CancelScope | None = None
        self.is_cancelled = False
        self.error: S3MountError | None = None

    def end(self, version: ObjectVersion, error: BaseException | None) -> None:
        """`OnReadEnd` of its read."""
        self._on_end(self, version, error)

    def fail(self, exc: BaseException) -> None:
        """Set *error* to what the waiters raise for *exc*; log it without waiters, or if a bug."""
        block, version = self.block, self.block.version_blocks.version
        if isinstance(exc, S3MountError):
            self.error = exc.detached()
            if not block.waiters:
                log.debug("prefetch of %r failed: %s", version.key, exc)
        else:
            self.error = StoreError(
                "not loaded, because of a bug", bucket=version.bucket, key=version.key
            )
            log.error("bug in a fetch of %r", version.key, exc_info=exc)
        unawaited.drop_frames(exc)  # which refer to the buffer

    def promote(self) -> None:
        """A reader waits for the block from now on."""
        if self.read is not None:
            self.read.promote()

    def cancel(self) -> None:
        """End the fetch once nobody writes to its buffer; its block does not become ready."""
        self.is_cancelled = True
        if self.read is not None:
            self.read.cancel()
        if self.scope is not None:
            self.scope.cancel()


class Block:
    """Contiguous bytes of one object version, fetched by one GET.

    With a *fetch* it is being filled, and *waiters* are the readers that will want it when they
    wake up. Without one it is ready, and *buffer* holds its bytes. The buffer is None before memory
    is found and after it was taken away. *is_warmed*: a warm-up fetches it.
    """

    __slots__ = (
        "buffer",
        "fetch",
        "is_warmed",
        "start",
        "stop",
        "version_blocks",
        "waiters",
        "was_accessed",
    )

    def __init__(
        self,
        version_blocks: "VersionBlocks",
        byte_range: ByteRange,
        buffer: memoryview | None = None,
    ) -> None:
        self.version_blocks = version_blocks
        self.start = byte_range.start
        self.stop = byte_range.stop
        self.fetch: BlockFetch | None = None
        self.buffer = buffer
        self.waiters = 0
        self.was_accessed = False
        self.is_warmed = False

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def is_ready(self) -> bool:
        return self.fetch is None and self.buffer is not None


class VersionBlocks:
    """The blocks of one object version, and the readahead over it.

    *version* keeps its version id, once the store has sent it, for as long as a reader or a block
    lives. *has_had_bytes*: a response has brought some of it. *readers* counts open handles.
    *last_read* is the number of the mount's reads at the latest one here, *served* counts the bytes
    of all reads here. *following* are the blocks of the versions that its readers may go on to, in
    order. Only a version that is open has any, so that no versions keep one another in memory.
    """

    __slots__ = (
        "__weakref__",
        "_blocks",
        "_starts",
        "_step_limit",
        "following",
        "has_had_bytes",
        "last_read",
        "readahead",
        "readers",
        "served",
        "sizes",
        "strides",
        "version",
    )

    def __init__(self, version: ObjectVersion, sizes: FetchSizes, step_limit: StepLimit) -> None:
        self.version = version
        self.sizes = sizes.for_version(version)
        self._step_limit = step_limit
        self.readahead = Readahead(version.size, self.sizes, step_limit)
        self.strides = StrideDetector(version.size, self.sizes)
        self.readers = 0
        self.has_had_bytes = False
        self.last_read = 0
        self.served = 0
        self.following: tuple[VersionBlocks, ...] = ()
        # the starts of `_blocks`, in step with it: bisect is faster without a key
        self._starts: list[int] = []
        self._blocks: list[Block] = []

    def __len__(self) -> int:
        return len(self._blocks)

    def find(self, offset: int) -> Block | None:
        """The block that holds, or will hold, the byte at *offset*."""
        index = bisect_right(self._starts, offset) - 1
        if index >= 0 and offset < (block := self._blocks[index]).stop:
            return block
        return None

    def overlapping(self, start: int, stop: int) -> list[Block]:
        """The blocks with bytes of [*start*, *stop*), in order."""
        first = max(0, bisect_right(self._starts, start) - 1)
        last = bisect_right(self._starts, stop - 1)
        return [block for block in self._blocks[first:last] if block.stop > start]

    def gaps(self, wanted: ByteRange) -> list[ByteRange]:
        """The parts of *wanted* that no block holds or will hold."""
        blocks = self.overlapping(wanted.start, wanted.stop)
        if not blocks:
            return [wanted] if len(wanted) else []
        return list(gaps(wanted, blocks))

    def has_gap(self, start: int, stop: int) -> bool:
        """Whether bytes of [*start*, *stop*) are in no block."""
        for block in self.overlapping(start, stop):
            if block.start > start:
                return True
            start = block.stop
        return start < stop

    def add(self, block: Block) -> None:
        insort(self._starts, block.start)
        insort(self._blocks, block, key=_start)

    def remove(self, block: Block) -> None:
        index = bisect_right(self._starts, block.start) - 1
        assert self._blocks[index] is block
        del self._starts[index], self._blocks[index]

    def is_expected(self, start: int, stop: int) -> bool:
        """Whether a reader is expected to read part of [*start*, *stop*)."""
        return self.readahead.is_expected(start, stop) or self.strides.is_expected(start, stop)

    def reset_readahead(self) -> list[Block]:
        """Begin readahead anew, since no reader is left; all blocks."""
        self.readahead = Readahead(self.version.size, self.sizes, self._step_limit)
        self.strides = StrideDetector(self.version.size, self.sizes)
        return list(self._blocks)
