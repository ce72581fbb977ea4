"""Listing passes under way: pages fetched while somebody wants more, each page for all who wait.

Invariants: at most one request of a pass is under way, since its continuation tokens are serial. It runs in a nursery of its own
and only while fewer pages are there than are wanted, so a reader that stops reading stops the requests. A failure is told to
those who wait at that moment; it takes nothing from the pages that are there, and the next who wants more asks the same page again.
"""

from collections.abc import Callable

import trio

from s3mount.filesystem.entries import Entries
from s3mount.filesystem.listing import Listing
from s3mount.s3.store import ObjectStore, Urgency
from s3mount.s3.values import ListPage

AHEAD = 2  # pages on the way while one is being read: one in the reader's hands, one in the air


class Pass:
    """Drives one Listing; `Pass.listing` is what has come so far."""

    def __init__(
        self,
        listing: Listing,
        store: ObjectStore,
        nursery: trio.Nursery,
        clock: Callable[[], float],
        grown: Callable[[], None],
    ) -> None:
        self.listing = listing
        self._grown = grown
        self._store = store
        self._nursery = nursery
        self._clock = clock
        self._requests = 0  # pages asked for and answered
        self._wanted = 0  # requests that somebody wants answered
        self._flight: _Flight | None = None

    def add(self, page: ListPage, as_of: float) -> None:
        """Take a page that another question brought: the first."""
        self.listing.add(page, as_of)
        self._requests += 1
        self._grown()

    def want(self, requests: int) -> None:
        """Have so many pages in all fetched, without waiting for them."""
        self._wanted = max(self._wanted, requests)
        self._start()

    def want_more(self, requests: int) -> None:
        """Have so many pages fetched beyond those that are there."""
        self.want(self._requests + requests)

    async def wait_page(self, number: int) -> Entries | None:
        """Page *number* of the listing, or None behind the last; those behind it are on their way then. A checkpoint only if it waits."""
        while number >= len(self.listing.pages) and not self.listing.is_complete:
            await self._wait_progress()
        if not self.listing.is_complete and number + AHEAD > len(self.listing.pages):
            self.want_more(AHEAD - 1)
        return self.listing.pages[number] if number < len(self.listing.pages) else None

    async def wait_decided(self, name: bytes, requests: int) -> bool:
        """Whether the listing has the last word on *name*, after at most so many more pages."""
        last = self._requests + requests
        while not self.listing.decides(name):
            if self._requests >= last:
                return False
            await self._wait_progress()
        return True

    def has_page(self, number: int) -> bool:
        """Whether `wait_page` would not wait."""
        return number < len(self.listing.pages) or self.listing.is_complete

    async def _wait_progress(self) -> None:
        """Wait for one more answer; raises what the store failed with."""
        self.want_more(1)
        flight = self._flight
        assert flight is not None  # want_more started one, or it was under way
        await flight.progress.park()
        if flight.failure is not None:
            raise flight.failure

    def _start(self) -> None:
        if self._flight is None and not self.listing.is_complete and self._requests < self._wanted:
            self._flight = _Flight()
            self._nursery.start_soon(self._fly, self._flight)

    async def _fly(self, flight: "_Flight") -> None:
        try:
            while not self.listing.is_complete and self._requests < self._wanted:
                as_of = self._clock()
                page = await self._store.list_page(self.listing.next_query(), Urgency.DEMANDED)
                self.add(page, as_of)
                flight.progress.unpark_all()
        except Exception as exc:  # noqa: BLE001  # it belongs to those who wait; the nursery is not theirs to end
            flight.failure = exc
            self._wanted = self._requests
        finally:
            self._flight = None
            flight.progress.unpark_all()


class _Flight:
    """One run of requests, and those who wait for its progress."""

    def __init__(self) -> None:
        self.progress = trio.lowlevel.ParkingLot()
        self.failure: Exception | None = None
