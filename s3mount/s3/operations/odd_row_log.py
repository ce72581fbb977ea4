"""Count of the odd rows of listings, and a log line for each listed prefix and kind.

A store may write odd rows in each of a million pages, so no kind of row is logged twice for a
prefix, and none at all is lost from the count.

For the event loop. What is remembered to log each once is bounded; beyond the bound some are logged
again.
"""

import logging
from collections.abc import Iterable

from s3mount.s3.model import RowOddity

log = logging.getLogger(__name__)

LOGGED_MAX = 10_000  # prefixes and kinds
# An object may be missing from its directory: the maker of the store should know. The others change
# no more than how a row looks.
_WARNED = {
    *(RowOddity.NO_KEY, RowOddity.OUTSIDE, RowOddity.NOT_FOUND_OUT, RowOddity.NO_BUCKET),
}


class OddRowLog:
    """Counter of odd rows. *count* is that of all listings so far."""

    def __init__(self) -> None:
        self.count = 0
        self._logged: set[tuple[str, RowOddity]] = set()

    def note(self, prefix: str, odd_rows: Iterable[tuple[RowOddity, int]]) -> None:
        """Count the odd rows of a page of the listing of *prefix*."""
        for oddity, count in odd_rows:
            self.count += count
            if (prefix, oddity) in self._logged:
                continue
            if len(self._logged) >= LOGGED_MAX:
                self._logged.clear()
            self._logged.add((prefix, oddity))
            level = logging.WARNING if oddity in _WARNED else logging.INFO
            log.log(level, "odd rows in the listing of %r: %s", prefix, oddity.value)
