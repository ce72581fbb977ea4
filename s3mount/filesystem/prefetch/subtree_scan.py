"""Scan of a subtree: one undelimited listing, and how far its reader has come."""

from collections.abc import Callable
from typing import NamedTuple

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.order_evidence import OrderEvidence
from s3mount.filesystem.prefetch.subtree_builder import (
    Finished,
    SubtreeBuilder,
    UnorderedListingError,
)
from s3mount.s3.model import ListPage, ListQuery

WINDOW_MAX = 8  # pages that a scan is ahead of its reader: some 8,000 entries
CHILDREN_SORTED = 20_000  # directories of a parent that are all considered when it is split


class SubtreeScan:
    """One undelimited listing, and how far its reader has come.

    *publish* gets the directories that a page finishes, and its number. The scan ends if its keys
    break the order, which withdraws all that scans have published, or if its first page does not
    prove the order.
    """

    def __init__(
        self,
        builder: SubtreeBuilder,
        requested_at: float,
        order: OrderEvidence,
        publish: Callable[["SubtreeScan", int, list[Finished]], None],
    ) -> None:
        self.builder = builder
        self.requested_at = requested_at
        self._order = order
        self._publish = publish
        self.has_failed = False  # its pages prove no order, or left objects out
        self.visits = 0  # directories of this scan that were read
        self._last_visited_page = -1
        self._visited_pages = 0

    @property
    def is_complete(self) -> bool:
        """Whether more pages are of no use."""
        return self.builder.is_complete or self.has_failed

    def next_query(self) -> ListQuery:
        return self.builder.next_query()

    def add(self, page: ListPage, requested_at: float) -> None:
        if page.has_lost_objects:  # with their directories, which the directories' listings show
            self.has_failed = True
            return
        number = self.builder.pages
        try:
            finished = self.builder.add(page, requested_at)
        except UnorderedListingError:
            self.has_failed = True
            self._order.note_break(self.builder.root, is_walk=True)
            raise
        self._order.note_page(page)
        if self._order.keys_needed:
            self.has_failed = True
        else:
            self._publish(self, number, finished)

    def record_visit(self, page: int) -> int:
        """Record that a directory of *page* is read; how many pages the scan may fetch now."""
        self.visits += 1
        if page > self._last_visited_page:
            self._last_visited_page = page
            self._visited_pages += 1
        return page + 1 + min(self._visited_pages, WINDOW_MAX)


class Split(NamedTuple):
    """Starts of parallel scans of the rest of a scan, and about how many pages each has."""

    starts: list[str]
    part_pages: int


def split_rest(
    builder: SubtreeBuilder, listing: DirectoryListing, parts_max: int, part_pages_min: int
) -> Split:
    """At most *parts_max* equal parts of what *builder* has not come to; its own is the first.

    *listing* is a complete one of its root. No part is smaller than *part_pages_min* pages.
    """
    every = 1 + listing.entry_count // CHILDREN_SORTED
    ahead = filter(builder.is_before, listing.child_prefixes(every))
    left = sorted(ahead, key=builder.position_of)  # which escaped names may not be ordered by
    pages = len(left) * every * builder.pages // builder.children
    count = min(parts_max, pages // part_pages_min, len(left))
    starts = [left[len(left) * number // count] for number in range(1, count)]
    return Split(starts, pages // max(1, count))
