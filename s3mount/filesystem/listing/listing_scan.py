"""A directory's listing under way: what readers of its pages and seekers of a name wait for."""

from s3mount.errors import StoreError
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.page_fetcher import PageFetcher
from s3mount.s3.model import ListPage

AHEAD = 3  # pages beyond the one that is asked for: one in the reader's hands soon, one being read, one in the air


class ListingScan:
    """One scan of a directory: `listing` is what has come so far, *paging* brings the rest; None: the listing is complete, or abandoned."""

    __slots__ = ("_fetcher", "listing")

    def __init__(self, listing: DirectoryListing, paging: PageFetcher | None) -> None:
        self.listing = listing
        self._fetcher = paging

    def add(self, page: ListPage, requested_at: float) -> None:
        """Take a page that another request has brought, asked for at *requested_at*."""
        if self._fetcher is not None:
            self._fetcher.add(page, requested_at)

    def request_pages(self, pages: int) -> None:
        """Have so many pages in all fetched, without waiting for them."""
        if self._fetcher is not None:
            self._fetcher.request_pages(pages)

    def drop_fetcher_if_complete(self) -> None:
        """Let all go that a complete listing does not need."""
        if self.listing.is_complete:
            self._fetcher = None

    def abandon(self) -> None:
        """Fetch no more: it is no directory's listing any more, and nobody reads it."""
        if self._fetcher is not None:
            self._fetcher.abandon()
            self._fetcher = None

    @property
    def is_abandoned(self) -> bool:
        return self._fetcher is None and not self.listing.is_complete

    @property
    def is_stuck(self) -> bool:
        """Whether its pages lead nowhere."""
        return self._fetcher is not None and self._fetcher.is_stuck

    @property
    def has_received(self) -> bool:
        """Whether a page has come."""
        return self._fetcher is None or self._fetcher.received > 0

    async def wait_page(self, number: int) -> EntryPage | None:
        """Page *number*, or None behind the last; those behind it are on their way then. A checkpoint only if it waits."""
        while number >= len(self.listing.pages) and not self.listing.is_complete:
            await self._wait_progress()
        return self.page_nowait(number)

    def page_nowait(self, number: int) -> EntryPage | None:
        """`wait_page`, if that would not wait; None also if it would, or if the page was trimmed."""
        pages = self.listing.pages
        if number >= len(pages):
            return None
        if (
            self._fetcher is not None
            and not self.listing.is_complete
            and number + AHEAD > len(pages)
        ):
            self._fetcher.request_pages(self._fetcher.received + AHEAD - 1)
        return pages[number]

    async def wait_final(self, name: bytes, pages: int) -> bool:
        """Whether the listing has the last word on *name*, after at most so many pages more, and fewer if they will not show it."""
        listing, paging = self.listing, self._fetcher
        last = 0 if paging is None else paging.received + pages
        while not listing.is_final(name):
            if (
                paging is None
                or self.is_abandoned
                or listing.is_past(name)
                or paging.received >= last
            ):
                return False
            await paging.wait_progress()
        return True

    def is_trimmed_at(self, number: int) -> bool:
        """Whether the page has come and gone."""
        return number < len(self.listing.pages) and self.listing.pages[number] is None

    async def _wait_progress(self) -> None:
        if self._fetcher is None:  # its reader holds it, so this is not seen
            raise StoreError(
                "the listing was given up", bucket=self.listing.bucket, key=self.listing.prefix
            )
        await self._fetcher.wait_progress()
