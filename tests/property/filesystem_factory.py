"""File system over a store, wired as in the composition root, but without a block cache."""

from collections.abc import Callable, Iterable

import trio

from s3mount.config import BlockConfig, Prefetch, StoreConfig, TreeConfig
from s3mount.daemon.filesystem_wiring import prefetch_policies
from s3mount.daemon.metadata_wiring import boot_clock, persistent_parts, with_kept_listings
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.handles.open_directories import OpenDirectories
from s3mount.filesystem.handles.open_files import OpenFiles
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.order_evidence import PROOF
from s3mount.filesystem.names import PLAIN_NAMES, ViewNames
from s3mount.filesystem.namespace.number_lookup import NumberLookup
from s3mount.filesystem.namespace.tree import Tree, build_tree
from s3mount.filesystem.namespace.ttl_policy import TtlPolicy
from s3mount.filesystem.persistence.record_store import RecordStore
from s3mount.filesystem.persistence.timestamps import BootClock
from s3mount.s3.model import ByteRange, ListedObject, ListPage, ObjectVersion
from s3mount.s3.object_store import ObjectStore
from tests.fakes.started_reads import read_range

MOUNTED_NS = 1_700_000_000 * 10**9
# a page that proves the order of its store
ORDERED_PAGE = ListPage(
    [ListedObject(f"{number:04}", 1, 0, "e") for number in range(PROOF + 1)], [], None
)


class UncachedReader:
    """Reader of one version, straight from the store."""

    def __init__(
        self, store: ObjectStore, version: ObjectVersion, had_bytes: set[ObjectVersion]
    ) -> None:
        self._store = store
        self._version = version
        self._had_bytes = had_bytes

    async def read(self, offset: int, size: int) -> bytes:
        span = ByteRange(min(offset, self._version.size), min(offset + size, self._version.size))
        body = bytearray(len(span))
        if body:
            await read_range(self._store, self._version, span, memoryview(body))
            self._had_bytes.add(self._version)
        return bytes(body)

    def read_cached(self, offset: int, size: int) -> None:
        """Return None: nothing is cached."""

    @property
    def has_had_bytes(self) -> bool:
        return self._version in self._had_bytes

    def close(self) -> None: ...


class UncachedBlocks:
    """Factory of readers without a cache."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._had_bytes: set[ObjectVersion] = set()

    def open(self, version: ObjectVersion) -> UncachedReader:
        return UncachedReader(self._store, version, self._had_bytes)

    def prefetch(self, version: ObjectVersion) -> bool:  # noqa: ARG002
        """Return False: there is no room for prefetching."""
        return False

    def prefetch_end(self, version: ObjectVersion) -> None:
        """Do nothing, either."""

    def expect_next(self, version: ObjectVersion, following: Iterable[ObjectVersion]) -> None:
        """Do nothing: no reader has a window."""


class NullInvalidator:
    """Kernel cache that holds no names."""

    def drop(self, parent: int, entries: EntryPage) -> None: ...
    def drop_name(self, parent: int, name: bytes) -> None: ...
    def drop_each(self, pages: Iterable[tuple[int, EntryPage] | None]) -> None:
        for _ in pages:
            pass

    def drop_all(self) -> None: ...
    def expire_attributes(self, inode: int) -> None: ...


def make_filesystem(
    store: ObjectStore,
    nursery: trio.Nursery,
    config: TreeConfig,
    location: StoreConfig,
    clock: Callable[[], float],
    *,
    no_prefetch: frozenset[Prefetch] = frozenset(),
    names: ViewNames = PLAIN_NAMES,
    records: RecordStore | None = None,
    boot: BootClock | None = None,
) -> FileSystem:
    """Return the file system of *location*; it keeps metadata in *records*."""
    ttl: TtlPolicy | None = None
    make: Callable[..., Tree] = Tree
    if records is not None:
        store, config, ttl, make = persistent_parts(
            store, config, location, nursery, records=records, clock=boot or boot_clock(clock)
        )
    tree = build_tree(
        store,
        nursery,
        config,
        location,
        clock=clock,
        mounted_ns=MOUNTED_NS,
        first_bytes=lambda _version, _head: None,
        kernel=NullInvalidator(),
        no_prefetch=no_prefetch,
        names=names,
        ttl=ttl,
        make=make,
    )
    policies = prefetch_policies(tree, no_prefetch, BlockConfig().memory_limit)
    if records is not None:
        policies = with_kept_listings(tree, policies)
    files = OpenFiles(tree, UncachedBlocks(store), policies)
    return FileSystem(tree, files, OpenDirectories(tree, policies), NumberLookup(tree))
