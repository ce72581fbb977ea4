"""Table of pages by number: those that the kernel refers to, and packed directories.

Pure. A number has 28 bits; one that is free may be used again. That of a small page is chosen by a
hash of its directory, so that a packed directory is found without an index of its own, which would
cost as much memory as this table. A directory has `PROBES` numbers to choose from; if none is free,
its page gets another.
"""

from collections.abc import Iterator
from typing import Final

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.packed_listing import ENTRIES_MAX
from s3mount.filesystem.namespace.invalidations import DirectoryKey

PROBES: Final = 4
_HASHED: Final = 1 << 27  # numbers below are by hash
_NUMBER_MAX: Final = (1 << 28) - 1  # lookups of some days, if each brings a page

PageOrPacked = EntryPage | bytes


class PageTable:
    """Pages and packed directories by number; numbers are not 0."""

    __slots__ = ("_items", "_last_number")

    def __init__(self) -> None:
        self._items: dict[int, PageOrPacked] = {}  # in the order in which they were put
        self._last_number = _HASHED

    def __getitem__(self, number: int) -> PageOrPacked:
        return self._items[number]

    def add(self, page: EntryPage) -> None:
        """Number *page*, and put it."""
        is_small = len(page) <= ENTRIES_MAX and not page.is_looked_up
        number = self.free_number((page.bucket, page.prefix)) if is_small else None
        if number is None:
            number = self._next_number()
        page.table_number = number
        self._items[number] = page

    def put(self, number: int, item: PageOrPacked) -> None:
        """Put *item* under *number*, as the newest."""
        self._items.pop(number, None)
        self._items[number] = item

    def remove(self, number: int) -> None:
        del self._items[number]

    def free_number(self, key: DirectoryKey) -> int | None:
        """A number of the directory *key* that is free."""
        return next((number for number in _numbers(key) if number not in self._items), None)

    def packed_at(self, key: DirectoryKey) -> Iterator[tuple[int, bytes]]:
        """What is packed under the numbers of *key*: of this directory, or of others."""
        for number in _numbers(key):
            item = self._items.get(number)
            if isinstance(item, bytes):
                yield number, item

    @staticmethod
    def is_hashed(number: int) -> bool:
        """Whether *number* is one of those of its directory."""
        return number < _HASHED

    def items(self) -> Iterator[tuple[int, PageOrPacked]]:
        """All that is there, the oldest first; nothing may be put or removed meanwhile."""
        return iter(self._items.items())

    def numbers(self) -> list[int]:
        """All numbers as of now."""
        return list(self._items)

    def get(self, number: int) -> PageOrPacked | None:
        return self._items.get(number)

    def _next_number(self) -> int:
        """The next free number that is not by hash; behind the last one comes the first again."""
        while True:
            is_last = self._last_number == _NUMBER_MAX
            self._last_number = _HASHED if is_last else self._last_number + 1
            if self._last_number not in self._items:
                return self._last_number


def _numbers(key: DirectoryKey) -> Iterator[int]:
    start = hash(key) % (_HASHED - PROBES)
    return iter(range(start + 1, start + 1 + PROBES))
