"""States of cached listings: how old they are, and what they have. Makes no request."""

from typing import NamedTuple

from s3mount.filesystem.namespace.tree import Tree


class ListingState(NamedTuple):
    """State of the listing of one directory, as far as it has come.

    *age* is in seconds, since its first request. *hidden_keys* counts keys and directories whose
    names no file can have.
    """

    age: float
    entries: int
    hidden_keys: int
    is_complete: bool


class ListingStates:
    """Listings of the directories of *tree*."""

    def __init__(self, tree: Tree) -> None:
        self._cache = tree.cache

    def find(self, prefix: str) -> ListingState | None:
        """The state of the listing of *prefix*, fresh or not; None if none is cached."""
        directory = self._cache.find_directory(prefix)
        listing = None if directory is None else directory.listing
        if listing is None:
            return None
        return ListingState(
            max(0.0, self._cache.clock.now() - listing.requested_at),
            listing.entry_count,
            listing.hidden_count,
            listing.is_complete,
        )
