"""Dentries of one directory: the newest wins."""

from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.invalidations import Invalidations

KEY = ("bucket", "d/")


def _directory() -> tuple[DirectoryState, Invalidations]:
    invalidations = Invalidations(lambda _: None)
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
