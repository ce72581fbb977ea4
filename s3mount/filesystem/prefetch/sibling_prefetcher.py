"""Prefetch of small files that are opened one after another.

`grep -r`, `tar` and a training loop open files by name, as their directories list them; `cp -r`
opens them by inode number. `rsync` opens all files of a directory before those of the directories
in it, the others come to these in their turn (`traversal_cursor`). Several files may be opened at
once, and so a little out of order. Each open in order doubles how many of the next files are
prefetched. An open that no reader is expected at begins another one.

A reader that has read one directory in order is expected to read the next one in the same order
from its first file on. If it also went on from one directory to the next, the files of the
directories after that are prefetched too. Pure.

Invariants:

1. What is prefetched in vain is at most some 32 files for each open, and AHEAD_MAX for each reader
   that was proven. Of readers that leave each directory after its first file, at most TRUSTED_MAX
   in a row have files prefetched.
2. A reader keeps no directory that the metadata cache has evicted or replaced for more than
   READERS_MAX opens.
"""

from collections.abc import Iterable, Iterator

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.prefetch.file_reader import STEP_MAX, FileReader
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.filesystem.prefetch.traversal_cursor import Descent, Traversal, TraversalCursor
from s3mount.filesystem.prefetch.traversal_order import (
    EntryRef,
    OrderKind,
    Part,
    TraversalOrder,
    TraversalOrders,
)

READERS_MAX = 32
TRUSTED_MAX = 8  # readers that begin a directory at once, before one of them goes on
_PROVEN = 3  # opens in order, after which the next directory is expected to be read likewise
_FEW = 2  # opens in order, or files of a directory: a reader that then leaves it is followed
# The first is expected of a new reader: it may read one directory only.
_TRAVERSALS = tuple(Traversal(kind, descent) for kind in OrderKind for descent in Descent)


