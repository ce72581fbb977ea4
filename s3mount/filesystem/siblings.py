"""Small files read one after another: which ones come next.

Pure. `grep -r`, `tar` and a training loop open files as their directory lists them, by name; `cp -r` opens them by inode number, which
it sorts by for the sake of disks. Perhaps several are opened at once, and so a little out of step. Each open that follows the one
before doubles how many are fetched ahead; one that does not ends it. Who has read one directory in an order is believed from the
first file of the next on.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, chain
from typing import NamedTuple, Protocol

from s3mount.filesystem.entries import Entries

SMALL = 1 << 20  # bytes: what one GET brings about as fast as its first byte
AHEAD_MAX = 64  # files
STEP_MAX = 8  # files that may be skipped, or opened by another worker first
TRACKED = 16  # directories
NUMBERED_MAX = 100_000  # entries: more would keep the loop for longer than a twentieth of a second
_PROVEN = 3  # opens in order, after which the next directory is expected to be read likewise


class Sibling(NamedTuple):
    """One file of a directory."""

    entries: Entries
    at: int


class _Order(Protocol):
    """Files, one after another."""

    def __len__(self) -> int: ...
    def __getitem__(self, rank: int, /) -> Sibling: ...


class _ByName:
    """A page of a directory, as it is listed."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, rank: int) -> Sibling:
        return Sibling(self._entries, rank)


class _ByNumber:
    """The files of a whole directory in the order of their inode numbers."""

    def __init__(self, pages: Sequence[Entries]) -> None:
        self.pages = pages
        self._firsts = list(accumulate(map(len, pages), initial=0))  # where each page begins among all entries
        numbers = array("Q", chain.from_iterable(page.inodes for page in pages))
        sizes = chain.from_iterable(page.sizes for page in pages)
        files = sorted((place for place, size in enumerate(sizes) if size >= 0), key=numbers.__getitem__)
        # by rank, in columns: where the file is among all entries, and its number
        self._places = array("L", files)
        self._numbers = array("Q", map(numbers.__getitem__, files))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, rank: int) -> Sibling:
        place = self._places[rank]
        number = bisect_right(self._firsts, place) - 1
        return Sibling(self.pages[number], place - self._firsts[number])

    def rank(self, inode: int) -> int:
        """Where the file with this number stands."""
        return bisect_left(self._numbers, inode)


class _Course:
    """How far a reader has come in an order, and how far has been fetched for it."""

    def __init__(self, opened: int, streak: int) -> None:
        self.opened = opened
        self.fetched = opened
        self.streak = streak


class _Courses:
    """The readers in orders of one kind."""

    def __init__(self) -> None:
        self._courses: dict[object, _Course] = {}  # least recently moved first
        self.is_proven = False

    def __contains__(self, directory: object) -> bool:
        return directory in self._courses

    def opened(self, directory: object, rank: int) -> _Course:
        """A file is being opened: the course that has come there."""
        course = self._courses.pop(directory, None)
        if course is None:
            course = _Course(rank, streak=_PROVEN if self.is_proven and rank < STEP_MAX else 0)
        elif course.opened < rank <= course.opened + STEP_MAX:
            course.opened = rank
            course.streak += 1
        elif not course.opened - STEP_MAX < rank <= course.opened:
            course = _Course(rank, streak=0)
            self.is_proven = False
        self._courses[directory] = course
        if len(self._courses) > TRACKED:
            del self._courses[next(iter(self._courses))]
        self.is_proven = self.is_proven or course.streak >= _PROVEN
        return course


class Siblings:
    """Follows the files that are opened. *whole* tells the pages of the directory that some entries are of, if it is known whole."""

    def __init__(self, whole: Callable[[Entries], Sequence[Entries] | None]) -> None:
        self._whole = whole
        self._by_name = _Courses()
        self._by_number = _Courses()
        self._numbered: dict[str, _ByNumber] = {}  # by prefix, the last one made last

    def opened(self, entries: Entries, index: int) -> Iterator[Sibling]:
        """A file is being opened: those to fetch ahead now. Take as many as there is room for."""
        is_new = entries not in self._by_name
        course = self._by_name.opened(entries, index)
        if course.streak or (is_new and not self._by_number.is_proven):
            return _next(course, _ByName(entries))
        order = self._in_numbers(entries)
        if order is None:
            return iter(())
        return _next(self._by_number.opened(entries.prefix, order.rank(entries.inode(index))), order)

    def _in_numbers(self, entries: Entries) -> _ByNumber | None:
        pages = self._whole(entries)
        if pages is None or sum(map(len, pages)) > NUMBERED_MAX:
            return None
        order = self._numbered.pop(entries.prefix, None)
        if order is None or order.pages != pages:
            order = _ByNumber(pages)
        self._numbered[entries.prefix] = order
        if len(self._numbered) > TRACKED:
            del self._numbered[next(iter(self._numbered))]
        return order


def _next(course: _Course, order: _Order) -> Iterator[Sibling]:
    window = min(AHEAD_MAX, 2 << course.streak) if course.streak else 0
    stop = min(len(order), course.opened + 1 + window)
    for rank in range(max(course.opened, course.fetched) + 1, stop):
        sibling = order[rank]
        if 0 < sibling.entries.sizes[sibling.at] <= SMALL:
            yield sibling
        course.fetched = rank
