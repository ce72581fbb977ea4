"""Composition of what keeps metadata: for `--cache-dir` and `--serve-stale`, and imported for them.

Part of the composition root. Nothing here decides anything.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from time import time

import trio

from s3mount.cache.disk_tier.health import disk_health
from s3mount.config import Config, StoreConfig, TreeConfig
from s3mount.daemon.disk_records import DiskRecords
from s3mount.errors import CacheDiskError
from s3mount.filesystem.namespace.tree import Tree
from s3mount.filesystem.namespace.ttl_policy import TtlPolicy
from s3mount.filesystem.persistence.kept_metadata import was_listed
from s3mount.filesystem.persistence.observed_store import ObservedObjects
from s3mount.filesystem.persistence.outage import OutageMonitor, StaleTtlPolicy
from s3mount.filesystem.persistence.persistent_tree import Persistence, PersistentTree
from s3mount.filesystem.persistence.record_format import (
    MetadataRecords,
    RecordFormat,
    RecordKeys,
)
from s3mount.filesystem.persistence.record_store import MemoryRecords, RecordStore
from s3mount.filesystem.persistence.timestamps import BOOT_SIZE, BootClock, Timestamps
from s3mount.filesystem.prefetch.kept_listings import KeptListings, StaleListings
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.s3.object_store import ObjectStore

log = logging.getLogger(__name__)

MEMORY_SHARE = 4  # without a disk, records take such a part of the memory limit of metadata
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE = Path("/proc/self/ns/time")  # in which the time since the boot may be another


PersistentParts = tuple[ObjectStore, TreeConfig, TtlPolicy, Callable[..., Tree]]


def record_store(disk: RecordStore | None, config: TreeConfig) -> tuple[RecordStore, TreeConfig]:
    """Return where records are kept, and *config* without the memory that they may take."""
    if disk is not None:
        return disk, config
    share = config.metadata_limit // MEMORY_SHARE
    return MemoryRecords(share), replace(config, metadata_limit=config.metadata_limit - share)


def persistent_parts(
    store: ObjectStore,
    config: TreeConfig,
    location: StoreConfig,
    nursery: trio.Nursery,
    *,
    records: RecordStore,
    clock: BootClock,
    endpoint: str = "",
    access_key: str = "",
    outage: str | None = None,
) -> PersistentParts:
    """Return the store, the configuration, the TTLs and the type of a tree that keeps *records*.

    *outage* is why the store is away from the start.
    """
    persistence = Persistence(
        MetadataRecords(
            records,
            RecordKeys(namespace_of(location, endpoint, access_key)),
            RecordFormat(Timestamps(clock)),
        ),
        nursery,
        is_kept=partial(_is_kept, location, is_shared=not isinstance(records, MemoryRecords)),
        patience=location.timeout / 2,
    )
    if not config.serve_stale:
        ttl = TtlPolicy.from_config(config)
        return store, config, ttl, partial(PersistentTree, persistence)
    stale_ttl = StaleTtlPolicy.from_config(config)
    monitor = OutageMonitor(stale_ttl, nursery)
    observed = ObservedObjects(store, monitor)
    monitor.probe_with(partial(observed.probe, location.prefix))
    if outage is not None:
        monitor.begin(outage)
    make = partial(PersistentTree, persistence._replace(monitor=monitor))
    return observed, config, stale_ttl, make


class KnownMount:
    """Evidence that a mount was served before: it may start while its store is away.

    *outage* is why the store is away, once `may_start` has allowed for it.
    """

    def __init__(
        self, config: Config, now: Callable[[], float], access_key: Callable[[], str]
    ) -> None:
        self._config = config
        self._access_key = access_key
        self._clock = boot_clock(now)
        self.outage: str | None = None

    async def may_start(self, endpoint: str, reason: str) -> bool:
        """Whether the root of the mount was listed at *endpoint*, and may still be served so."""
        location, disk = self._config.store, self._config.disk
        assert disk is not None
        from s3mount.daemon.disk_wiring import open_cache  # noqa: PLC0415 - not without a disk

        try:
            cache = await trio.to_thread.run_sync(open_cache, disk)
        except CacheDiskError as exc:
            log.debug("the cache directory cannot be read: %s", exc)
            return False
        records = MetadataRecords(
            DiskRecords(cache, disk_health(trio.current_time)),
            RecordKeys(namespace_of(location, endpoint, self._access_key())),
            RecordFormat(Timestamps(self._clock)),
        )
        since = self._clock.now() - self._config.tree.serve_stale
        try:
            if not await was_listed(records, (location.bucket, location.prefix), since):
                return False
        finally:
            cache.close()
        self.outage = reason
        return True


def boot_clock(now: Callable[[], float]) -> BootClock:
    """Return the clocks of this machine; *now* is that of the tree."""
    return BootClock(now, time, boot_id())


def with_kept_listings(tree: Tree, policies: Sequence[PrefetchPolicy]) -> Sequence[PrefetchPolicy]:
    """Return *policies*, and those that look for kept listings before and after them."""
    assert isinstance(tree, PersistentTree)
    last = () if tree.monitor is None else (StaleListings(tree, tree.monitor),)
    return (KeptListings(tree), *policies, *last)


def namespace_of(location: StoreConfig, endpoint: str, access_key: str) -> bytes:
    """Return what tells metadata apart that two mounts of one key see otherwise.

    With some stores each account has its own buckets, so their names are not enough. An
    *access_key* that is temporary is "": it would be another with each mount.
    """
    parts = (
        endpoint,
        access_key,
        location.versions,
        location.show_hidden,
        location.at_ns,
        location.fetch_owner,
    )
    return repr(parts).encode()


def boot_id() -> bytes:
    """Return an id of this boot, of BOOT_SIZE bytes; one of its own if the kernel tells none."""
    digest = blake2b(digest_size=BOOT_SIZE)
    try:
        digest.update(_BOOT_ID.read_bytes())
        digest.update(bytes(_TIME_NAMESPACE.readlink()) if _TIME_NAMESPACE.exists() else b"")
    except OSError:
        return os.urandom(BOOT_SIZE)
    return digest.digest()


def _is_kept(location: StoreConfig, prefix: str, *, is_shared: bool) -> bool:
    """Whether metadata of a directory is kept: not the buckets that some account has."""
    return bool(prefix) or not (location.is_account and is_shared)
