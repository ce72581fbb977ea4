"""Prefetch of small files that are opened one after another.

`grep -r`, `tar` and a training loop open files by name, as their directories list them; `cp -r`
opens them by inode number. Several may be opened at once, and so a little out of order. Each open
in order doubles how many of the next files are prefetched; an open out of order ends the run.

A reader that has read one directory in order is expected to read the next one in the same order
from its first file on. If it also went on from one directory to the next, the files of the
directories after that are prefetched too. Pure.
"""

from collections.abc import Iterator

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.filesystem.prefetch.traversal_order import EntryRef, TraversalOrder, TraversalOrders

SMALL = 1 << 20  # bytes; one GET brings them about as fast as its first byte
AHEAD_MAX = 64  # files
STEP_MAX = 8  # files that may be skipped, or that another worker opens first
LOOKED_EVERY = 16  # opens between two attempts to find the next directory when it is not known
TRACKED = 128  # directories; more than the next files are in
SORTED_AT_ONCE = 1_000  # entries; a larger directory is sorted by inode only at its second open
_PROVEN = 3  # opens in order, after which the next directory is expected to be read likewise


class _Progress:
    """Progress of a reader in an order, in ranks, and of the prefetch for it."""

    def __init__(self, opened: int, streak: int) -> None:
        self.opened = opened
        self.prefetched = opened
        self.streak = streak  # opens in order, without interruption
        self.next_prefix: str | None = None  # of the directory that the reader goes on to
        self.unknown_at: int | None = None  # the rank at which that was last found to be unknown


class _OrderDetector:
    """Detector of readers that traverse directories in one kind of order."""

    def __init__(self, orders: TraversalOrders) -> None:
        self._orders = orders
        # by the first page of an order, least recently used first
        self._progress: dict[EntryPage, _Progress] = {}
        self._last: TraversalOrder | None = None
        # Expected of the reader of a new directory: that it reads all of it, and then the next one.
        self.is_proven = False
        self._continues = False

    def has_seen(self, order: TraversalOrder) -> bool:
        return order.pages[0] in self._progress

    def record_open(self, order: TraversalOrder, rank: int) -> Iterator[EntryRef] | None:
        """The files to prefetch when the file at *rank* is opened; None if it is not in order."""
        progress = self._progress.pop(order.pages[0], None)
        if progress is None:
            progress = self._start(order, rank)
        elif progress.opened < rank <= progress.opened + STEP_MAX:
            progress.opened = rank
            progress.streak += 1
        elif not progress.opened - STEP_MAX < rank <= progress.opened:
            progress = _Progress(rank, streak=0)
            self.is_proven = self._continues = False
        self._keep(order, progress)
        self._last = order
        self.is_proven = self.is_proven or progress.streak >= _PROVEN
        return self._next_files(order, progress) if progress.streak else None

    def _start(self, order: TraversalOrder, rank: int) -> _Progress:
        """The progress of a reader that was not expected in this directory."""
        if not self.is_proven or rank >= STEP_MAX:
            self._continues = False
            return _Progress(rank, streak=0)
        self._continues = self._follows_last(order)
        return _Progress(rank, streak=_PROVEN)

    def _follows_last(self, order: TraversalOrder) -> bool:
        """Whether the last reader reached the end of its directory, and *order* is the next one."""
        last = self._last
        if last is None or last.pages[0] not in self._progress:
            return False
        is_at_end = self._progress[last.pages[0]].opened >= len(last) - STEP_MAX
        following = self._orders.following(last) if is_at_end else None
        return following is not None and following.prefix == order.prefix

    def _next_files(self, order: TraversalOrder, progress: _Progress) -> Iterator[EntryRef]:
        streak = progress.streak
        room = min(AHEAD_MAX, 2 << min(streak, AHEAD_MAX))
        while room > 0:
            stop = min(len(order), progress.opened + 1 + room)
            for rank in range(max(progress.opened, progress.prefetched) + 1, stop):
                entry = order[rank]
                if 0 < entry.page.sizes[entry.at] <= SMALL:
                    yield entry
                progress.prefetched = rank
            room -= max(1, len(order) - progress.opened - 1)
            following = self._following(order, progress) if room > 0 and self._continues else None
            if following is None:
                return
            order, progress = following, self._expected_progress(following, streak)

    def _following(self, order: TraversalOrder, progress: _Progress) -> TraversalOrder | None:
        if progress.next_prefix is not None:
            return self._orders.get(order.kind, progress.next_prefix)
        unknown_at = progress.unknown_at
        if unknown_at is not None and progress.opened < unknown_at + LOOKED_EVERY:
            return None
        following = self._orders.following(order)
        progress.next_prefix = None if following is None else following.prefix
        progress.unknown_at = progress.opened if following is None else None
        return following

    def _expected_progress(self, order: TraversalOrder, streak: int) -> _Progress:
        """The progress in a directory that its reader has not come to yet."""
        progress = self._progress.get(order.pages[0])
        if progress is None:
            progress = _Progress(-1, streak)
            self._keep(order, progress)
        return progress

    def _keep(self, order: TraversalOrder, progress: _Progress) -> None:
        self._progress[order.pages[0]] = progress
        if len(self._progress) > TRACKED:
            del self._progress[next(iter(self._progress))]


class SiblingPrefetcher(PrefetchPolicy):
    """Prefetcher of the small files that follow those opened, by name or by inode number."""

    def __init__(self, orders: TraversalOrders) -> None:
        self._orders = orders
        self._by_name = _OrderDetector(orders)
        self._by_inode = _OrderDetector(orders)

    def on_open(self, page: EntryPage, index: int) -> Iterator[EntryRef]:
        by_name = self._orders.by_name(page)
        is_first = not self._by_name.has_seen(by_name)
        files = self._by_name.record_open(by_name, by_name.rank(page, index))
        is_cheap = self._by_inode.is_proven and len(by_name) <= SORTED_AT_ONCE
        if files is None and (is_cheap or not is_first):
            by_inode = self._orders.by_inode(page)
            if by_inode is not None:
                files = self._by_inode.record_open(by_inode, by_inode.rank(page, index))
        return iter(()) if files is None else files
