"""A bucket is found in its region by the requests that are made anyway."""

import pytest
import trio
import trio.testing

from s3mount.errors import AccessDenied, NotFound, S3MountError, SetupError, StoreError
from s3mount.s3.model import ListQuery, ObjectVersion
from s3mount.s3.regional_store import RegionalStore, RegionStore
from tests.fakes.memory_account import HOME, BucketInRegion, MemoryAccount
from tests.fakes.memory_store import MemoryStore, Request, respond_at_once
from tests.unit.s3.test_store_view import read

ELSEWHERE = "eu-central-1"


def account_with(region: str = ELSEWHERE) -> MemoryAccount:
    stores = {"b": MemoryStore({"x": b"1", "d/y": b"22"}, bucket="b")}
    return MemoryAccount(stores, {"b": region})


def store_of(account: MemoryAccount, *, is_fixed: bool = False) -> RegionalStore:
    async def connect(region: str) -> RegionStore:
        await trio.lowlevel.checkpoint()
        account.opened["b", region] += 1
        return BucketInRegion(account, "b", region)

    return RegionalStore("b", HOME, connect, is_fixed=is_fixed)


def sent(account: MemoryAccount) -> list[tuple[str, str]]:
    return [(region, kind) for _, region, kind in account.requests]


async def test_a_list_that_is_redirected_is_sent_to_the_other_region() -> None:
    account = account_with()
    store = store_of(account)

    page = await store.list_page(ListQuery(""))
    await store.list_page(ListQuery("d/"))

    assert [each.key for each in page.objects] == ["x"]
    assert sent(account) == [(HOME, "LIST"), (ELSEWHERE, "LIST"), (ELSEWHERE, "LIST")]


async def test_a_head_that_is_redirected_without_a_region_asks_for_it_by_a_list() -> None:
    account = account_with()
    account.tells_head = False

    assert (await store_of(account).head("x")).version.size == 1
    assert sent(account) == [(HOME, "HEAD"), (HOME, "LIST"), (ELSEWHERE, "HEAD")]


async def test_in_its_own_region_a_bucket_costs_no_request_more() -> None:
    account = account_with(HOME)
    store = store_of(account)

    with pytest.raises(NotFound):
        await store.head("absent")
    await store.list_page(ListQuery(""))

    assert sent(account) == [(HOME, "HEAD"), (HOME, "LIST")]


async def test_requests_that_come_together_share_the_search() -> None:
    account = account_with()
    store = store_of(account)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(store.head, "x")
            nursery.start_soon(store.list_page, ListQuery(""))

    assert [region for region, _ in sent(account)].count(HOME) == 1
    assert set(account.opened.values()) == {1}


async def test_a_refusal_settles_the_region_and_is_each_callers_own() -> None:
    account = account_with()
    account.denied.add("b")
    store = store_of(account)

    for _ in range(2):
        with pytest.raises(AccessDenied):
            await store.list_page(ListQuery(""))
    account.denied.clear()

    assert (await store.head("x")).version.size == 1
    assert [region for region, _ in sent(account)].count(HOME) == 1


async def test_a_failure_without_a_response_is_of_all_who_waited_and_is_tried_again() -> None:
    account = account_with(HOME)
    account.failing["b"] = StoreError("away")
    store = store_of(account)
    failures: list[S3MountError] = []

    async def call() -> None:
        try:
            await store.head("x")
        except S3MountError as exc:
            failures.append(exc)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(call)

    assert len({id(failure) for failure in failures}) == 4
    assert sent(account) == [(HOME, "HEAD")]
    account.failing.clear()
    assert (await store.head("x")).version.size == 1


async def test_a_cancelled_search_is_taken_over_by_another_caller(
    autojump_clock: trio.testing.MockClock,  # noqa: ARG001
) -> None:
    account = account_with(HOME)
    store = store_of(account)

    async def hang(_: Request) -> None:
        account.buckets["b"].before = respond_at_once
        await trio.sleep_forever()

    account.buckets["b"].before = hang
    async with trio.open_nursery() as nursery:

        async def cancelled() -> None:
            with trio.move_on_after(1):
                await store.head("x")

        nursery.start_soon(cancelled)
        await trio.testing.wait_all_tasks_blocked()
        assert (await store.head("x")).version.size == 1

    assert sent(account) == [(HOME, "HEAD"), (HOME, "HEAD")]


async def test_a_bucket_that_is_made_anew_elsewhere_is_followed() -> None:
    account = account_with(HOME)
    store = store_of(account)
    await store.list_page(ListQuery(""))

    account.regions["b"] = ELSEWHERE
    found = await store.head("x")

    assert (await read(store, found.version))[0] == b"1"
    assert sent(account)[1:] == [(HOME, "HEAD"), (ELSEWHERE, "HEAD"), (ELSEWHERE, "GET")]


async def test_a_region_that_was_named_is_kept() -> None:
    account = account_with()

    with pytest.raises(StoreError, match=f"in region '{ELSEWHERE}', not '{HOME}'") as caught:
        await store_of(account, is_fixed=True).list_page(ListQuery(""))

    assert caught.value.status == 301
    assert sent(account) == [(HOME, "LIST")]


async def test_a_bucket_that_is_redirected_without_end_is_an_error_and_makes_few_stores() -> None:
    account = account_with()
    store = store_of(account)

    class Elsewhere(dict[str, str]):
        def get(self, *_: object) -> str:
            return f"region-{len(account.requests)}"

    account.regions = Elsewhere()
    for _ in range(5):
        with pytest.raises(StoreError, match="from region to region"):
            await store.list_page(ListQuery(""))

    assert len(account.opened) <= 3
    account.regions = {"b": HOME}
    assert (await store.head("x")).version.size == 1


async def test_a_bucket_that_has_no_address_is_an_error() -> None:
    async def connect(_: str) -> RegionStore:
        raise SetupError("no bucket can be named so")

    store = RegionalStore("b", HOME, connect, is_fixed=False)

    with pytest.raises(StoreError, match="no bucket can be named so"):
        await store.head("x")


async def test_a_version_keeps_its_identity_over_regions() -> None:
    account = account_with()
    found = (await store_of(account).head("x")).version

    assert found == ObjectVersion("b", "x", found.etag, 1)


@pytest.mark.parametrize(
    ("redirect", "is_settled", "requests"),
    [
        ((301, "PermanentRedirect"), False, 2),
        ((301, "PermanentRedirect"), True, 2),
        ((400, "AuthorizationHeaderMalformed"), False, 2),
        ((400, "AuthorizationHeaderMalformed"), True, 1),
    ],
)
async def test_a_redirect_that_names_no_region_is_an_error_after_one_question(
    redirect: tuple[int, str], *, is_settled: bool, requests: int
) -> None:
    account = account_with(HOME)
    store = store_of(account)
    if is_settled:
        await store.head("x")
    account.regions["b"], account.redirect, account.tells_regions = ELSEWHERE, redirect, False
    account.requests.clear()

    for _ in range(2):
        with pytest.raises(StoreError, match=redirect[1]):
            await store.list_page(ListQuery(""))

    assert sent(account) == [(HOME, "LIST")] * (2 * requests)
    assert set(account.opened) == {("b", HOME)}
    account.tells_regions = True
    assert (await store.head("x")).version.size == 1
