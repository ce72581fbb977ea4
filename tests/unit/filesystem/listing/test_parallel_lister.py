"""A directory of a hundred pages, at 20 ms a page: sooner whole, in order, for few requests more; whatever the store is like."""
# ruff: noqa: ARG001 - a clock is taken for its effect

import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
import trio
from trio.testing import MockClock

from s3mount.errors import StoreError
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.listing.page_fetcher import PATIENCE, PageFetcher
from s3mount.filesystem.listing.parallel_lister import (
    PAGES_BEFORE,
    STRIDE,
    WAYS_MAX,
    _splice,
)
from s3mount.s3.model import ListedObject, ListPage, ListQuery
from s3mount.s3.object_store import Demand, OnToken, Priority
from tests.unit.filesystem.proof import proven

PAGES = 100
PAGE = 100  # keys
LATENCY = 0.020
CONSUMED_IN = 0.010  # seconds that the reader takes for a page

counted = [f"object-{number:07}" for number in range(PAGES * PAGE)]
hashed = sorted(
    f"{random.Random(number).getrandbits(64):016x}.json" for number in range(PAGES * PAGE)
)


@dataclass
class Store:
    """Lists *keys*; *before* may raise. A key that ends with a slash is a common prefix."""

    keys: list[str]
    before: Callable[[ListQuery, Priority], None] = lambda _query, _urgency: None
    asked: list[ListQuery] = field(default_factory=list)

    async def list_page(
        self, query: ListQuery, demand: Demand | None = None, on_token: OnToken | None = None
    ) -> ListPage:
        urgency = (demand or Demand()).urgency
        self.asked.append(query)
        await trio.sleep(LATENCY)
        self.before(query, urgency)
        page = self.page(query)
        assert on_token is not None
        on_token(page.next_token)
        await trio.sleep(0.001)
        return page

    def page(self, query: ListQuery) -> ListPage:
        start = bisect_right(self.keys, query.token or query.start_after or "")
        return _page(self.keys[start : start + PAGE], is_last=start + PAGE >= len(self.keys))


@dataclass
class Reader:
    """Reads the directory of a store, page by page."""

    store: Store
    nursery: trio.Nursery
    names: list[str] = field(default_factory=list)
    held: int = 0  # pages ahead, at most

    def __post_init__(self) -> None:
        listing = DirectoryListing("bucket", "", trio.current_time(), proven())
        self.paging = PageFetcher(listing, self.store, self.nursery, trio.current_time)  # type: ignore[arg-type]  # it lists only
        self.passage = ListingScan(listing, self.paging)

    async def read(self, pages: int = 10**9) -> None:
        for number in range(pages):
            entries = await self.passage.wait_page(number)
            if entries is None:
                return
            self.names += [entries.key(index) for index in range(len(entries))]
            self.held = max(self.held, self.pages_ahead())
            await trio.sleep(CONSUMED_IN)

    def pages_ahead(self) -> int:
        ranges = self.paging._ranges
        return sum(len(chain.requests) for chain in (ranges._front, *ranges._ahead))


@pytest.mark.parametrize("keys", [counted, hashed], ids=["counted", "hashed"])
async def test_a_huge_directory_is_read_sooner_for_few_requests_more(
    keys: list[str], autojump_clock: MockClock
) -> None:
    reader = await _read(Store(keys))

    assert keys == reader.names
    assert len(reader.store.asked) <= PAGES * 1.12
    assert autojump_clock.current_time() < 0.75 * PAGES * LATENCY
    assert STRIDE < reader.held <= STRIDE * (1 + WAYS_MAX)


async def test_a_directory_of_fewer_pages_costs_what_it_has(autojump_clock: MockClock) -> None:
    reader = await _read(Store(counted[: PAGES_BEFORE * PAGE]))

    assert PAGES_BEFORE == len(reader.store.asked)


async def test_a_store_that_ignores_where_to_start_is_tried_once(autojump_clock: MockClock) -> None:
    store = Store(counted)
    page = store.page
    store.page = lambda query: page(replace(query, start_after=None))  # type: ignore[method-assign]

    reader = await _read(store)

    assert counted == reader.names
    assert sum(query.start_after is not None for query in store.asked) == 1


async def test_tokens_that_forget_where_a_range_began_lead_no_reader_astray(
    autojump_clock: MockClock,
) -> None:
    """Tokens that count from the beginning of the whole listing, whatever listing they were told in."""
    store = Store(counted)

    def page(query: ListQuery) -> ListPage:
        start = int(query.token or 0)
        keys = [key for key in counted if key > (query.start_after or "")][start : start + PAGE]
        token = str(start + PAGE)
        return replace(
            _page(keys, is_last=not keys or keys[-1] == counted[-1]),
            next_token=token if keys else None,
        )

    store.page = page  # type: ignore[method-assign]

    reader = await _read(store)

    assert counted == reader.names
    assert len(store.asked) <= PAGES * 1.12


