"""State of an open file, and the protocols of the source of its bytes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from s3mount.s3.model import ObjectVersion


class Reader(Protocol):
    """Reader of one version; see `cache`."""

    async def read(self, offset: int, size: int) -> bytes | bytearray | memoryview: ...
    def read_cached(self, offset: int, size: int) -> bytes | memoryview | None:
        """The same, or None if it would have to wait."""
        ...

    @property
    def has_had_bytes(self) -> bool:
        """Whether bytes of the version have come, for this reader or another."""
        ...

    def close(self) -> None: ...


class Blocks(Protocol):
    """Source of readers; see `cache`."""

    def open(self, version: ObjectVersion) -> Reader: ...
    def prefetch(self, version: ObjectVersion) -> bool:
        """Start to fetch a small object before it is opened; False if there is no room."""
        ...

    def prefetch_end(self, version: ObjectVersion) -> None:
        """Start to fetch the last block of a large object, which is open."""
        ...

    def expect_next(self, version: ObjectVersion, following: Iterable[ObjectVersion]) -> None:
        """A reader of *version*, which is open, may go on to those *following*, one by one."""
        ...


@dataclass(slots=True)
class OpenFile:
    """*is_opening*: the kernel cannot send a READ yet.

    *is_final*: the version will not be corrected (again).

    *is_shorter_than_told*: the kernel may have been told a larger size than the file has.

    *was_read*: a read by this handle succeeded.
    """

    inode: int
    version: ObjectVersion
    mtime_ns: int
    reader: Reader
    is_opening: bool = False
    is_final: bool = False
    is_shorter_than_told: bool = False
    was_read: bool = False
