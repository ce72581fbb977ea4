"""Pages that follow one another by their continuation tokens: asked for, come, looked into, and not yet taken.

Decides nothing; knows how far it has come, and whether its keys have risen all the way.
"""

from collections import deque
from operator import lt

import trio

from s3mount.s3.model import ListPage, ListQuery
from s3mount.s3.object_store import Demand, Priority

_SAMPLED = 8  # of so many keys one is kept, to guess from
_SAMPLE = 512  # and so many are kept in all: those of some four pages


class PageRequest:
    """One page asked for at *requested_at*: `page` or `failure` is there when it has `landed`.

    *urgency* is what it began with, and `demand` what it has now.
    """

    def __init__(self, query: ListQuery, urgency: Priority, requested_at: float) -> None:
        self.query = query
        self.initial_priority = urgency
        self.demand = Demand(urgency)
        self.requested_at = requested_at
        self.completed = trio.Event()
        self.page: ListPage | None = None
        self.failure: Exception | None = None


class PageCursor:
    """Pages from behind the key *last* on."""

    def __init__(self, last: str) -> None:
        self.last_key = last  # the last key that has come
        self.requests: deque[PageRequest] = deque()  # not taken yet
        self.newest: PageRequest | None = None  # the last of all of them, taken or not
        self.first_page: ListPage | None = None
        self.page_count = 0  # that have come
        self.sample: list[str] = []  # of the keys of the last of them, at even distances
        self.samples_per_page = 0  # how many of these distances are a page
        self.is_rising = True
        self.is_flat = True  # no page has had a common prefix
        self._uninspected: deque[PageRequest] = deque()

    def add(self, request: PageRequest) -> None:
        """*request* was sent for the page behind all others."""
        self.requests.append(request)
        self._uninspected.append(request)
        self.newest = request

    def has_request_for(self, query: ListQuery) -> bool:
        """Whether the first of `requests` asks for *query*, and has not failed."""
        return (
            bool(self.requests)
            and self.requests[0].query == query
            and self.requests[0].failure is None
        )

    def clear(self) -> None:
        """Let all go that was asked for and not taken."""
        self.requests.clear()
        self._uninspected.clear()

    def inspect_received(self) -> None:
        """Look into the pages that have come since."""
        while self._uninspected and (page := self._uninspected[0].page) is not None:
            self._uninspected.popleft()
            self._inspect(page)

    @property
    def prefix(self) -> str:
        """The directory that it lists."""
        return self.newest.query.prefix if self.newest is not None else ""

    @property
    def first_key(self) -> str:
        """Its first key; as long as there is none, the one that it begins behind."""
        return (
            self.first_page.objects[0].key
            if self.first_page is not None and self.first_page.objects
            else self.last_key
        )

    @property
    def next_token(self) -> str | None:
        """Where it goes on; None where it has ended, or where that is not known yet."""
        return (
            None if self.newest is None or self.newest.page is None else self.newest.page.next_token
        )

    @property
    def has_ended(self) -> bool:
        """Whether its last page has come."""
        return (
            self.newest is not None
            and self.newest.page is not None
            and self.newest.page.next_token is None
        )

    @property
    def is_unusable(self) -> bool:
        """Whether its first page has brought no key, or a common prefix, or has not come at all."""
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
        self.samples_per_page = len(sampled)
        self.sample = [*self.sample, *sampled][-_SAMPLE:]
