"""One scan of a directory: the entries of its pages, in the order in which they became certain.

Pure. What always holds:

1. It grows page by page until it is complete; what it has shown never changes, so an offset into it stays valid for as long as
   somebody holds it. A page that was trimmed leaves its place, and what is needed to go on from there (`resumed`).
2. A name is absent only if a complete scan of its own directory lacks it. A scan that was put together from another listing (`filled`),
   that is trimmed, incomplete or withdrawn shows what is there, and denies nothing.
3. No page holds more than `ENTRIES_MAX` entries, however many a store sends at once.
4. An entry is as old as the request that brought it, or older; however long it was held back.
5. No name is told twice. If order broke after names had been told, the rest is told without them; if one of them turns out to be of
   another kind, the scan fails.

States: *growing* → *complete*, both by `add`; or *complete* from the beginning by `fill`. `assembly` has the states of its order.
"""

import math
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from s3mount.errors import StoreError
from s3mount.filesystem.listing.entry_merger import EntryMerger
from s3mount.filesystem.listing.entry_page import Entry, EntryPage, name_hash
from s3mount.filesystem.listing.order_evidence import OrderEvidence
from s3mount.filesystem.names import decode
from s3mount.s3.model import ListPage, ListQuery

_PAGE = 1000  # entries of a page that no store has cut, as S3 cuts them
_PAGE_MAX = (
    2 * _PAGE
)  # entries of a page that is not cut: a store's thousand, and those that were held back

# What memory costs, in bytes: a scan with its directory's other state; a page's origin and token; an entry that is held back as a tuple.
_WEIGHT = 700
_PAGE_WEIGHT = 900
_HELD_WEIGHT = 400
_HASH_WEIGHT = 8
_TOLD_WEIGHT = 100


class _Origin(NamedTuple):
    """Where the raw page began that brought some entries: *token* of the listing, and what was held back then. None: at its start."""

    token: str | None
    assembler: EntryMerger | None


_START = _Origin(None, None)


