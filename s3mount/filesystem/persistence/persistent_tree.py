"""Tree that looks among kept metadata before it requests a name, and serves it if S3 is away.

Without `--cache-dir` and `--serve-stale` a mount has a plain `Tree`.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

import trio

from s3mount.errors import S3MountError
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState
from s3mount.filesystem.namespace.inode_table import InodeTable
from s3mount.filesystem.namespace.kernel_references import KernelCache
from s3mount.filesystem.namespace.name_resolver import NameResolver
from s3mount.filesystem.namespace.tree import Tree, TreeCounts
from s3mount.filesystem.namespace.version_checker import VersionChecker
from s3mount.filesystem.namespace.volume import Volume
from s3mount.filesystem.persistence.kept_metadata import KeptMetadata
from s3mount.filesystem.persistence.outage import OutageMonitor, is_outage
from s3mount.filesystem.persistence.record_format import MetadataRecords
from s3mount.filesystem.persistence.recorder import MetadataRecorder

log = logging.getLogger(__name__)

FLUSHED_WITHIN = 2.0  # seconds that the end of a mount waits for the disk


class Persistence(NamedTuple):
    """Options of a tree that keeps metadata: its records, and how outages are served.

    *is_kept* tells of which directories metadata is kept. *patience* is for how many seconds a
    response is awaited before stale metadata is served; *monitor* is None unless it is at all.
    """

    records: MetadataRecords
    nursery: trio.Nursery
    is_kept: Callable[[str], bool] = lambda _: True
    monitor: OutageMonitor | None = None
    patience: float = 0.0


class PersistentTree(Tree):
    """`Tree` over kept metadata."""

    def __init__(  # noqa: PLR0917 - those of a `Tree`
        self,
        persistence: Persistence,
        volume: Volume,
        resolver: NameResolver,
        inodes: InodeTable,
        kernel: KernelCache,
        versions: VersionChecker,
        *,
        mounted_ns: int,
    ) -> None:
        super().__init__(volume, resolver, inodes, kernel, versions, mounted_ns=mounted_ns)
        records, cache = persistence.records, volume.cache
        self.kept = KeptMetadata(records, cache)
        self.recorder = MetadataRecorder(records, cache, persistence.nursery, persistence.is_kept)
        cache.recorder = self.recorder
        self.monitor = persistence.monitor
        self.patience = persistence.patience

    @property
    def counts(self) -> TreeCounts:
        monitor = self.monitor
        return TreeCounts(
            0 if monitor is None else monitor.ttl.stale_answers,
            0.0 if monitor is None else monitor.seconds,
            self.kept.listings,
            self.kept.dentries,
        )

    async def flush(self) -> None:
        with trio.move_on_after(FLUSHED_WITHIN, shield=True):  # also when the mount is cancelled
            await self.recorder.flush()
        if self.recorder.has_unwritten_times:
            log.warning(
                "the cache directory cannot be written, so a later mount may show what was "
                "refreshed as it was before, for the rest of its lifetime: empty it "
                "(s3mountctl cache clear)"
            )

    async def _find_out(self, directory: DirectoryState, name: bytes) -> CachedDentry:
        is_away = self.monitor is not None and self.monitor.is_on
        await self.kept.load_name(directory, name, replaces_growing=is_away)
        known = self.get_fresh(directory, name)
        if known is not None:
            return known
        stale = directory.get(name)
        if self.monitor is None or stale is None or not self._is_servable(stale):
            return await super()._find_out(directory, name)
        reason = f"no response within {self.patience:g} s"
        with trio.move_on_after(self.patience):
            try:
                return await super()._find_out(directory, name)
            except S3MountError as exc:
                if not is_outage(exc):
                    raise
                reason = str(exc)
        self.monitor.begin(reason)
        self._put_stale(directory, name, stale)
        return stale

    async def revalidate(self, page: EntryPage, index: int) -> None:
        known = self._get_known(page.prefix, page.name(index))
        is_known = known is not None and known.is_about(page, index)
        if self.monitor is None or known is None or not is_known or not self._is_servable(known):
            await super().revalidate(page, index)
            return
        reason = f"no response within {self.patience:g} s"
        with trio.move_on_after(self.patience):
            try:
                await super().revalidate(page, index)
            except S3MountError as exc:
                if not is_outage(exc):
                    raise
                reason = str(exc)
            else:
                return
        self.monitor.begin(reason)

    def _is_servable(self, dentry: CachedDentry) -> bool:
        """Whether it would be served in an outage."""
        assert self.monitor is not None
        return self.monitor.ttl.is_servable(dentry.requested_at, self._clock.now())

    def _put_stale(self, directory: DirectoryState, name: bytes, stale: CachedDentry) -> None:
        """Put *stale* back, if the listing that has it was replaced by one that does not come."""
        if directory.get(name) is None:
            if stale.page is not None:
                stale = CachedDentry(stale.requested_at, stale.page.subset([stale.at]))
            self.cache.directories.put_dentry(directory, name, stale)
