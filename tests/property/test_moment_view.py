"""A tree at a moment equals the reference model at each moment, however pages are cut."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3mount.config import StoreConfig, TreeConfig
from s3mount.errors import NotFound
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.handles.open_directories import DOTS
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.model import ByteRange, ListQuery
from s3mount.s3.views.moment_view import MomentView
from tests.fakes.memory_store import BUCKET, EPOCH_NS
from tests.fakes.started_reads import read_range
from tests.fakes.versioned_store import VersionedStore
from tests.property.filesystem_factory import make_filesystem
from tests.property.running import run
from tests.property.strategies import page_sizes
from tests.reference import Directory, tree_of
from tests.version_history import Step, VersionHistory, histories

SECOND = 10**9
PUT = Step("put", "a", b"x")


@dataclass
class Fake:
    """`Writer` of a store in memory, in which a moment is a second."""

    store: VersionedStore

    def put(self, key: str, body: bytes, moment: int) -> str:
        self.store.now_ns = EPOCH_NS + moment * SECOND
        self.store.put(key, body)
        return self.store.history[key][0][0].version_id

    def delete(self, key: str, moment: int) -> str:
        self.store.now_ns = EPOCH_NS + moment * SECOND
        self.store.delete(key)
        return self.store.history[key][0][0].version_id

    def delete_version(self, key: str, version_id: str) -> None:
        self.store.delete_version(key, version_id)


def made(steps: list[Step], page_size: int = 1000) -> tuple[VersionedStore, VersionHistory]:
    store = VersionedStore(version_page_size=page_size)
    history = VersionHistory(Fake(store))
    history.take(steps)
    return store, history


def view_at(store: VersionedStore, moment: int) -> MomentView:
    return MomentView(store, BUCKET, EPOCH_NS + moment * SECOND)


async def listed(view: MomentView, query: ListQuery) -> dict[str, bytes | None]:
    """Return all that a listing shows, each object with its bytes, and directories with None."""
    found: dict[str, bytes | None] = {}
    token: str | None = None
    while True:
        page = await view.list_page(
            ListQuery(query.prefix, query.delimiter, query.start_after, token, query.max_keys)
        )
        for row in page.objects:
            assert row.key not in found
            found[row.key] = await read(view, row.key)
        for prefix in page.prefixes:
            assert prefix not in found
            found[prefix] = None
        token = page.next_token
        if token is None:
            return found


async def read(view: MomentView, key: str) -> bytes:
    version = (await view.head(key)).version
    into = bytearray(version.size)
    if into:
        await read_range(view, version, ByteRange(0, version.size), memoryview(into))
    return bytes(into)


def expected_listing(bodies: Mapping[str, bytes], query: ListQuery) -> dict[str, bytes | None]:
    found: dict[str, bytes | None] = {}
    for key, body in bodies.items():
        if key.startswith(query.prefix) and key > (query.start_after or ""):
            name, slash, _ = key[len(query.prefix) :].partition("/")
            if query.delimiter and slash:
                found[f"{query.prefix}{name}/"] = None
            else:
                found[key] = body
    return found


@settings(max_examples=300)
@given(
    steps=histories(),
    page_size=page_sizes,
    prefix=st.sampled_from(["", "a", "a/", "-/", "b/a/"]),
    delimiter=st.sampled_from(["", "/"]),
    start_after=st.sampled_from([None, "a", "a/", "b-"]),
)
@example([Step("put", "a/b", b"x"), Step("wait"), Step("delete", "a/b")], 1, "", "/", None)
@example([PUT, Step("delete", "a"), Step("wait"), Step("undelete", "a")], 1, "", "", None)
def test_a_listing_shows_what_was_there(
    steps: list[Step], page_size: int, prefix: str, delimiter: str, start_after: str | None
) -> None:
    store, history = made(steps, page_size)
    # behind a common prefix or behind a key: S3 does not say which one is meant
    is_ambiguous = delimiter and start_after == "a/"
    query = ListQuery(prefix, delimiter, None if is_ambiguous else start_after)

    async def main() -> None:
        for moment in range(history.moment + 1):
            expected = expected_listing(history.bodies_at(moment), query)
            assert await listed(view_at(store, moment), query) == expected

    run(main)


@given(steps=histories(), max_keys=st.integers(1, 5))
def test_a_page_has_no_more_rows_than_were_asked_for(steps: list[Step], max_keys: int) -> None:
    store, history = made(steps)

    async def main() -> None:
        query = ListQuery("", max_keys=max_keys)
        view = view_at(store, history.moment)
        page = await view.list_page(query)
        # one more: the object that the page before has left open
        assert len(page.objects) + len(page.prefixes) <= max_keys + 1
        assert await listed(view, query) == expected_listing(
            history.bodies_at(history.moment), query
        )

    run(main)


@given(steps=histories(), page_size=page_sizes)
def test_a_name_is_what_it_was(steps: list[Step], page_size: int) -> None:
    store, history = made(steps, page_size)

    async def main() -> None:
        for moment in range(history.moment + 1):
            bodies, view = history.bodies_at(moment), view_at(store, moment)
            for key in history.events:
                if key in bodies:
                    assert await read(view, key) == bodies[key]
                    continue
                with pytest.raises(NotFound):
                    await view.head(key)

    run(main)


@settings(max_examples=150)
@given(
    steps=histories(),
    page_size=page_sizes,
    moment=st.integers(0, 3),
    looks_up_first=st.booleans(),
)
def test_a_tree_is_what_it_was(
    steps: list[Step], page_size: int, moment: int, *, looks_up_first: bool
) -> None:
    store, history = made(steps, page_size)
    bodies = history.bodies_at(moment)

    async def main() -> Directory[bytes]:
        async with trio.open_nursery() as nursery:
            view = view_at(store, moment)
            filesystem = make_filesystem(
                view,
                nursery,
                TreeConfig(uid=0, gid=0),
                StoreConfig(bucket=BUCKET),
                trio.current_time,
            )
            found = await walked(filesystem, ROOT, looks_up_first=looks_up_first)
            nursery.cancel_scope.cancel()
        return found

    assert run(main) == tree_of(bodies)


async def walked(filesystem: FileSystem, inode: int, *, looks_up_first: bool) -> Directory[bytes]:
    """Read all below *inode*; names are looked up before the directory is read, or after."""
    found = Directory[bytes]()
    names = await names_of(filesystem, inode) if not looks_up_first else [b"a", b"b", b"-"]
    for name in names:
        try:
            attributes = await filesystem.tree.lookup(inode, name)
        except NotFound:
            assert looks_up_first
            continue
        if attributes.size < 0:
            found[name] = await walked(filesystem, attributes.inode, looks_up_first=looks_up_first)
            continue
        handle = await filesystem.files.open(attributes.inode)
        found[name] = bytes(await filesystem.files.read(handle, 0, 10))
        filesystem.files.release(handle)
    if looks_up_first:
        others = await walked(filesystem, inode, looks_up_first=False)
        assert found.items() <= others.items()
        return others
    return found


async def names_of(filesystem: FileSystem, inode: int) -> list[bytes]:
    handle = filesystem.directories.open(inode)
    names, offset = [], DOTS
    while (entries := await filesystem.directories.handle(handle).read(offset)) is not None:
        for index in range(entries.start, len(entries.page)):
            names.append(entries.page.name(index))
            offset = entries.base + index + 1
    filesystem.directories.release(handle)
    assert len(set(names)) == len(names)
    return names
