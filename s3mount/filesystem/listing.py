"""One pass over a directory: the entries of its pages, in the order in which they became certain.

Pure. Grows page by page until complete; what it has shown never changes, so that offsets into it stay valid for as long as
somebody holds it. Where a complete listing lacks a name, there is none.
"""

from bisect import bisect_right
from collections.abc import Callable

from s3mount.errors import StoreFailed
from s3mount.filesystem.assembly import Assembler
from s3mount.filesystem.entries import Entries, Row
from s3mount.filesystem.names import decode
from s3mount.s3.values import ListPage, ListQuery

_PAGE = 1000  # entries of a page that no store has cut, as S3 cuts them


class Listing:
    """The entries of *prefix*; no page is without an entry, and `as_of` is when the first of them was asked for.

    Filled by `add`, a page of a delimited listing at a time, or all at once by `fill`.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        as_of: float,
        grown: Callable[[], None] = lambda: None,
        *,
        is_ordered: bool = True,
    ) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self.as_of = as_of
        self.pages: list[Entries | None] = []  # None: trimmed
        self.is_trimmed = False
        self.is_complete = False
        self.hidden = 0
        self.newest_ns = 0
        self.entry_count = 0
        self._grown = grown  # called when a page has been added
        self._assembler = Assembler(prefix, is_ordered=is_ordered)
        self._token: str | None = None
        self._tokens: set[str] = set()
        # where to look for a name: by bisection, unless a page begins before the end of the one before it
        self._firsts: list[bytes] = []
        self._is_rising = True

    def next_query(self) -> ListQuery:
        """What to ask for next; the same again after a failure."""
        return ListQuery(self.prefix, token=self._token)

    def add(self, page: ListPage, as_of: float) -> None:
        """Take the answer to `next_query`, asked at *as_of*. StoreFailed where the store goes round in circles."""
        if page.next_token is not None and page.next_token in self._tokens:
            raise StoreFailed("the listing repeats a continuation token", bucket=self.bucket, key=self.prefix)
        rows = self._assembler.feed(page)
        self.hidden = self._assembler.hidden
        try:
            if page.next_token is None:
                rows += self._last_rows()
        except StoreFailed:
            self._grown()  # that the store lists in no order has been learned, though this listing is useless
            raise
        self._take(rows, page.next_token, as_of)
        self._grown()

    @property
    def is_ordered(self) -> bool:
        """Whether its keys have come in an order so far."""
        return self._assembler.is_ordered

    def fill(self, rows: list[Row], hidden: int) -> None:
        """Take all entries at once, as another pass has gathered them."""
        for start in range(0, len(rows), _PAGE):
            self._append(rows[start : start + _PAGE], self.as_of)
        self.hidden = hidden
        self.is_complete = True

    def find(self, name: bytes) -> tuple[Entries, int] | None:
        """The entry *name*, of those certain so far."""
        if self._is_rising:
            after = bisect_right(self._firsts, name)
            pages = self.pages[max(0, after - 1) : after]
        else:
            pages = [page for page, first in zip(self.pages, self._firsts, strict=True) if first <= name]
        for page in pages:
            if page is not None and (index := page.find(name)) is not None:
                return page, index
        return None

    def holds(self, entries: Entries | None) -> bool:
        """Whether *entries* are one of its pages; it may be that only `find` knows, where no order is kept."""
        if entries is None or not self._is_rising:
            return False
        after = bisect_right(self._firsts, entries.first)
        return after > 0 and self.pages[after - 1] is entries

    def trim(self, keep: int) -> list[Entries]:
        """Let all pages but the last *keep* go, and return them; what is left has the last word on no name any more."""
        going = []
        for number in range(len(self.pages) - keep - 1, -1, -1):
            page = self.pages[number]
            if page is None:
                break
            going.append(page)
            self.pages[number] = None
            self.is_trimmed = True
        return going

    def child_prefixes(self) -> list[str]:
        """The prefixes of the directories in it."""
        return [
            entries.key(index) + "/"
            for entries in self.pages
            if entries is not None
            for index in range(len(entries))
            if entries.is_directory(index)
        ]

    def decides(self, name: bytes) -> bool:
        """Whether `find` has the last word on *name*."""
        return not self.is_trimmed and (self.is_complete or self._assembler.decides(decode(name)))

    def _take(self, rows: list[Row], next_token: str | None, as_of: float) -> None:
        self._append(rows, as_of)
        self._token = next_token
        self.is_complete = next_token is None
        if next_token is not None:
            self._tokens.add(next_token)

    def _last_rows(self) -> list[Row]:
        rows = self._assembler.finish()
        if self._assembler.is_ordered:
            return rows
        return [row for row in rows if not self._is_shown(row)]

    def _is_shown(self, row: Row) -> bool:
        """Whether an entry that order had let go before disorder showed is the same. StoreFailed where it is of another kind."""
        found = self.find(row.name)
        if found is not None and found[0].is_directory(found[1]) != (row.size < 0):
            raise StoreFailed("the listing contradicts its own order", bucket=self.bucket, key=self.prefix)
        return found is not None

    def _append(self, rows: list[Row], as_of: float) -> None:
        if rows:
            page = Entries(self.bucket, self.prefix, rows, as_of)
            before = self.pages[-1] if self.pages else None
            self._is_rising = self._is_rising and (before is None or before.last < page.first)
            self._firsts.append(page.first)
            self.pages.append(page)
            self.entry_count += len(rows)
            self.newest_ns = max(self.newest_ns, *(row.mtime_ns for row in rows), 0)
