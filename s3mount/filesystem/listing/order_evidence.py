"""Evidence that a store lists in order: what is concluded from order waits for it, and is taken back when the order breaks.

Pure. S3 promises byte order, and stores over file trees keep the order of path components; but directory buckets promise none, and
a page out of order was seen from stores that promise it. One break costs the listing that it is in, and doubles the proof that later
ones need; it never turns anything off.
"""

import logging

from s3mount.s3.model import ListPage

log = logging.getLogger(__name__)

PROOF = 32  # keys in order: a listing without any order has so many in a row by one chance in 32!
_DOUBLINGS = 6  # at most: more would withhold many pages of every listing


class OrderEvidence:
    """What the listings of one store have shown. *is_unordered*: the store is known to promise no order."""

    def __init__(self, *, is_unordered: bool) -> None:
        self._is_unordered = is_unordered
        self._in_order = 0  # keys since the last break
        self._breaks = 0
        self.subtree_breaks = 0  # undelimited listings that broke their order

    @property
    def keys_needed(self) -> int | None:
        """How many keys of a new listing have to come in order before order is relied on; None: it never is."""
        if self._is_unordered:
            return None
        return max(0, (PROOF << min(self._breaks, _DOUBLINGS)) - self._in_order)

    def note_page(self, page: ListPage) -> None:
        """Counts the keys of *page*, which came in order."""
        self._in_order += max(0, len(page.objects) - 1) + max(0, len(page.prefixes) - 1)

    def note_break(self, prefix: str, *, is_walk: bool = False) -> None:
        """Notes that a listing of *prefix* came out of order."""
        level = logging.DEBUG if self._breaks or self._is_unordered else logging.INFO
        log.log(
            level,
            "the store lists %r out of order: its names are shown when all of them have come",
            prefix,
        )
        self._in_order = 0
        self._breaks += 1
        self.subtree_breaks += is_walk
