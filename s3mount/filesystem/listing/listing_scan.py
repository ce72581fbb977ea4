"""A directory's listing under way: what readers of its pages and seekers of a name wait for."""

from s3mount.errors import StoreError
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.page_fetcher import PageFetcher
from s3mount.s3.model import ListPage

AHEAD = 3  # pages beyond the one that is asked for: one in the reader's hands soon, one being read, one in the air


class ListingScan:
    """One scan of a directory: `listing` is what has come so far, *paging* brings the rest; None: the listing is complete, or abandoned."""

    __slots__ = ("_ahead", "_paging", "listing")

    def __init__(
        self, listing: DirectoryListing, paging: PageFetcher | None, ahead: int = AHEAD
    ) -> None:
        self.listing = listing
        self._paging = paging
        self._ahead = ahead

    def add(self, page: ListPage, as_of: float) -> None:
        """Take a page that another request has brought, asked for at *as_of*."""
        if self._paging is not None:
            self._paging.add(page, as_of)

    def want(self, pages: int) -> None:
        """Have so many pages in all fetched, without waiting for them."""
        if self._paging is not None:
            self._paging.want(pages)

    def settle(self) -> None:
        """Let all go that a complete listing does not need."""
        if self.listing.is_complete:
            self._paging = None

    def abandon(self) -> None:
        """Fetch no more: it is no directory's listing any more, and nobody reads it."""
        if self._paging is not None:
            self._paging.abandon()
            self._paging = None

    @property
    def is_abandoned(self) -> bool:
        return self._paging is None and not self.listing.is_complete

    @property
    def is_stuck(self) -> bool:
        """Whether its pages lead nowhere."""
        return self._paging is not None and self._paging.is_stuck

    @property
    def has_begun(self) -> bool:
        """Whether a page has come."""
        return self._paging is None or self._paging.answered > 0

    async def wait_page(self, number: int) -> EntryPage | None:
        """Page *number*, or None behind the last; those behind it are on their way then. A checkpoint only if it waits."""
        while number >= len(self.listing.pages) and not self.listing.is_complete:
            await self._wait_progress()
        return self.page(number)

    def page(self, number: int) -> EntryPage | None:
        """`wait_page`, if that would not wait; None also if it would, or if the page was trimmed."""
        pages = self.listing.pages
        if number >= len(pages):
            return None
        if (
            self._paging is not None
            and not self.listing.is_complete
            and number + self._ahead > len(pages)
        ):
            self._paging.want(self._paging.answered + self._ahead - 1)
        return pages[number]

    async def wait_decided(self, name: bytes, pages: int) -> bool:
        """Whether the listing has the last word on *name*, after at most so many pages more, and fewer if they will not show it."""
        listing, paging = self.listing, self._paging
        last = 0 if paging is None else paging.answered + pages
        while not listing.decides(name):
            if (
                paging is None
                or self.is_abandoned
                or listing.is_past(name)
                or paging.answered >= last
            ):
                return False
            await paging.wait_progress()
        return True

    def is_trimmed_at(self, number: int) -> bool:
        """Whether the page has come and gone."""
        return number < len(self.listing.pages) and self.listing.pages[number] is None

    async def _wait_progress(self) -> None:
        if self._paging is None:  # its reader holds it, so this is not seen
            raise StoreError(
                "the listing was given up", bucket=self.listing.bucket, key=self.listing.prefix
            )
        await self._paging.wait_progress()
