"""Orders of the entries of one directory: by name, as listings are, or by inode number.

`cp -r` sorts entries by inode number. Pure. See `traversal_cursor` for the order of a tree.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from enum import Enum, auto
from itertools import accumulate, chain
from typing import NamedTuple

from s3mount.filesystem.listing.entry_page import EntryPage

SORTED_MAX = 100_000  # entries; to sort more would block the event loop for over 50 ms
KEPT_MAX = 2 * SORTED_MAX  # entries of cached orders; the metadata cache may have evicted them
DIRECTORY_ENTRIES = 20  # entries that take the memory of an order without any, and its page: 1.5 kB
SORTED_AT_ONCE = 1_000  # entries; a larger directory is sorted by inode only at its second open
SORTED_PER_OPEN = 512  # entries, on average: some 0.2 ms of CPU


class OrderKind(Enum):
    """Sort key of a traversal order."""

    NAME = auto()
    INODE = auto()


class Part(Enum):
    """Entries of a directory that a reader goes through without a look at the others."""

    ALL = auto()
    FILES = auto()
    DIRECTORIES = auto()


class EntryRef(NamedTuple):
    """One entry: index *at* of *page*."""

    page: EntryPage
    at: int

    @property
    def size(self) -> int:
        return self.page.sizes[self.at]


class TraversalOrder:
    """Entries of the directory *prefix* in an order; *pages* are all of them if it *is_whole*."""

    def __init__(
        self, kind: OrderKind, prefix: str, pages: Sequence[EntryPage], *, is_whole: bool = True
    ) -> None:
        self.kind = kind
        self.prefix = prefix
        self.pages = pages
        self.is_whole = is_whole
        # how many entries are in the pages before each page, and in all
        self._starts = list(accumulate(map(len, pages), initial=0))
        self._page_numbers = {page: number for number, page in enumerate(pages)}
        self._order: Sequence[int] = range(self._starts[-1])
        self._inodes: array[int] | None = None
        self._all = range(self._starts[-1])
        self._files: Sequence[int] | None = None  # computed when first needed, with the next
        self._directories: Sequence[int] = ()
        if kind is OrderKind.INODE:
            inodes = array("Q", chain.from_iterable(page.inodes for page in pages))
            self._order = array("L", sorted(self._order, key=inodes.__getitem__))
            self._inodes = array("Q", sorted(inodes))

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, rank: int) -> EntryRef:
        position = self._order[rank]
        page = bisect_right(self._starts, position) - 1
        return EntryRef(self.pages[page], position - self._starts[page])

    def __contains__(self, page: EntryPage) -> bool:
        return page in self._page_numbers

    def rank(self, ref: EntryRef) -> int:
        """The position of an entry of one of the pages."""
        if self._inodes is not None:
            return bisect_left(self._inodes, ref.page.inode(ref.at))
        return self._starts[self._page_numbers[ref.page]] + ref.at

    def rank_of_name(self, name: bytes) -> int | None:
        """The position of the entry *name*; None if there is none."""
        for page in self.pages:
            if (index := page.find(name)) is not None:
                return self.rank(EntryRef(page, index))
        return None

    def ranks(self, part: Part) -> Sequence[int]:
        """The positions of the entries of *part*, which rise."""
        if part is Part.ALL:
            return self._all
        if self._files is None:
            self._files = self._split()
        return self._files if part is Part.FILES else self._directories

    def _split(self) -> Sequence[int]:
        """Compute the positions of directories, and return those of files."""
        sizes = array("q", chain.from_iterable(page.sizes for page in self.pages))
        if not sizes or min(sizes) >= 0:
            return self._all
        kinds = [sizes[at] < 0 for at in self._order]
        self._directories = array("L", (rank for rank in self._all if kinds[rank]))
        return array("L", (rank for rank in self._all if not kinds[rank]))

    def index(self, part: Part, rank: int) -> int:
        """The index in `ranks` of the first position that is at least *rank*."""
        ranks = self.ranks(part)
        return rank if ranks is self._all else bisect_left(ranks, rank)


class TraversalOrders:
    """Orders of the directories below *root*, and a cache of them.

    *pages_of* returns the pages of a directory if all entries are known, and are at most so many.

    Invariant: all orders made have at most `KEPT_MAX` entries, and `SORTED_PER_OPEN` more for each
    open. So a reader of more directories than are cached costs little CPU, whatever it opens.
    """

    def __init__(
        self, pages_of: Callable[[str, int], Sequence[EntryPage] | None], root: str
    ) -> None:
        self.root = root
        self._pages_of = pages_of
        # by whether by inode, and prefix: enums hash slowly. Least recently used first
        self._cached: dict[tuple[bool, str], TraversalOrder] = {}
        self._entry_count = 0  # of all cached orders, each with `DIRECTORY_ENTRIES` more
        self._allowance = KEPT_MAX  # entries that the next orders may have

    def record_open(self) -> None:
        """Allow for orders of more entries, now that a file is opened."""
        self._allowance = min(KEPT_MAX, self._allowance + SORTED_PER_OPEN)

    def containing(self, kind: OrderKind, page: EntryPage) -> TraversalOrder | None:
        """The order of the directory of *page*; None if it is by inode, and `get` has none.

        By name it is that of *page* alone then.
        """
        order = self.get(kind, page.prefix)
        if order is not None and page in order:
            return order
        if kind is OrderKind.NAME:
            return TraversalOrder(kind, page.prefix, [page], is_whole=False)
        return None

    def by_inode_at_once(self, page: EntryPage) -> TraversalOrder | None:
        """The order by inode of the directory of *page*, if it is small; None if `get` has none."""
        by_name = self.containing(OrderKind.NAME, page)
        is_small = by_name is not None and len(by_name) <= SORTED_AT_ONCE
        return self.containing(OrderKind.INODE, page) if is_small else None

    def get(self, kind: OrderKind, prefix: str) -> TraversalOrder | None:
        """The order of the directory *prefix*, if all its entries are known.

        None, too, if so many were sorted lately that a later open has to allow for it.
        """
        pages = self._pages_of(prefix, SORTED_MAX)
        return None if pages is None else self._get_or_sort(kind, prefix, pages)

    def is_current(self, order: TraversalOrder) -> bool:
        """Whether the pages of *order* are those of the directory by now."""
        return self._pages_of(order.prefix, SORTED_MAX) is order.pages

    def _get_or_sort(
        self, kind: OrderKind, prefix: str, pages: Sequence[EntryPage]
    ) -> TraversalOrder | None:
        key = kind is OrderKind.INODE, prefix
        order = self._cached.pop(key, None)
        if order is None or order.pages is not pages:
            self._entry_count -= 0 if order is None else _cost(order)
            entry_count = sum(map(len, pages))
            if entry_count > self._allowance:
                return None
            self._allowance -= entry_count
            order = TraversalOrder(kind, prefix, pages)
            self._entry_count += _cost(order)
        self._cached[key] = order
        while self._entry_count > KEPT_MAX:
            self._entry_count -= _cost(self._cached.pop(next(iter(self._cached))))
        return order


def _cost(order: TraversalOrder) -> int:
    return len(order) + DIRECTORY_ENTRIES
