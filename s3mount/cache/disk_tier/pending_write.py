"""Pending writes of the disk cache, and how a batch of them is written: in a thread."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from s3mount.cache.disk_tier.names import NamedVersion, segment_parts
from s3mount.cache.disk_tier.protocol import Disk
from s3mount.disk.reservation import Kept
from s3mount.disk.segment import Segment
from s3mount.s3.model import ByteRange


class PendingWrite:
    """Bytes to be written; None once they are written or lost.

    They lie in *buffer* if that is a block's.
    """

    __slots__ = ("buffer", "content", "is_begun", "named", "octets", "on_return", "start")

    def __init__(
        self, named: NamedVersion, start: int, content: memoryview, buffer: memoryview | None
    ) -> None:
        self.named = named
        self.start = start
        self.octets = len(content)
        self.content: memoryview | None = content
        self.buffer = buffer
        self.is_begun = False
        self.on_return: Callable[[], None] | None = None  # of *buffer*: the bytes are lost

    def drop(self) -> None:
        """Refer to the bytes no longer."""
        self.content = self.buffer = self.on_return = None


class FoundSegment(NamedTuple):
    """A segment as it is after a write."""

    digest: bytes
    number: int
    segment: Segment | None


class BatchResult(NamedTuple):
    """Result of a batch: bytes that were absent before, and where they are now."""

    octets: int
    found: list[FoundSegment]


def write_batch(disk: Disk, batch: Sequence[PendingWrite]) -> BatchResult:
    """Write those of *batch* that are not lost. OSError, sqlite3.Error."""
    kept = [
        Kept(write.named.name, write.start, write.content)
        for write in batch
        if write.content is not None
    ]
    written = disk.keep_all(kept)
    parts = {
        (write.named, part.number)
        for write in batch
        for part in segment_parts(
            write.named.name, ByteRange(write.start, write.start + write.octets)
        )
    }
    known = {(each.digest, each.number): each for each in written.segments}
    found = [
        FoundSegment(
            named.digest,
            number,
            known.get((named.digest, number)) or disk.find(named.name, number, named.digest),
        )
        for named, number in parts
    ]
    return BatchResult(written.octets, found)
