"""Active access patterns: the streams and strides that have bytes ahead, and the memory of each.

A pattern is active from its first fetch ahead on. Invariants:

1. The active patterns of one kind share memory for prefetches, which is divided anew whenever one
   begins or ends: streams as `readahead.shares` says, strides in equal parts.
2. A pattern ends with its reader or its object, or if it is idle: it did not move while many reads
   went elsewhere. The number of the mount's reads is the only clock.
3. What a pattern has ahead when it ends becomes ordinary cache, unless another one is expected
   there. The fetches in flight of a stream are cancelled if its reader is the only one.
"""

from abc import ABC, abstractmethod
from collections import Counter
from typing import Final, Generic, Protocol, TypeVar

from s3mount.cache.block import VersionBlocks
from s3mount.cache.block_loader import BlockLoader
from s3mount.cache.readahead.sequential_stream import SequentialStream
from s3mount.cache.readahead.shares import ReadaheadShares
from s3mount.cache.readahead.stride import StrideDetector
from s3mount.s3.model import ByteRange

# A pattern is idle if it did not move while so many reads went elsewhere: in its own version (32
# MiB or more: its reader has gone off with a seek), or in others (a player that pauses).
_IDLE_AFTER: Final = 256
_ALL_IDLE_AFTER: Final = 4096
_STRIDES_MAX: Final = 32  # that have elements ahead at once; one more waits until one is idle


class Pattern(Protocol):
    """A stream or a stride: reads that let others be expected."""

    def take_planned(self) -> tuple[ByteRange, ...]:
        """Return what is planned and yet to be read; it is expected no longer."""


P = TypeVar("P", bound=Pattern)


class _ActivePatterns(ABC, Generic[P]):
    """The active patterns of one kind, each with the version that it reads."""

    def __init__(self, loader: BlockLoader) -> None:
        self._loader = loader
        self._versions: dict[P, VersionBlocks] = {}

    def __len__(self) -> int:
        return len(self._versions)

    def __contains__(self, pattern: P) -> bool:
        return pattern in self._versions

    def add(self, pattern: P, version_blocks: VersionBlocks) -> None:
        """Make *pattern* an active one."""
        self._versions[pattern] = version_blocks
        self._divide()

    def end(self, pattern: P) -> None:
        """Expect no read of what *pattern* has ahead, if it is active."""
        version_blocks = self._versions.pop(pattern, None)
        if version_blocks is None:
            return
        self._divide()
        for planned in pattern.take_planned():
            unexpected = [
                block
                for block in version_blocks.overlapping(planned.start, planned.stop)
                if not version_blocks.is_expected(block.start, block.stop)
            ]
            self._loader.release(unexpected, may_cancel=self._may_cancel(version_blocks))

    def end_version(self, version_blocks: VersionBlocks) -> None:
        """End the patterns of *version_blocks*."""
        for pattern in [each for each, at in self._versions.items() if at is version_blocks]:
            self.end(pattern)

    def end_idle(self, reads: int) -> None:
        """End the patterns that are idle after *reads* reads of the mount."""
        idle = [each for each, at in self._versions.items() if self._is_idle(each, at, reads)]
        for pattern in idle:
            self.end(pattern)

    @abstractmethod
    def _divide(self) -> None:
        """Divide the memory anew."""

    @abstractmethod
    def _is_idle(self, pattern: P, version_blocks: VersionBlocks, reads: int) -> bool: ...

    @abstractmethod
    def _may_cancel(self, version_blocks: VersionBlocks) -> bool:
        """Whether fetches in flight are cancelled when a pattern ends."""


