"""The composition root's part for the disk cache, imported only for mounts that have one."""

import logging
from typing import Final

import trio

from s3mount.cache.block_source import BlockSource
from s3mount.cache.buffer_holds import BufferHolds
from s3mount.cache.disk_tier.contents import DiskContents
from s3mount.cache.disk_tier.health import ReadWriteHealth, disk_health
from s3mount.cache.disk_tier.source import DiskSource
from s3mount.config import Config, DiskConfig, StoreConfig
from s3mount.daemon.disk_records import DiskRecords
from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.usage import DiskLimits
from s3mount.errors import CacheDiskError
from s3mount.metrics import Metrics
from s3mount.s3.composition import read_keys
from s3mount.s3.model import StoreIdentity
from s3mount.thread_pool import ThreadPool

log = logging.getLogger(__name__)

OPENED_WITHIN: Final = 5.0  # seconds: the mount does not wait longer for the disk


class DiskTierMaker:
    """Disk cache of a mount, which it opens and closes."""

    def __init__(self, config: DiskConfig, namespace: str, memory_limit: int) -> None:
        self.disk = _cache_of(config)
        self._namespace = namespace
        self._memory_limit = memory_limit
        self._threads = ThreadPool(OSError)
        self._health: ReadWriteHealth | None = None
        self._source: DiskSource | None = None

    async def open(self) -> None:
        """Open it; if its disk fails, or is late, the mount tries it again later.

        Raises CacheDirectoryError if the directory is refused.
        """
        self._health = disk_health(trio.current_time)
        reason = f"it took more than {OPENED_WITHIN:g} s"
        with trio.move_on_after(OPENED_WITHIN):
            try:
                await trio.to_thread.run_sync(self.disk.open, abandon_on_cancel=True)
            except CacheDiskError as exc:
                reason = str(exc)
            else:
                return
        self._health = disk_health(trio.current_time, is_failing=True)
        log.warning(
            "the disk cache cannot be opened, and is bypassed until it can (look at its disk, and "
            "whether that is full): %s",
            reason,
        )

    def make(self, next_source: BlockSource, holds: BufferHolds) -> BlockSource:
        """`MakeTier`; to be called once, after `open`."""
        assert self._health is not None
        self._source = DiskSource(
            self.disk,
            next_source,
            holds,
            self._threads,
            namespace=self._namespace,
            memory_limit=self._memory_limit,
            health=self._health,
        )
        self._source.look_at_usage()
        return self._source

    def records(self) -> DiskRecords:
        """Return the records in it; to be called after `open`."""
        assert self._health is not None
        return DiskRecords(self.disk, self._health)

    def contents(self, store: StoreConfig) -> DiskContents:
        """Return what commands see of it, whose paths are those of the mount of *store*."""
        return DiskContents(self.disk, self._namespace, store.bucket, store.prefix)

    def register_metrics(self, metrics: Metrics) -> None:
        assert self._source is not None
        self._source.register_metrics(metrics)

    async def close(self) -> None:
        """Write what waits to be written, for a while, and close the directory."""
        assert self._source is not None
        await self._source.close()
        self._threads.close()


def open_cache(config: DiskConfig) -> DiskCache:
    """Open the cache directory of *config*. Raises CacheDirectoryError."""
    cache = _cache_of(config)
    cache.open()
    return cache


def _cache_of(config: DiskConfig) -> DiskCache:
    limits = DiskLimits(config.size, config.free_space)
    return DiskCache(config.folder, limits, opens_late=True)


async def open_disk(config: Config, identity: StoreIdentity | None) -> DiskTierMaker:
    """Open the cache directory of *config*. Raises SetupError."""
    assert config.disk is not None
    namespace = await trio.to_thread.run_sync(disk_namespace, config, identity)
    maker = DiskTierMaker(config.disk, namespace, config.blocks.memory_limit)
    await maker.open()
    return maker


def disk_namespace(config: Config, identity: StoreIdentity | None) -> str:
    """What tells the objects of a mount of *config* from those of other mounts.

    The endpoint; the customer keys, without which nothing is read that they opened; and the views
    that give keys other names. A view of the past has the versions of the bucket itself.
    """
    store = config.store
    words = [identity.endpoint if identity is not None else ""]
    if store.sse_c_key_files:
        fingerprints = sorted(key.fingerprint for key in read_keys(store))
        words.append(f"sse-c={','.join(fingerprints)}")
    if store.versions:
        words.append("versions")
    if store.show_hidden:
        words.append("show-hidden")
    return " ".join(words)
