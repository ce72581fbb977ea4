"""Fetcher of listing pages, one after another while more are wanted, each for all who wait.

Invariants:

1. Pages are taken in turn, since continuation tokens are serial. The next request may leave when
   the bytes of a page have arrived and before they are parsed, if the source passes its token that
   early; for an eager fetcher, `parallel_lister` decides on pages from farther ahead.
2. Requests run in a nursery, so a waiter that is cancelled harms no other. They leave only while
   fewer pages have been received than are wanted, so a reader that stops reading stops them. Pages
   held ahead of it are dropped `IDLE_TIMEOUT` seconds later.
3. A failure is raised to the callers that wait at that moment, and logged if there are none. Pages
   received before stay, and the next caller that wants more repeats the request; unless the pages
   lead nowhere (`is_stuck`), which the directory's next reader sees.
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
from s3mount.s3.object_store import OnToken, Priority, RequestPriority

log = logging.getLogger(__name__)

IDLE_TIMEOUT = 10.0  # seconds that pages wait for a reader that takes none


class ListingSource(Protocol):
    """Listing pages below a prefix, wherever they come from; an `ObjectStore` is one."""

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        """One page, as `ObjectStore.list_page` has it."""
        ...


class PageTarget(Protocol):
    """Consumer of pages: it knows which page it needs next, and takes it."""

    @property
    def is_complete(self) -> bool: ...
    def next_query(self) -> ListQuery: ...
    def add(self, page: ListPage, requested_at: float) -> None: ...


class PageFetcher:
    """Fetches pages for *target* from *source*; *clock* stamps the requests.

    *is_eager*: the next page may be requested before the one in front of it has been parsed.
    *is_parallel*: other listings may start at guessed names.
    """

    def __init__(
        self,
        target: PageTarget,
        source: ListingSource,
        nursery: trio.Nursery,
        clock: Callable[[], float],
        *,
        is_eager: bool = True,
        is_parallel: bool = True,
    ) -> None:
        self._target = target
        self._source = source
        self._nursery = nursery
        self._is_eager = is_eager
        self._is_parallel = is_parallel
        self._lister = ParallelLister(clock)
        self.received = 0  # pages
        self._wanted = 0  # pages in all
        self.is_stuck = False  # the store refuses its own token, or repeats one
        self.has_failed = False  # the last run of requests
        self._run: _Run | None = None
        self._is_abandoned = False
        self._is_idle_watched = False  # `_drop_when_idle` runs

    def add(self, page: ListPage, requested_at: float) -> None:
        """Take a page that another request has brought."""
        self._target.add(page, requested_at)
        self.received += 1

    def request_pages(self, total: int) -> None:
        """Fetch up to *total* pages in all, without waiting for them."""
        if not self._is_abandoned:
            self._wanted = max(self._wanted, total)
            self._ensure_run()
            self._extend()

    def abandon(self) -> None:
        """Fetch no more pages than the one in flight."""
        self._is_abandoned = True
        self._wanted = 0
        self._lister.drop()

    async def wait_progress(self) -> None:
        """Wait until one more page is received, or none will be. Raises the store's failure."""
        self.request_pages(self.received + 1)
        run, received = self._ensure_run(), self.received
        if run is None:  # complete, or abandoned
            return
        self._lister.note_wait()
        await run.progress.park()
        if run.failure is not None and self.received == received:
            raise own(run.failure)

    def _is_short(self) -> bool:
        return not self._target.is_complete and self.received < self._wanted

    def _ensure_run(self) -> "_Run | None":
        """The run of requests in progress, started now if one is needed; None if not."""
        if self._run is None and self._is_short():
            self._run, self.has_failed = _Run(), False
            self._nursery.start_soon(self._fetch_wanted, self._run)
        return self._run

    async def _fetch_wanted(self, run: "_Run") -> None:
        try:
            while self._is_short():
                await self._take_page()
                run.progress.unpark_all()
        except Exception as exc:  # noqa: BLE001  # it belongs to the waiters, not to the nursery
            run.failure, self.has_failed = exc, True
            self._wanted = self.received
            if not run.progress:
                unawaited.report("listing in the background", exc)
        finally:
            self._run = None
            run.progress.unpark_all()
        if self._target.is_complete:
            self._lister.drop()
        elif self._lister.has_pages_ahead and not self._is_idle_watched:
            self._is_idle_watched = True
            self._nursery.start_soon(self._drop_when_idle)

    async def _drop_when_idle(self) -> None:
        """Drop what is held ahead, once no page has been taken for `IDLE_TIMEOUT` seconds."""
        received = -1
        while received != self.received:
            received = self.received
            await trio.sleep(IDLE_TIMEOUT)
        self._is_idle_watched = False
        self._lister.drop()

    async def _take_page(self) -> None:
        query = self._target.next_query()
        request = await self._receive(query)
        if request.failure is not None and request.initial_priority is Priority.PREFETCH:
            request = await self._receive(query)  # that failure was raised to no caller
        failure = request.failure
        if failure is not None:
            self.is_stuck = isinstance(failure, StoreError) and failure.status == 400
            raise own(failure)
        self.is_stuck = True
        self.add(*self._lister.accept(request))  # raises if the page leads back
        self.is_stuck = False

    async def _receive(self, query: ListQuery) -> PageRequest:
        if not self._lister.has_request_for(query):
            self._send(self._lister.restart(query))
        request = self._lister.take()
        request.priority.promote()
        await request.completed.wait()
        return request

    def _send(self, request: PageRequest) -> None:
        self._nursery.start_soon(self._fetch, request)

    async def _fetch(self, request: PageRequest) -> None:
        try:
            request.page = await self._source.list_page(
                request.query, request.priority, partial(self._on_token, request)
            )
        except Exception as exc:  # noqa: BLE001  # it belongs to the waiters, not to the nursery
            request.failure = exc
            if not request.completed.statistics().tasks_waiting:
                unawaited.report("listing in the background", exc)
        finally:
            if request.page is None and request.failure is None:  # cancelled: the mount ends
                request.failure = StoreError("the listing was given up", key=request.query.prefix)
            request.completed.set()
        self._extend()

    def _on_token(self, request: PageRequest, token: str | None) -> None:
        """Request the page at *token*, if it is wanted, while that of *request* is being parsed."""
        if self._is_eager and token is not None and not request.completed.is_set():
            limit = self._wanted - self.received - 1
            following = self._lister.request_next(request, token, limit)
            if following is not None:
                self._send(following)

    def _extend(self) -> None:
        if not self._is_parallel or not self._is_short():
            return
        try:
            new = self._lister.extend()
        except Exception:  # a bug in what only saves time must cost no listing, nor end the mount
            log.exception("listing in parallel failed and is turned off: this is a bug")
            self._lister.disable()
        else:
            for request in new:
                self._send(request)


class _Run:
    """One run of requests, and the callers that wait for its progress."""

    def __init__(self) -> None:
        self.progress = trio.lowlevel.ParkingLot()
        self.failure: Exception | None = None
