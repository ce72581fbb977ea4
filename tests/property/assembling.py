"""A file system over a store, put together as the composition root does it, but for the blocks: each read is a request."""

from collections.abc import Callable

import trio

from s3mount.config import Prefetch, StoreConfig, TreeConfig
from s3mount.daemon.wiring import prefetch_policies
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.handles.open_directories import OpenDirectories
from s3mount.filesystem.handles.open_files import OpenFiles
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.tree import build_tree
from s3mount.s3.model import ByteRange, ObjectVersion
from s3mount.s3.object_store import ObjectStore
from tests.fakes.started_reads import read_range

MOUNTED_NS = 1_700_000_000 * 10**9


class Reader:
    """Reads one version straight from the store."""

    def __init__(self, store: ObjectStore, version: ObjectVersion) -> None:
        self._store = store
        self._version = version

    async def read(self, offset: int, size: int) -> bytes:
        span = ByteRange(min(offset, self._version.size), min(offset + size, self._version.size))
        body = bytearray(len(span))
        if body:
            await read_range(self._store, self._version, span, memoryview(body))
        return bytes(body)

    def read_cached(self, offset: int, size: int) -> None:
        """Nothing is held."""

    def close(self) -> None: ...


class Blocks:
    """Readers without a cache."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def open(self, version: ObjectVersion) -> Reader:
        return Reader(self._store, version)

    def prefetch(self, version: ObjectVersion) -> bool:  # noqa: ARG002
        """There is no room ahead of the reader."""
        return False


class NoKernel:
    """Keeps no names."""

    def drop(self, parent: int, entries: EntryPage) -> None: ...
    def drop_all(self) -> None: ...


def assemble(
    store: ObjectStore,
    nursery: trio.Nursery,
    config: TreeConfig,
    location: StoreConfig,
    clock: Callable[[], float],
    *,
    no_prefetch: frozenset[Prefetch] = frozenset(),
) -> FileSystem:
    """The file system of *location*."""
    tree = build_tree(
        store,
        nursery,
        config,
        location,
        clock=clock,
        mounted_ns=MOUNTED_NS,
        first_bytes=lambda _version, _head: None,
        kernel=NoKernel(),
        no_prefetch=no_prefetch,
    )
    policies = prefetch_policies(tree, no_prefetch)
    files = OpenFiles(tree, Blocks(store), policies)
    return FileSystem(tree, files, OpenDirectories(tree, policies))
