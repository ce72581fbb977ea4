"""Listing pages fetched one after another while somebody wants more, each for all who wait.

Invariants: pages are taken in turn, since continuation tokens are serial; but the next request may leave when the bytes of a page are
here and before they are read, if a store tells its token that early, and where the target is eager, `ranges` may bring pages from farther
ahead. Requests run in a nursery of their own and leave only while fewer pages have come than are wanted, so a reader that stops reading
stops them; what is held ahead of it then is let go after a while. A failure is told to those who
wait at that moment, and to the log if nobody does; it takes nothing from the pages that have come, and the next who wants more asks the same page again: unless
the pages lead nowhere (`is_stuck`), which is told to whoever would begin with them.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

import trio

from s3mount import unawaited
from s3mount.errors import StoreError
from s3mount.filesystem.listing.page_cursor import PageRequest
from s3mount.filesystem.listing.parallel_lister import ParallelLister
from s3mount.filesystem.listing.single_flight import own
from s3mount.s3.model import ListPage, ListQuery
from s3mount.s3.object_store import ObjectStore, Priority

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds that pages wait for a reader that takes none


class Paged(Protocol):
    """What pages make: it says which one it needs next, and takes it."""

    @property
    def is_complete(self) -> bool: ...
    def next_query(self) -> ListQuery: ...
    def add(self, page: ListPage, as_of: float) -> None: ...


class PageFetcher:
    """Fetches the pages of *target*."""

    def __init__(
        self,
        target: Paged,
        store: ObjectStore,
        nursery: trio.Nursery,
        clock: Callable[[], float],
        *,
        is_eager: bool = True,
    ) -> None:
        self._target = target
        self._store = store
        self._nursery = nursery
        self._clock = clock
        self._is_eager = (
            is_eager  # pages may be asked for before the one in front of them has been read
        )
        self.answered = 0  # requests that have been answered
        self.is_stuck = (
            False  # the store refuses its own continuation token, or goes round in circles
        )
        self._wanted = 0  # and how many somebody wants to be
        self._flight: _Flight | None = None
        self._ranges = ParallelLister(self._ask)
        self._is_abandoned = False  # nobody may want more
        self._is_watched = (
            False  # somebody sees to it that nothing is held ahead of a reader that does not come
        )

    def add(self, page: ListPage, as_of: float) -> None:
        """Take a page that another question has brought."""
        self._target.add(page, as_of)
        self.answered += 1

    def want(self, answers: int) -> None:
        """Have so many pages in all fetched, without waiting for them."""
        if not self._is_abandoned:
            self._wanted = max(self._wanted, answers)
            self._run_on()
            self._grow()

    def abandon(self) -> None:
        """Fetch no more pages than the one that is on its way: they would be kept by nobody."""
        self._is_abandoned = True
        self._wanted = 0
        self._ranges.drop()

    async def wait_progress(self) -> None:
        """Wait until one more page has come, or none will. Raises what the store failed with."""
        self.want(self.answered + 1)
        flight, answered = self._run_on(), self.answered
        if flight is None:  # somebody else has completed it, or it was abandoned
            return
        self._ranges.waited()
        await flight.progress.park()
        if flight.failure is not None and self.answered == answered:
            raise own(flight.failure)

    def _is_short(self) -> bool:
        return not self._target.is_complete and self.answered < self._wanted

    def _run_on(self) -> "_Flight | None":
        """The run of requests that is under way, begun now if one is needed; None if none is."""
        if self._flight is None and self._is_short():
            self._flight = _Flight()
            self._nursery.start_soon(self._fly, self._flight)
        return self._flight

    async def _fly(self, flight: "_Flight") -> None:
        try:
            while self._is_short():
                await self._advance()
                flight.progress.unpark_all()
        except Exception as exc:  # noqa: BLE001  # it belongs to those who wait; the nursery is not theirs to end
            flight.failure = exc
            self._wanted = self.answered
            if not flight.progress:
                unawaited.report("listing in the background", exc)
        finally:
            self._flight = None
            flight.progress.unpark_all()
        if self._target.is_complete:
            self._ranges.drop()
        elif self._ranges.is_ahead and not self._is_watched:
            self._is_watched = True
            self._nursery.start_soon(self._watch)

    async def _watch(self) -> None:
        """Let go what is held ahead, once nobody has taken a page for a while."""
        answered = -1
        while answered != self.answered:
            answered = self.answered
            await trio.sleep(PATIENCE)
        self._is_watched = False
        self._ranges.drop()

    async def _advance(self) -> None:
        """Take one more page."""
        query = self._target.next_query()
        request = await self._answer(query)
        if request.failure is not None and request.urgency is Priority.PREFETCH:
            request = await self._answer(query)  # nobody has been told of that failure
        if request.failure is not None:
            self.is_stuck = (
                isinstance(request.failure, StoreError) and request.failure.status == 400
            )
            raise own(request.failure)
        self.is_stuck = True
        self.add(*self._ranges.join(request))  # raises where the page leads back
        self.is_stuck = False

    async def _answer(self, query: ListQuery) -> PageRequest:
        request = self._ranges.take(query)
        request.demand.promote()
        await request.landed.wait()
        return request

    def _ask(self, query: ListQuery, urgency: Priority) -> PageRequest:
        request = PageRequest(query, urgency, self._clock())
        self._nursery.start_soon(self._bring, request)
        return request

    async def _bring(self, request: PageRequest) -> None:
        try:
            request.page = await self._store.list_page(
                request.query, request.demand, partial(self._follow, request)
            )
        except Exception as exc:  # noqa: BLE001  # it belongs to those who wait; the nursery is not theirs to end
            request.failure = exc
            if not request.landed.statistics().tasks_waiting:
                unawaited.report("listing in the background", exc)
        finally:
            if request.page is None and request.failure is None:  # cancelled: the mount ends
                request.failure = StoreError("the listing was given up", key=request.query.prefix)
            request.landed.set()
        self._grow()

    def _follow(self, request: PageRequest, token: str | None) -> None:
        """The answer is here and says where it goes on: ask for that while this page is being read, if it is wanted."""
        if self._is_eager and token is not None and not request.landed.is_set():
            self._ranges.follow(request, token, self._wanted - self.answered - 1)

    def _grow(self) -> None:
        if not self._is_eager or not self._is_short():
            return
        try:
            self._ranges.grow()
        except Exception:  # a bug in what but saves time must cost no listing, nor end the mount
            log.exception("what was fetched ahead of a listing is given up: this is a bug")
            self._ranges.give_up()


class _Flight:
    """One run of requests, and those who wait for its progress."""

    def __init__(self) -> None:
        self.progress = trio.lowlevel.ParkingLot()
        self.failure: Exception | None = None
