"""Prediction of the large file that a sequential reader goes on to.

`cat *`, `md5sum *` and `tar` read the files of a directory one after another by name, `cp -r` by
inode number. The files here are those that are too large to be prefetched whole. The block cache
uses the prediction: it knows who reads a file to its end, and whether the reader then went on as
predicted. Pure.
"""

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.filesystem.prefetch.sibling_prefetcher import SMALL, SORTED_AT_ONCE
from s3mount.filesystem.prefetch.traversal_order import (
    EntryRef,
    OrderKind,
    TraversalOrder,
    TraversalOrders,
)

STEP_MAX = 8  # entries between two large files: directories and small files


class NextFilePredictor(PrefetchPolicy):
    """Predictor of the next large file in the directory, in the order of the latest opens."""

    def __init__(self, orders: TraversalOrders) -> None:
        self._orders = orders
        # the order of the latest opens, and what it would have next
        self._kind = OrderKind.NAME
        self._last: EntryRef | None = None

    def next_file(self, page: EntryPage, index: int) -> EntryRef | None:
        if page.sizes[index] <= SMALL:
            return None
        opened = EntryRef(page, index)
        self._kind = self._find_kind(opened)
        self._last = opened
        order = self._order(self._kind, page)
        return None if order is None else _following(order, opened)

    def _find_kind(self, opened: EntryRef) -> OrderKind:
        """The order in which *opened* follows the last file; the one so far if it is in none."""
        last = self._last
        if last is None or last.page.prefix != opened.page.prefix:
            return OrderKind.NAME
        others = (kind for kind in OrderKind if kind is not self._kind)
        for kind in (self._kind, *others):
            order = self._order(kind, opened.page)
            if order is not None and last.page in order and _following(order, last) == opened:
                return kind
        return self._kind

    def _order(self, kind: OrderKind, page: EntryPage) -> TraversalOrder | None:
        by_name = self._orders.by_name(page)
        if kind is OrderKind.NAME:
            return by_name
        return self._orders.by_inode(page) if len(by_name) <= SORTED_AT_ONCE else None


def _following(order: TraversalOrder, ref: EntryRef) -> EntryRef | None:
    """The next large file behind *ref*, if it is near."""
    rank = order.rank(ref.page, ref.at)
    for following in range(rank + 1, min(rank + 1 + STEP_MAX, len(order))):
        entry = order[following]
        if entry.page.sizes[entry.at] > SMALL:
            return entry
    return None
