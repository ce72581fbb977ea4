"""Listing pages fetched one after another while somebody wants more, each for all who wait.

Invariants: requests are serial, since continuation tokens are; but the next one may leave when the bytes of a page are here and
before they are read, if a store tells its token that early. They run in a nursery of their own and only while fewer pages have come than are
wanted, so a reader that stops reading stops the requests. A failure is told to those who
wait at that moment; it takes nothing from the pages that have come, and the next who wants more asks the same page again: unless
the pages lead nowhere (`is_stuck`), which is told to whoever would begin with them.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

import trio

from s3mount.errors import StoreFailed
from s3mount.s3.store import ObjectStore
from s3mount.s3.values import ListPage, ListQuery


class Paged(Protocol):
    """What pages make: it says which one it needs next, and takes it."""

    @property
    def is_complete(self) -> bool: ...
    def next_query(self) -> ListQuery: ...
    def add(self, page: ListPage, as_of: float) -> None: ...


class Paging:
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
        self._is_eager = is_eager  # the next page may be asked for before this one has been read
        self.answered = 0  # requests that have been answered
        self.is_stuck = False  # the store refuses its own continuation token, or goes round in circles
        self._wanted = 0  # and how many somebody wants to be
        self._flight: _Flight | None = None

    def add(self, page: ListPage, as_of: float) -> None:
        """Take a page that another question has brought."""
        self._target.add(page, as_of)
        self.answered += 1

    def want(self, answers: int) -> None:
        """Have so many pages in all fetched, without waiting for them."""
        self._wanted = max(self._wanted, answers)
        if self._flight is None and self._is_short():
            self._flight = _Flight()
            self._nursery.start_soon(self._fly, self._flight)

    async def wait_progress(self) -> None:
        """Wait until one more page has come; raises what the store failed with. Only where the target is not complete."""
        self.want(self.answered + 1)
        flight = self._flight
        assert flight is not None  # it was under way, or has been started
        await flight.progress.park()
        if flight.failure is not None:
            raise flight.failure

    def _is_short(self) -> bool:
        return not self._target.is_complete and self.answered < self._wanted

    async def _fly(self, flight: "_Flight") -> None:
        try:
            request = None
            while self._is_short():
                request = await self._advance(request)
                flight.progress.unpark_all()
        except Exception as exc:  # noqa: BLE001  # it belongs to those who wait; the nursery is not theirs to end
            flight.failure = exc
            self._wanted = self.answered
        finally:
            self._flight = None
            flight.progress.unpark_all()

    async def _advance(self, request: "_Request | None") -> "_Request | None":
        """Take one more page: what *request* brings if it is the right one; the request after it, if one has left already."""
        query = self._target.next_query()
        if request is None or request.query != query:
            request = self._ask(query)
        await request.landed.wait()
        if request.page is None:
            self.is_stuck = isinstance(request.failure, StoreFailed) and request.failure.status == 400
            assert request.failure is not None
            raise request.failure
        self.is_stuck = True
        self.add(request.page, request.as_of)  # raises where the page leads back
        self.is_stuck = False
        return request.following

    def _ask(self, query: ListQuery) -> "_Request":
        request = _Request(query, self._clock())
        self._nursery.start_soon(self._bring, request)
        return request

    async def _bring(self, request: "_Request") -> None:
        try:
            request.page = await self._store.list_page(request.query, on_token=partial(self._follow, request))
        except Exception as exc:  # noqa: BLE001  # it belongs to those who wait; the nursery is not theirs to end
            request.failure = exc
        finally:
            request.landed.set()

    def _follow(self, request: "_Request", token: str | None) -> None:
        """The answer is here and says where it goes on: ask for that while this page is being read, if it is wanted."""
        if self._is_eager and token is not None and not request.landed.is_set() and self.answered + 1 < self._wanted:
            request.following = self._ask(replace(request.query, token=token, start_after=None))


class _Request:
    """One page asked for, and the one behind it where that has been asked for early."""

    def __init__(self, query: ListQuery, as_of: float) -> None:
        self.query = query
        self.as_of = as_of
        self.landed = trio.Event()
        self.page: ListPage | None = None
        self.failure: Exception | None = None
        self.following: _Request | None = None


class _Flight:
    """One run of requests, and those who wait for its progress."""

    def __init__(self) -> None:
        self.progress = trio.lowlevel.ParkingLot()
        self.failure: Exception | None = None
