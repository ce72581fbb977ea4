"""Huge flat directories in parallel: ranges of a listing that are fetched side by side, and told in order.

Continuation tokens are serial, `StartAfter` is not. So behind a listing that has come far, and whose reader waits, other listings of
the same directory begin at names guessed ahead of it. What always holds, whatever a store or a guess is like:

1. Only a key proves where a range belongs: one of its first page that the listing before it brings, too. There that page is cut, the
   range's page put behind it, and the listing goes on by the range's tokens. A range that the listing passes is dropped.
2. A range is believed only where all keys have risen, its own from behind the guess, and where a range of this listing has gone on by
   its token: so a store without an order, without `StartAfter`, or with other tokens never leads the listing astray.
3. No failure of a range is told. A page that the reader waits for is asked for again where it has failed ahead of it.
4. A range goes on only while the reader does, until it holds so many pages or has come to the next one. What is fetched in vain
   is a small constant and a tenth of what was taken: where it was more, no range begins.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from typing import NamedTuple

from s3mount.filesystem.listing.key_interpolation import KeyInterpolator
from s3mount.filesystem.listing.page_cursor import PageCursor, PageRequest
from s3mount.s3.model import ListPage, ListQuery
from s3mount.s3.object_store import Priority

PAGES_BEFORE = (
    20  # pages of a listing after which it is worth while: what is small costs nothing more
)
STRIDE = (
    8  # pages from the beginning of a range to that of the next, and the most that are held of one
)
MARGIN = 0.25  # of a page, by which a range is to begin before one ends: right behind its end it costs a whole one more
WAYS_MAX = 7  # ranges ahead at once; with the listing itself, 64 pages are held at most
LOSS_MAX = 4  # pages fetched in vain
LOSS_SHARE = 0.1  # and so many more for each that was taken


class ParallelLister:
    """The pages of one listing, in its order. *ask* sends a request."""

    def __init__(self, ask: Callable[[ListQuery, Priority], PageRequest]) -> None:
        self._ask = ask
        self._front = PageCursor("")  # the listing itself
        self._ahead: list[PageCursor] = []  # ranges, in the order of their keys
        # how many ranges there may be: what the reader and the guesses have shown so far
        self._ways = 0
        self._taken = 0  # pages
        self._lost = 0.0
        self._is_proven = False  # a range has gone on by its token
        self._is_over = False  # no range can be believed
        # what was guessed from, and with how many pages of it to do so again
        self._guessed: tuple[PageCursor | None, int] = None, 0

    def take(self, query: ListQuery) -> PageRequest:
        """The request for the page that comes next, sent long ago or now."""
        if not self._front.answers(query):
            self._front.forget()
            self._send(self._front, query, Priority.DEMAND)
        return self._front.requests.popleft()

    def follow(self, request: PageRequest, token: str, limit: int) -> None:
        """*request* is being answered, and the page behind it begins at *token*: ask for that, unless *limit* are asked for.

        Not where ranges are ahead, which make up for it: the next page may begin behind the joint, and nobody want it.
        """
        if request is self._front.tail and len(self._front.requests) < limit and not self._ahead:
            self._send(self._front, _behind(request.query, token), Priority.DEMAND)

    def join(self, request: PageRequest) -> tuple[ListPage, float]:
        """The page that *request* has brought, and as of when; with the first page of the range that begins in it."""
        page = request.page
        assert page is not None
        self._taken += 1
        self._look()
        while self._ahead and page.objects and self._ahead[0].begin <= page.objects[-1].key:
            nearest = self._ahead.pop(0)
            joint = self._splice(page, nearest.first)
            if joint is not None:
                self._front = nearest
                self._lost += 1 - joint.at / len(page.objects)
                return joint.page, min(request.as_of, nearest.requests.popleft().as_of)
            self._lost += len(nearest.requests)
        return page, request.as_of

    def give_up(self) -> None:
        """Begin no range any more, and forget those that there are."""
        self._is_over = True
        self.drop()

    def drop(self) -> None:
        """Let go what is held ahead."""
        self._front, self._ahead = PageCursor(self._front.last), []
        self._guessed = None, 0

    @property
    def is_ahead(self) -> bool:
        """Whether anything is held ahead of the reader, or on its way."""
        return bool(self._ahead or self._front.requests)

    def waited(self) -> None:
        """The reader has to wait for a page: one more range may help, where it has waited for many."""
        if self._taken >= PAGES_BEFORE:
            self._ways = min(self._ways + 1, WAYS_MAX)

    def grow(self) -> None:
        """Ask for what is to be asked for ahead of the reader now."""
        if not self._ways:
            return
        self._look()
        self._begin()
        if self._ahead:
            for chain, following in zip_longest((self._front, *self._ahead), self._ahead):
                self._extend(chain, following)

    def _look(self) -> None:
        """Look into what has come; let go the ranges that turn out to be none."""
        self._front.look()
        self._is_over = self._is_over or not self._front.is_rising
        for chain in [*self._ahead]:
            chain.look()
            self._is_proven = self._is_proven or (chain.is_rising and chain.pages > 1)
            self._is_over = self._is_over or not chain.is_rising
            if self._is_over or chain.is_barren:
                self._ahead.remove(chain)
                self._lost += len(chain.requests)

    def _splice(self, page: ListPage, first: ListPage | None) -> "_Splice | None":
        """*page* and a range's *first* page put together, where that can be believed."""
        is_believed = first is not None and (self._is_proven or first.next_token is None)
        return _splice(page, first) if first is not None and is_believed else None

    def _extend(self, chain: PageCursor, following: PageCursor | None) -> None:
        """Ask for the next page of *chain*, if the last one has come and told where it goes on, short of *following*."""
        has_met = following is not None and chain.last >= following.begin
        if chain.next_token is not None and not has_met and len(chain.requests) < STRIDE:
            assert chain.tail is not None
            urgency = Priority.DEMAND if chain is self._front else Priority.PREFETCH
            self._send(chain, _behind(chain.tail.query, chain.next_token), urgency)

    def _begin(self) -> None:
        """Begin one more range, behind the last one, where that has shown what names there are like."""
        last = self._ahead[-1] if self._ahead else self._front
        chain, pages = self._guessed
        is_too_early = last is chain and last.pages < pages
        if len(self._ahead) < self._ways and not is_too_early and self._may_begin_behind(last):
            guess = _guess_behind(last)
            self._guessed = last, last.pages + (1 if guess is None else STRIDE)
            if guess is not None:
                self._ahead.append(PageCursor(guess))
                self._send(
                    self._ahead[-1], ListQuery(last.prefix, start_after=guess), Priority.PREFETCH
                )

    def _may_begin_behind(self, last: PageCursor) -> bool:
        is_affordable = self._lost <= LOSS_MAX + LOSS_SHARE * self._taken
        has_shown = len(last.sample) > 1 and last.is_flat
        return is_affordable and not self._is_over and has_shown and not last.has_ended

    def _send(self, chain: PageCursor, query: ListQuery, urgency: Priority) -> None:
        chain.add(self._ask(query, urgency))


def _behind(query: ListQuery, token: str) -> ListQuery:
    return replace(query, token=token, start_after=None)


def _guess_behind(chain: PageCursor) -> str | None:
    """A key a stride behind the beginning of *chain*, or behind its end where that is farther; None where no key can be."""
    pages = max(1, STRIDE - len(chain.requests)) - MARGIN
    space = KeyInterpolator([key.removeprefix(chain.prefix) for key in chain.sample])
    name = space.behind(chain.last.removeprefix(chain.prefix), int(pages * chain.steps))
    return None if name is None else chain.prefix + name


class _Splice(NamedTuple):
    """A page that goes on with another one from the place *at*."""

    page: ListPage
    at: int


def _splice(page: ListPage, first: ListPage) -> _Splice | None:
    """*page* up to the first key that *first* has too, and that from there on."""
    if page.prefixes or first.prefixes:
        return None  # whether they stand before the joint or behind it is the store's secret
    places = {listed.key: at for at, listed in enumerate(page.objects)}
    for start, listed in enumerate(first.objects):
        if listed.key in places:
            at = places[listed.key]
            return _Splice(
                ListPage(page.objects[:at] + first.objects[start:], [], first.next_token), at
            )
    return None
