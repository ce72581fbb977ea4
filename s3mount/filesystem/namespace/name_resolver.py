"""One name, asked for at the store: by HEAD `name` and LIST `name/` together, since a directory shadows a file.

The LIST brings the directory's first page, so what is in it needs no question; in the root, which nobody looks up, the first lookup
brings its first page in place of the HEAD. A file of which a version was known is asked for with If-None-Match.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import trio

from s3mount.config import StoreConfig
from s3mount.errors import AccessDenied, DeadlineExceeded, NotFound, S3MountError, StoreError
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.listing.single_flight import SingleFlight
from s3mount.filesystem.names import decode
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState, listed
from s3mount.filesystem.namespace.metadata_cache import MetadataCache
from s3mount.s3.model import ListPage, ListQuery, Modified, ObjectStat, ObjectVersion
from s3mount.s3.object_store import ObjectStore

FIRST_BYTES = (
    128 << 10
)  # what a revalidation brings of a new version: about what a first read asks for


class NameResolver:
    """Asks *store* for names, and has *cache* and their directories learn what it says."""

    def __init__(
        self,
        store: ObjectStore,
        nursery: trio.Nursery,
        cache: MetadataCache,
        location: StoreConfig,
        first_bytes: Callable[[ObjectVersion, bytes], None],
    ) -> None:
        self._store = store
        self._cache = cache
        self._root = location.prefix
        self._timeout = location.timeout  # seconds after which nobody waits for an answer any more
        self._first_bytes = (
            first_bytes  # takes the first bytes of a version that a revalidation brought
        )
        self._flights: SingleFlight[tuple[str, bytes], CachedDentry] = SingleFlight(
            nursery, cache.clock.tick
        )

    async def resolve(self, directory: DirectoryState, name: bytes) -> CachedDentry:
        """What the store says of *name*, asked once for all who wait. Raises what it failed with, where that leaves it open."""
        ttl = self._cache.ttl
        if not ttl.positive:  # an answer under way may be older than this question
            return await self._resolve(directory, name)
        called = self._cache.clock.now()
        since = max(ttl.valid_since, self._cache.invalidations.last(directory.prefix, name))
        known = await self._flights.join(
            (directory.prefix, name), since, partial(self._resolve, directory, name)
        )
        if (
            ttl.remaining(known.requested_at, called, exists=known.exists) <= 0
        ):  # it was under way for too long before
            return await self._resolve(directory, name)
        return known

    def resolve_in_background(self, directory: DirectoryState, name: bytes) -> None:
        """`ask`, where nobody waits for the answer."""
        self._flights.begin((directory.prefix, name), partial(self._resolve, directory, name))

    async def _resolve(self, directory: DirectoryState, name: bytes) -> CachedDentry:
        """Ask for one name: as a file and as a directory, at once."""
        key = directory.prefix + decode(name)
        requested_at = self._cache.clock.tick()
        answers = _Answers()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._list, key, answers, nursery.cancel_scope)
            answers.listed = await self._look_in_first_page(directory, name)
            if answers.listed is None:
                await self._head(key, directory.get(name), answers)
            elif not answers.listed.is_directory:
                nursery.cancel_scope.cancel()
        if answers.is_directory:
            self._cache.put_first_pages(key + "/", answers.pages, requested_at)
        if answers.listed is not None:
            return answers.listed
        row = answers.row(name)
        known = CachedDentry(
            requested_at,
            None
            if row is None
            else EntryPage(self._cache.bucket, directory.prefix, [row], requested_at),
        )
        self._cache.directories.put_dentry(directory, name, known)
        newest = directory.get(
            name
        )  # another answer may have come meanwhile that was asked for later
        return newest if newest is not None and newest.requested_at > known.requested_at else known

    async def _look_in_first_page(
        self, directory: DirectoryState, name: bytes
    ) -> CachedDentry | None:
        """What the first page of the root's listing says of *name*.

        Another directory's first page comes when it is looked up; the root is never looked up, so its first lookup brings it.
        """
        if (
            directory.prefix != self._root
            or directory.scan is not None
            or not self._cache.ttl.positive
        ):
            return None
        scan = self._cache.scan(directory)
        try:
            await scan.wait_final(name, 1)
        except S3MountError:  # the other questions will tell
            return None
        known = listed(scan.listing, name)  # which may be too large to be the directory's any more
        return (
            None if known is None or directory.is_invalidated(name, known.requested_at) else known
        )

    async def _list(self, key: str, answers: "_Answers", other: trio.CancelScope) -> None:
        """Ask for pages until one shows that there is a directory, or none is left: S3 may send empty pages before a full one."""
        query, end, tokens = (
            ListQuery(key + "/"),
            self._cache.clock.now() + self._timeout,
            set[str](),
        )
        try:
            while not answers.is_directory:
                if self._cache.clock.now() > end:
                    raise DeadlineExceeded("the listing had empty pages only", key=key + "/")
                page = await self._store.list_page(query)
                answers.pages.append(page)
                if page.next_token is None:
                    break
                if page.next_token in tokens:
                    raise StoreError("the listing repeats a continuation token", key=key + "/")
                tokens.add(page.next_token)
                query = replace(query, token=page.next_token)
        except S3MountError as exc:
            answers.list_failure = exc
            return
        if answers.is_directory:
            other.cancel()

    async def _head(self, key: str, latest: CachedDentry | None, answers: "_Answers") -> None:
        try:
            answers.stat = await self._stat(key, latest)
        except NotFound:
            answers.stat = None
        except S3MountError as exc:
            answers.head_failure = exc

    async def _stat(self, key: str, latest: CachedDentry | None) -> ObjectStat:
        """HEAD, or where a version was known, the question whether it is current still."""
        if latest is None or latest.page is None or latest.is_directory:
            return await self._store.head(key)
        version = latest.page.version(latest.at)
        match await self._store.revalidate(version, FIRST_BYTES):
            case Modified(stat, head):
                self._first_bytes(stat.version, head)
                return stat
            case _:
                return ObjectStat(version, latest.page.mtimes[latest.at])


class _Answers:
    """What came back of the questions about one name."""

    def __init__(self) -> None:
        self.listed: CachedDentry | None = None  # what the root's first page said
        self.pages: list[ListPage] = []  # of the directory, as many as it took
        self.stat: ObjectStat | None = None
        self.list_failure: S3MountError | None = None
        self.head_failure: S3MountError | None = None

    @property
    def is_directory(self) -> bool:
        """Whether the pages show anything; only the last can."""
        return bool(self.pages) and bool(self.pages[-1].objects or self.pages[-1].prefixes)

    def row(self, name: bytes) -> Entry | None:
        """The entry, or None where there is none. Raises where a failure leaves it open."""
        if self.is_directory:
            return Entry(name)
        if self.list_failure is not None and not isinstance(self.list_failure, AccessDenied):
            raise self.list_failure
        if self.head_failure is not None:
            raise self.head_failure
        if self.stat is not None:
            return Entry(name, self.stat.version.size, self.stat.mtime_ns, self.stat.version.etag)
        if self.list_failure is not None:
            raise self.list_failure
        return None