@pytest.mark.parametrize("urgent", ["begin", "all"])
async def test_what_fails_ahead_of_the_reader_is_no_failure(
    urgent: str, autojump_clock: MockClock
) -> None:
    def before(query: ListQuery, urgency: Priority) -> None:
        if urgency is Priority.AHEAD and (urgent == "all" or query.token is not None):
            raise StoreError("slow down", status=503)

    reader = await _read(Store(counted, before))

    assert counted == reader.names
    assert len(reader.store.asked) <= 1.3 * PAGES


async def test_common_prefixes_among_the_keys_are_shown_once(autojump_clock: MockClock) -> None:
    keys = sorted([*counted, *(f"{key}-/" for key in counted[25 * PAGE :: 777])])

    reader = await _read(Store(keys))

    assert [key.removesuffix("/") for key in keys] == sorted(reader.names)
    assert len(reader.store.asked) <= PAGES * 1.15


@pytest.mark.parametrize("begin", [0, 15])
async def test_empty_pages_teach_nothing_and_cost_no_entry(
    begin: int, autojump_clock: MockClock
) -> None:
    full = [counted[start : start + PAGE] for start in range(0, len(counted), PAGE)]
    pages = [*full[:begin], *[[]] * 50, *full[begin:]]
    store = Store(counted)
    anywhere = store.page

    def page(query: ListQuery) -> ListPage:
        if query.start_after is not None or (query.token or "0") > "9":
            return anywhere(query)
        number = int(query.token or 0)
        is_last = number == len(pages) - 1
        return replace(
            _page(pages[number], is_last=True), next_token=None if is_last else str(number + 1)
        )

    store.page = page  # type: ignore[method-assign]
    reader = await _read(store)

    assert counted == reader.names


async def test_a_bug_in_what_goes_ahead_costs_no_listing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, expected_warnings: list[str]
) -> None:
    expected_warnings.append("this is a bug")
    monkeypatch.setattr("s3mount.filesystem.listing.parallel_lister._guess_behind", lambda _: 1 / 0)

    reader = await _read(Store(counted))

    assert counted == reader.names
    assert len(reader.store.asked) <= PAGES + 1


async def test_ranges_stop_with_the_reader_and_are_let_go_after_a_while(
    autojump_clock: MockClock,
) -> None:
    store = Store(counted)
    async with trio.open_nursery() as nursery:
        reader = Reader(store, nursery)
        await reader.read(40)
        asked = len(store.asked)
        await trio.sleep(PATIENCE / 2)

        assert len(store.asked) <= asked + 1 + WAYS_MAX
        assert reader.pages_ahead()

        await trio.sleep(2 * PATIENCE)

        assert not reader.pages_ahead()

        reader.names.clear()
        await reader.read()

        assert counted == reader.names


async def test_a_slow_reader_begins_no_range(autojump_clock: MockClock) -> None:
    store = Store(counted)
    async with trio.open_nursery() as nursery:
        reader = Reader(store, nursery)
        for number in range(60):
            await reader.passage.wait_page(number)
            await trio.sleep(1)

    assert all(query.start_after is None for query in store.asked)


def test_pages_are_put_together_at_the_first_key_that_both_have() -> None:
    joint = _splice(_page(["a", "b", "d", "e"]), _page(["c", "d", "f"]))

    assert joint is not None
    assert ["a", "b", "d", "f"] == [listed.key for listed in joint.page.objects]


def test_pages_without_a_key_in_common_or_with_a_common_prefix_are_not_put_together() -> None:
    assert _splice(_page(["a", "c"]), _page(["b", "d"])) is None
    assert _splice(_page(["a", "b", "b/"]), _page(["b", "d"])) is None
    assert _splice(_page(["a", "b"]), _page(["b", "b/", "d"])) is None


async def _read(store: Store) -> Reader:
    async with trio.open_nursery() as nursery:
        reader = Reader(store, nursery)
        await reader.read()
        nursery.cancel_scope.cancel()
    return reader


def _page(keys: list[str], *, is_last: bool = False) -> ListPage:
    objects = [ListedObject(key, 1, 1, "0" * 32) for key in keys if not key.endswith("/")]
    return ListPage(
        objects, [key for key in keys if key.endswith("/")], None if is_last else keys[-1]
    )
