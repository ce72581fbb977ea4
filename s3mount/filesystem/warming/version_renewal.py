"""Renewal of versions that GET denied while they were warmed: what is to be fetched instead.

A version was replaced, or the store contradicts itself about it (`corrections`). Invariants:

1. The cached entry becomes what is returned, unless the kernel refers to it: then its open does
   that (`handles.open_files`).
2. A correction is dropped only for an object that was replaced.
3. What fails is counted, and nothing more is requested once the store seems to be away.
"""

from collections.abc import Iterable, Sequence

import trio

from s3mount.errors import NotFound, S3MountError, StoreError, UnknownVersion
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.names import encode, parent_of
from s3mount.filesystem.namespace.tree import Tree
from s3mount.filesystem.warming.file_fetcher import Denied
from s3mount.filesystem.warming.warm_counts import OutageDetector, WarmCounts
from s3mount.s3.model import ObjectStat, ObjectVersion


class VersionRenewer:
    """Finds out what the objects of denied versions are now, *jobs* at once."""

    def __init__(self, tree: Tree, counts: WarmCounts, outage: OutageDetector, jobs: int) -> None:
        self._tree = tree
        self._counts = counts
        self._outage = outage
        self._jobs = jobs
        self._unchanged: set[ObjectVersion] = set()  # those that the store tells again

    async def renew(self, denied: Sequence[Denied]) -> list[ObjectVersion]:
        """The versions to fetch instead, in order, without those that fail."""
        found: list[ObjectVersion | None] = [None] * len(denied)
        rest = iter(enumerate(denied))
        async with trio.open_nursery() as nursery:
            for _ in range(min(self._jobs, len(denied))):
                nursery.start_soon(self._work, rest, found)
        return [version for version in found if version is not None]

    def fail(self, denied: Denied) -> None:
        """Count a version that was denied although it had been renewed."""
        error: S3MountError = StoreError("replaced again while it was fetched")
        if denied.version in self._unchanged:
            is_untold = isinstance(denied.error, UnknownVersion)
            error = denied.error if is_untold else StoreError("GET denies what the store tells")
        self._add_failure(denied.version, error)

    async def _work(
        self, rest: Iterable[tuple[int, Denied]], found: list[ObjectVersion | None]
    ) -> None:
        for index, (version, _) in rest:
            if self._outage.is_away:
                await trio.lowlevel.checkpoint()
                self._add_failure(version, self._outage.error)
                continue
            try:
                found[index] = await self._renew(version)
            except S3MountError as exc:
                self._outage.note_failure(exc)
                self._add_failure(version, exc)
            else:
                self._outage.note_success()

    async def _renew(self, version: ObjectVersion) -> ObjectVersion:
        versions = self._tree.versions
        page, index = await self._find(version)
        renewed = versions.version(page, index)
        if renewed != version:  # a reader has found it out before
            return renewed
        stat = await self._find_actual(version, page.mtimes[index])
        if stat is None:
            self._tree.invalidate(version)
            renewed = versions.version(*await self._find(version))
        elif not stat.version.is_same(version):
            if versions.version(page, index) == version:  # still
                versions.correct_entry(page, index, stat)
            renewed = stat.version.doubted()
        if renewed == version:
            self._unchanged.add(version)
        return renewed

    async def _find(self, version: ObjectVersion) -> tuple[EntryPage, int]:
        """The entry of the key of *version*. NotFound if it is no file any more."""
        prefix = parent_of(version.key)
        page, index = await self._tree.find(prefix, encode(version.key[len(prefix) :]))
        if page.is_directory(index):
            raise NotFound("it has become a directory")
        return page, index

    async def _find_actual(self, version: ObjectVersion, mtime_ns: int) -> ObjectStat | None:
        """`VersionChecker.find_actual`; None if that fails: a lookup tells why."""
        try:
            return await self._tree.versions.find_actual(version, mtime_ns)
        except S3MountError:
            return None

    def _add_failure(self, version: ObjectVersion, error: S3MountError) -> None:
        self._counts.done_files += 1
        self._counts.add_failure(version.key[len(self._tree.root) :], error)
