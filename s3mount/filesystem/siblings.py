"""Small files read in the order of their directory: which ones come next.

Pure. `cp -r`, `grep -r`, `tar` and a training loop open one file after another as the directory lists them, perhaps several at once
and so a little out of step. Each open that follows the one before doubles how many are fetched ahead; one that does not ends it. Who
has read one directory in order is believed from the first file of the next on.
"""

from collections.abc import Iterator

from s3mount.filesystem.entries import Entries

SMALL = 1 << 20  # bytes: what one GET brings about as fast as its first byte
AHEAD_MAX = 64  # files
STEP_MAX = 8  # files that may be skipped, or opened by another worker first
TRACKED = 16  # directories
_PROVEN = 3  # opens in order, after which the next directory is expected to be read likewise


class _Course:
    """How far a reader has come in some entries, and how far has been fetched for it."""

    def __init__(self, opened: int, streak: int) -> None:
        self.opened = opened
        self.fetched = opened
        self.streak = streak


class Siblings:
    """Follows the files that are opened."""

    def __init__(self) -> None:
        self._courses: dict[Entries, _Course] = {}  # least recently moved first
        self._is_proven = False

    def opened(self, entries: Entries, index: int) -> Iterator[int]:
        """A file is being opened: the indexes among *entries* of those to fetch ahead now. Take as many as there is room for."""
        course = self._courses.pop(entries, None)
        if course is None:
            course = _Course(index, streak=_PROVEN if self._is_proven and index < STEP_MAX else 0)
        elif course.opened < index <= course.opened + STEP_MAX:
            course.opened = index
            course.streak += 1
        elif not course.opened - STEP_MAX < index <= course.opened:
            course = _Course(index, streak=0)
            self._is_proven = False
        self._courses[entries] = course
        if len(self._courses) > TRACKED:
            del self._courses[next(iter(self._courses))]
        self._is_proven = self._is_proven or course.streak >= _PROVEN
        return self._next(entries, course)

    @staticmethod
    def _next(entries: Entries, course: _Course) -> Iterator[int]:
        window = min(AHEAD_MAX, 2 << course.streak) if course.streak else 0
        stop = min(len(entries), course.opened + 1 + window)
        for index in range(max(course.opened, course.fetched) + 1, stop):
            if 0 < entries.sizes[index] <= SMALL:
                yield index
            course.fetched = index
