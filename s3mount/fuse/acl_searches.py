"""Searches for ACLs by processes that list the names of attributes of many files.

`ls -l` of GNU coreutils lists the names of each file from version 9.6 on, and reads no value: it
looks for ACLs. A HEAD for each file would make that slow and expensive. What copies or shows
attributes reads values of each file before it lists the names of the next one. Invariants:

1. A process is searching once it has listed the names of FILES_MAX files by requests and read no
   value meanwhile. It stays so until it reads a value, or lists none for FORGOTTEN_AFTER seconds.
2. Processes of other PID namespaces, which the kernel all calls 0, are never searching: one that
   copies could be taken for one that searches, and would lose attributes.
3. No more than PROCESSES_MAX are remembered; the one that was silent longest is forgotten first.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

FILES_MAX: Final = 8
FORGOTTEN_AFTER: Final = 1.0  # seconds; a number is given to another process much later
PROCESSES_MAX: Final = 256
UNKNOWN: Final = 0  # the number of each process that the mount's PID namespace does not have


class _Listings(NamedTuple):
    """Listings of names by one process that took a request, since it read a value."""

    files: int
    last: float


class AclSearches:
    """Processes by their number, in the order of their last listing."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._listings: OrderedDict[int, _Listings] = OrderedDict()

    def is_search(self, pid: int) -> bool:
        """Whether names that the process lists next are for a search; counts as a listing then."""
        found = self._recent(pid)
        if found is None or found.files < FILES_MAX:
            return False
        self._put(pid, found.files)
        return True

    def on_names(self, pid: int) -> None:
        """Note that the process has listed the names of a file, by a request."""
        if pid == UNKNOWN:
            return
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
