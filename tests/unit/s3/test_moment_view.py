"""A view of a moment: how many requests it sends, and what is not as it should be."""

from dataclasses import replace

import pytest
import trio
import trio.testing

from s3mount.errors import AccessDenied, NotFound, StaleVersion, StoreError
from s3mount.s3.model import (
    ByteRange,
    ListedVersion,
    ListQuery,
    Modified,
    NotModified,
    VersionMarker,
    VersionPage,
    VersionQuery,
)
from s3mount.s3.object_store import Priority, RequestPriority
from s3mount.s3.views.moment_view import MomentView, as_denied
from tests.fakes.memory_store import BUCKET, EPOCH_NS, fail_at
from tests.fakes.started_reads import read_range
from tests.fakes.versioned_store import VersionedStore

SECOND = 10**9
LATER = EPOCH_NS + SECOND


def view_of(store: VersionedStore, moment_ns: int = EPOCH_NS) -> MomentView:
    return MomentView(store, BUCKET, moment_ns)


async def test_a_small_tree_takes_one_request() -> None:
    store = VersionedStore({"a/b": b"", "a/c/d": b"", "e/f": b"", "g": b""})

    page = await view_of(store).list_page(ListQuery(""))

    assert (page.prefixes, [row.key for row in page.objects]) == (["a/", "e/"], ["g"])
    assert len(store.requests) == 1


async def test_large_directories_take_two_requests_and_one_for_each_that_is_not_seen() -> None:
    keys = [f"{directory}/{number}" for directory in "abcd" for number in range(200)]
    store = VersionedStore(dict.fromkeys(keys, b""), version_page_size=100)
    view, token, prefixes = view_of(store), None, list[str]()
    while True:
        page = await view.list_page(ListQuery("", token=token))
        prefixes += page.prefixes
        token = page.next_token
        if token is None:
            break

    assert prefixes == ["a/", "b/", "c/", "d/"]
    assert len(store.requests) == 1 + 1 + 3


async def test_a_directory_of_later_objects_is_listed_to_its_end() -> None:
    store = VersionedStore({"z": b""}, now_ns=EPOCH_NS, version_page_size=10)
    store.now_ns = LATER
    for number in range(95):
        store.put(f"a/{number}")

    page = await view_of(store).list_page(ListQuery(""))
    while page.next_token is not None:
        assert page.prefixes == []
        page = await view_of(store).list_page(ListQuery("", token=page.next_token))

    assert ([row.key for row in page.objects], page.prefixes) == (["z"], [])


async def test_a_failure_to_look_into_a_directory_is_no_absence() -> None:
    keys = [f"{directory}/{number}" for directory in "abc" for number in range(20)]
    store = VersionedStore(dict.fromkeys(keys, b""), version_page_size=10)
    first = await view_of(store).list_page(ListQuery(""))
    store.before = fail_at(len(store.requests) + 3)

    with pytest.raises(StoreError):
        await view_of(store).list_page(ListQuery("", token=first.next_token))


async def test_a_name_with_many_versions_takes_as_many_pages_as_are_later() -> None:
    store = VersionedStore(version_page_size=10)
    for number in range(100):
        store.now_ns = EPOCH_NS + number * SECOND
        store.put("a", b"%d" % number)

    await view_of(store, EPOCH_NS + 95 * SECOND).head("a")
    assert len(store.requests) == 1
    stat = await view_of(store, EPOCH_NS + 65 * SECOND).head("a")
    assert len(store.requests) == 1 + 4
    assert (stat.version.version_id, stat.mtime_ns) == ("v65", EPOCH_NS + 65 * SECOND)
    with pytest.raises(NotFound):
        await view_of(store, EPOCH_NS - 1).head("a")


async def test_a_revalidation_sends_no_request() -> None:
    store = VersionedStore({"a": b"one"})
    view = view_of(store)
    version = (await view.head("a")).version
    store.now_ns = LATER
    store.put("a", b"second")
    store.requests.clear()

    assert await view.revalidate(version, 100) == NotModified()
    assert store.requests == []


async def test_the_null_version_is_revalidated() -> None:
    store = VersionedStore()
    store.put("a", b"one", version_id="null")
    view = view_of(store)
    version = (await view.head("a")).version
    assert await view.revalidate(version, 100) == NotModified()

    store.put("a", b"two", version_id="null")

    assert isinstance(await view.revalidate(version, 100), Modified)
    with pytest.raises(StaleVersion):
        await read_range(view, version, ByteRange(0, 3), memoryview(bytearray(3)))


async def test_other_questions_are_about_the_version_of_the_moment() -> None:
    store = VersionedStore({"a": b"one"})
    store.now_ns = LATER
    store.put("a", b"second")
    view = view_of(store)

    assert (await view.head_by_get("a")).version == (await view.head("a")).version
    assert (await view.metadata("a")).fields["VersionId"] == "v0"
    assert (await view.metadata("a", version_id="v1")).fields["VersionId"] == "v1"
    assert (await view.head_version("a", "v1")).version.size == 6


class Rows(VersionedStore):
    """A store whose pages of versions are these."""

    pages: list[VersionPage]

    async def list_versions(
        self,
        query: VersionQuery,  # noqa: ARG002
        priority: RequestPriority | None = None,  # noqa: ARG002
    ) -> VersionPage:
        return self.pages.pop(0)


