"""Scan of one directory: a listing, and the fetcher that brings its pages."""

from s3mount.errors import StoreError
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.page_fetcher import PageFetcher
from s3mount.s3.model import ListPage

PAGES_AHEAD = 3  # of the requested one: the reader's next, one being parsed, one in flight


class ListingScan:
    """A listing, and the *fetcher* of its next pages; None if it is complete, or abandoned."""

    __slots__ = ("_fetcher", "_pages_ahead", "listing")

    def __init__(
        self,
        listing: DirectoryListing,
        fetcher: PageFetcher | None,
        pages_ahead: int = PAGES_AHEAD,
    ) -> None:
        self.listing = listing
        self._fetcher = fetcher
        self._pages_ahead = pages_ahead

    def add(self, page: ListPage, requested_at: float) -> None:
        """Take a page that another request has brought."""
        if self._fetcher is not None:
            self._fetcher.add(page, requested_at)

    def request_pages(self, total: int) -> None:
        """Fetch up to *total* pages in all, without waiting for them."""
        if self._fetcher is not None:
            self._fetcher.request_pages(total)

    def drop_fetcher_if_complete(self) -> None:
        if self.listing.is_complete:
            self._fetcher = None

    def abandon(self) -> None:
        """Fetch no more: the listing is no directory's any more, and nothing reads it."""
        if self._fetcher is not None:
            self._fetcher.abandon()
            self._fetcher = None

    @property
    def is_over(self) -> bool:
        """Whether it fetches no more."""
        return self._fetcher is None

    @property
    def is_stuck(self) -> bool:
        """Whether its pages lead nowhere."""
        return self._fetcher is not None and self._fetcher.is_stuck

    @property
    def has_received(self) -> bool:
        """Whether a page has been received."""
        return self._fetcher is None or self._fetcher.received > 0

    async def wait_page(self, number: int) -> EntryPage | None:
        """Page *number*; None at the end, or if it was trimmed. A checkpoint only if it waits."""
        listing = self.listing
        while number >= len(listing.pages) and not listing.is_complete:
            if self._fetcher is None:  # not seen by a reader that has acquired the listing
                reason = "the listing was given up"
                raise StoreError(reason, bucket=listing.bucket, key=listing.prefix)
            await self._fetcher.wait_progress()
        return self.page_nowait(number)

    def page_nowait(self, number: int) -> EntryPage | None:
        """`wait_page` without waiting; None also if the page has not been received."""
        pages = self.listing.pages
        if number >= len(pages):
            return None
        fetcher = self._fetcher
        if fetcher and not self.listing.is_complete and number + self._pages_ahead > len(pages):
            fetcher.request_pages(fetcher.received + self._pages_ahead - 1)
        return pages[number]

    async def wait_final(self, name: bytes, pages: int) -> bool:
        """Whether the listing is final on *name*, after at most *pages* more that may have it."""
        listing, fetcher = self.listing, self._fetcher
        last = 0 if fetcher is None else fetcher.received + pages
        while not listing.is_final(name):
            if fetcher is None or fetcher.received >= last or listing.is_past(name):
                return False
            if self._fetcher is None:  # abandoned meanwhile
                return False
            await fetcher.wait_progress()
        return True

    def is_trimmed_at(self, number: int) -> bool:
        """Whether page *number* was trimmed."""
        return number < len(self.listing.pages) and self.listing.pages[number] is None