class SiblingPrefetcher(PrefetchPolicy):
    """Prefetcher of the small files that follow those opened, by name or by inode number."""

    def __init__(self, orders: TraversalOrders) -> None:
        self._orders = orders
        self._readers: dict[FileReader, None] = {}  # least recently used first
        # that of the last reader that was proven, if it went on; how many readers have begun a
        # directory in it since one went on
        self._proven: Traversal | None = None
        self._trusted = 0
        self._opens = 0

    def on_open(self, page: EntryPage, index: int) -> Iterable[EntryRef]:
        if not page.sizes[index]:  # it needs no bytes: many programs leave it out
            return ()
        self._orders.record_open()
        self._opens += 1
        if self._opens % READERS_MAX == 0:
            self._drop_stale_readers()
        ref = EntryRef(page, index)
        reader = self._reader_of(ref)
        self._keep(reader)
        if reader.streak >= _PROVEN:
            self._proven = reader.traversal
            if not reader.is_new:
                self._trusted = 0
        return reader.files_ahead() if reader.streak else ()

    def _reader_of(self, ref: EntryRef) -> FileReader:
        reader, distance = self._expecting(ref)
        if reader is None or distance > 1:
            other = self._reconsidered(ref, reader)
            if other is not None:
                return other
        if reader is None:
            return self._new_reader(ref)
        reader.record_open(ref)
        return reader

    def _expecting(self, ref: EntryRef) -> tuple[FileReader | None, int]:
        """The reader that *ref* is nearest to, and how near."""
        nearest, distance = None, STEP_MAX + 1
        for reader in reversed(self._readers):
            found = reader.distance(ref)
            if found == 1:
                return reader, 1
            if found is not None and -STEP_MAX < found < distance:
                nearest, distance = reader, found
        return nearest, distance

    def _reconsidered(self, ref: EntryRef, expecting: FileReader | None) -> FileReader | None:
        """The reader that has come to *ref* in another traversal than it was expected in."""
        for reader in self._candidates(ref, expecting):
            best, distance = None, 2 if expecting is not None or reader.streak else STEP_MAX + 1
            is_known = expecting is not None and reader.streak >= _PROVEN
            for kind in (reader.traversal.kind,) if is_known else OrderKind:
                for traversal, found in self._distances(kind, reader, ref):
                    if found < distance:
                        best, distance = traversal, found
            changed = None if best is None else self._changed(reader, best, ref)
            if changed is not None:
                return changed
        return None

    def _candidates(self, ref: EntryRef, expecting: FileReader | None) -> Iterable[FileReader]:
        if expecting is not None:
            return (expecting,)
        latest = next(reversed(self._readers), None)
        beside = next(
            (each for each in reversed(self._readers) if each.last.page.prefix == ref.page.prefix),
            None,
        )
        return dict.fromkeys(each for each in (beside, latest) if each is not None)

    def _distances(
        self, kind: OrderKind, reader: FileReader, ref: EntryRef
    ) -> Iterator[tuple[Traversal, int]]:
        """How many files *ref* is behind the last one of *reader*, where that are few."""
        last = reader.last
        order = self._orders.containing(kind, last.page)
        if order is None:
            return
        files = order.ranks(Part.FILES)
        descents: Iterable[Descent] = Descent
        if ref.page in order:
            at = order.index(Part.FILES, order.rank(last))
            found = order.index(Part.FILES, order.rank(ref)) - at
            if not 0 < found <= (STEP_MAX if kind is OrderKind.NAME else 1):
                return
            yield Traversal(kind, Descent.AFTER_FILES), found
            descents = () if len(files) == len(order) else (Descent.IN_PLACE,)
        elif reader.streak < _FEW and len(files) > _FEW:
            return
        for descent in descents:
            traversal = Traversal(kind, descent)
            steps = self._steps(TraversalCursor(self._orders, traversal, order, last), ref)
            if steps is not None:
                yield traversal, steps

    @staticmethod
    def _steps(cursor: TraversalCursor, ref: EntryRef) -> int | None:
        for number in range(1, STEP_MAX + 1):
            found = cursor.next()
            if found is None:
                return None
            if found == ref:
                return number
        return None

    def _changed(
        self, reader: FileReader, traversal: Traversal, ref: EntryRef
    ) -> FileReader | None:
        """*reader* in another traversal, which has brought it to *ref*.

        None if a directory on its way was evicted or unpacked meanwhile: then its pages are others.
        """
        is_same_kind = traversal.kind is reader.traversal.kind
        order = self._orders.containing(traversal.kind, reader.last.page)
        if order is None:
            return None
        changed = self._reader(
            traversal,
            order,
            reader.last,
            streak=min(reader.streak, _PROVEN - 1) if is_same_kind else 0,
            crosses=reader.crosses and is_same_kind,
        )
        changed.look_ahead()
        if changed.distance(ref) is None:
            return None
        self._readers.pop(reader, None)
        changed.record_open(ref)
        return changed

    def _new_reader(self, ref: EntryRef) -> FileReader:
        """A reader that was not expected: proven if it begins a directory as the last one did."""
        for reader in reversed(self._readers):
            if reader.streak < _PROVEN and reader.last.page.prefix == ref.page.prefix:
                del self._readers[reader]  # it was no reader in order
                break
        by_name = self._orders.containing(OrderKind.NAME, ref.page)
        assert by_name is not None
        if self._proven is not None:
            order = by_name
            if self._proven.kind is OrderKind.INODE:
                order = self._orders.by_inode_at_once(ref.page) or by_name
            is_in_order = order.kind is self._proven.kind and self._trusted < TRUSTED_MAX
            if is_in_order and order.index(Part.FILES, order.rank(ref)) < STEP_MAX:
                self._trusted += 1
                return self._reader(self._proven, order, ref, streak=_PROVEN)
            self._proven = None
        return self._reader(_TRAVERSALS[0], by_name, ref)

    def _reader(
        self,
        traversal: Traversal,
        order: TraversalOrder,
        ref: EntryRef,
        *,
        streak: int = 0,
        crosses: bool = False,
    ) -> FileReader:
        cursor = TraversalCursor(self._orders, traversal, order, ref)
        return FileReader(traversal, cursor, ref, streak=streak, crosses=crosses)

    def _keep(self, reader: FileReader) -> None:
        """Make *reader* the most recently used one."""
        self._readers.pop(reader, None)
        self._readers[reader] = None
        if len(self._readers) > READERS_MAX:
            del self._readers[next(iter(self._readers))]

    def _drop_stale_readers(self) -> None:
        """Drop readers that would keep directories which the metadata cache does not have."""
        is_current = self._orders.is_current
        for reader in [
            each for each in self._readers if each.order.is_whole and not is_current(each.order)
        ]:
            del self._readers[reader]
