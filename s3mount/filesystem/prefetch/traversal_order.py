"""Orders in which readers traverse directories: by name, as listings are, or by inode number.

`cp -r` sorts entries by inode number. Pure: an order covers the entries of one directory, and
continues in the directories below it and after it, as far as their listings are known.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from enum import Enum, auto
from itertools import accumulate, chain
from typing import NamedTuple

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.names import encode, parent_of

SORTED_MAX = 100_000  # entries; to sort more would block the event loop for over 50 ms
KEPT_MAX = 2 * SORTED_MAX  # entries of cached orders; the metadata cache may have evicted them
_DEPTH_MAX = 32  # directories in directories before the first file


class OrderKind(Enum):
    """Sort key of a traversal order."""

    NAME = auto()
    INODE = auto()


class EntryRef(NamedTuple):
    """One entry: index *at* of *page*."""

    page: EntryPage
    at: int


class TraversalOrder:
    """Entries of one directory in an order; *pages* are all of them, or all that may be used."""

    def __init__(self, kind: OrderKind, pages: Sequence[EntryPage]) -> None:
        self.kind = kind
        self.pages = pages
        self.prefix = pages[0].prefix
        # how many entries are in the pages before each page, and in all
        self._starts = list(accumulate(map(len, pages), initial=0))
        self._page_numbers = {page: number for number, page in enumerate(pages)}
        self._order: Sequence[int] = range(self._starts[-1])
        self._inodes: array[int] | None = None
        self._directory_ranks: Sequence[int] | None = None  # computed when first needed
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

    def rank(self, page: EntryPage, index: int) -> int:
        """The position of an entry in this order; *page* is one of the pages."""
        if self._inodes is not None:
            return bisect_left(self._inodes, page.inode(index))
        return self._starts[self._page_numbers[page]] + index

    def __contains__(self, page: EntryPage) -> bool:
        return page in self._page_numbers

    def has_files(self) -> bool:
        return any(
            not page.is_directory(index) for page in self.pages for index in range(len(page))
        )

    def directory_after(self, prefix: str | None) -> str | None:
        """The prefix of the directory after *prefix* (None: the first one), or None."""
        rank = 0 if prefix is None else self._rank_of(encode(prefix[len(self.prefix) : -1])) + 1
        ranks = self._ranks_of_directories()
        following = bisect_left(ranks, rank)
        if following == len(ranks):
            return None
        page, at = self[ranks[following]]
        return page.key(at) + "/"

    def _ranks_of_directories(self) -> Sequence[int]:
        if self._directory_ranks is None:
            entries = (self[rank] for rank in range(len(self)))
            ranks = (rank for rank, (page, at) in enumerate(entries) if page.is_directory(at))
            self._directory_ranks = array("L", ranks)
        return self._directory_ranks

    def _rank_of(self, name: bytes) -> int:
        """The rank of the entry *name*; the length if there is none."""
        for page in self.pages:
            if (index := page.find(name)) is not None:
                return self.rank(page, index)
        return len(self)


class TraversalOrders:
    """Orders of the directories below *root*, and a cache of them.

    *pages_of* returns the pages of a directory if all entries are known, and are at most so many.
    """

    def __init__(
        self, pages_of: Callable[[str, int], Sequence[EntryPage] | None], root: str
    ) -> None:
        self._pages_of = pages_of
        self._root = root
        self._cached: dict[tuple[OrderKind, str], TraversalOrder] = {}  # least recently used first
        self._entry_count = 0  # of all cached orders

    def by_name(self, page: EntryPage) -> TraversalOrder:
        """The order of the directory of *page*; of *page* alone if the directory is not known."""
        return self._containing(OrderKind.NAME, page) or TraversalOrder(OrderKind.NAME, [page])

    def by_inode(self, page: EntryPage) -> TraversalOrder | None:
        """The order of the directory of *page*, if it is known and not too large to be sorted."""
        return self._containing(OrderKind.INODE, page)

    def get(self, kind: OrderKind, prefix: str) -> TraversalOrder | None:
        """The order of the directory *prefix*, if all its entries are known."""
        pages = self._pages_of(prefix, SORTED_MAX)
        return self._get_or_sort(kind, pages) if pages else None

    def following(self, order: TraversalOrder) -> TraversalOrder | None:
        """The order of the next directory with files, if all directories between are known."""
        prefix = order.prefix
        while prefix != self._root:
            parent = self.get(order.kind, parent_of(prefix[:-1]))
            if parent is None:
                return None
            if (after := parent.directory_after(prefix)) is not None:
                return self._first_with_files(order.kind, after)
            prefix = parent.prefix
        return None

    def _containing(self, kind: OrderKind, page: EntryPage) -> TraversalOrder | None:
        order = self.get(kind, page.prefix)
        return order if order is not None and page in order else None

    def _first_with_files(self, kind: OrderKind, prefix: str) -> TraversalOrder | None:
        """The order of *prefix* or, if it has no files, of its first directory, and so on."""
        for _ in range(_DEPTH_MAX):
            order = self.get(kind, prefix)
            if order is None or order.has_files():
                return order
            first = order.directory_after(None)
            if first is None:
                return None
            prefix = first
        return None

    def _get_or_sort(self, kind: OrderKind, pages: Sequence[EntryPage]) -> TraversalOrder:
        key = kind, pages[0].prefix
        order = self._cached.pop(key, None)
        if order is None or order.pages is not pages:
            self._entry_count -= 0 if order is None else len(order)
            order = TraversalOrder(kind, pages)
            self._entry_count += len(order)
        self._cached[key] = order
        while self._entry_count > KEPT_MAX:
            self._entry_count -= len(self._cached.pop(next(iter(self._cached))))
        return order
