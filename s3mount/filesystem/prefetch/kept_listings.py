"""Kept listings in place of requests: for readers of directories, and for walks.

`KeptListings` comes before the policies that send requests: what is kept is not prefetched.
`StaleListings` comes after them, and only with `--serve-stale`.
"""

from functools import partial

import trio

from s3mount.errors import S3MountError
from s3mount.filesystem.namespace.directory import DirectoryState
from s3mount.filesystem.persistence.outage import OutageMonitor, is_outage
from s3mount.filesystem.persistence.persistent_tree import PersistentTree
from s3mount.filesystem.prefetch.policy import PrefetchPolicy


class KeptListings(PrefetchPolicy):
    """Loads the kept listing of a directory that is read, if it is within the lifetime."""

    def __init__(self, tree: PersistentTree) -> None:
        self._tree = tree

    async def before_readdir(self, directory: DirectoryState) -> None:
        monitor = self._tree.monitor
        is_away = monitor is not None and monitor.is_on
        if self._tree.cache.is_fresh(directory) and (_is_complete(directory) or not is_away):
            return
        await self._tree.kept.load_listing(directory, replaces_growing=is_away)


class StaleListings(PrefetchPolicy):
    """Loads the kept listing of a directory that is read, if the store cannot be reached."""

    def __init__(self, tree: PersistentTree, monitor: OutageMonitor) -> None:
        self._tree = tree
        self._monitor = monitor

    async def before_readdir(self, directory: DirectoryState) -> None:
        cache, patience = self._tree.cache, self._tree.patience
        if cache.is_fresh(directory) and _is_complete(directory):
            return
        failure: S3MountError | None = None
        with trio.move_on_after(patience):
            try:
                await self._wait_listed(directory)
            except S3MountError as exc:
                if not is_outage(exc):
                    raise
                failure = exc
            else:
                return
        is_served = partial(self._monitor.ttl.is_servable, now=cache.clock.now())
        if await self._tree.kept.load_listing(
            directory, replaces_growing=True, is_served=is_served
        ):
            self._monitor.begin(str(failure or f"no response within {patience:g} s"))
        elif failure is not None:
            raise failure

    async def _wait_listed(self, directory: DirectoryState) -> None:
        """Wait for the first page of the listing of *directory*, which is kept meanwhile."""
        scan, directories = self._tree.cache.scan(directory), self._tree.cache.directories
        directories.acquire(scan.listing)
        try:
            await scan.wait_page(0)
        finally:
            directories.release(scan.listing)


def _is_complete(directory: DirectoryState) -> bool:
    return directory.listing is not None and directory.listing.is_complete
