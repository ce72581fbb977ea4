"""The view of escaped keys: which requests it sends, and which rows it shows."""

from collections.abc import Mapping
from typing import cast

import pytest

from s3mount.errors import NotFound
from s3mount.s3.model import ListQuery, NotModified
from s3mount.s3.object_store import BucketStore
from s3mount.s3.views.escaped_view import EscapedView
from s3mount.s3.views.moment_view import MomentView
from tests.fakes.memory_store import BUCKET, EPOCH_NS, MemoryStore
from tests.fakes.versioned_store import VersionedStore

CHUNK = "n" * 200


def view_on(bodies: Mapping[str, bytes], root: str = "") -> tuple[MemoryStore, EscapedView]:
    store = MemoryStore(bodies)
    return store, EscapedView(cast("BucketStore", store), BUCKET, root)


def sent(store: MemoryStore) -> list[tuple[str, str]]:
    return [(request.kind, request.key) for request in store.requests]


@pytest.mark.parametrize("root", ["", "p/"])
def test_the_stores_own_key_is_told(root: str) -> None:
    _, view = view_on({}, root)
    own = {"": "", "d/": "d/", "d/a": "d/a", "%dir=/": "/", "d/%dir=/%file=..": "d//.."}

    assert {shown: view.store_key(root + shown) for shown in own} == {
        shown: root + key for shown, key in own.items()
    }


async def test_ordinary_keys_cost_the_same_requests() -> None:
    store, view = view_on({"d/a": b"body"})

    stat = await view.head("d/a")
    assert await view.revalidate(stat.version, 10) == NotModified()
    page = await view.list_page(ListQuery("d/", start_after="d/0"))

    assert stat.version == store.stat("d/a").version
    assert [row.key for row in page.objects] == ["d/a"]
    assert sent(store) == [("HEAD", "d/a"), ("REVALIDATE", "d/a"), ("LIST", "d/")]
    assert store.requests[-1].query == ListQuery("d/", start_after="d/0")


@pytest.mark.parametrize(
    "key", ["%file=", "%dir=a", "%dir=.", "%long=abc/d", "n" * 250, "%file=/a", f"%long={CHUNK}"]
)
async def test_what_is_no_path_of_a_key_costs_no_request(key: str) -> None:
    store, view = view_on({"a": b""})

    with pytest.raises(NotFound):
        await view.head(key)

    assert store.requests == []


async def test_a_shadowed_file_is_there_only_with_its_directory() -> None:
    store, view = view_on({"a": b"body", "a/b": b""})

    stat = await view.head("%file=a")
    store.delete("a/b")

    assert (stat.version.key, stat.version.size) == ("%file=a", 4)
    for call in (view.head("%file=a"), view.revalidate(stat.version, 10)):
        with pytest.raises(NotFound):
            await call
    assert (await view.head("a")).version.size == 4


async def test_a_directory_of_which_most_is_of_another_time_costs_few_requests() -> None:
    store = VersionedStore({"a": b"a", "a/z": b""})
    store.now_ns = EPOCH_NS + 10**9
    for number in range(1500):
        store.put(f"a/{number:04}")
    view = EscapedView(MomentView(store, BUCKET, EPOCH_NS), BUCKET, "")

    assert (await view.head("%file=a")).version.size == 1

    assert len(store.requests) == 4


async def test_a_marker_that_lost_its_bytes_is_not_found() -> None:
    store, view = view_on({"d/": b"bytes"})
    stat = await view.head("d/%file=")

    store.put("d/", b"")

    for call in (view.head("d/%file="), view.revalidate(stat.version, 10)):
        with pytest.raises(NotFound):
            await call


async def test_rows_keep_what_the_store_has_behind_the_prefix() -> None:
    store, view = view_on({"d//.": b"", "d///x": b"", f"d//{CHUNK}/y": b"", "d//a": b""})

    page = await view.list_page(ListQuery("d/%dir=/"))
    scan = await view.list_page(ListQuery("d/", delimiter="", start_after="d//-"))

    assert [row.key for row in page.objects] == ["d/%dir=/.", "d/%dir=/a"]
    assert page.prefixes == ["d/%dir=//", f"d/%dir=/{CHUNK}/"]
    assert [row.key for row in scan.objects] == ["d//.", "d///x", "d//a", f"d//{CHUNK}/y"]
    assert store.requests[0].query == ListQuery("d//")


async def test_the_listing_of_a_part_has_its_own_keys_only() -> None:
    keys = [
        CHUNK,
        CHUNK + "a",
        CHUNK + "b" * 50,
        CHUNK + "c/x",
        CHUNK + "d" * 50 + "/y",
        "é" + CHUNK,
    ]
    _, view = view_on(dict.fromkeys([f"d/{key}" for key in keys], b""))
    part = f"d/%long={CHUNK}/"

    page = await view.list_page(ListQuery(part))
    scan = await view.list_page(ListQuery(part, delimiter=""))

    assert [row.key for row in page.objects] == [part + "b" * 50]
    assert page.prefixes == [part + "d" * 50 + "/"]
    assert [row.key for row in scan.objects] == [part + "b" * 50, part + "d" * 50 + "/y"]


async def test_the_prefix_of_a_mount_is_not_escaped() -> None:
    store, view = view_on({"%dir=//x": b"body", "%dir=/": b"marker"}, root="%dir=/")

    assert (await view.head("%dir=/%dir=/x")).version.size == 4
    assert (await view.head("%dir=/%file=")).version.size == 6
    await view.list_page(ListQuery("%dir=/"))

    assert sent(store) == [("HEAD", "%dir=//x"), ("HEAD", "%dir=/"), ("LIST", "%dir=/")]


async def test_the_listing_of_one_name_has_that_name() -> None:
    _, view = view_on({"d/.": b"", "d/.x": b""})

    page = await view.list_page(ListQuery("d/%file=."))

    assert "d/%file=." in [row.key for row in page.objects]
