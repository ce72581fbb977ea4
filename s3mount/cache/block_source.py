"""Block source: where the block loader gets bytes that it does not hold.

Sources form tiers, each over the next, and the store is the last one. A tier above the store (a
disk cache, or one that machines share) does four things with extents: it has, reads, keeps and
evicts them. It serves what it has, reads the rest from the next source, and keeps what that
brought. It knows the next one by this protocol only, and nothing of those above it.

What holds for each tier:

1. It never serves a byte of which it is not certain. What is damaged, late or gone is read from the
   next source.
2. A failure of the tier itself is no failure of a read. Only the store fails reads.
3. A read that the tier serves whole is no request of the next one, and takes no permit there.
4. What it keeps, it keeps behind the readers: no read waits for it.
"""

from collections.abc import Callable
from typing import Protocol

import trio

from s3mount.s3.model import ByteRange, ObjectVersion, Reason
from s3mount.s3.object_store import ObjectStore, OnReadEnd, Priority, StartedRead
from s3mount.unawaited import ExpectedError


class BufferLost(ExpectedError):
    """A read ended without its buffer, which its source holds: read again, into another one."""


class DirectReads(Protocol):
    """Reads of a tier that need no buffer, as they are over at once."""

    def read(self, version: ObjectVersion, start: int, stop: int) -> memoryview | None:
        """The bytes [*start*, *stop*), at least one, if they are at hand.

        Valid until the next checkpoint.
        """
        ...


class BlockSource(Protocol):
    """One tier. Its extents are parts of a version, of which `FetchSizes.block` has one or more.

    An extent begins at a multiple of its size, and ends at one or at the end of the object. Reads
    begin and end anywhere: a tier serves, and keeps, the whole extents within them.

    *extent* is the least that a read of what it has costs, in bytes from a multiple of that on; 0
    if that is not less than the least fetch from the store. *direct* are its reads without a
    buffer, if it has such.
    """

    extent: int
    direct: DirectReads | None

    def has_capacity(self) -> bool:
        """Whether a prefetch would be read at once."""
        ...

    def has_ranges(self) -> bool:
        """`ObjectStore.has_ranges`."""
        ...

    def has(self, version: ObjectVersion, byte_range: ByteRange) -> bool:
        """Whether *byte_range* can be read without a request to the store."""
        ...

    def start_read(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,
        on_end: OnReadEnd,
        priority: Priority,
        *,
        reason: Reason = Reason.READ,
    ) -> StartedRead:
        """`ObjectStore.start_read`. The source writes to *into*, and reads it, until *on_end*.

        If it cannot give *into* back in time, it holds the buffer, and *on_end* gets `BufferLost`.
        """
        ...

    def prepare(self, version: ObjectVersion, on_absent: Callable[[], object]) -> bool:
        """Prepare for direct reads of all of *version*, a small object; False if it cannot.

        *on_absent* is called later if it proves to be not here.
        """
        ...

    def keep(self, version: ObjectVersion, start: int, content: bytes) -> None:
        """Take *content*, the bytes of *version* from *start*, which came by another way."""
        ...

    def evict(self, version: ObjectVersion) -> None:
        """Drop every extent of *version*."""
        ...

    def capacity(self) -> int:
        """Bytes that a warm-up may have kept here, beside the memory; 0 if nothing is kept now."""
        ...

    async def wait_kept(self) -> None:
        """Wait until what was read is kept, or will not be."""
        ...


class StoreSource:
    """The store as the last tier: it keeps nothing. Its reads are the store's, without a frame."""

    def __init__(self, store: ObjectStore) -> None:
        self.extent = 0
        self.direct: DirectReads | None = None
        self.start_read = store.start_read
        self.has_capacity = store.has_capacity
        self.has_ranges = store.has_ranges

    def has(
        self,
        version: ObjectVersion,  # noqa: ARG002 - the protocol's
        byte_range: ByteRange,  # noqa: ARG002
    ) -> bool:
        return False

    def prepare(
        self,
        version: ObjectVersion,  # noqa: ARG002
        on_absent: Callable[[], object],  # noqa: ARG002
    ) -> bool:
        return False

    def keep(self, version: ObjectVersion, start: int, content: bytes) -> None: ...

    def evict(self, version: ObjectVersion) -> None: ...

    def capacity(self) -> int:
        return 0

    async def wait_kept(self) -> None:
        await trio.lowlevel.checkpoint()
