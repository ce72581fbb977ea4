"""Growth of a listing: raw pages, token by token, merged into entries. Pure."""

import math
from typing import NamedTuple

from s3mount.filesystem.listing.entry_merger import EntryMerger
from s3mount.filesystem.listing.entry_page import Entry
from s3mount.s3.model import ListPage


class Origin(NamedTuple):
    """Start of a raw page: its token and the merger then; None at the start of the listing."""

    token: str | None
    merger: EntryMerger | None


START = Origin(None, None)


class ListingGrowth:
    """State of a listing that grows; *is_resumed*: its reader has seen names before."""

    __slots__ = ("_pending_since", "_seen_tokens", "is_resumed", "merger", "token")

    def __init__(self, merger: EntryMerger) -> None:
        self.merger = merger
        self.token: str | None = None  # of the next page
        self._seen_tokens: set[str] = set()
        self._pending_since = math.inf  # when the oldest entry that is held back was requested
        self.is_resumed = False

    @classmethod
    def resumed(
        cls, token: str | None, merger: EntryMerger, requested_at: float
    ) -> "ListingGrowth":
        """Growth from *token* on, with what *merger* holds back of a listing of *requested_at*."""
        growth = cls(merger)
        growth.token = token
        growth.is_resumed = True
        if merger.pending_count:
            growth._pending_since = requested_at
        return growth

    def has_seen(self, token: str | None) -> bool:
        """Whether a page before has had *token* for the next one."""
        return token in self._seen_tokens

    def next_origin(self) -> Origin | None:
        """Where the next page begins; None without order, as all entries are held back then."""
        if self.token is None:
            return START
        return Origin(self.token, self.merger.copy()) if self.merger.is_ordered else None

    def merge(self, page: ListPage, requested_at: float) -> tuple[list[Entry], float]:
        """The entries that *page* makes certain, and when the oldest of them was requested."""
        before, oldest = self.merger.pending_files, min(requested_at, self._pending_since)
        entries = self.merger.add(page)
        pending = self.merger.pending_files
        if not self.merger.pending_count:
            self._pending_since = math.inf
        elif pending is not None and before is not None and pending.isdisjoint(before):
            self._pending_since = requested_at  # all that was held back before has been released
        else:
            self._pending_since = oldest
        return entries, oldest

    def advance(self, token: str) -> None:
        """Expect the page at *token*."""
        self.token = token
        self._seen_tokens.add(token)
