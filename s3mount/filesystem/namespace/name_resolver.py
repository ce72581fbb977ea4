"""Resolver of single names: HEAD `name` and LIST `name/` together, as a directory shadows a file.

The LIST brings the directory's first page, so lookups in it need no request. The root is never
looked up: the first lookup in it brings its first page in place of the HEAD. A file of which a
version is known is revalidated with If-None-Match.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import trio

from s3mount.errors import (
    AccessDenied,
    Archived,
    DeadlineExceeded,
    NotFound,
    S3MountError,
    StoreError,
)
from s3mount.filesystem.listing.entry_page import Entry, EntryPage
from s3mount.filesystem.listing.single_flight import SingleFlight
from s3mount.filesystem.names import decode
from s3mount.filesystem.namespace.directory import CachedDentry, DirectoryState, dentry_in
from s3mount.filesystem.namespace.invalidations import DirectoryKey
from s3mount.filesystem.namespace.volume import Volume
from s3mount.s3.archive import ARCHIVE_CLASSES
from s3mount.s3.model import ListPage, ListQuery, Modified, ObjectStat, ObjectVersion, Reason
from s3mount.s3.object_store import is_listed_nowhere

FIRST_BYTES = 128 << 10  # of a new version, with its revalidation: about what a first read wants


class NameResolver:
    """Requests names from the store of *volume*, and puts the results into its metadata cache.

    *on_first_bytes* gets the first bytes of a version that a revalidation has brought. *timeout* is
    the seconds that a lookup may take in all. Files of up to *head_max* bytes are revalidated by a
    HEAD: a 304 does not tell that equal bytes were put anew with other metadata.
    """

    def __init__(
        self,
        volume: Volume,
        nursery: trio.Nursery,
        timeout: float,
        on_first_bytes: Callable[[ObjectVersion, bytes], None],
        *,
        head_max: int = -1,
    ) -> None:
        self._store = volume.store
        self._cache = volume.cache
        self._root = volume.root
        self._timeout = timeout
        self._on_first_bytes = on_first_bytes
        self._head_max = head_max
        self._calls: SingleFlight[tuple[DirectoryKey, bytes], CachedDentry] = SingleFlight(
            nursery, self._cache.clock.tick
        )

    async def resolve(self, directory: DirectoryState, name: bytes) -> CachedDentry:
        """Request *name* once for all callers; its dentry. Raises a failure that leaves it open."""
        ttl = self._cache.ttl
        if not ttl.positive:  # a response in flight may be older than this call
            return await self._resolve(directory, name)
        called_at = self._cache.clock.now()
        since = max(ttl.valid_since, self._cache.invalidations.last(directory.key, name))
        known = await self._calls.join(
            (directory.key, name), since, partial(self._resolve, directory, name)
        )
        if ttl.remaining(known.requested_at, called_at, exists=known.exists) <= 0:
            return await self._resolve(directory, name)  # it had expired before this call
        return known

    def resolve_in_background(self, directory: DirectoryState, name: bytes) -> None:
        """`resolve` without waiting."""
        self._calls.start((directory.key, name), partial(self._resolve, directory, name))

    async def _resolve(self, directory: DirectoryState, name: bytes) -> CachedDentry:
        key = directory.prefix + decode(name)
        requested_at = self._cache.clock.tick()
        responses = _Responses()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._list, key, responses, nursery.cancel_scope)
            responses.listed = await self._look_in_first_page(directory, name)
            if responses.listed is None:
                await self._head(key, directory.get(name), responses)
            elif not responses.listed.is_directory:
                nursery.cancel_scope.cancel()
        if responses.is_directory:
            self._cache.put_first_pages(key + "/", responses.pages, requested_at)
        if responses.listed is not None:
            return responses.listed
        if responses.is_refused and await is_listed_nowhere(self._store, key):
            responses.head_failure = None
        return self._put(directory, name, responses.entry(name), requested_at)

    def _put(
        self, directory: DirectoryState, name: bytes, entry: Entry | None, requested_at: float
    ) -> CachedDentry:
        """Put *entry*, or its absence. Returns the newest dentry, as responses may overtake."""
        bucket, prefix = directory.key
        page = None
        if entry is not None:
            page = EntryPage(bucket, prefix, [entry], requested_at, is_looked_up=True)
        dentry = CachedDentry(requested_at, page)
        if self._cache.recorder is not None:
            self._record(directory, name, dentry)
        self._cache.directories.put_dentry(directory, name, dentry)
        newest = directory.get(name)
        is_newer = newest is not None and newest.requested_at > requested_at
        return newest if newest is not None and is_newer else dentry

    def _record(self, directory: DirectoryState, name: bytes, dentry: CachedDentry) -> None:
        """Keep *dentry*, and an absence only of what was there: many names never are."""
        assert self._cache.recorder is not None
        known = directory.get(name)
        if dentry.exists or (known is not None and known.exists):
            self._cache.recorder.keep_dentry(directory.key, name, dentry)

    async def _look_in_first_page(
        self, directory: DirectoryState, name: bytes
    ) -> CachedDentry | None:
        """The dentry of *name* in the first page of the root's listing, if that is final."""
        cache = self._cache
        is_needed = directory.prefix == self._root and directory.scan is None
        if not is_needed or not cache.ttl.positive or not cache.fetches_listings:
            return None
        scan = cache.scan(directory)
        try:
            await scan.wait_final(name, 1)
        except S3MountError:  # the other requests will tell
            return None
        # of this scan: the directory may not have kept it
        known = dentry_in(scan.listing, name)
        is_invalidated = known is not None and directory.is_invalidated(name, known.requested_at)
        return None if is_invalidated else known

    async def _list(self, key: str, responses: "_Responses", other: trio.CancelScope) -> None:
        """Request pages to the first that has a key; S3 may send empty pages before it."""
        query, seen_tokens = ListQuery(key + "/", reason=Reason.LOOKUP), set[str]()
        end = self._cache.clock.now() + self._timeout
        try:
            while not responses.is_directory:
                if self._cache.clock.now() > end:
                    raise DeadlineExceeded("the listing had empty pages only", key=key + "/")
                page = await self._store.list_page(query)
                responses.pages.append(page)
                if page.next_token is None:
                    break
                if page.next_token in seen_tokens:
                    raise StoreError("the listing repeats a continuation token", key=key + "/")
                seen_tokens.add(page.next_token)
                query = replace(query, token=page.next_token)
        except S3MountError as exc:
            responses.list_failure = _failure_of_list(exc)
            return
        if responses.is_directory:
            other.cancel()

    async def _head(self, key: str, known: CachedDentry | None, responses: "_Responses") -> None:
        try:
            responses.stat = await self._stat(key, known)
        except NotFound:
            responses.stat = None
        except S3MountError as exc:
            responses.head_failure = exc

    async def _stat(self, key: str, known: CachedDentry | None) -> ObjectStat:
        """HEAD; or a revalidation, if a version is known whose first bytes can be read."""
        if known is None or known.page is None or known.is_directory:
            return await self._store.head(key)
        page, at = known.page, known.at
        if page.storage_class(at) in ARCHIVE_CLASSES or page.sizes[at] <= self._head_max:
            return await self._store.head(key)
        version = page.version(at)
        try:
            found = await self._store.revalidate(version, FIRST_BYTES)
        except Archived:  # by Intelligent-Tiering, or what has replaced it
            return await self._store.head(key)
        match found:
            case Modified(stat, head):
                self._on_first_bytes(stat.version, head)
                return stat
            case _:
                return ObjectStat(version, page.mtimes[at], page.storage_class(at))


