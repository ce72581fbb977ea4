"""Names of the buckets: listed, chosen, named; each listing for all who wait for one."""

import pytest
import trio
import trio.testing

from s3mount.errors import StoreError
from s3mount.s3.model import ListPage, ListQuery
from s3mount.s3.views.bucket_names import BucketNames, BucketSelection
from tests.fakes.memory_account import MemoryAccount
from tests.fakes.memory_store import MemoryStore


def account_of(*names: str, page_size: int = 1000) -> MemoryAccount:
    return MemoryAccount({name: MemoryStore(bucket=name) for name in names}, page_size=page_size)


def names_of(account: MemoryAccount, *words: str) -> BucketNames:
    return BucketNames(account, BucketSelection.of(words))


async def test_all_pages_of_buckets_are_one_list_in_order() -> None:
    account = account_of("b", "a", "a-b", "c", "d", page_size=2)

    assert await names_of(account).all() == ["a", "a-b", "b", "c", "d"]
    assert len(account.requests) == 3


@pytest.mark.parametrize(
    ("words", "expected", "listings"),
    [
        (("a*",), ["a", "a-b"], 1),
        (("?",), ["a", "b"], 1),
        (("[!a]*",), ["b"], 1),
        (("A*",), [], 1),
        (("b", "missing"), ["b", "missing"], 0),
        (("missing", "a-*"), ["a-b", "missing"], 1),
    ],
)
async def test_patterns_choose_and_names_stand(
    words: tuple[str, ...], expected: list[str], listings: int
) -> None:
    account = account_of("a", "a-b", "b")

    assert await names_of(account, *words).all() == expected
    assert len(account.requests) == listings


async def test_a_name_that_is_not_chosen_costs_no_request() -> None:
    account = account_of("a", "b")

    assert not await names_of(account, "a*").has("b")
    assert account.requests == []


async def test_an_unknown_name_is_looked_for_each_time_and_a_known_one_never() -> None:
    account = account_of("a")
    names = names_of(account)

    assert not await names.has("new")
    assert await names.has("a")
    account.buckets["new"] = MemoryStore(bucket="new")
    assert await names.has("new")
    assert await names.has("new")

    assert len(account.requests) == 2


async def test_callers_share_a_listing_that_begins_after_them() -> None:
    account = account_of("a")
    names = names_of(account)
    found: list[bool] = []

    async def look() -> None:
        found.append(await names.has("absent"))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(look)

    assert found == [False] * 10
    assert len(account.requests) == 1


async def test_a_listing_in_flight_denies_nothing_that_is_asked_after_it() -> None:
    listings: list[trio.Event] = []

    class Waiting:
        async def list_page(self, query: ListQuery) -> ListPage:  # noqa: ARG002
            listings.append(trio.Event())
            answer = ["new/"] if len(listings) > 1 else []
            await listings[-1].wait()
            return ListPage([], answer, None)

    names = BucketNames(Waiting(), BucketSelection.of(()))
    found: list[bool] = []

    async def look() -> None:
        found.append(await names.has("new"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(look)
        for number in range(2):
            await trio.testing.wait_all_tasks_blocked()
            listings[number].set()

    assert (found, len(listings)) == ([False, True, True, True], 2)


async def test_a_failure_is_of_all_who_wait_for_that_listing_and_no_absence() -> None:
    account = account_of("a")
    account.failing[""] = StoreError("away")
    names = names_of(account)
    failures: list[StoreError] = []

    async def look() -> None:
        try:
            await names.has("a")
        except StoreError as exc:
            failures.append(exc)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(look)

    assert len({id(each) for each in failures}) == 5
    assert len(account.requests) == 1
    account.failing.clear()
    assert await names.has("a")


async def test_a_bucket_that_the_store_denies_is_looked_for_again() -> None:
    account = account_of("a")
    names = names_of(account)
    await names.all()

    names.forget("a")
    del account.buckets["a"]

    assert not await names.has("a")


async def test_a_list_that_goes_round_in_circles_is_an_error() -> None:
    class Circle:
        async def list_page(self, query: ListQuery) -> ListPage:  # noqa: ARG002
            await trio.lowlevel.checkpoint()
            return ListPage([], ["a/"], "token")

    with pytest.raises(StoreError, match="repeats"):
        await BucketNames(Circle(), BucketSelection.of(())).all()
