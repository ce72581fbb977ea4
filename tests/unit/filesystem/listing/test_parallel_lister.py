"""A directory of a hundred pages, at 20 ms a page, is listed sooner for few requests more."""
# ruff: noqa: ARG001 - a clock for its effect

import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from weakref import ReferenceType, ref

import pytest
import trio
from trio.testing import MockClock

from s3mount.errors import StoreError
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.listing.page_fetcher import IDLE_TIMEOUT, PageFetcher
from s3mount.filesystem.listing.parallel_lister import (
    PAGE_MOST,
    PAGES_BEFORE,
    SEGMENT_PAGES,
    SEGMENTS_MAX,
    _splice,
)
from s3mount.s3.model import ListedObject, ListPage, ListQuery
from s3mount.s3.object_store import OnToken, Priority, RequestPriority
from tests.unit.filesystem.evidence import proven

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
    before: Callable[[ListQuery, Priority], None] = lambda _query, _priority: None
    page_size: int = PAGE
    requests: list[ListQuery] = field(default_factory=list)

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        level = (priority or RequestPriority()).level
        self.requests.append(query)
        await trio.sleep(LATENCY)
        self.before(query, level)
        page = self.page(query)
        assert on_token is not None
        on_token(page.next_token)
        await trio.sleep(0.001)
        return page

    def page(self, query: ListQuery) -> ListPage:
        start = bisect_right(self.keys, query.token or query.start_after or "")
        stop = start + self.page_size
        return _page(self.keys[start:stop], is_last=stop >= len(self.keys))


@dataclass
class Reader:
    """Reads the directory of a store, page by page."""

    store: Store
    nursery: trio.Nursery
    names: list[str] = field(default_factory=list)
    most_ahead: int = 0  # pages

    def __post_init__(self) -> None:
        listing = DirectoryListing("bucket", "", trio.current_time(), proven())
        self.fetcher = PageFetcher(listing, self.store, self.nursery, trio.current_time)
        self.scan = ListingScan(listing, self.fetcher)

    async def read(self, pages: int = 10**9) -> None:
        for number in range(pages):
            entries = await self.scan.wait_page(number)
            if entries is None:
                return
            self.names += [entries.key(index) for index in range(len(entries))]
            self.most_ahead = max(self.most_ahead, self.pages_ahead())
            await trio.sleep(CONSUMED_IN)

    def pages_ahead(self) -> int:
        lister = self.fetcher._lister
        return sum(len(cursor.requests) for cursor in (lister._front, *lister._segments))


@pytest.mark.parametrize("keys", [counted, hashed], ids=["counted", "hashed"])
async def test_a_huge_directory_is_listed_sooner_for_few_requests_more(
    keys: list[str], autojump_clock: MockClock
) -> None:
    reader = await _read(Store(keys))

    assert keys == reader.names
    assert len(reader.store.requests) <= PAGES * 1.12
    assert autojump_clock.current_time() < 0.75 * PAGES * LATENCY
    assert SEGMENT_PAGES < reader.most_ahead <= SEGMENT_PAGES * (1 + SEGMENTS_MAX)


async def test_a_directory_of_few_pages_costs_a_request_a_page(autojump_clock: MockClock) -> None:
    reader = await _read(Store(counted[: PAGES_BEFORE * PAGE]))

    assert PAGES_BEFORE == len(reader.store.requests)


@pytest.mark.parametrize("is_above", [False, True])
async def test_no_segment_starts_after_a_page_of_very_many_keys(
    autojump_clock: MockClock, *, is_above: bool
) -> None:
    size = PAGE_MOST + is_above
    keys = [f"object-{number:07}" for number in range(size * (PAGES_BEFORE + 10))]
    reader = await _read(Store(keys, page_size=size))

    assert keys == reader.names
    assert any(query.start_after for query in reader.store.requests) is not is_above


async def test_a_store_that_ignores_start_after_is_tried_once(autojump_clock: MockClock) -> None:
    store = Store(counted)
    page = store.page
    store.page = lambda query: page(replace(query, start_after=None))  # type: ignore[method-assign]

    reader = await _read(store)

    assert counted == reader.names
    assert sum(query.start_after is not None for query in store.requests) == 1