class DirectoryListing:
    """The entries of *prefix*; no page is without an entry, and `as_of` is when the first of them was asked for.

    Filled by `add`, a page of a delimited listing at a time, or all at once by `fill`. *order* tells how far its order is relied on;
    *holds_all* shows nothing before the end. *grown* is told of each page that came. *weight* is what it costs in memory, in bytes.
    """

    __slots__ = (
        "__weakref__",
        "_assembler",
        "_grown",
        "_hashes",
        "_held_since",
        "_is_resumed",
        "_order",
        "_origins",
        "_proof",
        "_runs",
        "_token",
        "_tokens",
        "_told",
        "_walk_breaks",
        "_weight",
        "as_of",
        "bucket",
        "entry_count",
        "hidden",
        "is_complete",
        "is_filled",
        "is_ordered",
        "is_trimmed",
        "newest_as_of",
        "newest_ns",
        "pages",
        "prefix",
    )

    def __init__(
        self,
        bucket: str,
        prefix: str,
        as_of: float,
        order: OrderEvidence,
        grown: "Callable[[DirectoryListing], None]" = lambda _: None,
        *,
        holds_all: bool = False,
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.as_of = as_of
        self.pages: list[EntryPage | None] = []  # None: trimmed
        self.is_trimmed = False
        self.is_complete = False
        self.is_filled = False  # put together from another listing
        self.hidden = 0
        self.newest_as_of = as_of  # when the newest page was asked for
        self.newest_ns = 0
        self.entry_count = 0
        self._order = order
        self._walk_breaks = order.walk_breaks
        self._grown: Callable[[DirectoryListing], None] | None = grown
        self._proof = None if holds_all else order.proof
        self.is_ordered = self._proof is not None
        self._assembler: EntryMerger | None = None  # while it grows, from its first page on
        self._token: str | None = None
        self._tokens: set[str] | None = None  # that were told, while it grows
        # the scan that it goes on with, for a reader that was told the names of these hashes
        self._is_resumed = False
        self._told: frozenset[int] = frozenset()
        # where each page's raw page began, None if it cannot be had again; the hashes of its names, once it is trimmed; and where
        # to look for a name, as soon as there is more than one page
        self._origins: list[_Origin | None] = []
        self._held_since = (
            math.inf
        )  # when what the assembler holds back now was asked for; endlessly late if nothing is
        self._hashes: dict[int, array[int]] = {}
        self._runs: list[_Run] = []
        self._weight = _WEIGHT

    def next_query(self) -> ListQuery:
        """What to ask for next; the same again after a failure."""
        return ListQuery(self.prefix, token=self._token)

    def add(self, page: ListPage, as_of: float) -> None:
        """Take the answer to `next_query`, asked at *as_of*. StoreError if the store goes round in circles, or contradicts itself."""
        if self._tokens is not None and page.next_token in self._tokens:
            raise self._failure("the listing repeats a continuation token")
        if self._assembler is None:
            self._assembler = EntryMerger(self.prefix, proof=self._proof)
        assembler, origin = self._assembler, self._origin()
        held_before, oldest = assembler.held_files, min(as_of, self._held_since)
        rows = assembler.feed(page)
        self.hidden = assembler.hidden
        self._note_order(page, is_ordered=assembler.is_ordered)
        if page.next_token is None:
            rows = rows + self._last_rows(assembler)
        self._append(rows, oldest, origin if self.is_ordered else None)
        self._held_since = _held_since(assembler, held_before, oldest, as_of)
        self._go_on(page.next_token)

    def fill(self, rows: list[Entry], hidden: int) -> None:
        """Take all entries at once, as another listing has told them."""
        self._append(rows, self.as_of, _START)
        self.hidden = hidden
        self.is_filled = True
        self._go_on(None)

    @property
    def is_withdrawn(self) -> bool:
        """Whether it was concluded from an order that has turned out to be none."""
        return self.is_filled and self._order.walk_breaks != self._walk_breaks

    def find(self, name: bytes) -> tuple[EntryPage, int] | None:
        """The entry *name*, of those certain so far."""
        for number in self._may_hold(name):
            page = self.pages[number]
            if page is not None and (index := page.find(name)) is not None:
                return page, index
        return None

    def holds(self, entries: EntryPage | None) -> bool:
        """Whether *entries* are one of its pages."""
        return entries is not None and any(
            self.pages[number] is entries for number in self._may_hold(entries.first)
        )

    def child_prefixes(self, every: int) -> list[str]:
        """The prefixes of the directories in it, of each page every so many."""
        prefixes = []
        for entries in self.pages:
            if entries is not None:
                children = [index for index in range(len(entries)) if entries.is_directory(index)]
                prefixes += [entries.key(index) + "/" for index in children[::every]]
        return prefixes

    def decides(self, name: bytes) -> bool:
        """Whether `find` has the last word on *name*, that there is none included."""
        if self.is_trimmed:
            return False
        return (self.is_complete and not self.is_filled) or self.find(name) is not None

    def is_past(self, name: bytes) -> bool:
        """Whether waiting for more pages will probably not show *name*."""
        return self.is_complete or (
            self._assembler is not None and self._assembler.is_past(decode(name))
        )

    # ---- memory --------------------------------------------------------------------------------------------------

    @property
    def weight(self) -> int:
        held = 0 if self._assembler is None else self._assembler.held_count
        return self._weight + _HELD_WEIGHT * held

    def trim(self, keep: int) -> list[EntryPage]:
        """Let all pages but the last *keep* go, and return them.

        Not those that cannot be had again, nor those that the last raw page brought: its reader has to get ahead.
        """
        going = []
        least = max(0, len(self.pages) - 1)
        while least and self._origins[least - 1] is self._origins[-1]:
            least -= 1
        for number in range(min(len(self.pages) - keep, least) - 1, -1, -1):
            page = self.pages[number]
            if page is None:
                break
            if self._origins[number] is not None:
                going.append(page)
                self._hashes[number] = page.hashes()
                self.pages[number] = None
                self._weight -= page.weight - _HASH_WEIGHT * len(page)
                self.is_trimmed = True
        return going

    def resumed(
        self, number: int, index: int, as_of: float, grown: "Callable[[DirectoryListing], None]"
    ) -> "DirectoryListing":
        """A new scan that goes on where entry *index* of the trimmed page *number* stood, without the entries before it.

        It begins where the raw page began, with what was held back then; so its pages may be cut elsewhere.
        """
        origin = self._origins[number]
        assert origin is not None  # else it would not have been trimmed
        twin = DirectoryListing(self.bucket, self.prefix, as_of, self._order, grown)
        twin._is_resumed = True
        twin._token = origin.token
        twin._assembler = None if origin.assembler is None else origin.assembler.copy()
        if twin._assembler is not None and twin._assembler.held_count:
            twin._held_since = self.as_of
        before = (self._hashes_of(each) for each in range(number) if self._origins[each] is origin)
        twin._told = frozenset(chain(self._told, *before, self._hashes_of(number)[:index]))
        twin._weight += _TOLD_WEIGHT * len(twin._told)
        return twin

    def _hashes_of(self, number: int) -> "array[int]":
        page = self.pages[number]
        return self._hashes[number] if page is None else page.hashes()

    # ---- growing -------------------------------------------------------------------------------------------------

    def _origin(self) -> _Origin | None:
        """Where the next page begins; None without an order, as what is held back then is all that has come."""
        if self._token is None or self._assembler is None:
            return _START
        return _Origin(self._token, self._assembler.copy()) if self._assembler.is_ordered else None

    def _note_order(self, page: ListPage, *, is_ordered: bool) -> None:
        if is_ordered:
            self._order.note_page(page)
        else:
            if self.is_ordered:
                self.is_ordered = False
                self._order.note_break(self.prefix)
            if self._is_resumed:  # what its reader was told before may come again
                raise self._failure("the listing lost its order while it was read")

    def _last_rows(self, assembler: EntryMerger) -> list[Entry]:
        rows = assembler.finish()
        if assembler.is_ordered or not self.pages:
            return rows
        told = {*chain.from_iterable(map(self._hashes_of, range(len(self.pages))))}
        if any(name_hash(row.name, row.size >= 0) in told for row in rows):
            raise self._failure("the listing contradicts its own order")
        return [row for row in rows if name_hash(row.name, row.size < 0) not in told]

    def _go_on(self, token: str | None) -> None:
        """Expect the page at *token*; at the end, let all go that only a growing listing needs."""
        grown = self._grown
        self._token = token
        self.is_complete = token is None
        if token is not None:
            self._tokens = self._tokens or set()
            self._tokens.add(token)
        else:
            self._assembler = self._grown = self._tokens = None
        if grown is not None:
            grown(self)

    def _append(self, rows: list[Entry], as_of: float, origin: _Origin | None) -> None:
        """Add *rows* as one page, or as several if no store has cut them."""
        if self._told:
            rows = [row for row in rows if not self._is_told(row.name)]
        if origin is not None and self._runs:
            late = [row for row in rows if row.name <= self._runs[0].last]
            if late:  # pages of their own, so that the others go on rising
                self._append_page(late, as_of, origin)
                rows = [row for row in rows if row.name > self._runs[0].last]
        if len(rows) > _PAGE_MAX:
            rows = sorted(rows)
            for start in range(0, len(rows), _PAGE):
                self._append_page(rows[start : start + _PAGE], as_of, origin)
        elif rows:
            self._append_page(rows, as_of, origin)

    def _append_page(self, rows: list[Entry], as_of: float, origin: _Origin | None) -> None:
        page = EntryPage(self.bucket, self.prefix, rows, as_of)
        self._origins.append(origin)
        self._weight += page.weight + (_PAGE_WEIGHT if self.pages else 0)
        self.pages.append(page)
        self._file(page)
        self.entry_count += len(rows)
        self.newest_as_of = max(self.newest_as_of, as_of)
        self.newest_ns = max(self.newest_ns, *(row.mtime_ns for row in rows), 0)

    def _file(self, page: EntryPage) -> None:
        """Note where *page*, the last one, is to be found."""
        number = len(self.pages) - 1
        if number == 0:
            return
        if number == 1:
            assert self.pages[0] is not None  # no page is trimmed while it is the last one
            self._runs = [_Run([self.pages[0].first], [0], self.pages[0].last)]
        run = next((run for run in self._runs if run.last < page.first), None)
        if run is None:
            self._runs.append(_Run([page.first], [number], page.last))
        else:
            run.add(page, number)

    def _may_hold(self, name: bytes) -> Iterable[int]:
        """The numbers of the pages that *name* can be on."""
        if not self._runs:
            return range(len(self.pages))
        return [
            run.numbers[after - 1]
            for run in self._runs
            if (after := bisect_right(run.firsts, name))
        ]

    def _is_told(self, name: bytes) -> bool:
        """Whether the reader that this scan resumes for was told *name*, of whatever kind."""
        return name_hash(name, False) in self._told or name_hash(name, True) in self._told

    def _failure(self, what: str) -> StoreError:
        return StoreError(what, bucket=self.bucket, key=self.prefix)


@dataclass(slots=True)
class _Run:
    """Pages each of which begins behind the end of the one before it: their first names, their numbers, and the last name of all.

    An ordered listing is one run, and few short ones of files that were held back.
    """

    firsts: list[bytes]
    numbers: list[int]
    last: bytes

    def add(self, page: EntryPage, number: int) -> None:
        self.firsts.append(page.first)
        self.numbers.append(number)
        self.last = page.last


def _held_since(
    assembler: EntryMerger, before: frozenset[str] | None, oldest: float, as_of: float
) -> float:
    """When the oldest that is held back now was asked for; *before* was held before the page of *as_of*, which let go what is not."""
    if not assembler.held_count:
        return math.inf
    held = assembler.held_files
    return as_of if held is not None and before is not None and held.isdisjoint(before) else oldest
