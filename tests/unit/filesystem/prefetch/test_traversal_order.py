"""Cached orders take little memory, however small the directories are."""

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.prefetch.traversal_order import (
    DIRECTORY_ENTRIES,
    KEPT_MAX,
    OrderKind,
    TraversalOrders,
)

DIRECTORIES = KEPT_MAX // DIRECTORY_ENTRIES + 100


def test_orders_of_directories_without_entries_are_limited_in_number() -> None:
    pages = {f"{number}/": list[EntryPage]() for number in range(DIRECTORIES)}
    orders = TraversalOrders(lambda prefix, _: pages[prefix], "")

    first = orders.get(OrderKind.NAME, "0/")
    for prefix in pages:
        orders.get(OrderKind.NAME, prefix)

    assert orders.get(OrderKind.NAME, "0/") is not first


def test_an_order_that_was_used_last_is_kept() -> None:
    page = EntryPage("bucket", "d/", [Entry(b"a", 1)], 0.0)
    known = [page]
    orders = TraversalOrders(lambda *_: known, "")

    assert orders.get(OrderKind.NAME, "d/") is orders.get(OrderKind.NAME, "d/")
