"""A directory's listing under way: what readers of its pages and seekers of a name wait for."""

from s3mount.filesystem.entries import Entries
from s3mount.filesystem.listing import Listing
from s3mount.filesystem.paging import Paging

AHEAD = 3  # pages beyond the one that is asked for: one in the reader's hands soon, one being read, one in the air


class Pass:
    """One pass over a directory: `listing` is what has come so far, *paging* brings the rest."""

    def __init__(self, listing: Listing, paging: Paging) -> None:
        self.listing = listing
        self.paging = paging

    async def wait_page(self, number: int) -> Entries | None:
        """Page *number*, or None behind the last; those behind it are on their way then. A checkpoint only if it waits."""
        while number >= len(self.listing.pages) and not self.listing.is_complete:
            await self.paging.wait_progress()
        return self.page(number)

    def page(self, number: int) -> Entries | None:
        """`wait_page`, where that would not wait; None also where it would."""
        pages = self.listing.pages
        if number >= len(pages):
            return None
        if not self.listing.is_complete and number + AHEAD > len(pages):
            self.paging.want(self.paging.answered + AHEAD - 1)
        return pages[number]

    async def wait_decided(self, name: bytes, pages: int) -> bool:
        """Whether the listing has the last word on *name*, after at most so many pages more."""
        last = self.paging.answered + pages
        while not self.listing.decides(name):
            if self.paging.answered >= last:
                return False
            await self.paging.wait_progress()
        return True

    def is_trimmed_at(self, number: int) -> bool:
        """Whether the page has come and gone."""
        return number < len(self.listing.pages) and self.listing.pages[number] is None
