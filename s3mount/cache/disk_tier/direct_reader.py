"""Direct reader: reads from the disk cache in the event loop, without a block, a task or a thread.

A read of a few bytes, or of a small object, needs no block: the bytes lie in the kernel's memory,
or come there in less time than it takes to wake a thread. Invariants:

1. A reply is whole, and each extent of it verified. Else there is none, and the read goes the usual
   way, which finds out why.
2. The event loop waits for no disk. It asks the kernel again for SPIN_MAX at most, and seldom if
   the last reads did not come so soon. It asks for nothing while the threads are behind.
3. Only the event loop writes to the scratch buffer: a reply is valid until the next checkpoint.
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from s3mount.cache.disk_tier.names import NamedVersion
from s3mount.cache.disk_tier.tier import DiskTier
from s3mount.disk.object_name import EXTENT, SEGMENT, SMALL
from s3mount.disk.segment import Segment
from s3mount.s3.model import ObjectVersion

DIRECT_MAX: Final = 128 << 10  # bytes of a large object: what FUSE requests at once by default
DIRECT_SMALL_MAX: Final = SMALL  # bytes of a small one, which is read whole at once
SPIN_MAX: Final = 150_000  # nanoseconds: a local disk takes less, a hop to a thread about as much
VAIN_MAX: Final = 3  # reads in a row that came later, after which the next ones are not awaited
AWAITED_EVERY: Final = 32  # of so many of these, one is
TOLD_EVERY: Final = 64  # of so many replies one looks whether the index is to be told of them


class SpinPolicy:
    """Policy of spinning: whether a read that the kernel has begun may end within SPIN_MAX. Pure.

    A read is asked for twice, which is one attempt.
    """

    def __init__(self) -> None:
        # attempts in vain since the last success; reads that were not awaited since then; the last
        # read in vain
        self._vain = 0
        self._skipped = 0
        self._last_vain: tuple[object, int] | None = None

    def is_worth_it(self, read: tuple[object, int]) -> bool:
        if self._last_vain == read:
            self._last_vain = None
            return False
        if self._vain < VAIN_MAX:
            return True
        self._skipped = (self._skipped + 1) % AWAITED_EVERY
        return not self._skipped

    def record(self, read: tuple[object, int], *, has_succeeded: bool) -> None:
        self._vain = 0 if has_succeeded else self._vain + 1
        self._last_vain = None if has_succeeded else read


class DirectReader:
    """Reads of *tier*; *name_of* returns the name under which the disk is to be asked, if any.

    *clock* is in nanoseconds.
    """

    def __init__(
        self,
        tier: DiskTier,
        name_of: Callable[[ObjectVersion], NamedVersion | None],
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._tier = tier
        self._name_of = name_of
        self._clock = clock
        self._spin = SpinPolicy()
        self._replies = 0
        self._scratch = memoryview(bytearray(max(DIRECT_SMALL_MAX, DIRECT_MAX + 2 * EXTENT)))

    def read(self, version: ObjectVersion, start: int, stop: int) -> memoryview | None:
        """The bytes [*start*, *stop*) if they are at hand; valid until the next checkpoint."""
        is_small = version.size <= SMALL
        if stop - start > (DIRECT_SMALL_MAX if is_small else DIRECT_MAX):
            return None
        named = self._name_of(version)
        if named is None or self._tier.readers.is_behind:
            return None
        tier, number = self._tier, 0 if is_small else start // SEGMENT
        if stop > SEGMENT * (number + 1):
            return None
        segment = tier.presence.find_whole(named.digest, number, start, stop)
        if segment is None:
            return None
        try:
            reply = self._read(segment, start, stop)
        except (OSError, sqlite3.Error):
            return None  # the usual way fails, too, and accounts for it
        if reply is not None:
            tier.disk.touch((segment,))
            self._count(stop - start)
        return reply

    def _read(self, segment: Segment, start: int, stop: int) -> memoryview | None:
        """Read, again and again for a while if the kernel reads from the disk."""
        read, scratch = self._tier.disk.read_cached, self._scratch
        try:
            return read(segment, start, stop, scratch)
        except BlockingIOError:
            attempt = segment.digest, start
        if not self._spin.is_worth_it(attempt):
            return None
        until = self._clock() + SPIN_MAX
        while self._clock() < until:
            with suppress(BlockingIOError):
                reply = read(segment, start, stop, scratch)
                self._spin.record(attempt, has_succeeded=True)
                return reply
        self._spin.record(attempt, has_succeeded=False)
        return None

    def _count(self, octets: int) -> None:
        counts = self._tier.counts
        counts.hits += 1
        counts.octets += octets
        self._replies += 1
        if not self._replies % TOLD_EVERY:
            self._tier.writer.start()
