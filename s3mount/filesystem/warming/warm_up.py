"""Warm-up of paths: lists them and all below, then fetches the files that fit into memory.

Each part decides for itself: `tree_lister` what is listed, `file_fetcher` how files are fetched,
`version_renewal` what those are that GET denied, and the plan here which files. One warm-up runs at
a time, since each plans with all free memory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import trio

from s3mount.errors import S3MountError, StoreError
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.names import decode
from s3mount.filesystem.namespace.tree import Tree
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.filesystem.warming.file_fetcher import AT_ONCE, BlockMemory, FileFetcher
from s3mount.filesystem.warming.restore_checker import File, RestoreChecker
from s3mount.filesystem.warming.tree_lister import TreeLister
from s3mount.filesystem.warming.version_renewal import VersionRenewer
from s3mount.filesystem.warming.warm_counts import OutageDetector, WarmCounts
from s3mount.frozen_dataclass import dataclass
from s3mount.s3.model import ObjectVersion

READERS_SHARE: Final = 2  # one of so many connections is left to readers, however many jobs

Path = tuple[bytes, ...]
"""The names of a path from the root of the mount on; none for the root."""


@dataclass(frozen=True, slots=True)
class WarmRequest:
    """Request of a user for a warm-up. A dry run and a listing fetch no file."""

    paths: Sequence[Path]
    listing_only: bool
    jobs: int
    is_dry: bool


class WarmUps:
    """Warm-ups of one mount, one at a time; *policies* are made for each, which walks."""

    def __init__(
        self,
        tree: Tree,
        memory: BlockMemory,
        policies: Callable[[], Sequence[PrefetchPolicy]],
        connections: int,
    ) -> None:
        self._tree = tree
        self._memory = memory
        self._policies = policies
        self._jobs_max = max(1, connections // READERS_SHARE)
        self._running: WarmUp | None = None

    def begin(
        self, paths: Sequence[Path], *, listing_only: bool, jobs: int, is_dry: bool
    ) -> "WarmUp":
        """A new warm-up, to be ended. Raises StoreError while there is another."""
        if self._running is not None:
            raise StoreError("another warm is under way in this mount: wait for it, or end it")
        request = WarmRequest(paths, listing_only, min(jobs, self._jobs_max), is_dry)
        self._running = WarmUp(self._tree, self._memory, self._policies(), request)
        return self._running

    def end(self) -> None:
        self._memory.forget_room()
        self._running = None


class WarmUp:
    """One warm-up: `list`, then `fetch`, while `progress` tells how far it has come."""

    def __init__(
        self,
        tree: Tree,
        memory: BlockMemory,
        policies: Sequence[PrefetchPolicy],
        request: WarmRequest,
    ) -> None:
        self._tree = tree
        self._memory = memory
        self._request = request
        self._counts = WarmCounts()
        self._outage = OutageDetector()
        self._plan = _Plan(memory, self._counts, tree, wants_files=not request.listing_only)
        self._lister = TreeLister(
            tree.cache,
            tree.root,
            policies,
            counts=self._counts,
            outage=self._outage,
            on_page=self._plan.add_page,
        )

    def progress(self) -> Mapping[str, object]:
        return self._counts.progress()

    def result(self) -> Mapping[str, object]:
        return self._counts.result(is_dry=self._request.is_dry)

    @property
    def planned_requests(self) -> int:
        """The GETs for all that is to be fetched."""
        return self._counts.gets

    @property
    def planned_checks(self) -> int:
        """The HEADs that ask whether files that may be archived are restored."""
        return self._counts.heads

    async def list(self) -> None:
        """List all paths. Raises the failure of a path if that is the only one, or of a store away.

        A checkpoint only if a request is needed.
        """
        for path in distinct(self._request.paths):
            try:
                await self._list_path(path)
            except S3MountError as exc:
                self._outage.note_failure(exc)
                if self._outage.is_away or len(self._request.paths) == 1:
                    raise
                self._counts.add_failure(decode(b"/".join(path)), exc)
        is_fetching = not (self._request.listing_only or self._request.is_dry)
        if is_fetching:
            await self._check_archived()
        else:
            self._plan.leave_out_archived()
        self._counts.is_fetching = is_fetching

    async def fetch(self) -> None:
        """Fetch the files of the plan, once more those whose versions GET denied."""
        if not self._counts.is_fetching:
            return
        tree, counts, outage, jobs = self._tree, self._counts, self._outage, self._request.jobs
        fetcher = FileFetcher(self._memory, tree.root, counts, outage)
        renewer = VersionRenewer(tree, counts, outage, jobs)
        denied = await fetcher.run(self._plan.versions(), jobs)
        renewed = await renewer.renew(denied)
        for each in await fetcher.run(renewed, jobs):
            renewer.fail(each)

    async def _check_archived(self) -> None:
        """Plan to fetch those of the files that may be archived that are restored."""
        checker = RestoreChecker(
            self._tree.versions.is_archived, self._tree.root, self._counts, self._outage
        )
        for page, index in await checker.readable(self._plan.archived, self._request.jobs):
            self._plan.add_readable(page, index)

    async def _list_path(self, path: Path) -> None:
        if not path:
            await self._lister.list_below(self._tree.root)
            return
        prefix = self._tree.root + "".join(f"{decode(name)}/" for name in path[:-1])
        page, index = await self._tree.find(prefix, path[-1])
        if page.is_directory(index):
            await self._lister.list_below(f"{page.key(index)}/")
        else:
            self._plan.add(page, index)


class _Plan:
    """The files to fetch: in order, each that fits into what memory the ones before have left."""

    def __init__(
        self, memory: BlockMemory, counts: WarmCounts, tree: Tree, *, wants_files: bool
    ) -> None:
        self._memory = memory
        self._counts = counts
        self._tree = tree
        self._wants_files = wants_files
        self._room = memory.find_room() if wants_files else 0
        self._files: list[File] = []
        self.archived: list[File] = []  # perhaps

    async def add_page(self, page: EntryPage) -> None:
        """Add the files of *page*. A checkpoint, several for a large page."""
        for index in range(len(page)):
            if index % AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            if not page.is_directory(index):
                self.add(page, index)

    def add(self, page: EntryPage, index: int) -> None:
        version = self._tree.versions.version(page, index)
        self._counts.files += 1
        self._counts.octets += version.size
        if not self._wants_files:
            return
        is_missing = self._memory.missing(version).octets > 0
        if is_missing and self._tree.archived.may_be(page, index):
            self.archived.append((page, index))
            self._counts.heads += 1
        else:
            self.add_readable(page, index)

    def add_readable(self, page: EntryPage, index: int) -> None:
        counts = self._counts
        missing = self._memory.missing(self._tree.versions.version(page, index))
        if not missing.octets:
            counts.already += 1
        elif missing.memory > self._room:
            counts.add_unfit(missing.octets)
        else:
            self._room -= missing.memory
            self._files.append((page, index))
            counts.wanted_files += 1
            counts.wanted_octets += missing.octets
            counts.gets += missing.requests

    def leave_out_archived(self) -> None:
        """Count all files that may be archived as such."""
        for page, index in self.archived:
            self._counts.add_archived(page.sizes[index])

    def versions(self) -> Iterator[ObjectVersion]:
        """The versions to fetch."""
        return (self._tree.versions.version(page, index) for page, index in self._files)


def distinct(paths: Sequence[Path]) -> list[Path]:
    """*paths* without those that are, or are in, others."""
    outermost: set[Path] = set()
    above: Path | None = None
    for path in sorted(set(paths)):  # each right after those above it
        if above is None or path[: len(above)] != above:
            outermost.add(path)
            above = path
    return [path for path in dict.fromkeys(paths) if path in outermost]