async def test_tokens_that_ignore_where_a_segment_started_mislead_no_reader(
    autojump_clock: MockClock,
) -> None:
    """Tokens count from the start of the whole listing, whichever listing they came with."""
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
    assert len(store.requests) <= PAGES * 1.12


@pytest.mark.parametrize("which", ["started", "all"])
async def test_a_failure_ahead_of_the_reader_does_not_reach_it(
    which: str, autojump_clock: MockClock
) -> None:
    def before(query: ListQuery, priority: Priority) -> None:
        if priority is Priority.PREFETCH and (which == "all" or query.token is not None):
            raise StoreError("slow down", status=503)

    reader = await _read(Store(counted, before))

    assert counted == reader.names
    assert len(reader.store.requests) <= 1.3 * PAGES


async def test_common_prefixes_among_the_keys_are_shown_once(autojump_clock: MockClock) -> None:
    keys = sorted([*counted, *(f"{key}-/" for key in counted[25 * PAGE :: 777])])

    reader = await _read(Store(keys))

    assert [key.removesuffix("/") for key in keys] == sorted(reader.names)
    assert len(reader.store.requests) <= PAGES * 1.15


@pytest.mark.parametrize("begin", [0, 15])
async def test_empty_pages_start_no_segment_and_lose_no_entry(
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


async def test_a_bug_in_parallel_listing_costs_no_listing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, expected_warnings: list[str]
) -> None:
    expected_warnings.append("this is a bug")
    monkeypatch.setattr(
        "s3mount.filesystem.listing.parallel_lister._guess_key_after", lambda _: 1 / 0
    )

    reader = await _read(Store(counted))

    assert counted == reader.names
    assert len(reader.store.requests) <= PAGES + 1


async def test_segments_stop_with_the_reader_and_are_dropped_after_a_while(
    autojump_clock: MockClock,
) -> None:
    store = Store(counted)
    async with trio.open_nursery() as nursery:
        reader = Reader(store, nursery)
        await reader.read(40)
        count = len(store.requests)
        await trio.sleep(IDLE_TIMEOUT / 2)

        assert len(store.requests) <= count + 1 + SEGMENTS_MAX
        assert reader.pages_ahead()

        await trio.sleep(2 * IDLE_TIMEOUT)

        assert not reader.pages_ahead()

        reader.names.clear()
        await reader.read()

        assert counted == reader.names


async def test_a_slow_reader_starts_no_segment(autojump_clock: MockClock) -> None:
    store = Store(counted)
    async with trio.open_nursery() as nursery:
        reader = Reader(store, nursery)
        for number in range(60):
            await reader.scan.wait_page(number)
            await trio.sleep(1)

    assert all(query.start_after is None for query in store.requests)


@pytest.mark.parametrize("pages", [1, 2, PAGES // 2])
async def test_a_reader_that_stops_leaves_no_raw_page_in_memory(
    pages: int, autojump_clock: MockClock
) -> None:
    """The metadata limit counts entries in columns, which take a third of their raw page."""
    store, raw_pages = Store(counted), list[ReferenceType[_Objects]]()
    page = store.page

    def tracked(query: ListQuery) -> ListPage:
        made = page(query)
        objects = _Objects(made.objects)
        raw_pages.append(ref(objects))
        return replace(made, objects=objects)

    store.page = tracked  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        reader = Reader(store, nursery)
        await reader.read(pages)
        await trio.sleep(3 * IDLE_TIMEOUT)

        assert len(raw_pages) >= pages
        assert not reader.scan.listing.is_complete
        assert [each() for each in raw_pages] == [None] * len(raw_pages)
        nursery.cancel_scope.cancel()


class _Objects(list[ListedObject]):
    """A list that can be referred to weakly."""


def test_pages_are_spliced_at_the_first_key_that_both_have() -> None:
    spliced = _splice(_page(["a", "b", "d", "e"]), _page(["c", "d", "f"]))

    assert spliced is not None
    assert ["a", "b", "d", "f"] == [listed.key for listed in spliced.page.objects]


def test_pages_without_a_key_in_common_or_with_a_common_prefix_are_not_spliced() -> None:
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
