"""Cursor over consecutive listing pages: requested, received, inspected, and not yet taken.

Decides nothing. Records how far its pages have come, and whether their keys have risen all the way.
"""

from collections import deque
from operator import lt

import trio

from s3mount.s3.model import ListPage, ListQuery
from s3mount.s3.object_store import Priority, RequestPriority

_SAMPLED = 8  # one key of so many is kept, to guess from
_SAMPLE = 512  # keys kept in all: those of some four pages


class PageRequest:
    """One page: `page` or `failure` is set once `completed` is; `priority` is what it is now."""

    def __init__(self, query: ListQuery, priority: Priority, requested_at: float) -> None:
        self.query = query
        self.initial_priority = priority
        self.priority = RequestPriority(priority)
        self.requested_at = requested_at
        self.completed = trio.Event()
        self.page: ListPage | None = None
        self.failure: Exception | None = None


class PageCursor:
    """Pages after the key *last_key*, each requested by the token of the one before."""

    def __init__(self, last_key: str) -> None:
        self.last_key = last_key  # the last key received
        self.requests: deque[PageRequest] = deque()  # not taken yet
        self.newest: PageRequest | None = None  # the last request, taken or not
        # what the received pages have shown: the first of them (until one is taken), their number,
        # keys of the last ones at even distances, and how many of these distances make a page
        self.first_page: ListPage | None = None
        self.page_count = 0
        self.sample: list[str] = []
        self.samples_per_page = 0
        self.page_size = 0  # keys of the last page
        self.is_rising = True
        self.is_flat = True  # no page has had a common prefix
        self._uninspected: deque[PageRequest] = deque()

    def add(self, request: PageRequest) -> None:
        """Append *request*, for the page after all others."""
        self.requests.append(request)
        self._uninspected.append(request)
        self.newest = request

    def has_request_for(self, query: ListQuery) -> bool:
        """Whether the first of `requests` is for *query*, and has not failed."""
        first = self.requests[0] if self.requests else None
        return first is not None and first.query == query and first.failure is None

    def clear(self) -> None:
        """Drop all requests that are not taken."""
        self.requests.clear()
        self._uninspected.clear()

    def inspect_received(self) -> None:
        """Inspect the pages that have been received since the last call."""
        while self._uninspected and (page := self._uninspected[0].page) is not None:
            self._uninspected.popleft()
            self._inspect(page)

    def drop_page(self, request: PageRequest) -> None:
        """Keep only the token of a page that was taken: raw pages are in no memory limit."""
        if request.page is not None:
            request.page = ListPage([], [], request.page.next_token)
        self.first_page = None  # only of use before it is taken

    @property
    def prefix(self) -> str:
        """The prefix of the directory that is listed."""
        return self.newest.query.prefix if self.newest is not None else ""

    @property
    def first_key(self) -> str:
        """The first key; until one is received, the key that the cursor starts after."""
        first = self.first_page
        return first.objects[0].key if first is not None and first.objects else self.last_key

    @property
    def next_token(self) -> str | None:
        """The token of the next page; None at the end, or if it is not known yet."""
        page = self.newest.page if self.newest is not None else None
        return None if page is None else page.next_token

    @property
    def has_ended(self) -> bool:
        """Whether the last page has been received."""
        page = self.newest.page if self.newest is not None else None
        return page is not None and page.next_token is None

    @property
    def is_unusable(self) -> bool:
        """Whether the first page has failed, has no key, or has a common prefix."""
        if self.first_page is not None:
            return not self.first_page.objects or bool(self.first_page.prefixes)
        return self.newest is not None and self.newest.failure is not None

    def _inspect(self, page: ListPage) -> None:
        keys = [listed.key for listed in page.objects]
        self.first_page = self.first_page or page
        self.page_count += 1
        self.is_flat = self.is_flat and not page.prefixes
        self.is_rising = self.is_rising and all(map(lt, [self.last_key, *keys], keys))
        self.last_key = keys[-1] if keys else self.last_key
        sampled = keys[::_SAMPLED]
        self.samples_per_page, self.page_size = len(sampled), len(keys)
        self.sample = [*self.sample, *sampled][-_SAMPLE:]
