"""A view shows objects under other keys, and reads what it found."""

from dataclasses import dataclass

import pytest
import trio

from s3mount.errors import NotFound
from s3mount.s3.archive import RestoreOrder, RestoreOutcome
from s3mount.s3.model import (
    ByteRange,
    ListPage,
    ListQuery,
    Modified,
    NotModified,
    ObjectVersion,
    VersionQuery,
)
from s3mount.s3.object_store import ObjectStore, OnToken, Priority, RequestPriority
from s3mount.s3.views.store_view import StoreView, Target, renamed, renamed_page
from tests.fakes.versioned_store import VersionedStore


class RestoredStore(VersionedStore):
    """The fake; *restored* has the object of the last restore."""

    restored: tuple[str, str | None]

    async def restore(
        self, key: str, order: RestoreOrder, *, version_id: str | None = None
    ) -> RestoreOutcome:
        self.restored = key, version_id
        return await super().restore(key, order, version_id=version_id)


@dataclass
class Below:
    """Shows the keys of *store* below "top/", all of one version if that is given."""

    store: VersionedStore
    version_id: str | None = None
    bucket: str = "shown"

    async def find(self, key: str) -> Target:
        return self.find_nowait(key)

    def find_nowait(self, key: str) -> Target:
        if not key.startswith("top/"):
            raise NotFound("not below the top", key=key)
        return Target(self.store, "bucket", key.removeprefix("top/"), self.version_id)

    async def list_page(
        self, query: ListQuery, priority: RequestPriority | None, on_token: OnToken | None
    ) -> ListPage:
        own = ListQuery(query.prefix.removeprefix("top/"))
        page = await self.store.list_page(own, priority, on_token)
        return renamed_page(page, lambda key: f"top/{key}")

    def has_capacity(self) -> bool:
        return self.store.has_capacity()

    def has_ranges(self) -> bool:
        return self.store.has_ranges()


async def read(view: ObjectStore, version: ObjectVersion) -> tuple[bytes, ObjectVersion]:
    """Return all bytes of *version*, and the version that the callback was told."""
    buffer, ended, told = bytearray(version.size), trio.Event(), list[ObjectVersion]()

    def on_end(version: ObjectVersion, failure: BaseException | None) -> None:
        assert failure is None
        told.append(version)
        ended.set()

    span = ByteRange(0, version.size)
    view.start_read(version, span, memoryview(buffer), on_end, Priority.DEMAND)
    await ended.wait()
    return bytes(buffer), told[0]


async def test_results_name_the_key_that_was_asked_for() -> None:
    view = StoreView(Below(VersionedStore({"a/b": b"bytes"})))
    stat = await view.head("top/a/b")
    assert stat.version[:2] == ("shown", "top/a/b")
    assert (await view.head_by_get("top/a/b")).version == stat.version
    assert (await view.metadata("top/a/b", part_number=2)).stat.version == stat.version
    assert await read(view, stat.version) == (b"bytes", stat.version)
    assert await view.revalidate(stat.version, 10) == NotModified()
    [row] = (await view.list_page(ListQuery("top/a/"))).objects
    assert (row.key, row.etag) == ("top/a/b", stat.version.etag)


async def test_a_replacement_is_told_under_the_key_that_was_asked_for() -> None:
    store = VersionedStore({"a": b"old"})
    view = StoreView(Below(store))
    former = (await view.head("top/a")).version
    store.put("a", b"newer")
    found = await view.revalidate(former, 100)
    assert isinstance(found, Modified)
    assert (found.stat.version.key, found.head) == ("top/a", b"newer")


async def test_versions_are_listed_under_the_key_that_was_asked_for() -> None:
    store = VersionedStore({"a/b": b"one"}, version_page_size=1)
    store.put("a/b", b"second")
    view, query, found = StoreView(Below(store)), VersionQuery("top/a/b"), []
    while True:
        page = await view.list_versions(query)
        found += [(row.key, row.version_id) for row in page.versions]
        if page.next_marker is None:
            break
        query = VersionQuery("top/a/b", marker=page.next_marker)
    assert found == [("top/a/b", "v1"), ("top/a/b", "v0")]


@pytest.mark.parametrize("version_id", [None, "v1"])
async def test_a_restore_is_of_the_object_and_the_version_that_are_shown(
    version_id: str | None,
) -> None:
    store = RestoredStore()
    store.put("a", b"cold", storage_class="GLACIER")
    view = StoreView(Below(store, version_id))

    assert await view.restore("top/a", RestoreOrder(days=1)) is RestoreOutcome.REQUESTED

    assert store.restored == ("a", version_id)


async def test_a_key_outside_of_the_view_is_not_found() -> None:
    with pytest.raises(NotFound):
        await StoreView(Below(VersionedStore({"a": b""}))).head("a")


async def test_a_target_with_a_version_is_asked_for_that_version() -> None:
    store = VersionedStore({"a": b"one"})
    view = StoreView(Below(store, "v0"))
    stat = await view.head("top/a")
    assert (await view.metadata("top/a")).fields["VersionId"] == "v0"
    assert await view.revalidate(stat.version, 100) == NotModified()
    with pytest.raises(NotFound):
        await StoreView(Below(store, "gone")).head("top/a")


def test_a_renamed_version_keeps_all_that_is_known_of_it() -> None:
    version = ObjectVersion("b", "k", "e", 1).with_version_id("v", is_replaced=True).doubted()
    other = renamed(version, "c", "l")
    assert other == ObjectVersion("c", "l", "e", 1)
    assert (other.version_id, other.is_replaced, other.is_doubted) == ("v", True, True)


def test_a_renamed_page_renames_rows_prefixes_and_incomplete_rows() -> None:
    page = ListPage([], ["d/"], "token", incomplete=((0, "k"),))
    shown = renamed_page(page, str.upper)
    assert (shown.prefixes, shown.incomplete, shown.next_token) == (["D/"], ((0, "K"),), "token")
