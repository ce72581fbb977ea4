"""Evidence that a store lists in order. What is derived from order waits for it.

Pure. S3 promises byte order, and stores over file trees keep the order of path components; but
directory buckets promise none, and stores that promise one were seen to break it. One break costs
the listing that it is in, and doubles the keys that later ones need; it never turns anything off.
"""

import logging

from s3mount.s3.model import ListPage

log = logging.getLogger(__name__)

PROOF = 32  # keys in order: a listing without any order has so many in a row by one chance in 32!
_DOUBLINGS = 6  # at most: more would hold back many pages of every listing


class OrderEvidence:
    """Evidence of one store's order. *is_unordered*: the store promises no order."""

    def __init__(self, *, is_unordered: bool) -> None:
        self._is_unordered = is_unordered
        self._in_order = 0  # keys since the last break
        self._breaks = 0
        self.subtree_breaks = 0  # in undelimited listings

    @property
    def keys_needed(self) -> int | None:
        """How many keys of a listing must come in order to rely on it; None if it never is."""
        if self._is_unordered:
            return None
        return max(0, (PROOF << min(self._breaks, _DOUBLINGS)) - self._in_order)

    def note_page(self, page: ListPage) -> None:
        """Count the keys of *page*, which came in order."""
        self._in_order += max(0, len(page.objects) - 1) + max(0, len(page.prefixes) - 1)

    def note_break(self, prefix: str, *, is_walk: bool = False) -> None:
        """Count a listing of *prefix* that came out of order; *is_walk*: an undelimited one."""
        level = logging.DEBUG if self._breaks or self._is_unordered else logging.INFO
        message = "the store lists %r out of order: its names are shown when all of them have come"
        log.log(level, message, prefix)
        self._in_order = 0
        self._breaks += 1
        self.subtree_breaks += is_walk