def _failure_of_list(exc: S3MountError) -> S3MountError | None:
    """What *exc* of a LIST says of a name; None if nothing is below its prefix."""
    if not isinstance(exc, NotFound):
        return exc
    if exc.code == "NoSuchKey":  # some stores have no empty listings
        return None
    # the bucket is gone, or hidden: which of its names are there is not known
    known = {"bucket": exc.bucket, "key": exc.key, "code": exc.code, "request_id": exc.request_id}
    return StoreError(str(exc), status=exc.status, **known)


class _Responses:
    """The responses to the requests for one name."""

    def __init__(self) -> None:
        self.listed: CachedDentry | None = None  # in the root's first page
        self.pages: list[ListPage] = []  # of the directory, to the first that has a key
        self.stat: ObjectStat | None = None
        self.list_failure: S3MountError | None = None
        self.head_failure: S3MountError | None = None

    @property
    def is_directory(self) -> bool:
        """Whether the last page, the only one that can, has a key, be it of an object left out."""
        if not self.pages:
            return False
        page = self.pages[-1]
        return bool(page.objects or page.prefixes) or page.has_lost_objects

    @property
    def is_refused(self) -> bool:
        """Whether the HEAD was refused, and the listing was not."""
        is_open = not self.is_directory and self.list_failure is None
        return is_open and isinstance(self.head_failure, AccessDenied)

    def entry(self, name: bytes) -> Entry | None:
        """The entry; None if there is none. Raises a failure that leaves it open."""
        if self.is_directory:
            return Entry(name)
        if self.list_failure is not None and not isinstance(self.list_failure, AccessDenied):
            raise self.list_failure
        if self.head_failure is not None:
            raise self.head_failure
        if self.stat is not None:
            stat, version = self.stat, self.stat.version
            return Entry(
                name,
                version.size,
                stat.mtime_ns,
                version.etag,
                version.version_id,
                stat.storage_class,
            )
        if self.list_failure is not None:
            raise self.list_failure
        return None
