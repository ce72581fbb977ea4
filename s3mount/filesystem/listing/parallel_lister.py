"""Parallel listing of huge flat directories: segments fetched side by side, delivered in order.

Decides which pages to request, and requests none itself. Continuation tokens are serial,
`StartAfter` is not: ahead of a listing that has come far and whose reader waits, *segments*, other
listings of the same directory, start at guessed keys. Invariants, whatever the store or the guess:

1. Only a shared key shows where a segment belongs: a key of its first page that the listing brings
   too. There the listing's page is cut, the segment's page is spliced on, and the listing continues
   by the segment's tokens. A segment that the listing passes is dropped.
2. A segment is spliced on only if all keys have risen, its own from after the guess, and if a
   segment of this listing has continued by its token. So a store without an order, without
   `StartAfter` or with other tokens never misleads the listing.
3. No failure of a segment reaches the reader: a page that failed ahead of the reader is requested
   again when the reader waits for it.
4. A segment continues only while the reader does, to `SEGMENT_PAGES` pages or the start of the next
   segment. At most `WASTE_MAX` pages and `WASTE_RATIO` of the pages taken are wasted before no more
   segments start. After a page of more than `PAGE_MOST` keys none starts: what is held is in no
   memory limit, and one round trip brings many names anyway.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from typing import NamedTuple

from s3mount.filesystem.listing.key_interpolation import KeyInterpolator
from s3mount.filesystem.listing.page_cursor import PageCursor, PageRequest
from s3mount.s3.model import PAGE_SIZE, ListPage, ListQuery
from s3mount.s3.object_store import Priority

PAGES_BEFORE = 20  # pages of a listing before the first segment: a smaller one costs nothing more
SEGMENT_PAGES = 8  # from the start of a segment to the next, and the most held of one
# of a page: a segment starts so much before the end of the one before it, as a start just after
# that end costs a whole page more
MARGIN = 0.25
SEGMENTS_MAX = 7  # at once; with the listing itself, 64 pages are held at most
PAGE_MOST = 2 * PAGE_SIZE  # keys of a page
WASTE_MAX = 4  # pages fetched in vain
WASTE_RATIO = 0.1  # and so many more for each page that was taken


class ParallelLister:
    """Requests for the pages of one listing, in its order; *clock* stamps them.

    Owns the requests in flight. The caller sends each request that a method returns as new.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._front = PageCursor("")  # the listing itself
        self._segments: list[PageCursor] = []  # in the order of their keys
        self._segments_allowed = 0  # as far as waits of the reader have shown a need
        self._pages_taken = 0
        self._pages_wasted = 0.0
        self._is_proven = False  # a segment has continued by its token
        self._is_disabled = False  # no segment is of use any more
        # the cursor of the last guess, and the pages that it must have before the next
        self._last_guess: tuple[PageCursor | None, int] = None, 0

    def has_request_for(self, query: ListQuery) -> bool:
        """Whether the next page is *query*'s, requested already, and has not failed."""
        return self._front.has_request_for(query)

    def restart(self, query: ListQuery) -> PageRequest:
        """A new request for *query* as the next page, in place of those that there are."""
        self._front.clear()
        return self._request(self._front, query, Priority.DEMAND)

    def take(self) -> PageRequest:
        """Remove and return the request for the next page."""
        return self._front.requests.popleft()

    def request_next(self, request: PageRequest, token: str, limit: int) -> PageRequest | None:
        """A new request for the page at *token*, after *request*, whose response is arriving.

        None if *limit* pages are requested, or if segments are ahead: these make up for it, and
        the next page may start after the splice, where it would be wasted.
        """
        has_room = len(self._front.requests) < limit and not self._segments
        if request is not self._front.newest or not has_room:
            return None
        return self._request(self._front, _at_token(request.query, token), Priority.DEMAND)

    def accept(self, request: PageRequest) -> tuple[ListPage, float]:
        """The page of *request* and its moment, with the segment that starts in it spliced on."""
        page = request.page
        assert page is not None
        self._pages_taken += 1
        self._inspect_received()
        self._front.drop_page(request)
        while self._segments and page.objects and self._is_reached(page):
            nearest = self._segments.pop(0)
            first = nearest.first_page
            may_splice = first is not None and (self._is_proven or first.next_token is None)
            spliced = _splice(page, first) if first is not None and may_splice else None
            if spliced is not None:
                self._front = nearest
                self._pages_wasted += 1 - spliced.at / len(page.objects)
                joined = nearest.requests.popleft()
                nearest.drop_page(joined)
                return spliced.page, min(request.requested_at, joined.requested_at)
            self._pages_wasted += len(nearest.requests)
        return page, request.requested_at

    def disable(self) -> None:
        """Drop all segments, and start none any more."""
        self._is_disabled = True
        self.drop()

    def drop(self) -> None:
        """Drop all requests ahead of the reader."""
        self._front, self._segments = PageCursor(self._front.last_key), []
        self._last_guess = None, 0

    @property
    def has_pages_ahead(self) -> bool:
        """Whether a page ahead of the reader is held or in flight."""
        return bool(self._segments or self._front.requests)

    def note_wait(self) -> None:
        """Record that the reader waits for a page: one segment more may help a long listing."""
        if self._pages_taken >= PAGES_BEFORE:
            self._segments_allowed = min(self._segments_allowed + 1, SEGMENTS_MAX)

    def extend(self) -> list[PageRequest]:
        """New requests ahead of the reader, as many as are due now."""
        if not self._segments_allowed:
            return []
        self._inspect_received()
        new = [self._start_segment()]
        if self._segments:
            cursors = zip_longest((self._front, *self._segments), self._segments)
            new += [self._extend_cursor(cursor, following) for cursor, following in cursors]
        return [request for request in new if request is not None]

    def _is_reached(self, page: ListPage) -> bool:
        return self._segments[0].first_key <= page.objects[-1].key

    def _inspect_received(self) -> None:
        """Inspect what has been received, and drop segments that turn out to be of no use."""
        self._front.inspect_received()
        self._is_disabled = self._is_disabled or not self._front.is_rising
        for segment in [*self._segments]:
            segment.inspect_received()
            self._is_proven = self._is_proven or (segment.is_rising and segment.page_count > 1)
            self._is_disabled = self._is_disabled or not segment.is_rising
            if self._is_disabled or segment.is_unusable:
                self._segments.remove(segment)
                self._pages_wasted += len(segment.requests)

    def _extend_cursor(
        self, cursor: PageCursor, following: PageCursor | None
    ) -> PageRequest | None:
        """A new request for the next page of *cursor*, if its token is known and it may go on."""
        has_met = following is not None and cursor.last_key >= following.first_key
        token = cursor.next_token
        if token is None or has_met or len(cursor.requests) >= SEGMENT_PAGES:
            return None
        assert cursor.newest is not None
        priority = Priority.DEMAND if cursor is self._front else Priority.PREFETCH
        return self._request(cursor, _at_token(cursor.newest.query, token), priority)

    def _start_segment(self) -> PageRequest | None:
        """A new segment's first request, after the last one, if that allows for a guess."""
        last = self._segments[-1] if self._segments else self._front
        guessed_from, pages = self._last_guess
        is_too_early = last is guessed_from and last.page_count < pages
        is_allowed = len(self._segments) < self._segments_allowed and not is_too_early
        if not is_allowed or not self._may_start_after(last):
            return None
        guess = _guess_key_after(last)
        self._last_guess = last, last.page_count + (1 if guess is None else SEGMENT_PAGES)
        if guess is None:
            return None
        self._segments.append(PageCursor(guess))
        query = ListQuery(last.prefix, start_after=guess)
        return self._request(self._segments[-1], query, Priority.PREFETCH)

    def _may_start_after(self, last: PageCursor) -> bool:
        is_affordable = self._pages_wasted <= WASTE_MAX + WASTE_RATIO * self._pages_taken
        has_shown = len(last.sample) > 1 and last.is_flat and last.page_size <= PAGE_MOST
        return is_affordable and not self._is_disabled and has_shown and not last.has_ended

    def _request(self, cursor: PageCursor, query: ListQuery, priority: Priority) -> PageRequest:
        request = PageRequest(query, priority, self._clock())
        cursor.add(request)
        return request


