"""Searches for ACLs by processes that list the names of attributes of many files.

`ls -l` of GNU coreutils lists the names of each file from version 9.6 on, and reads no value: it
looks for ACLs. A HEAD for each file would make that slow and expensive. What copies or shows
attributes reads values of each file before it lists the names of the next one. Invariants:

1. A process is searching once it has listed the names of FILES_MAX files by requests and read no
   value meanwhile. It stays so until it reads a value, or lists none for FORGOTTEN_AFTER seconds.
2. One of several threads, whose numbers the kernel tells, is never searching: one thread may list
   what another reads, as in programs in Go. Nor is one of another PID namespace: all of those have
   the number 0, and one that copies could be taken for one that searches, and lose attributes.
3. No more than PROCESSES_MAX are remembered; the one that was silent longest is forgotten first.
"""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

FILES_MAX: Final = 8
FORGOTTEN_AFTER: Final = 1.0  # seconds; a number is given to another process much later
PROCESSES_MAX: Final = 256
_LINKS: Final = 3  # of the directory of a process's threads: its own two, and one for a thread


class _Listings(NamedTuple):
    """Listings of names by one process that took a request, since it read a value."""

    files: int
    last: float


class AclSearches:
    """Processes by their number, in the order of their last listing."""

    def __init__(
        self, clock: Callable[[], float], has_one_thread: Callable[[int], bool] | None = None
    ) -> None:
        self._clock = clock
        self._has_one_thread = has_one_thread or has_one_thread_now
        self._listings: OrderedDict[int, _Listings] = OrderedDict()

    def is_search(self, pid: int) -> bool:
        """Whether names that the process lists next are for a search; counts as a listing then."""
        found = self._recent(pid)
        if found is None or found.files < FILES_MAX or not self._has_one_thread(pid):
            return False
        self._put(pid, found.files)
        return True

    def on_names(self, pid: int) -> None:
        """Note that the process has listed the names of a file, by a request."""
        found = self._recent(pid)
        self._put(pid, 1 if found is None else found.files + 1)

    def on_value(self, pid: int) -> None:
        """Note that the process reads a value."""
        self._listings.pop(pid, None)

    def _recent(self, pid: int) -> _Listings | None:
        found = self._listings.get(pid)
        is_recent = found is not None and self._clock() - found.last <= FORGOTTEN_AFTER
        return found if is_recent else None

    def _put(self, pid: int, files: int) -> None:
        self._listings[pid] = _Listings(files, self._clock())
        self._listings.move_to_end(pid)
        if len(self._listings) > PROCESSES_MAX:
            self._listings.popitem(last=False)


def has_one_thread_now(pid: int) -> bool:
    """Whether the process *pid* has one thread, as far as this process may know."""
    try:
        return Path(f"/proc/{pid}/task").stat().st_nlink == _LINKS
    except OSError:  # it is of another PID namespace, or hidden
        return False
