"""One listing of a directory: the entries of its pages, in the order in which they became certain.

Pure. Invariants:

1. It grows page by page until it is complete. What it has shown never changes, so an offset into
   it stays valid while a reader holds it. A trimmed page keeps its number, and what a new listing
   needs to continue there (`resume_at`).
2. A name is absent only if a complete listing of its own directory lacks it. A listing that is
   derived from another one (`fill`), trimmed, incomplete, partial (a page left objects out) or
   withdrawn denies nothing. No listing denies an unlisted name (`ViewNames`).
3. No page has more than `ENTRIES_MAX` entries, however many a store sends at once.
4. An entry is as old as the request that brought it, or older, however long it was held back.
5. No name is shown twice. If order breaks after names were shown, the rest is shown without them;
   if one of them turns out to be of another kind, the listing fails.

States: *growing* → *complete*, both by `add`; or *complete* at once by `fill` or `restore`.
`entry_merger` has the states of its order.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Final

from s3mount.errors import StoreError
from s3mount.filesystem import weights
from s3mount.filesystem.listing.entry_merger import EntryMerger
from s3mount.filesystem.listing.entry_page import Entry, EntryPage, name_hash
from s3mount.filesystem.listing.listing_growth import START, ListingGrowth, Origin
from s3mount.filesystem.listing.listing_state import ListingSource, ListingState
from s3mount.filesystem.listing.order_evidence import OrderEvidence
from s3mount.filesystem.listing.page_index import PageIndex
from s3mount.filesystem.names import PLAIN_NAMES, ViewNames, decode
from s3mount.s3.model import ListPage, ListQuery

_PAGE = 1000  # entries of a page that no store has cut, as S3 cuts them
_PAGE_MAX = 2 * _PAGE  # that is not cut: a store's thousand, and those that were held back
_NONE_SHOWN: Final = frozenset[int]()  # shared by the many listings that never have their own


class DirectoryListing:
    """The entries of *prefix*, first requested at *requested_at*; no page is without an entry.

    `add` takes the pages of a delimited listing one by one; `fill` takes all entries at once.
    *order* says how far the store's order is relied on; *holds_all* shows nothing before the end.
    *on_page* is called after each page. *weight* is the cost in memory, in bytes.
    """

    __slots__ = (
        "__weakref__",
        "_growth",
        "_index",
        "_keys_needed",
        "_names",
        "_on_page",
        "_order",
        "_origins",
        "_shown_before",
        "_subtree_breaks",
        "_trimmed_hashes",
        "_weight",
        "bucket",
        "entry_count",
        "hidden_count",
        "is_complete",
        "is_derived",
        "is_ordered",
        "is_partial",
        "is_trimmed",
        "is_unreferenced",
        "newest_requested_at",
        "pages",
        "prefetched_by",
        "prefix",
        "requested_at",
    )

    def __init__(
        self,
        bucket: str,
        prefix: str,
        requested_at: float,
        order: OrderEvidence,
        on_page: "Callable[[DirectoryListing], None]" = lambda _: None,
        *,
        names: ViewNames = PLAIN_NAMES,
        holds_all: bool = False,
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.requested_at = requested_at
        self.newest_requested_at = requested_at  # of the newest page
        self.is_complete = False
        self.is_derived = False  # from another listing
        self.is_partial = False  # a page has left objects out
        self.is_unreferenced = False  # prefetched: the kernel was given none of its entries yet
        self.prefetched_by: object = None  # for the prefetcher, until the directory is read
        self.hidden_count = 0
        self.entry_count = 0
        self._on_page: Callable[[DirectoryListing], None] | None = on_page
        # by page number: the page (None: trimmed), and the hashes of its names once it is trimmed;
        # of the last pages, all after the first raw one, where their raw page began (None: no
        # listing can continue there); with two pages, an index
        self.pages: list[EntryPage | None] = []
        self._trimmed_hashes: dict[int, array[int]] | None = None
        self._origins: list[Origin | None] | None = None
        self._index: PageIndex | None = None
        self.is_trimmed = False
        self._weight = weights.SCAN
        self._names = names
        # of the order: what was known of it at the start, and what has been seen
        self._order = order
        self._subtree_breaks = order.subtree_breaks
        self._keys_needed = None if holds_all else order.keys_needed
        self.is_ordered = self._keys_needed is not None
        self._growth: ListingGrowth | None = None  # from the first page on, until it is complete
        self._shown_before = _NONE_SHOWN  # hashes of names, if this is resumed

    def next_query(self) -> ListQuery:
        """The query for the next page; the same again after a failure."""
        return ListQuery(self.prefix, token=None if self._growth is None else self._growth.token)

    def add(self, page: ListPage, requested_at: float) -> None:
        """Take the page of `next_query`. StoreError if the listing loops, or contradicts itself."""
        growth = self._growth = self._growth or ListingGrowth(self._new_merger())
        if growth.has_seen(page.next_token):
            raise self._failure("the listing repeats a continuation token")
        origin = growth.next_origin()
        entries, oldest = growth.merge(page, requested_at)
        self.is_partial = self.is_partial or page.is_partial
        self._note_order(page, growth)
        if page.next_token is None:
            entries = entries + self._last_entries(growth.merger)
        self.hidden_count = growth.merger.hidden_count
        self._append(entries, oldest, origin if self.is_ordered else None)
        self._continue_at(page.next_token)

    def fill(self, entries: list[Entry], hidden_count: int) -> None:
        """Take all entries at once, as derived from another listing: of no reader yet."""
        self.is_unreferenced = True
        self._append(entries, self.requested_at, START)
        self.hidden_count = hidden_count
        self.is_derived = True
        self._continue_at(None)

    def restore(self, pages: Sequence[EntryPage], hidden_count: int, *, is_derived: bool) -> None:
        """Take all *pages* of a complete listing, of which no two have a name in common."""
        for page in pages:
            self._add_page(page, START)
        self.hidden_count = hidden_count
        self.is_derived = is_derived
        self._continue_at(None)

    @classmethod
    def of_state(
        cls, source: ListingSource, state: ListingState, page: EntryPage | None
    ) -> "DirectoryListing":
        """The complete listing that had this `source` and `state`, and no other page."""
        bucket, order, names, prefetched_by = source
        listing = cls(bucket, state.prefix, state.requested_at, order, names=names)
        if page is not None:
            listing._add_page(page, START)
        listing.is_derived, listing.is_partial = state.is_derived, state.is_partial
        listing.is_ordered, listing.is_unreferenced = state.is_ordered, state.is_unreferenced
        listing._subtree_breaks = state.subtree_breaks
        listing.prefetched_by = prefetched_by
        listing._continue_at(None)
        return listing

    @property
    def source(self) -> ListingSource:
        """What it shares with others."""
        return ListingSource(self.bucket, self._order, self._names, self.prefetched_by)

    def state(self) -> ListingState | None:
        """What it has beside its source and its page; None if that is more, or may change.

        It is of one time, the oldest: a page is requested some time after its listing has begun.
        """
        is_small = self.is_complete and len(self.pages) < 2 and not self.is_trimmed
        is_plain = not (self._shown_before or self.hidden_count or self._origins)
        times = {page.requested_at for page in self.pages if page is not None}
        times |= {self.requested_at, self.newest_requested_at}
        if not is_small or not is_plain:
            return None
        return ListingState(
            self.prefix,
            min(times),
            self._subtree_breaks,
            self.is_derived,
            self.is_partial,
            self.is_ordered,
            self.is_unreferenced,
        )

    @property
    def is_withdrawn(self) -> bool:
        """Whether it was derived by an order that the store has broken since."""
        return self.is_derived and self._order.subtree_breaks != self._subtree_breaks

    def find(self, name: bytes) -> tuple[EntryPage, int] | None:
        """The entry *name*, among those certain so far."""
        for number in self._candidates(name):
            page = self.pages[number]
            if page is not None and (index := page.find(name)) is not None:
                return page, index
        return None

    def has_page(self, page: EntryPage | None) -> bool:
        """Whether *page* is one of its pages."""
        return page is not None and any(
            self.pages[number] is page for number in self._candidates(page.first_name)
        )

    def child_prefixes(self, every: int) -> list[str]:
        """The prefixes of the directories in it: of each page, every *every*th."""
        prefixes = []
        for page in self.pages:
            if page is not None:
                children = [index for index in range(len(page)) if page.is_directory(index)]
                prefixes += [page.key(index) + "/" for index in children[::every]]
        return prefixes

    def is_final(self, name: bytes) -> bool:
        """Whether the result of `find` for *name* is final, an absence included."""
        if self.is_trimmed:
            return False
        denies = self.is_complete and not (self.is_derived or self.is_partial)
        return (denies and name not in self._names.unlisted) or self.find(name) is not None

    def is_past(self, name: bytes) -> bool:
        """Whether later pages will probably not have *name*."""
        growth = self._growth
        return self.is_complete or (growth is not None and growth.merger.is_past(decode(name)))

    # ---- memory --------------------------------------------------------------------------------

    @property
    def weight(self) -> int:
        pending = 0 if self._growth is None else self._growth.merger.pending_count
        inodes = self.entry_count if self.is_unreferenced else 0
        return self._weight + weights.PENDING_ENTRY * pending - weights.INODE * inodes

    def trim(self, keep: int) -> list[EntryPage]:
        """Drop all pages but the last *keep*, and return them.

        Pages where no listing can continue stay, and those of the last raw page, which its reader
        has yet to pass.
        """
        trimmed = []
        stop = max(0, len(self.pages) - 1)
        while stop and self._origin(stop - 1) is self._origin(-1):
            stop -= 1
        for number in range(min(len(self.pages) - keep, stop) - 1, -1, -1):
            page = self.pages[number]
            if page is None:
                break
            if self._origin(number) is not None:
                trimmed.append(page)
                if self._trimmed_hashes is None:
                    self._trimmed_hashes = {}
                self._trimmed_hashes[number] = page.hashes()
                self.pages[number] = None
                self._weight -= page.weight - weights.TRIMMED_NAME * len(page)
                self.is_trimmed = True
        return trimmed

    def resume_at(
        self,
        number: int,
        index: int,
        requested_at: float,
        on_page: "Callable[[DirectoryListing], None]",
    ) -> "DirectoryListing":
        """A new listing from entry *index* of the trimmed page *number* on.

        It starts where the raw page began, with what was held back then, and leaves out the names
        before the entry; so its pages may be cut elsewhere.
        """
        origin = self._origin(number)
        assert origin is not None  # else it would not have been trimmed
        twin = DirectoryListing(
            self.bucket, self.prefix, requested_at, self._order, on_page, names=self._names
        )
        merger = twin._new_merger() if origin.merger is None else origin.merger.copy()
        twin._growth = ListingGrowth.resumed(origin.token, merger, self.requested_at)
        before = (self._hashes_of(each) for each in range(number) if self._origin(each) is origin)
        shown = chain(self._shown_before, *before, self._hashes_of(number)[:index])
        twin._shown_before = frozenset(shown)
        twin._weight += weights.SHOWN_NAME * len(twin._shown_before)
        return twin

    def _origin(self, number: int) -> Origin | None:
        """Where the raw page of page *number* began; of the last one, if it is -1."""
        if self._origins is None:
            return START
        later = number if number < 0 else number - len(self.pages) + len(self._origins)
        return START if later < 0 <= number else self._origins[later]

    def _hashes_of(self, number: int) -> "array[int]":
        page = self.pages[number]
        if page is not None:
            return page.hashes()
        assert self._trimmed_hashes is not None
        return self._trimmed_hashes[number]

    # ---- growing -------------------------------------------------------------------------------

    def _new_merger(self) -> EntryMerger:
        escape = self._names.escape
        if escape is None:
            return EntryMerger(self.prefix, keys_needed=self._keys_needed)
        # of few mounts
        from s3mount.filesystem.listing.escaped_merger import (  # noqa: PLC0415
            EscapedEntryMerger,
        )

        return EscapedEntryMerger(self.prefix, escape, keys_needed=self._keys_needed)

    def _note_order(self, page: ListPage, growth: ListingGrowth) -> None:
        if growth.merger.is_ordered:
            self._order.note_page(page)
            return
        if self.is_ordered:
            self.is_ordered = False
            self._order.note_break(self.prefix)
        if growth.is_resumed:  # names that its reader has seen may come again
            raise self._failure("the listing lost its order while it was read")

    def _last_entries(self, merger: EntryMerger) -> list[Entry]:
        """What the merger has held back to the end, without names shown before order broke."""
        entries = merger.finish()
        if merger.is_ordered or not self.pages:
            return entries
        shown = {*chain.from_iterable(map(self._hashes_of, range(len(self.pages))))}
        if any(name_hash(entry.name, entry.size >= 0) in shown for entry in entries):
            raise self._failure("the listing contradicts its own order")
        return [entry for entry in entries if name_hash(entry.name, entry.size < 0) not in shown]

    def _continue_at(self, token: str | None) -> None:
        """Expect the page at *token*; at the end, drop what only a growing listing needs."""
        on_page = self._on_page
        self.is_complete = token is None
        if token is None:
            self._growth = self._on_page = None
        elif self._growth is not None:
            self._growth.advance(token)
        if on_page is not None:
            on_page(self)

    def _append(self, entries: list[Entry], requested_at: float, origin: Origin | None) -> None:
        """Append *entries* as one page, or as several if no store has cut them."""
        if self._shown_before:
            entries = [entry for entry in entries if not self._was_shown_before(entry.name)]
        if origin is not None and self._index is not None:
            last = self._index.last_name
            late = [entry for entry in entries if entry.name <= last]
            if late:  # a page of its own, so that the others go on rising
                self._append_page(late, requested_at, origin)
                entries = [entry for entry in entries if entry.name > last]
        if len(entries) > _PAGE_MAX:
            entries = sorted(entries)
            for start in range(0, len(entries), _PAGE):
                self._append_page(entries[start : start + _PAGE], requested_at, origin)
        elif entries:
            self._append_page(entries, requested_at, origin)

    def _append_page(
        self, entries: list[Entry], requested_at: float, origin: Origin | None
    ) -> None:
        self._add_page(EntryPage(self.bucket, self.prefix, entries, requested_at), origin)

    def _add_page(self, page: EntryPage, origin: Origin | None) -> None:
        if origin is not START:
            self._origins = self._origins or []
            self._origins.append(origin)
        self._weight += page.weight + (weights.LISTING_PAGE if self.pages else 0)
        self._add_to_index(page)
        self.pages.append(page)
        self.entry_count += len(page)
        self.newest_requested_at = max(self.newest_requested_at, page.requested_at)

    def _add_to_index(self, page: EntryPage) -> None:
        if not self.pages:
            return
        if self._index is None:
            assert self.pages[0] is not None  # no page is trimmed while it is the last one
            self._index = PageIndex()
            self._index.add(self.pages[0], 0)
        self._index.add(page, len(self.pages))

    def _candidates(self, name: bytes) -> Iterable[int]:
        """The numbers of the pages that can hold *name*."""
        return range(len(self.pages)) if self._index is None else self._index.candidates(name)

    def _was_shown_before(self, name: bytes) -> bool:
        """Whether the reader for whom this listing resumes has seen *name*, of whatever kind."""
        shown = self._shown_before
        return name_hash(name, False) in shown or name_hash(name, True) in shown

    def _failure(self, what: str) -> StoreError:
        return StoreError(what, bucket=self.bucket, key=self.prefix)
