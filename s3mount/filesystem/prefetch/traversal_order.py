"""The ways in which readers go through directories: by name, as they are listed, or by inode number, as `cp -r` sorts them.

Pure. A way is the entries of one directory in an order, and goes on from a directory in it to that one's entries, and in the end
to what comes after it above: as far as listings are known, for no question is ever asked.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from enum import Enum, auto
from itertools import accumulate, chain
from typing import NamedTuple

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.names import encode, parent_of

SORTED_MAX = 100_000  # entries: more would keep the loop for longer than a twentieth of a second
KEPT_MAX = (
    2 * SORTED_MAX
)  # entries of the ways that are kept; the catalogue may have forgotten them by then
_DEEP = 32  # directories in directories before the first file


class OrderKind(Enum):
    """What readers go by."""

    NAME = auto()
    NUMBER = auto()


class EntryRef(NamedTuple):
    """One entry of a directory."""

    entries: EntryPage
    at: int


class TraversalOrder:
    """The way through one directory, of which *pages* are all entries, or all that may be looked at."""

    def __init__(self, kind: OrderKind, pages: Sequence[EntryPage]) -> None:
        self.kind = kind
        self.pages = pages
        self.prefix = pages[0].prefix
        self._firsts = list(
            accumulate(map(len, pages), initial=0)
        )  # how many entries are in the pages before each
        self._page_numbers = {page: number for number, page in enumerate(pages)}
        self._order: Sequence[int] = range(self._firsts[-1])
        self._numbers: array[int] | None = None
        self._directory_ranks: Sequence[int] | None = (
            None  # where directories stand, once that was asked
        )
        if kind is OrderKind.NUMBER:
            numbers = array("Q", chain.from_iterable(page.inodes for page in pages))
            self._order = array("L", sorted(self._order, key=numbers.__getitem__))
            self._numbers = array("Q", sorted(numbers))

    def __len__(self) -> int:
        return self._firsts[-1]

    def __getitem__(self, rank: int) -> EntryRef:
        at = self._order[rank]
        page = bisect_right(self._firsts, at) - 1
        return EntryRef(self.pages[page], at - self._firsts[page])

    def rank(self, entries: EntryPage, index: int) -> int:
        """Where an entry stands; *entries* are one of the pages."""
        if self._numbers is not None:
            return bisect_left(self._numbers, entries.inode(index))
        return self._firsts[self._page_numbers[entries]] + index

    def __contains__(self, entries: EntryPage) -> bool:
        """Whether *entries* are one of the pages."""
        return entries in self._page_numbers

    def has_files(self) -> bool:
        return any(
            not page.is_directory(index) for page in self.pages for index in range(len(page))
        )

    def directory_behind(self, prefix: str | None) -> str | None:
        """The prefix of the first directory in it behind *prefix*, or (None) of the first of all; None where there is none."""
        rank = 0 if prefix is None else self._rank_of(encode(prefix[len(self.prefix) : -1])) + 1
        ranks = self._ranks_of_directories()
        following = bisect_left(ranks, rank)
        if following == len(ranks):
            return None
        entries, at = self[ranks[following]]
        return entries.key(at) + "/"

    def _ranks_of_directories(self) -> Sequence[int]:
        if self._directory_ranks is None:
            places = (self[rank] for rank in range(len(self)))
            self._directory_ranks = array(
                "L", [rank for rank, (page, at) in enumerate(places) if page.is_directory(at)]
            )
        return self._directory_ranks

    def _rank_of(self, name: bytes) -> int:
        """Where the entry *name* stands; at the end, if it is not in it."""
        for page in self.pages:
            if (index := page.find(name)) is not None:
                return self.rank(page, index)
        return len(self)


class TraversalOrders:
    """The ways below the prefix *root*. *pages_of* tells all pages of a directory that is known whole and has no more entries than asked."""

    def __init__(
        self, pages_of: Callable[[str, int], Sequence[EntryPage] | None], root: str
    ) -> None:
        self._pages_of = pages_of
        self._root = root
        self._kept: dict[tuple[OrderKind, str], TraversalOrder] = {}  # least recently used first
        self._entries = 0  # in all that are kept

    def by_name(self, entries: EntryPage) -> TraversalOrder:
        """The way through the directory of *entries*; if need be, through these alone."""
        return self._through(OrderKind.NAME, entries) or TraversalOrder(OrderKind.NAME, [entries])

    def by_number(self, entries: EntryPage) -> TraversalOrder | None:
        """The way through the directory of *entries*, if that is known whole and is not too large to be sorted."""
        return self._through(OrderKind.NUMBER, entries)

    def known(self, kind: OrderKind, prefix: str) -> TraversalOrder | None:
        """The way through the directory *prefix*, if that is known whole."""
        pages = self._pages_of(prefix, SORTED_MAX)
        return self._way(kind, pages) if pages else None

    def following(self, way: TraversalOrder) -> TraversalOrder | None:
        """The way through the directory with files that comes after that of *way*, if all between them is known."""
        prefix = way.prefix
        while prefix != self._root:
            above = self.known(way.kind, parent_of(prefix[:-1]))
            if above is None:
                return None
            if (behind := above.directory_behind(prefix)) is not None:
                return self._first_below(way.kind, behind)
            prefix = above.prefix
        return None

    def _through(self, kind: OrderKind, entries: EntryPage) -> TraversalOrder | None:
        way = self.known(kind, entries.prefix)
        return way if way is not None and entries in way else None

    def _first_below(self, kind: OrderKind, prefix: str) -> TraversalOrder | None:
        """The first way with files in *prefix*, or in the first directory of it, and so on."""
        for _ in range(_DEEP):
            way = self.known(kind, prefix)
            if way is None or way.has_files():
                return way
            below = way.directory_behind(None)
            if below is None:
                return None
            prefix = below
        return None

    def _way(self, kind: OrderKind, pages: Sequence[EntryPage]) -> TraversalOrder:
        key = kind, pages[0].prefix
        way = self._kept.pop(key, None)
        if way is None or way.pages is not pages:
            self._entries -= 0 if way is None else len(way)
            way = TraversalOrder(kind, pages)
            self._entries += len(way)
        self._kept[key] = way
        while self._entries > KEPT_MAX:
            self._entries -= len(self._kept.pop(next(iter(self._kept))))
        return way