class ActiveStreams(_ActivePatterns[SequentialStream]):
    """The streams that read ahead; they share *limit* bytes."""

    def __init__(self, loader: BlockLoader, limit: int) -> None:
        super().__init__(loader)
        self._shares = ReadaheadShares(limit)

    def record_read(self, stream: SequentialStream) -> None:
        """Account for a read of *stream*, by its owner, if it is active."""
        if stream in self._versions and self._shares.record_read(stream):
            self._divide()

    def share(self, stream: SequentialStream) -> int:
        """Return how many bytes *stream*, which need not be active, may have ahead."""
        return self._shares.share(stream)

    def end(self, pattern: SequentialStream) -> None:
        if pattern in self._versions:
            self._shares.forget(pattern)
            super().end(pattern)

    def end_reader(self, owner: object, version_blocks: VersionBlocks) -> None:
        """End the streams of *owner*, which reads *version_blocks* no more."""
        for stream in [
            stream
            for stream, at in self._versions.items()
            if at is version_blocks and stream.owner is owner
        ]:
            self.end(stream)
        self._shares.forget_reader(owner)

    def count_moving(self, recent: int, reads: int) -> Counter[object]:
        """How many streams of each reader are among the *recent* reads, of *reads* in all.

        Not those within the elements of a stride, nor what no reader has read yet.
        """
        return Counter(
            each.owner
            for each, at in self._versions.items()
            if each.owner is not None
            and not at.strides.holds(each.run)
            and self._has_moved(each, at, reads, recent, recent)
        )

    def _divide(self) -> None:
        # others belong to one of these
        self._shares.divide(each for each, at in self._versions.items() if at.readers)

    def _is_idle(
        self, pattern: SequentialStream, version_blocks: VersionBlocks, reads: int
    ) -> bool:
        in_all = _ALL_IDLE_AFTER if version_blocks.readers else _IDLE_AFTER
        if self._has_moved(pattern, version_blocks, reads, _IDLE_AFTER, in_all):
            return False
        # with the block of its last read: a stream whose reader waits is not idle
        start, stop = max(0, pattern.position - 1), max(pattern.position, pattern.frontier)
        return not any(block.waiters for block in version_blocks.overlapping(start, stop))

    @staticmethod
    def _has_moved(
        stream: SequentialStream, at: VersionBlocks, reads: int, here: int, in_all: int
    ) -> bool:
        """Whether *stream* is among the last reads: *here*, of its version, and *in_all*."""
        return at.readahead.reads - stream.last_read <= here and reads - at.last_read <= in_all

    def _may_cancel(self, version_blocks: VersionBlocks) -> bool:
        return version_blocks.readers <= 1


class ActiveStrides(_ActivePatterns[StrideDetector]):
    """The strides that have elements ahead; they share *limit* bytes."""

    def __init__(self, loader: BlockLoader, limit: int) -> None:
        super().__init__(loader)
        self._limit = limit
        self._share = limit

    def record_read(
        self, version_blocks: VersionBlocks, offset: int, stop: int
    ) -> tuple[ByteRange, ...]:
        """What a stride has next after a read of [*offset*, *stop*); ends one that it breaks."""
        stride = version_blocks.strides
        elements = stride.record_read(offset, stop, self._share)
        if not stride.length and stride in self._versions:
            self.end(stride)
        return elements

    def admit(self, version_blocks: VersionBlocks, reads: int) -> bool:
        """Make the stride in *version_blocks* an active one, unless there are too many."""
        stride = version_blocks.strides
        if stride in self._versions:
            return True
        if len(self) >= _STRIDES_MAX:
            self.end_idle(reads)
            if len(self) >= _STRIDES_MAX:
                return False
        self.add(stride, version_blocks)
        return True

    def _divide(self) -> None:
        self._share = self._limit // max(1, len(self))

    def _is_idle(self, pattern: StrideDetector, version_blocks: VersionBlocks, reads: int) -> bool:
        del pattern  # the only one of its version, which other reads would have broken
        return reads - version_blocks.last_read > _ALL_IDLE_AFTER

    def _may_cancel(self, version_blocks: VersionBlocks) -> bool:
        del version_blocks
        return False
