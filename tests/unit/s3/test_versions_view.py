"""Versions beside their objects: names map back, keys come first, and bytes are of the version."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.errors import AccessDenied, NotFound, StaleVersion, StoreError
from s3mount.s3.model import (
    ByteRange,
    ListedVersion,
    ListPage,
    ListQuery,
    Modified,
    NotModified,
    ObjectStat,
    ObjectVersion,
    Reason,
)
from s3mount.s3.object_store import OnToken, Priority, RequestPriority
from s3mount.s3.views.versions_view import (
    VersionName,
    VersionsView,
    name_of_version,
    named_by,
    version_named,
)
from tests.fakes.memory_store import BUCKET
from tests.fakes.started_reads import read_range
from tests.fakes.versioned_store import VersionedStore


def view_of(store: VersionedStore) -> VersionsView:
    return VersionsView(store, BUCKET)


async def read(view: VersionsView, key: str) -> bytes:
    version = (await view.head(key)).version
    into = bytearray(version.size)
    told = await read_range(
        view, version, ByteRange(0, version.size), memoryview(into), Priority.DEMAND
    )
    assert told == version
    return bytes(into)


async def names(view: VersionsView, prefix: str, max_keys: int = 1000) -> list[str]:
    found: list[str] = []
    token: str | None = None
    while True:
        page = await view.list_page(ListQuery(prefix, "/", None, token, max_keys))
        found += [row.key for row in page.objects] + page.prefixes
        token = page.next_token
        if token is None:
            return found


@given(
    key=st.text("ab@/.", min_size=1),
    version_id=st.text("ab._-", min_size=1),
)
def test_the_name_of_a_version_maps_back(key: str, version_id: str) -> None:
    name = name_of_version(ListedVersion(key, version_id, False, False, 0))

    assert version_named(name) == VersionName(key, version_id)


@pytest.mark.parametrize(
    "key",
    ["a", "a@1", "d/a@1", ".versions/a", ".versions/@1", ".versions/a@", "d/.versions/@", "d/@1"],
)
def test_other_keys_name_no_version(key: str) -> None:
    assert version_named(key) is None


async def test_each_version_is_read_also_of_a_deleted_object() -> None:
    store = VersionedStore({"d/a": b"one"})
    store.put("d/a", b"second")
    store.delete("d/a")
    store.put("d/a@b", b"at")
    view = view_of(store)

    listed = await names(view, "d/.versions/")

    assert sorted(listed) == ["d/.versions/a@b@v3", "d/.versions/a@v0", "d/.versions/a@v1"]
    bodies = {name: await read(view, name) for name in listed}
    assert bodies == {
        "d/.versions/a@v0": b"one",
        "d/.versions/a@v1": b"second",
        "d/.versions/a@b@v3": b"at",
    }
    assert await names(view, "d/") == ["d/a@b"]


async def test_a_marker_object_has_versions_with_an_empty_name() -> None:
    store = VersionedStore({"d/": b"", "d/a": b"a", "d/e/": b"below"})
    store.put("d/", b"second")
    store.delete("d/")
    view = view_of(store)

    listed = await names(view, "d/.versions/")

    assert sorted(listed) == ["d/.versions/@v0", "d/.versions/@v3", "d/.versions/a@v1"]
    assert await read(view, "d/.versions/@v3") == b"second"
    assert await names(view, "d/.versions/@") == ["d/.versions/@v3", "d/.versions/@v0"]


@pytest.mark.parametrize("max_keys", [1, 2, 3])
async def test_the_directory_is_the_same_however_its_pages_are_cut(max_keys: int) -> None:
    store = VersionedStore({"a": b"", "b": b"", "d/x": b"", "e/x": b""})
    store.put("a", b"2")
    view = view_of(store)

    assert await names(view, ".versions/", max_keys) == await names(view, ".versions/")
    assert len(await names(view, ".versions/")) == 3


async def test_a_delete_marker_is_no_file() -> None:
    store = VersionedStore({"a": b"one"})
    store.delete("a")
    marker = store.history["a"][0][0].version_id
    view = view_of(store)

    with pytest.raises(NotFound):
        await view.head(f".versions/a@{marker}")
    assert await names(view, ".versions/") == [".versions/a@v0"]


async def test_a_key_comes_before_a_version_of_its_name() -> None:
    store = VersionedStore({"a": b"one"})
    view = view_of(store)
    version = (await view.head(".versions/a@v0")).version
    assert await view.revalidate(version, 100) == NotModified()

    store.put(".versions/a@v0", b"a key")

    assert await read(view, ".versions/a@v0") == b"a key"
    found = await view.revalidate(version, 100)
    assert isinstance(found, Modified)
    assert found.stat.version.size == 5
    page = await view.list_page(ListQuery(".versions/"))
    assert [row.key for row in page.objects] == [".versions/a@v0"]
    assert page.is_partial


async def test_an_object_of_the_name_comes_before_the_directory() -> None:
    store = VersionedStore({"a": b"one", ".versions": b"an object"})
    view = view_of(store)

    assert await names(view, ".versions/") == []
    assert await names(view, ".versions/a") == []
    assert await read(view, ".versions") == b"an object"

    store.delete(".versions")

    assert await names(view, ".versions/") == [".versions/.versions@v1", ".versions/a@v0"]


class DenyingStore(VersionedStore):
    """The fake, which denies a HEAD of what is not there."""

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:
        try:
            return await VersionedStore.head(self, key, reason)
        except NotFound as exc:
            raise AccessDenied("denied", key=key) from exc


async def test_a_store_that_denies_what_is_not_there_lists_versions() -> None:
    view = view_of(DenyingStore({"a": b""}))

    assert await names(view, ".versions/") == [".versions/a@v0"]


async def test_a_store_that_denies_what_is_not_there_has_versions_by_name() -> None:
    store = DenyingStore({"d/a": b"one"})
    store.put("d/a", b"second")
    view = view_of(store)

    assert await read(view, "d/.versions/a@v0") == b"one"
    store.put("d/.versions/a@v0", b"a key")
    assert await read(view, "d/.versions/a@v0") == b"a key"


async def test_a_denied_key_that_is_listed_is_never_taken_for_a_version() -> None:
    class Secret(VersionedStore):
        async def head(
            self,
            key: str,
            reason: Reason = Reason.LOOKUP,  # noqa: ARG002
        ) -> ObjectStat:
            raise AccessDenied("denied", key=key)

    view = view_of(Secret({"a": b"one", ".versions/a@v0": b"secret"}))

    with pytest.raises(AccessDenied):
        await view.head(".versions/a@v0")


async def test_keys_of_a_directory_of_versions_are_listed_page_by_page() -> None:
    store = VersionedStore({"a": b"", ".versions/x": b"", ".versions/y": b""}, page_size=1)
    view = view_of(store)
    assert await names(view, ".versions/") == [".versions/x", ".versions/y"]
    first = await view.list_page(ListQuery(".versions/"))
    store.delete(".versions/y")

    last = await view.list_page(ListQuery(".versions/", token=first.next_token))

    assert (last.objects, last.next_token, last.is_partial) == ([], None, True)


@pytest.mark.parametrize("has_key", [False, True])
async def test_pages_without_a_key_are_no_sign_of_keys(has_key: bool) -> None:  # noqa: FBT001
    """S3 sends such pages where many objects were deleted."""

    class Sparse(VersionedStore):
        async def list_page(
            self,
            query: ListQuery,
            priority: RequestPriority | None = None,
            on_token: OnToken | None = None,
        ) -> ListPage:
            following = {None: "1", "1": "2"}.get(query.token)
            if following is not None:
                return ListPage([], [], following)
            return await VersionedStore.list_page(
                self, replace(query, token=None), priority, on_token
            )

    store = Sparse({"a": b"", **({".versions/x": b""} if has_key else {})})

    listed = await names(view_of(store), ".versions/")

    assert listed == [".versions/x" if has_key else ".versions/a@v0"]


async def test_versions_are_not_listed_from_a_guessed_name_on() -> None:
    """They come in no order, so nothing is behind a name."""
    page = await view_of(VersionedStore({"a": b"", "b": b""})).list_page(
        ListQuery(".versions/", start_after=".versions/a")
    )

    assert (page.objects, page.next_token, page.is_partial) == ([], None, True)


async def test_metadata_is_of_the_version() -> None:
    store = VersionedStore({"a": b"one"})
    store.put("a", b"second")

    found = await view_of(store).metadata(".versions/a@v0")

    assert (found.fields["VersionId"], found.stat.version.size) == ("v0", 3)


def test_the_stores_own_key_is_told_by_the_version_id() -> None:
    view = view_of(VersionedStore())

    assert view.store_key("d/.versions/a@v0", "v0") == "d/a"
    assert view.store_key("d/.versions/a@v0", "another") == "d/.versions/a@v0"
    assert view.store_key("d/.versions/a@v0") == "d/.versions/a@v0"
    assert view.store_key("d/") == "d/"


async def test_the_null_version_is_read_by_its_id_and_never_another() -> None:
    store = VersionedStore()
    store.put("a", b"before", version_id="null")
    store.put("a", b"later")
    view = view_of(store)
    version = (await view.head(".versions/a@null")).version
    assert named_by(version) == VersionName("a", "null")
    assert await read(view, ".versions/a@null") == b"before"

    store.put("a", b"others", version_id="null")

    with pytest.raises(StaleVersion):
        await read_range(view, version, ByteRange(0, 6), memoryview(bytearray(6)))
    assert isinstance(await view.revalidate(version, 100), Modified)


async def test_objects_are_those_of_the_store() -> None:
    store = VersionedStore({"a": b"one", "d/b": b"b"})
    view = view_of(store)

    assert await names(view, "") == ["a", "d/"]
    assert await read(view, "a") == b"one"
    version = (await view.head("a")).version
    assert named_by(version) is None
    assert await view.revalidate(version, 100) == NotModified()


async def test_a_token_of_another_listing_is_refused() -> None:
    with pytest.raises(StoreError):
        await view_of(VersionedStore()).list_page(ListQuery(".versions/", token="versions:x"))


def test_a_key_that_looks_like_a_version_is_none_by_its_own_id() -> None:
    version = ObjectVersion(BUCKET, ".versions/a@v0", "e", 1)

    assert named_by(version) is None
    assert named_by(version.with_version_id("v7")) is None
    assert named_by(version.with_version_id("v0")) == VersionName("a", "v0")


@pytest.mark.parametrize("max_keys", [1, 2, 1000])
async def test_versions_are_listed_by_the_beginning_of_their_names(max_keys: int) -> None:
    """A view of over-long names asks for it, also for a part of the id."""
    store = VersionedStore({"d/ab": b"", "d/ab@c": b"", "d/abc/x": b"", "d/b": b"", "d/": b""})
    store.put("d/ab", b"second")
    store.delete("d/ab")
    view = view_of(store)
    everything = await names(view, "d/.versions/")
    assert len(everything) == 5

    for name in everything:
        for length in range(len("d/.versions/"), len(name) + 1):
            begun = name[:length]
            listed = await names(view, begun, max_keys)
            assert listed == [each for each in everything if each.startswith(begun)]
    assert await names(view, "d/.versions/ab/") == []


async def test_keys_come_before_versions_of_names_that_begin_alike() -> None:
    store = VersionedStore({"a": b"", "ab": b"", ".versions/a": b""})

    page = await view_of(store).list_page(ListQuery(".versions/a"))

    assert ([row.key for row in page.objects], page.is_partial) == ([".versions/a"], True)
