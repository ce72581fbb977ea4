"""View of a bucket as it was at one moment (`--at`): deleted objects included, later ones not.

Invariants:

1. A directory existed if a key below it did. A page of versions cannot tell that of a common
   prefix, so each one of which no object is known is listed by itself, all at once.
2. The first page of a listing is one of everything below its prefix. If that is all, as it is of
   small trees and of directories without children, no other request is needed.
3. Each read is by version id, and is validated as every read is: the version "null" may have been
   replaced in place, which is then a stale version. No other version changes, so none is
   revalidated.
4. Nothing is shown of a bucket before *check_past* has returned.
"""

import json
from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

import trio

from s3mount.errors import AccessDenied, NotFound, S3MountError, StaleVersion, StoreError
from s3mount.s3.archive import ARCHIVE_CLASSES, RestoreOrder, RestoreOutcome
from s3mount.s3.model import (
    NULL_VERSION,
    ByteRange,
    ListedObject,
    ListedVersion,
    ListPage,
    ListQuery,
    Modified,
    NotModified,
    ObjectMetadata,
    ObjectStat,
    ObjectVersion,
    PosixAttributes,
    Reason,
    Revalidation,
    VersionMarker,
    VersionPage,
    VersionQuery,
)
from s3mount.s3.object_store import (
    BucketStore,
    OnReadEnd,
    OnToken,
    Priority,
    RequestPriority,
    StartedRead,
)
from s3mount.s3.views.moment import (
    NOTHING,
    Carried,
    KeyHistory,
    MomentPage,
    check_forward,
    is_object,
    page_at,
)

FIRST_ROWS: Final = 100  # of a directory of which one object is looked for


class MomentView:
    """`BucketStore` of *bucket* in *store* as it was at *moment_ns*, in nanoseconds since 1970.

    *check_past* raises an S3MountError if the bucket has no past; None: it is known to have one.
    """

    def __init__(
        self,
        store: BucketStore,
        bucket: str,
        moment_ns: int,
        *,
        check_past: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._bucket = bucket
        self._moment_ns = moment_ns
        self._check_past = check_past
        self.has_capacity = store.has_capacity
        self.has_ranges = store.has_ranges
        self.has_scans = store.has_scans
        self.store_key = store.store_key
        self.head_version = store.head_version
        self.list_versions = store.list_versions

    # ---- objects

    async def restore(
        self, key: str, order: RestoreOrder, *, version_id: str | None = None
    ) -> RestoreOutcome:
        found = await self._find(key, Reason.RESTORE)
        return await self._store.restore(key, order, version_id=version_id or found.version_id)

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:
        return self._stat(await self._find(key, reason))

    async def head_by_get(self, key: str, *, is_whole: bool = False) -> ObjectStat:  # noqa: ARG002
        found = await self._find(key, Reason.REVALIDATE)
        stat = await self._store.head_version(key, found.version_id, Reason.REVALIDATE)
        version = stat.version.with_version_id(found.version_id)
        return replace(stat, version=version, version_id=found.version_id)

    async def metadata(
        self,
        key: str,
        *,
        version_id: str | None = None,
        part_number: int | None = None,
        reason: Reason = Reason.ATTRIBUTES,
    ) -> ObjectMetadata:
        if version_id is None:
            version_id = (await self._find(key, reason)).version_id
        return await self._store.metadata(
            key, version_id=version_id, part_number=part_number, reason=reason
        )

    def posix_attributes(self, version: ObjectVersion) -> PosixAttributes | None:
        own = version.with_version_id(version.version_id, is_replaced=True)
        return self._store.posix_attributes(own)

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        del head_size  # a listing brings no bytes
        if version.version_id not in (None, NULL_VERSION):
            await trio.lowlevel.checkpoint()
            return NotModified()
        stat = self._stat(await self._find(version.key, Reason.REVALIDATE))
        return NotModified() if stat.version.is_same(version) else Modified(stat, b"")

    def start_read(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,
        on_end: OnReadEnd,
        priority: Priority,
        *,
        reason: Reason = Reason.READ,
    ) -> StartedRead:
        def ended(told: ObjectVersion, failure: BaseException | None) -> None:
            on_end(told, as_denied(failure))

        own = version.with_version_id(version.version_id, is_replaced=True)
        return self._store.start_read(own, byte_range, into, ended, priority, reason=reason)

    async def _find(self, key: str, reason: Reason) -> ListedVersion:
        """Return the version that *key* had. Raises NotFound."""
        if self._check_past is not None:
            await self._check_past()
        query, history = VersionQuery(key, "/", reason=reason), KeyHistory(self._moment_ns)
        seen = set[VersionMarker]()
        while True:
            page = await self._store.list_versions(query)
            history.add(row for row in page.versions if row.key == key)
            marker = page.next_marker
            if marker is None or marker.key != key or history.is_decided:
                break
            _check_new(marker, seen)
            query = replace(query, marker=marker)
        newest = history.newest
        if newest is None or not is_object(newest):
            raise NotFound("no such object at that time", bucket=self._bucket, key=key)
        return newest

    def _stat(self, row: ListedVersion) -> ObjectStat:
        version = ObjectVersion(self._bucket, row.key, row.etag, row.size)
        return ObjectStat(
            version.with_version_id(row.version_id),
            row.mtime_ns,
            row.storage_class,
            row.version_id,
            is_archived=row.storage_class in ARCHIVE_CLASSES,
        )

    # ---- listings

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,  # noqa: ARG002 - the next position is known at the end
    ) -> ListPage:
        page = await self._page(query, priority)
        existing = await self._existing(page.doubtful, query.reason, priority)
        directories = [
            each for each in page.directories if each in existing or each not in page.doubtful
        ]
        token = None
        if page.next_marker is not None:
            token = _encode(page.next_marker, page.carried)
        return ListPage([_listed(row) for row in page.objects], directories, token)

    async def _page(self, query: ListQuery, priority: RequestPriority | None) -> MomentPage:
        if self._check_past is not None:
            await self._check_past()
        marker, carried = None, NOTHING
        if query.token is not None:
            marker, carried = _decode(query.token)
        elif query.start_after is not None:
            marker = VersionMarker(query.start_after)
        delimiter = "" if marker is None else query.delimiter
        page = await self._store.list_versions(
            VersionQuery(query.prefix, delimiter, marker, query.max_keys, query.reason), priority
        )
        if query.token is None and query.start_after is not None:
            page = _without_key(page, query.start_after)
        if marker is not None:
            check_forward(page, marker)
        return page_at(self._moment_ns, page, query, carried)

    async def _existing(
        self, directories: AbstractSet[str], reason: Reason, priority: RequestPriority | None
    ) -> set[str]:
        """Return those of *directories* that existed."""
        found: set[str] = set()
        failures: list[S3MountError] = []
        priorities = _shared_priority(priority, len(directories))

        async def look(directory: str, own: RequestPriority) -> None:
            try:
                if await self._has_object(directory, reason, own):
                    found.add(directory)
            except S3MountError as exc:
                failures.append(exc)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for directory, own in zip(directories, priorities, strict=True):
                nursery.start_soon(look, directory, own)
        if failures:
            raise failures[0]
        return found

    async def _has_object(self, directory: str, reason: Reason, priority: RequestPriority) -> bool:
        query = ListQuery(directory, "", max_keys=FIRST_ROWS, reason=reason)
        seen = set[VersionMarker]()
        while True:
            page = await self._page(query, priority)
            if page.objects or page.next_marker is None:
                return bool(page.objects)
            _check_new(page.next_marker, seen)
            token = _encode(page.next_marker, page.carried)
            query = ListQuery(directory, "", token=token, reason=reason)


