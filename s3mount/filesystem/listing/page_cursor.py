"""Pages that follow one another by their continuation tokens: asked for, come, looked into, and not yet taken.

Decides nothing; knows how far it has come, and whether its keys have risen all the way.
"""

from collections import deque
from operator import lt

import trio

from s3mount.s3.model import ListPage, ListQuery
from s3mount.s3.object_store import Priority, RequestPriority

_SAMPLED = 8  # of so many keys one is kept, to guess from
_SAMPLE = 512  # and so many are kept in all: those of some four pages


class PageRequest:
    """One page asked for at *as_of*: `page` or `failure` is there when it has `landed`.

    *urgency* is what it began with, and `demand` what it has now.
    """

    def __init__(self, query: ListQuery, urgency: Priority, as_of: float) -> None:
        self.query = query
        self.urgency = urgency
        self.demand = RequestPriority(urgency)
        self.as_of = as_of
        self.landed = trio.Event()
        self.page: ListPage | None = None
        self.failure: Exception | None = None


class PageCursor:
    """Pages from behind the key *last* on."""

    def __init__(self, last: str) -> None:
        self.last = last  # the last key that has come
        self.requests: deque[PageRequest] = deque()  # not taken yet
        self.tail: PageRequest | None = None  # the last of all of them, taken or not
        self.first: ListPage | None = None
        self.pages = 0  # that have come
        self.sample: list[str] = []  # of the keys of the last of them, at even distances
        self.steps = 0  # how many of these distances are a page
        self.is_rising = True
        self.is_flat = True  # no page has had a common prefix
        self._unread: deque[PageRequest] = deque()

    def add(self, request: PageRequest) -> None:
        """*request* was sent for the page behind all others."""
        self.requests.append(request)
        self._unread.append(request)
        self.tail = request

    def answers(self, query: ListQuery) -> bool:
        """Whether the first of `requests` asks for *query*, and has not failed."""
        return (
            bool(self.requests)
            and self.requests[0].query == query
            and self.requests[0].failure is None
        )

    def forget(self) -> None:
        """Let all go that was asked for and not taken."""
        self.requests.clear()
        self._unread.clear()

    def look(self) -> None:
        """Look into the pages that have come since."""
        while self._unread and (page := self._unread[0].page) is not None:
            self._unread.popleft()
            self._note(page)

    @property
    def prefix(self) -> str:
        """The directory that it lists."""
        return self.tail.query.prefix if self.tail is not None else ""

    @property
    def begin(self) -> str:
        """Its first key; as long as there is none, the one that it begins behind."""
        return (
            self.first.objects[0].key
            if self.first is not None and self.first.objects
            else self.last
        )

    @property
    def next_token(self) -> str | None:
        """Where it goes on; None where it has ended, or where that is not known yet."""
        return None if self.tail is None or self.tail.page is None else self.tail.page.next_token

    @property
    def has_ended(self) -> bool:
        """Whether its last page has come."""
        return (
            self.tail is not None
            and self.tail.page is not None
            and self.tail.page.next_token is None
        )

    @property
    def is_barren(self) -> bool:
        """Whether its first page has brought no key, or a common prefix, or has not come at all."""
        if self.first is not None:
            return not self.first.objects or bool(self.first.prefixes)
        return self.tail is not None and self.tail.failure is not None

    def _note(self, page: ListPage) -> None:
        keys = [listed.key for listed in page.objects]
        self.first = self.first or page
        self.pages += 1
        self.is_flat = self.is_flat and not page.prefixes
        self.is_rising = self.is_rising and all(map(lt, [self.last, *keys], keys))
        self.last = keys[-1] if keys else self.last
        sampled = keys[::_SAMPLED]
        self.steps = len(sampled)
        self.sample = [*self.sample, *sampled][-_SAMPLE:]
