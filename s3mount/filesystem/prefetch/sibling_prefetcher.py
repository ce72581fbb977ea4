"""Small files read one after another: which ones come next.

Pure. `grep -r`, `tar` and a training loop open files as their directories list them, by name; `cp -r` opens them by inode number, which
it sorts by for the sake of disks. Perhaps several are opened at once, and so a little out of step. Each open that follows the one
before doubles how many are fetched ahead; one that does not ends it. Who has read one directory in an order is believed from the
first file of the next on, and who went on from the end of one to the beginning of the next has files of the one after fetched too.
"""

from collections.abc import Iterator

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.filesystem.prefetch.traversal_order import EntryRef, TraversalOrder, TraversalOrders

SMALL = 1 << 20  # bytes: what one GET brings about as fast as its first byte
AHEAD_MAX = 64  # files
STEP_MAX = 8  # files that may be skipped, or opened by another worker first
LOOKED_EVERY = 16  # files opened, until it is looked again what follows a directory of which nothing was known to
TRACKED = 128  # directories: more than the next files are in
SORTED_AT_ONCE = (
    1_000  # entries of a directory that is sorted by number for the first file opened in it already
)
_PROVEN = 3  # opens in order, after which the next directory is expected to be read likewise


class _Progress:
    """How far a reader has come on a way, and how far has been fetched for it. *following* is the prefix where it goes on."""

    def __init__(self, opened: int, streak: int) -> None:
        self.opened = opened
        self.fetched = opened
        self.streak = streak
        self.following: str | None = None
        self.looked_at: int | None = (
            None  # the rank at which it was last found that nothing is known to follow
        )


class _OrderDetector:
    """Those who go by one kind of way."""

    def __init__(self, ways: TraversalOrders) -> None:
        self._ways = ways
        self._courses: dict[
            EntryPage, _Progress
        ] = {}  # by the first page of a way, least recently moved first
        self._last: TraversalOrder | None = None
        # what is believed of whoever is in a directory for the first time: that all of it is read, and then the next
        self.is_proven = False
        self._goes_on = False

    def have_been_on(self, way: TraversalOrder) -> bool:
        return way.pages[0] in self._courses

    def opened(self, way: TraversalOrder, rank: int) -> Iterator[EntryRef] | None:
        """The file at *rank* is being opened: the next ones to fetch. None where it follows nothing."""
        course = self._courses.pop(way.pages[0], None)
        if course is None:
            course = self._begun(way, rank)
        elif course.opened < rank <= course.opened + STEP_MAX:
            course.opened = rank
            course.streak += 1
        elif not course.opened - STEP_MAX < rank <= course.opened:
            course = _Progress(rank, streak=0)
            self.is_proven = self._goes_on = False
        self._keep(way, course)
        self._last = way
        self.is_proven = self.is_proven or course.streak >= _PROVEN
        return self._ahead(way, course) if course.streak else None

    def _begun(self, way: TraversalOrder, rank: int) -> _Progress:
        """The course of a reader who was not expected."""
        if not self.is_proven or rank >= STEP_MAX:
            self._goes_on = False
            return _Progress(rank, streak=0)
        self._goes_on = self._comes_next(way)
        return _Progress(rank, streak=_PROVEN)

    def _comes_next(self, way: TraversalOrder) -> bool:
        """Whether the last reader came to its end, and *way* goes on from there."""
        last = self._last
        if last is None or last.pages[0] not in self._courses:
            return False
        is_at_end = self._courses[last.pages[0]].opened >= len(last) - STEP_MAX
        following = self._ways.following(last) if is_at_end else None
        return following is not None and following.prefix == way.prefix

    def _ahead(self, way: TraversalOrder, course: _Progress) -> Iterator[EntryRef]:
        streak = course.streak
        room = min(AHEAD_MAX, 2 << min(streak, AHEAD_MAX))
        while room > 0:
            stop = min(len(way), course.opened + 1 + room)
            for rank in range(max(course.opened, course.fetched) + 1, stop):
                place = way[rank]
                if 0 < place.entries.sizes[place.at] <= SMALL:
                    yield place
                course.fetched = rank
            room -= max(1, len(way) - course.opened - 1)
            following = self._following(way, course) if room > 0 and self._goes_on else None
            if following is None:
                return
            way, course = following, self._expected(following, streak)

    def _following(self, way: TraversalOrder, course: _Progress) -> TraversalOrder | None:
        if course.following is not None:
            return self._ways.known(way.kind, course.following)
        if course.looked_at is not None and course.opened < course.looked_at + LOOKED_EVERY:
            return None
        following = self._ways.following(way)
        course.following = None if following is None else following.prefix
        course.looked_at = course.opened if following is None else None
        return following

    def _expected(self, way: TraversalOrder, streak: int) -> _Progress:
        """The course in a directory that its reader has not come to yet."""
        course = self._courses.get(way.pages[0])
        if course is None:
            course = _Progress(-1, streak)
            self._keep(way, course)
        return course

    def _keep(self, way: TraversalOrder, course: _Progress) -> None:
        self._courses[way.pages[0]] = course
        if len(self._courses) > TRACKED:
            del self._courses[next(iter(self._courses))]


class SiblingPrefetcher(PrefetchPolicy):
    """Follows the files that are opened."""

    def __init__(self, ways: TraversalOrders) -> None:
        self._ways = ways
        self._by_name = _OrderDetector(ways)
        self._by_number = _OrderDetector(ways)

    def on_open(self, entries: EntryPage, index: int) -> Iterator[EntryRef]:
        """A file is being opened: those to fetch ahead now. Take as many as there is room for."""
        by_name = self._ways.by_name(entries)
        is_first = not self._by_name.have_been_on(by_name)
        ahead = self._by_name.opened(by_name, by_name.rank(entries, index))
        is_cheap = self._by_number.is_proven and len(by_name) <= SORTED_AT_ONCE
        if ahead is None and (is_cheap or not is_first):
            by_number = self._ways.by_number(entries)
            if by_number is not None:
                ahead = self._by_number.opened(by_number, by_number.rank(entries, index))
        return iter(()) if ahead is None else ahead
