"""Protocol of the disk: what the disk tier asks of `DiskCache`."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from s3mount.disk.object_name import ObjectName
from s3mount.disk.reservation import Kept, Written
from s3mount.disk.segment import Segment
from s3mount.disk.usage import DiskCounts, DiskLimits, DiskUsage


class Disk(Protocol):
    """Segments of object versions on a disk, as `DiskCache` has them; for any thread.

    All calls may wait for the disk, and may fail, but `touch`, `read_cached`, and
    `read` with *nowait*.
    """

    counts: DiskCounts
    limits: DiskLimits

    def find(
        self, name: ObjectName, number: int, digest: bytes | None = None
    ) -> Segment | None: ...

    def read(
        self, segment: Segment, start: int, stop: int, into: memoryview, *, nowait: bool = False
    ) -> list[tuple[int, int]]: ...

    def find_many(
        self, names: Sequence[tuple[ObjectName, bytes]], numbers: range
    ) -> list[Segment]: ...

    def read_cached(
        self, segment: Segment, start: int, stop: int, scratch: memoryview
    ) -> memoryview | None: ...

    @property
    def has_cached_reads(self) -> bool: ...

    def read_ahead(self, segments: Sequence[Segment]) -> None: ...

    def load_recent(self) -> None: ...

    def touch(self, segments: Iterable[Segment]) -> None: ...

    def flush(self) -> None: ...

    def keep_all(self, kept: Sequence[Kept]) -> Written: ...

    def evict(self, name: ObjectName) -> None: ...

    def mark_replaced(self, name: ObjectName) -> None: ...

    def usage(self) -> DiskUsage: ...

    def close(self) -> None: ...
