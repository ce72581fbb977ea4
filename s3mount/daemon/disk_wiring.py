"""The composition root's part for the disk cache, imported only for mounts that have one."""

import os

import trio

from s3mount.cache.block_source import BlockSource
from s3mount.cache.buffer_holds import BufferHolds
from s3mount.cache.disk_contents import DiskContents
from s3mount.cache.disk_source import DiskSource
from s3mount.config import Config, DiskConfig, StoreConfig
from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.folder_check import prepare_folder
from s3mount.disk.usage import DiskLimits
from s3mount.metrics import Metrics
from s3mount.s3.composition import read_keys
from s3mount.s3.model import StoreIdentity
from s3mount.thread_pool import ThreadPool


class DiskTierMaker:
    """Disk cache of a mount, which it opens and closes. Raises CacheDirectoryError."""

    def __init__(self, config: DiskConfig, namespace: str, memory_limit: int) -> None:
        self.disk = open_cache(config)
        self._namespace = namespace
        self._memory_limit = memory_limit
        self._threads = ThreadPool()
        self._source: DiskSource | None = None

    def make(self, next_source: BlockSource, holds: BufferHolds) -> BlockSource:
        """`MakeTier`; to be called once, in the event loop."""
        self._source = DiskSource(
            self.disk,
            next_source,
            holds,
            self._threads,
            namespace=self._namespace,
            memory_limit=self._memory_limit,
        )
        return self._source

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
    os.close(prepare_folder(config.folder))
    return DiskCache(config.folder, DiskLimits(config.size, config.free_space))


async def open_disk(config: Config, identity: StoreIdentity | None) -> DiskTierMaker:
    """Open the cache directory of *config*. Raises SetupError."""
    assert config.disk is not None
    namespace = disk_namespace(config, identity)
    memory_limit = config.blocks.memory_limit
    return await trio.to_thread.run_sync(DiskTierMaker, config.disk, namespace, memory_limit)


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
