"""Contention: whether what readers wait for keeps the link busy without readahead.

Streams are in contention if more of them move than fill the link, or than there are connections. A
prefetch would come no sooner then, and would be in vain if a reader stops. The streams of another
reader are one, since it may have left all but the latest: a reader of records at random is in
contention with itself only. Already half as many are a crowd, if the memory has room for a long
fetch of each: what each reader waits for keeps the link busy.
"""

from collections import Counter
from collections.abc import Sized
from enum import Enum, auto
from typing import Final

from s3mount.cache.active_patterns import ActiveStreams

FILL_LINK: Final = 32  # streams; some more than the parts of a window, which fill it alone
_CROWD: Final = FILL_LINK // 2  # streams; one fetch of each keeps the link busy
_WITHIN: Final = 4  # reads for each stream, within which those that move have read
_COUNT_PER_READ: Final = 8  # streams to look at for each read, to find those that move


class Concurrency(Enum):
    """The number of streams that move, in words."""

    FEW = auto()
    CROWD = auto()
    CONTENTION = auto()


class Contention:
    """Counts those of *streams* that move, for a store that serves *connections* requests at once.

    *open_versions* are those that have readers.
    """

    def __init__(self, streams: ActiveStreams, open_versions: Sized, connections: float) -> None:
        self._streams = streams
        self._open_versions = open_versions
        self._uncontended = min(connections, FILL_LINK)
        # how many streams of each reader moved when they were last counted, and when to count again
        self._moving: Counter[object] = Counter()
        self._recount_at = 0

    @property
    def has_room_for_all(self) -> bool:
        """Whether the memory has room for long fetches of all open versions, if all are read."""
        return len(self._open_versions) <= self._uncontended

    def concurrency(self, owner: object | None, reads: int) -> Concurrency:
        """Return the concurrency as *owner* sees it, after *reads* reads of the mount."""
        moving = self._count_beside(owner, reads)
        if moving > self._uncontended:
            return Concurrency.CONTENTION
        is_crowd = moving >= _CROWD and self.has_room_for_all
        return Concurrency.CROWD if is_crowd else Concurrency.FEW

    def forget_reader(self, owner: object) -> None:
        """Account for the end of *owner*, which reads no more."""
        del self._moving[owner]

    def _count_beside(self, owner: object | None, reads: int) -> int:
        """How many streams move, as *owner* sees it; 0 if they are too few to keep the link busy.

        The streams of any other reader count as one. Paused readers do not count, nor does what no
        reader has read yet. They are counted anew seldom if there are many.
        """
        count = len(self._streams)
        if count < min(_CROWD, self._uncontended + 1):
            self._moving.clear()
            self._recount_at = 0
            return 0
        if reads >= self._recount_at:
            self._moving = self._streams.count_moving(count * _WITHIN, reads)
            self._recount_at = reads + count // _COUNT_PER_READ
        others = len(self._moving) - (owner in self._moving)
        return self._moving[owner] + others
