"""Dentries of one directory: the newest wins, and a listing without order denies nothing."""

from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.listing.order_evidence import OrderEvidence
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState, dentry_in
from s3mount.filesystem.namespace.invalidations import Invalidations
from s3mount.s3.model import ListedObject, ListPage
from tests.unit.filesystem.evidence import never_expiring, proven

KEY = ("bucket", "d/")


def _directory() -> tuple[DirectoryState, Invalidations]:
    invalidations = never_expiring()
    return DirectoryState(KEY, invalidations), invalidations


def test_a_dentry_requested_before_an_invalidation_is_not_used_whichever_comes_first() -> None:
    directory, invalidations = _directory()
    invalidations.add(KEY, b"x", 5.0)
    directory.put(b"x", CachedDentry(4.0, None))

    assert directory.get(b"x") is None
    directory.put(b"x", CachedDentry(6.0, None))
    assert directory.get(b"x") == CachedDentry(6.0, None)


def test_the_newer_dentry_wins_whichever_comes_first() -> None:
    directory, _ = _directory()
    newer = CachedDentry(6.0, EntryPage(*KEY, [Entry(b"x", 1, 0, "e" * 32)], 0.0))
    directory.put(b"x", newer)
    directory.put(b"x", CachedDentry(4.0, None))

    assert directory.get(b"x") is newer


def test_a_listing_that_broke_its_order_denies_no_directory() -> None:
    order = proven()
    listing = DirectoryListing("bucket", "", 0.0, order)
    listing.add(_page("b", "c", "d", token="t"), 0.0)
    listing.add(_page("a", token="u"), 0.0)

    assert listing.find(b"b") is not None
    assert dentry_in(listing, b"b") is None


def test_derived_listings_say_nothing_once_a_subtree_listing_broke_its_order() -> None:
    order = OrderEvidence(is_unordered=False)
    listing = DirectoryListing("bucket", "d/", 0.0, order)
    listing.fill([Entry(b"a", 1, 0, "e")], 0)

    assert dentry_in(listing, b"a") is not None
    order.note_break("", is_walk=True)
    assert dentry_in(listing, b"a") is None


def _page(*raws: str, token: str | None = None) -> ListPage:
    return ListPage([ListedObject(raw, 1, 0, "e") for raw in raws], [], token)