def as_denied(failure: BaseException | None) -> BaseException | None:
    """Return *failure* of a read by version id, but as AccessDenied if the store denied it.

    Whoever may read objects need not be allowed to read versions (s3:GetObjectVersion).
    """
    if isinstance(failure, StaleVersion) and failure.status == 403:
        is_archived = failure.code == "InvalidObjectState"
        return AccessDenied(
            "the version is archived, and has to be restored before it can be read"
            if is_archived
            else "reading versions is denied: allow s3:GetObjectVersion",
            bucket=failure.bucket,
            key=failure.key,
            status=failure.status,
            code=failure.code,
        )
    return failure


def _listed(row: ListedVersion) -> ListedObject:
    return ListedObject(
        row.key, row.size, row.mtime_ns, row.etag, row.storage_class, row.version_id
    )


def _shared_priority(priority: RequestPriority | None, count: int) -> list[RequestPriority]:
    """Return *count* priorities, of a request each, that rise with *priority*."""
    shared = RequestPriority() if priority is None else priority
    each = [RequestPriority(shared.level) for _ in range(count)]

    def promote() -> None:
        for own in each:
            own.promote()

    shared.on_promote = promote
    return each


def _check_new(marker: VersionMarker, seen: set[VersionMarker]) -> None:
    """Add *marker* to those *seen*. Raises StoreError if it has been seen."""
    if marker in seen:
        raise StoreError("the listing of versions repeats a marker", key=marker.key)
    seen.add(marker)


def _without_key(page: VersionPage, key: str) -> VersionPage:
    """*page* without rows of *key*: moto leaves out one of them only."""
    return replace(page, versions=[row for row in page.versions if row.key != key])


def _encode(marker: VersionMarker, carried: Carried) -> str:
    return json.dumps([*marker, carried.directory, carried.version])


def _decode(token: str) -> tuple[VersionMarker, Carried]:
    try:
        key, version_id, directory, version = json.loads(token)
        carried = None if version is None else ListedVersion(*version)
        return VersionMarker(key, version_id), Carried(carried, directory)
    except (TypeError, ValueError) as exc:
        raise StoreError("a listing is continued by a token of another one") from exc
