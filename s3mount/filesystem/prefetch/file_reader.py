"""Expected opens of one reader of small files, in one traversal."""

from collections import deque
from collections.abc import Iterator

from s3mount.filesystem.prefetch.policy import SMALL
from s3mount.filesystem.prefetch.traversal_cursor import Traversal, TraversalCursor
from s3mount.filesystem.prefetch.traversal_order import EntryRef, TraversalOrder

AHEAD_MAX = 96  # files
STEP_MAX = 8  # files that may be skipped, or that another worker opens first


class FileReader:
    """Reader that has opened *last*, and *streak* files in order before.

    Files that follow are numbered. Those up to STEP_MAX behind the one that was opened last, or as
    far as files are prefetched, are expected; as are those shortly before it that were left out.
    *crosses*: it went on from one directory to the next, and is expected to do so.
    """

    __slots__ = (
        "_ahead",
        "_cursor",
        "_expected",
        "_expected_to",
        "_number",
        "crosses",
        "last",
        "streak",
        "traversal",
    )

    def __init__(
        self,
        traversal: Traversal,
        cursor: TraversalCursor,
        last: EntryRef,
        *,
        streak: int = 0,
        crosses: bool = False,
    ) -> None:
        self.traversal = traversal
        self.last = last
        self.streak = streak
        self.crosses = crosses
        self._cursor = cursor
        self._number = 0  # of the last file that was opened
        self._expected_to = 0
        self._expected: dict[EntryRef, int] = {}  # to their numbers, which rise
        self._ahead: deque[tuple[int, EntryRef]] = deque()  # not prefetched yet

    @property
    def is_new(self) -> bool:
        """Whether no file was opened after the one that it began with."""
        return not self._number

    @property
    def order(self) -> TraversalOrder:
        """The order of the directory that it looks ahead in."""
        return self._cursor.order

    def distance(self, ref: EntryRef) -> int | None:
        """How far *ref* is behind the last file (1: just the next); None if it is not expected."""
        number = self._expected.get(ref)
        return None if number is None else number - self._number

    def record_open(self, ref: EntryRef) -> None:
        """Account for the open of an expected file."""
        number = self._expected.pop(ref)
        if number <= self._number:  # late
            return
        self.crosses = self.crosses or ref.page.prefix != self.last.page.prefix
        self.last, self._number = ref, number
        self.streak += 1
        if len(self._expected) > self._expected_to - number + STEP_MAX:
            oldest = number - STEP_MAX
            self._expected = {ref: at for ref, at in self._expected.items() if at > oldest}

    def look_ahead(self) -> None:
        """Extend what is expected as far as listings are known."""
        near = self._number + STEP_MAX
        stop = max(near, self._number + self._room)
        while self._expected_to < stop and (ref := self._cursor.next()) is not None:
            self._expected_to += 1
            self._expected[ref] = self._expected_to
            self._ahead.append((self._expected_to, ref))
            if not self.crosses and ref.page.prefix != self.last.page.prefix:
                stop = near

    def files_ahead(self) -> Iterator[EntryRef]:
        """The files to prefetch now, nearest first; one without room is returned again."""
        self.look_ahead()
        ahead, stop = self._ahead, self._number + self._room
        while ahead and ahead[0][0] <= stop:
            number, ref = ahead[0]
            if number > self._number:
                if not self.crosses and ref.page.prefix != self.last.page.prefix:
                    return
                if ref.size <= SMALL:
                    yield ref
            ahead.popleft()

    @property
    def _room(self) -> int:
        """How many of the next files may be prefetched: each open in order doubles them."""
        return min(AHEAD_MAX, 2 << min(self.streak, AHEAD_MAX)) if self.streak else 0
