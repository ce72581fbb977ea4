"""Cursor of a depth-first traversal: the files that a reader of a whole tree opens, in its order.

Each directory is entered at its place among the entries of the one above (`tar`, `grep -r`,
`find`, `cp -r`), after the files beside it (`rsync`, `os.walk`), or before them (`os.walk` from the
bottom). Pure. A cursor goes as far as listings are known, and on when more of them are. It keeps
one directory's order, however deep it is.
"""

from enum import Enum
from typing import NamedTuple

from s3mount.filesystem.names import encode, parent_of
from s3mount.filesystem.prefetch.traversal_order import (
    EntryRef,
    OrderKind,
    Part,
    TraversalOrder,
    TraversalOrders,
)

SCANNED_MAX = 512  # entries and directories without a file of some bytes, at one step


class Descent(Enum):
    """When a reader enters the directories in a directory: the parts of it, one after another."""

    AFTER_FILES = (Part.FILES, Part.DIRECTORIES)
    IN_PLACE = (Part.ALL,)
    BEFORE_FILES = (Part.DIRECTORIES, Part.FILES)


class Traversal(NamedTuple):
    """Order of a traversal: of the entries of each directory, and of directories among files."""

    kind: OrderKind
    descent: Descent


class TraversalCursor:
    """Cursor in *traversal*, behind the file *ref* of *order*. Files without bytes are left out."""

    def __init__(
        self, orders: TraversalOrders, traversal: Traversal, order: TraversalOrder, ref: EntryRef
    ) -> None:
        self._orders = orders
        self._parts = traversal.descent.value
        # the directory, the part of it, and the index in that of the entry that was the last one
        self.order = order
        self._part = int(self._parts[0] is Part.DIRECTORIES)
        self._index = order.index(self._parts[self._part], order.rank(ref))

    def next(self) -> EntryRef | None:
        """The next file; None at the end, or if it is not known yet."""
        for _ in range(SCANNED_MAX):
            ranks = self.order.ranks(self._parts[self._part])
            if self._index + 1 < len(ranks):
                ref = self.order[ranks[self._index + 1]]
                size = ref.size
                if size < 0:
                    if not self._enter(ref):
                        return None
                    continue
                self._index += 1
                if size:
                    return ref
            elif self._part + 1 < len(self._parts):
                self._part, self._index = self._part + 1, -1
            elif not self._leave():
                return None
        return None

    def _enter(self, ref: EntryRef) -> bool:
        """Go to the beginning of a directory, if it is known."""
        child = self._orders.get(self.order.kind, ref.page.key(ref.at) + "/")
        if child is None:
            return False
        self.order, self._part, self._index = child, 0, -1
        return True

    def _leave(self) -> bool:
        """Go to where the directory is in the one above, if that is known."""
        prefix = self.order.prefix
        if prefix == self._orders.root or not self.order.is_whole:
            return False
        above = parent_of(prefix[:-1])
        parent = self._orders.get(self.order.kind, above)
        rank = None if parent is None else parent.rank_of_name(encode(prefix[len(above) : -1]))
        if parent is None or rank is None:
            return False
        self.order = parent
        self._part = int(self._parts[0] is Part.FILES)
        self._index = parent.index(self._parts[self._part], rank)
        return True
