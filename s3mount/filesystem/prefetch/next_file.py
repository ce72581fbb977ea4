"""Prediction of the large files that a sequential reader goes on to.

`cat *`, `md5sum *` and `tar` read the files of a directory one after another by name, `cp -r` by
inode number. The files here are those that are too large to be prefetched whole. The block cache
uses the prediction: it knows who reads a file to its end, and whether the reader then went on as
predicted. Pure.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.prefetch.policy import SMALL, PrefetchPolicy
from s3mount.filesystem.prefetch.traversal_order import (
    EntryRef,
    OrderKind,
    TraversalOrder,
    TraversalOrders,
)

FILES_MAX = 8  # predicted at once: more than the widest window has, but for files of some MiB
STEP_MAX = 8  # entries between two large files: directories and small files


class NextFilePredictor(PrefetchPolicy):
    """Predictor of the next large files in the directory, in the order of the latest opens."""

    def __init__(self, orders: TraversalOrders) -> None:
        self._orders = orders
        # the order of the latest opens, and what it would have next
        self._kind = OrderKind.NAME
        self._last: EntryRef | None = None

    def next_files(self, page: EntryPage, index: int) -> Sequence[EntryRef]:
        if page.sizes[index] <= SMALL:
            return ()
        opened = EntryRef(page, index)
        self._kind = self._find_kind(opened)
        self._last = opened
        order = self._order(self._kind, page)
        return () if order is None else list(islice(_following(order, opened), FILES_MAX))

    def _find_kind(self, opened: EntryRef) -> OrderKind:
        """The order in which *opened* follows the last file; the one so far if it is in none."""
        last = self._last
        if last is None or last.page.prefix != opened.page.prefix:
            return OrderKind.NAME
        others = (kind for kind in OrderKind if kind is not self._kind)
        for kind in (self._kind, *others):
            order = self._order(kind, opened.page)
            if (
                order is not None
                and last.page in order
                and next(_following(order, last), None) == opened
            ):
                return kind
        return self._kind

    def _order(self, kind: OrderKind, page: EntryPage) -> TraversalOrder | None:
        if kind is OrderKind.NAME:
            return self._orders.containing(kind, page)
        return self._orders.by_inode_at_once(page)


def _following(order: TraversalOrder, ref: EntryRef) -> Iterator[EntryRef]:
    """The large files behind *ref*, as long as each is near the one before."""
    last = rank = order.rank(ref)
    while rank + 1 < len(order) and rank < last + STEP_MAX:
        rank += 1
        entry = order[rank]
        if entry.page.sizes[entry.at] > SMALL:
            last = rank
            yield entry
