"""Names and values of inodes, with as few requests as possible."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from s3mount.errors import NoSuchAttribute, StoreError
from s3mount.filesystem.attributes.extended_attributes import ExtendedAttributes
from s3mount.filesystem.attributes.metadata_reader import MetadataReader
from s3mount.filesystem.attributes.path_attributes import PathAttributes
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.s3.model import ObjectVersion
from s3mount.s3.object_parts import ObjectParts
from tests.fakes.memory_store import MemoryStore, Request, hook
from tests.unit.filesystem.namespace.test_tree import file_system, inode_of, names_in


class NoIds:
    def known_version_id(self, version: ObjectVersion) -> None:
        """Return None: no read has brought any."""


@asynccontextmanager
async def attributes(
    store: MemoryStore,
) -> AsyncIterator[tuple[ExtendedAttributes, FileSystem, PathAttributes]]:
    async with trio.open_nursery() as nursery, file_system(store) as filesystem:
        reader = MetadataReader(store, filesystem.tree, nursery, NoIds(), ObjectParts(store))
        tree = filesystem.tree
        paths = PathAttributes(tree, reader, store)
        yield ExtendedAttributes(tree, reader, store), filesystem, paths
        nursery.cancel_scope.cancel()


def described() -> MemoryStore:
    store = MemoryStore()
    fields = {"ContentType": "text/plain", "StorageClass": "GLACIER_IR", "ETag": '"x"'}
    store.put("d/k", b"body", storage_class="GLACIER_IR", fields=fields, user={"colour": "äö"})
    return store


async def test_names_and_values_agree() -> None:
    async with attributes(described()) as (xattrs, filesystem, _):
        await names_in(filesystem, b"d")
        inode = await inode_of(filesystem, b"d", b"k")
        assert xattrs.names_nowait(inode) is None
        names = await xattrs.names(inode)
        values = {name: await xattrs.value(inode, name) for name in names}
        assert xattrs.names_nowait(inode) == names
    assert values.pop(b"user.s3.etag") == b"841a2d689ad86bd1611447453c22c6fc"
    assert values == {
        b"user.s3.content_type": b"text/plain",
        b"user.s3.storage_class": b"GLACIER_IR",
        b"user.s3.meta.colour": "äö".encode(),
    }


async def test_a_name_that_no_head_tells_is_absent_at_once() -> None:
    store = described()
    async with attributes(store) as (xattrs, filesystem, _):
        inode = await inode_of(filesystem, b"d", b"k")
        before = len(store.requests)
        for name in (b"user.s3.unknown", b"s3.other", b"user.s3.prefix"):
            with pytest.raises(NoSuchAttribute):
                xattrs.value_nowait(inode, name)
        for name in (b"user.s3.etag", b"s3.etag", b"s3.storage-class", b"user.s3.storage_class"):
            assert xattrs.value_nowait(inode, name)
        assert len(store.requests) == before


async def test_a_directory_tells_of_its_listing_and_has_no_etag() -> None:
    store = described()
    store.put("d//hidden", b"")
    async with attributes(store) as (xattrs, filesystem, _):
        await names_in(filesystem, b"d")
        inode = await inode_of(filesystem, b"d")
        values = {name: xattrs.value_nowait(inode, name) for name in await xattrs.names(inode)}
        with pytest.raises(NoSuchAttribute):
            xattrs.value_nowait(inode, b"user.s3.etag")
        assert xattrs.value_nowait(ROOT, b"user.s3.prefix") == b""
    assert values == {
        b"user.s3.prefix": b"d/",
        b"user.s3.entries": b"1",
        b"user.s3.hidden_keys": b"1",
        b"user.s3.listing_age": b"0",
    }


async def test_a_path_is_described_as_it_is_now() -> None:
    store = described()
    async with attributes(store) as (_, filesystem, paths):
        await names_in(filesystem, b"d")
        store.put("d/k", b"other", fields={"ContentType": "a/b"})

        found = await paths.describe([b"d", b"k"], has_parts=True)

        assert (found["size"], found["fields"]) == (5, {"ContentLength": "5", "ContentType": "a/b"})
        assert (found["kind"], found["parts"]) == ("file", None)
        listing = (await paths.describe([b"d"], has_parts=False))["listing"]
        assert isinstance(listing, dict)
        assert listing.keys() == {"age", "entries", "hidden_keys", "is_complete"}


async def test_a_path_in_a_store_without_head_is_described_as_it_is_listed() -> None:
    def refuse(request: Request) -> None:
        if request.kind == "HEAD":
            raise StoreError("no HEAD", status=405)

    store = described()
    async with attributes(store) as (_, filesystem, paths):
        await names_in(filesystem, b"d")
        store.before = hook(refuse)

        found = await paths.describe([b"d", b"k"], has_parts=True)

    assert (found["storage_class"], found["fields"], found["metadata"]) == (
        "GLACIER_IR",
        None,
        None,
    )