def rows_of(*pages: VersionPage) -> Rows:
    store = Rows()
    store.pages = [*pages]
    return store


def row(
    key: str,
    time: int,
    version_id: str,
    *,
    is_latest: bool = False,
    is_delete_marker: bool = False,
) -> ListedVersion:
    mtime_ns = EPOCH_NS + time * SECOND
    return ListedVersion(key, version_id, is_latest, is_delete_marker, mtime_ns, 1, "e")


async def test_a_store_that_lists_oldest_first_is_understood() -> None:
    first = VersionPage([row("a", 0, "v0"), row("a", 1, "v1")], [], VersionMarker("a", "v1"))
    second = VersionPage([row("a", 2, "v2", is_latest=True)], [], None)
    for moment, version_id in ((0, "v0"), (1, "v1"), (2, "v2"), (9, "v2")):
        at = EPOCH_NS + moment * SECOND
        stat = await view_of(rows_of(first, second), at).head("a")
        assert stat.version.version_id == version_id
        view = view_of(rows_of(first, second), at)
        page = await view.list_page(ListQuery(""))
        page = await view.list_page(ListQuery("", token=page.next_token))
        assert [each.version_id for each in page.objects] == [version_id]


async def test_delete_markers_may_come_last_in_a_page() -> None:
    marker = row("a", 1, "m", is_delete_marker=True, is_latest=True)
    page = VersionPage([row("a", 0, "v0"), row("b", 0, "v1"), marker], [], None)

    listed = await view_of(rows_of(page), LATER).list_page(ListQuery(""))

    assert [each.key for each in listed.objects] == ["b"]


async def test_versions_in_no_order_are_an_error() -> None:
    first = VersionPage([row("b", 0, "v0")], [], VersionMarker("b", "v0"))
    second = VersionPage([row("a", 0, "v1")], [], None)
    view = view_of(rows_of(first, second))
    page = await view.list_page(ListQuery(""))

    with pytest.raises(StoreError, match="in no order"):
        await view.list_page(ListQuery("", token=page.next_token))


class CircularStore(VersionedStore):
    """A store whose markers lead back, with a row of one key on each page, or none."""

    def __init__(self, *rows: ListedVersion) -> None:
        super().__init__()
        self._rows = list(rows)
        self._asked = 0

    async def list_versions(
        self,
        query: VersionQuery,  # noqa: ARG002
        priority: RequestPriority | None = None,  # noqa: ARG002
    ) -> VersionPage:
        self._asked += 1
        assert self._asked < 20
        await trio.lowlevel.checkpoint()
        return VersionPage(self._rows, [], VersionMarker("a/b", f"v{self._asked % 3}"))


async def test_markers_that_lead_back_are_an_error() -> None:
    later = row("a/b", 2, "v0", is_latest=True)

    with pytest.raises(StoreError, match="repeats a marker"):
        await view_of(CircularStore(later)).head("a/b")
    with pytest.raises(StoreError, match="repeats a marker"):
        await view_of(CircularStore(later)).list_page(ListQuery(""))


async def test_an_archived_version_is_told() -> None:
    store = VersionedStore()
    store.put("a", b"x", storage_class="GLACIER")

    assert (await view_of(store).head("a")).is_archived
    [listed] = (await view_of(store).list_page(ListQuery(""))).objects
    assert (listed.storage_class, listed.version_id) == ("GLACIER", "v0")


async def test_a_token_of_another_listing_is_refused() -> None:
    for token in ("x", "[]", '["a", null, "", [1]]'):
        with pytest.raises(StoreError, match="token of another"):
            await view_of(VersionedStore()).list_page(ListQuery("", token=token))


def test_a_denied_version_is_not_a_deleted_one() -> None:
    stale = StaleVersion("gone", bucket="b", key="k", status=404, code="NoSuchVersion")
    denied = StaleVersion("gone", bucket="b", key="k", status=403, code="AccessDenied")

    assert as_denied(stale) is stale
    assert as_denied(None) is None
    found = as_denied(denied)
    assert isinstance(found, AccessDenied)
    assert (found.key, found.code) == ("k", "AccessDenied")
    assert "s3:GetObjectVersion" in str(found)
    denied.code = "InvalidObjectState"
    assert "archived" in str(as_denied(denied))


async def test_priority_is_passed_on_and_rises_for_each_directory() -> None:
    """Reads of subtrees must not overtake those that a user waits for, nor hold one up."""
    seen: list[str] = []

    class Queue(VersionedStore):
        """A store without capacity for prefetch below directories."""

        async def list_versions(
            self, query: VersionQuery, priority: RequestPriority | None = None
        ) -> VersionPage:
            assert priority is not None
            if query.prefix and priority.level is Priority.PREFETCH:
                promoted = trio.Event()
                priority.on_promote = promoted.set
                seen.append(query.prefix)
                await promoted.wait()
            return await VersionedStore.list_versions(self, query, priority)

    store = Queue({f"{directory}/{number}": b"" for directory in "abc" for number in range(20)})
    store.version_page_size = 15
    view = MomentView(store, BUCKET, EPOCH_NS)
    page = await view.list_page(ListQuery(""), RequestPriority())
    priority = RequestPriority(Priority.PREFETCH)
    query = replace(ListQuery(""), token=page.next_token)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(view.list_page, query, priority)
            await trio.testing.wait_all_tasks_blocked()
            assert len(seen) == 2
            priority.promote()
