"""Lister of whole directory trees, through the metadata cache, as a reader that walks them.

The prefetch policies see it walk, so scans of subtrees go ahead of it: some thousand names a
request, several at once. Invariants:

1. What is fresh in the cache costs no request.
2. It requests no listing once those that it has gone through weigh three quarters of the metadata
   limit: more would only evict what it has listed, and what others use.
3. Memory is taken for one directory at each depth, not for all that is found.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from s3mount.errors import S3MountError
from s3mount.filesystem.listing.directory_listing import DirectoryListing
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.listing.listing_scan import ListingScan
from s3mount.filesystem.namespace.directory import DirectoryState
from s3mount.filesystem.namespace.metadata_cache import MetadataCache
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.filesystem.warming.warm_counts import OutageDetector, WarmCounts

OnPage = Callable[[EntryPage], Awaitable[None]]
"""Called with each page of entries, once; a checkpoint, so that readers go first."""


class TreeLister:
    """Lists directories below *root*, and counts them."""

    def __init__(
        self,
        cache: MetadataCache,
        root: str,
        policies: Sequence[PrefetchPolicy],
        *,
        counts: WarmCounts,
        outage: OutageDetector,
        on_page: OnPage,
    ) -> None:
        self._cache = cache
        self._root = root
        self._policies = policies
        self._counts = counts
        self._outage = outage
        self._on_page = on_page
        self._room = cache.directories.limit * 3 // 4  # bytes that listings may weigh yet

    async def list_below(self, prefix: str) -> None:
        """List the directory *prefix* and all below it. Raises the failure of a store away."""
        depths: list[Iterator[str]] = [iter([prefix])]
        while depths:
            following = next(depths[-1], None)
            if following is None:
                depths.pop()
                continue
            pages = await self._list_or_note(following)
            depths.append(_children(pages))

    async def _list_or_note(self, prefix: str) -> Sequence[EntryPage]:
        """The pages of a directory; none if it does not fit, or failed, which is counted."""
        self._counts.path = prefix[len(self._root) :]
        try:
            pages = await self._list(prefix)
        except S3MountError as exc:
            self._outage.note_failure(exc)
            if self._outage.is_away:
                raise
            self._counts.add_failure(self._counts.path, exc)
            return ()
        self._outage.note_success()
        return pages

    async def _list(self, prefix: str) -> Sequence[EntryPage]:
        directory = self._cache.directory(prefix)
        if self._room <= 0 and not self._is_known(directory):
            self._counts.unlisted += 1
            return ()
        for policy in self._policies:
            await policy.before_readdir(directory)
        scan = self._cache.scan(self._cache.directory(prefix))  # as `directory` may be packed now
        self._cache.directories.acquire(scan.listing)
        try:
            pages = await self._read(scan)
        finally:
            self._cache.directories.release(scan.listing)
        self._room -= scan.listing.weight
        self._counts.directories += 1
        return pages

    async def _read(self, scan: ListingScan) -> Sequence[EntryPage]:
        pages: list[EntryPage] = []
        number = 0
        while (page := await self._next_page(scan, number)) is not None:
            number += 1
            pages.append(page)
            await self._on_page(page)
        return pages

    async def _next_page(self, scan: ListingScan, number: int) -> EntryPage | None:
        """Page *number*; None at the end, or if there is no room for more, or was none for it."""
        listing = scan.listing
        has_come = listing.is_complete or number < len(listing.pages)
        if not has_come and (listing.is_trimmed or listing.weight >= self._room):
            self._counts.unlisted += 1
            return None
        page = await scan.wait_page(number)
        if scan.is_trimmed_at(number):  # other readers of the listing are far ahead
            self._counts.unlisted += 1
        return page

    def _is_known(self, directory: DirectoryState) -> bool:
        listing: DirectoryListing | None = directory.listing
        return listing is not None and listing.is_complete and self._cache.is_fresh(directory)


def _children(pages: Iterable[EntryPage]) -> Iterator[str]:
    """The prefixes of the directories in *pages*, one at a time."""
    for page in pages:
        for index in range(len(page)):
            if page.is_directory(index):
                yield f"{page.key(index)}/"