def _at_token(query: ListQuery, token: str) -> ListQuery:
    return replace(query, token=token, start_after=None)


def _guess_key_after(cursor: PageCursor) -> str | None:
    """A key guessed a segment after the start of *cursor*, at least after its end; or None."""
    pages = max(1, SEGMENT_PAGES - len(cursor.requests)) - MARGIN
    names = KeyInterpolator([key.removeprefix(cursor.prefix) for key in cursor.sample])
    last_name = cursor.last_key.removeprefix(cursor.prefix)
    name = names.key_after(last_name, int(pages * cursor.samples_per_page))
    return None if name is None else cursor.prefix + name


class _Splice(NamedTuple):
    """A page that continues with another one from index *at* on."""

    page: ListPage
    at: int


def _splice(page: ListPage, first: ListPage) -> _Splice | None:
    """*page* up to the first key that *first* has too, and *first* from there on."""
    if page.prefixes or first.prefixes:
        return None  # nothing tells whether they belong before or after the splice
    indices = {listed.key: at for at, listed in enumerate(page.objects)}
    for start, listed in enumerate(first.objects):
        if listed.key in indices:
            at = indices[listed.key]
            objects = page.objects[:at] + first.objects[start:]
            is_partial = page.is_partial or first.is_partial
            return _Splice(ListPage(objects, [], first.next_token, is_partial=is_partial), at)
    return None
