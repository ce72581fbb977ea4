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
    merger: EntryMerger | None


_START = _Origin(None, None)


class DirectoryListing:
    """The entries of *prefix*; no page is without an entry, and `requested_at` is when the first of them was asked for.

    Filled by `add`, a page of a delimited listing at a time, or all at once by `fill`. *order* tells how far its order is relied on;
    *holds_all* shows nothing before the end. *grown* is told of each page that came. *weight* is what it costs in memory, in bytes.
    """

    __slots__ = (
        "__weakref__",
        "_is_resumed",
        "_keys_needed",
        "_merger",
        "_on_page",
        "_order",
        "_origins",
        "_pending_since",
        "_runs",
        "_seen_tokens",
        "_shown_before",
        "_subtree_breaks",
        "_token",
        "_trimmed_hashes",
        "_weight",
        "bucket",
        "entry_count",
        "hidden_count",
        "is_complete",
        "is_derived",
        "is_ordered",
        "is_trimmed",
        "newest_mtime_ns",
        "newest_requested_at",
        "pages",
        "prefix",
        "requested_at",
    )

    def __init__(
        self,
        bucket: str,
        prefix: str,
        requested_at: float,
        order: OrderEvidence,
        grown: "Callable[[DirectoryListing], None]" = lambda _: None,
        *,
        holds_all: bool = False,
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.requested_at = requested_at
        self.pages: list[EntryPage | None] = []  # None: trimmed
        self.is_trimmed = False
        self.is_complete = False
        self.is_derived = False  # put together from another listing
        self.hidden_count = 0
        self.newest_requested_at = requested_at  # when the newest page was asked for
        self.newest_mtime_ns = 0
        self.entry_count = 0
        self._order = order
        self._subtree_breaks = order.subtree_breaks
        self._on_page: Callable[[DirectoryListing], None] | None = grown
        self._keys_needed = None if holds_all else order.keys_needed
        self.is_ordered = self._keys_needed is not None
        self._merger: EntryMerger | None = None  # while it grows, from its first page on
        self._token: str | None = None
        self._seen_tokens: set[str] | None = None  # that were told, while it grows
        # the scan that it goes on with, for a reader that was told the names of these hashes
        self._is_resumed = False
        self._shown_before: frozenset[int] = frozenset()
        # where each page's raw page began, None if it cannot be had again; the hashes of its names, once it is trimmed; and where
        # to look for a name, as soon as there is more than one page
        self._origins: list[_Origin | None] = []
        self._pending_since = (
            math.inf
        )  # when what the merger holds back now was asked for; endlessly late if nothing is
        self._trimmed_hashes: dict[int, array[int]] = {}
        self._runs: list[_Run] = []
        self._weight = _WEIGHT

    def next_query(self) -> ListQuery:
        """What to ask for next; the same again after a failure."""
        return ListQuery(self.prefix, token=self._token)

    def add(self, page: ListPage, requested_at: float) -> None:
        """Take the answer to `next_query`, asked at *requested_at*. StoreError if the store goes round in circles, or contradicts itself."""
        if self._seen_tokens is not None and page.next_token in self._seen_tokens:
            raise self._failure("the listing repeats a continuation token")
        if self._merger is None:
            self._merger = EntryMerger(self.prefix, proof=self._keys_needed)
        merger, origin = self._merger, self._origin()
        held_before, oldest = merger.pending_files, min(requested_at, self._pending_since)
        rows = merger.add(page)
        self.hidden_count = merger.hidden_count
        self._note_order(page, is_ordered=merger.is_ordered)
        if page.next_token is None:
            rows = rows + self._last_rows(merger)
        self._append(rows, oldest, origin if self.is_ordered else None)
        self._pending_since = _held_since(merger, held_before, oldest, requested_at)
        self._go_on(page.next_token)

    def fill(self, rows: list[Entry], hidden: int) -> None:
        """Take all entries at once, as another listing has told them."""
        self._append(rows, self.requested_at, _START)
        self.hidden_count = hidden
        self.is_derived = True
        self._go_on(None)

    @property
    def is_withdrawn(self) -> bool:
        """Whether it was concluded from an order that has turned out to be none."""
        return self.is_derived and self._order.subtree_breaks != self._subtree_breaks

    def find(self, name: bytes) -> tuple[EntryPage, int] | None:
        """The entry *name*, of those certain so far."""
        for number in self._may_hold(name):
            page = self.pages[number]
            if page is not None and (index := page.find(name)) is not None:
                return page, index
        return None

    def has_page(self, entries: EntryPage | None) -> bool:
        """Whether *entries* are one of its pages."""
        return entries is not None and any(
            self.pages[number] is entries for number in self._may_hold(entries.first_name)
        )

    def child_prefixes(self, every: int) -> list[str]:
        """The prefixes of the directories in it, of each page every so many."""
        prefixes = []
        for entries in self.pages:
            if entries is not None:
                children = [index for index in range(len(entries)) if entries.is_directory(index)]
                prefixes += [entries.key(index) + "/" for index in children[::every]]
        return prefixes

    def is_final(self, name: bytes) -> bool:
        """Whether `find` has the last word on *name*, that there is none included."""
        if self.is_trimmed:
            return False
        return (self.is_complete and not self.is_derived) or self.find(name) is not None

    def is_past(self, name: bytes) -> bool:
        """Whether waiting for more pages will probably not show *name*."""
        return self.is_complete or (self._merger is not None and self._merger.is_past(decode(name)))

    # ---- memory --------------------------------------------------------------------------------------------------

    @property
    def weight(self) -> int:
        held = 0 if self._merger is None else self._merger.pending_count
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
                self._trimmed_hashes[number] = page.hashes()
                self.pages[number] = None
                self._weight -= page.weight - _HASH_WEIGHT * len(page)
                self.is_trimmed = True
        return going

    def resume_at(
        self,
        number: int,
        index: int,
        requested_at: float,
        grown: "Callable[[DirectoryListing], None]",
    ) -> "DirectoryListing":
        """A new scan that goes on where entry *index* of the trimmed page *number* stood, without the entries before it.

        It begins where the raw page began, with what was held back then; so its pages may be cut elsewhere.
        """
        origin = self._origins[number]
        assert origin is not None  # else it would not have been trimmed
        twin = DirectoryListing(self.bucket, self.prefix, requested_at, self._order, grown)
        twin._is_resumed = True
        twin._token = origin.token
        twin._merger = None if origin.merger is None else origin.merger.copy()
        if twin._merger is not None and twin._merger.pending_count:
            twin._pending_since = self.requested_at
        before = (self._hashes_of(each) for each in range(number) if self._origins[each] is origin)
        twin._shown_before = frozenset(
            chain(self._shown_before, *before, self._hashes_of(number)[:index])
        )
        twin._weight += _TOLD_WEIGHT * len(twin._shown_before)
        return twin

    def _hashes_of(self, number: int) -> "array[int]":
        page = self.pages[number]
        return self._trimmed_hashes[number] if page is None else page.hashes()

    # ---- growing -------------------------------------------------------------------------------------------------

    def _origin(self) -> _Origin | None:
        """Where the next page begins; None without an order, as what is held back then is all that has come."""
        if self._token is None or self._merger is None:
            return _START
        return _Origin(self._token, self._merger.copy()) if self._merger.is_ordered else None

    def _note_order(self, page: ListPage, *, is_ordered: bool) -> None:
        if is_ordered:
            self._order.note_page(page)
        else:
            if self.is_ordered:
                self.is_ordered = False
                self._order.note_break(self.prefix)
            if self._is_resumed:  # what its reader was told before may come again
                raise self._failure("the listing lost its order while it was read")

    def _last_rows(self, merger: EntryMerger) -> list[Entry]:
        rows = merger.finish()
        if merger.is_ordered or not self.pages:
            return rows
        told = {*chain.from_iterable(map(self._hashes_of, range(len(self.pages))))}
        if any(name_hash(row.name, row.size >= 0) in told for row in rows):
            raise self._failure("the listing contradicts its own order")
        return [row for row in rows if name_hash(row.name, row.size < 0) not in told]

    def _go_on(self, token: str | None) -> None:
        """Expect the page at *token*; at the end, let all go that only a growing listing needs."""
        grown = self._on_page
        self._token = token
        self.is_complete = token is None
        if token is not None:
            self._seen_tokens = self._seen_tokens or set()
            self._seen_tokens.add(token)
        else:
            self._merger = self._on_page = self._seen_tokens = None
        if grown is not None:
            grown(self)

    def _append(self, rows: list[Entry], requested_at: float, origin: _Origin | None) -> None:
        """Add *rows* as one page, or as several if no store has cut them."""
        if self._shown_before:
            rows = [row for row in rows if not self._is_told(row.name)]
        if origin is not None and self._runs:
            late = [row for row in rows if row.name <= self._runs[0].last]
            if late:  # pages of their own, so that the others go on rising
                self._append_page(late, requested_at, origin)
                rows = [row for row in rows if row.name > self._runs[0].last]
        if len(rows) > _PAGE_MAX:
            rows = sorted(rows)
            for start in range(0, len(rows), _PAGE):
                self._append_page(rows[start : start + _PAGE], requested_at, origin)
        elif rows:
            self._append_page(rows, requested_at, origin)

    def _append_page(self, rows: list[Entry], requested_at: float, origin: _Origin | None) -> None:
        page = EntryPage(self.bucket, self.prefix, rows, requested_at)
        self._origins.append(origin)
        self._weight += page.weight + (_PAGE_WEIGHT if self.pages else 0)
        self.pages.append(page)
        self._file(page)
        self.entry_count += len(rows)
        self.newest_requested_at = max(self.newest_requested_at, requested_at)
        self.newest_mtime_ns = max(self.newest_mtime_ns, *(row.mtime_ns for row in rows), 0)

    def _file(self, page: EntryPage) -> None:
        """Note where *page*, the last one, is to be found."""
        number = len(self.pages) - 1
        if number == 0:
            return
        if number == 1:
            assert self.pages[0] is not None  # no page is trimmed while it is the last one
            self._runs = [_Run([self.pages[0].first_name], [0], self.pages[0].last_name)]
        run = next((run for run in self._runs if run.last < page.first_name), None)
        if run is None:
            self._runs.append(_Run([page.first_name], [number], page.last_name))
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
        return (
            name_hash(name, False) in self._shown_before
            or name_hash(name, True) in self._shown_before
        )

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
        self.firsts.append(page.first_name)
        self.numbers.append(number)
        self.last = page.last_name


def _held_since(
    merger: EntryMerger, before: frozenset[str] | None, oldest: float, requested_at: float
) -> float:
    """When the oldest that is held back now was asked for; *before* was held before the page of *requested_at*, which let go what is not."""
    if not merger.pending_count:
        return math.inf
    held = merger.pending_files
    return (
        requested_at
        if held is not None and before is not None and held.isdisjoint(before)
        else oldest
    )
