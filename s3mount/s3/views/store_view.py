"""Base of the views: requests by the keys that are shown, sent by the keys that the stores have.

Invariants: a result names the key that was asked for, never the store's own, and a version that is
shown is read from the store and under the key that it was found at. An error keeps the store's own
key, as logs and traces have it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

from s3mount.errors import NotFound
from s3mount.s3.archive import RestoreOrder, RestoreOutcome
from s3mount.s3.model import (
    ByteRange,
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


class Target(NamedTuple):
    """Object of a store that a key of a view stands for; *version_id* None: the current version."""

    store: BucketStore
    bucket: str
    key: str
    version_id: str | None = None


class Targets(Protocol):
    """Parts of a view: where each of its keys is, and how its listings are made."""

    @property
    def bucket(self) -> str:
        """The bucket that results name: the mount's."""
        ...

    async def find(self, key: str) -> Target:
        """The object that *key* stands for. NotFound if it can be none."""
        ...

    def find_nowait(self, key: str) -> Target:
        """`find` for a key that was found before: of a version that is read."""
        ...

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None,
        on_token: OnToken | None,
    ) -> ListPage:
        """One page by the keys that are shown; see `ObjectStore.list_page`."""
        ...

    def has_capacity(self) -> bool: ...
    def has_ranges(self) -> bool: ...


class StoreView:
    """`BucketStore` over *targets*."""

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self.has_capacity = targets.has_capacity
        self.has_ranges = targets.has_ranges

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:
        store, _, own_key, version_id = await self._targets.find(key)
        if version_id is not None:
            stat = await store.head_version(own_key, version_id, reason)
            return self._shown(stat, key, version_id)
        return self._shown(await store.head(own_key, reason), key)

    async def head_version(
        self, key: str, version_id: str, reason: Reason = Reason.LOOKUP
    ) -> ObjectStat:
        store, _, own_key, own_version = await self._targets.find(key)
        stat = await store.head_version(own_key, own_version or version_id, reason)
        return self._shown(stat, key)

    async def head_by_get(self, key: str, *, is_whole: bool = False) -> ObjectStat:
        store, _, own_key, version_id = await self._targets.find(key)
        if version_id is not None:  # a version that never changes has no other answer
            return await self.head(key, Reason.REVALIDATE)
        return self._shown(await store.head_by_get(own_key, is_whole=is_whole), key)

    async def metadata(
        self,
        key: str,
        *,
        version_id: str | None = None,
        part_number: int | None = None,
        reason: Reason = Reason.ATTRIBUTES,
    ) -> ObjectMetadata:
        store, _, own_key, own_version = await self._targets.find(key)
        found = await store.metadata(
            own_key,
            version_id=own_version or version_id,
            part_number=part_number,
            reason=reason,
        )
        return replace(found, stat=self._shown(found.stat, key))

    async def restore(
        self, key: str, order: RestoreOrder, *, version_id: str | None = None
    ) -> RestoreOutcome:
        store, _, own_key, own_version = await self._targets.find(key)
        return await store.restore(own_key, order, version_id=own_version or version_id)

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        return await self._targets.list_page(query, priority, on_token)

    async def list_versions(
        self, query: VersionQuery, priority: RequestPriority | None = None
    ) -> VersionPage:
        """See `BucketStore.list_versions`; the prefix is a key, or what a key may begin with."""
        store, _, own_prefix, _ = await self._targets.find(query.prefix)
        marker = query.marker
        if marker is not None:
            own_key = own_prefix + marker.key.removeprefix(query.prefix)
            marker = VersionMarker(own_key, marker.version_id)
        page = await store.list_versions(replace(query, prefix=own_prefix, marker=marker), priority)
        return _renamed_versions(page, own_prefix, query.prefix)

    def has_scans(self, prefix: str) -> bool:  # noqa: ARG002 - a view of one store
        return True

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
        store, bucket, own_key, version_id = self._targets.find_nowait(version.key)
        own = renamed(version, bucket, own_key)
        if version_id is not None:
            own = own.with_version_id(version_id, is_replaced=True)
        return store.start_read(
            own, byte_range, into, _shows(version, on_end), priority, reason=reason
        )

    def store_key(self, key: str, version_id: str | None = None) -> str:
        store, _, own_key, own_version = self._targets.find_nowait(key)
        return store.store_key(own_key, own_version or version_id)

    def posix_attributes(self, version: ObjectVersion) -> PosixAttributes | None:
        try:
            store, bucket, own_key, _ = self._targets.find_nowait(version.key)
        except NotFound:  # listed, and not found yet: no response has told anything of it
            return None
        return store.posix_attributes(renamed(version, bucket, own_key))

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        store, bucket, own_key, version_id = await self._targets.find(version.key)
        own = renamed(version, bucket, own_key)
        if version_id is not None:
            stat = await store.head_version(own_key, version_id, Reason.REVALIDATE)
            found: Revalidation = Modified(stat, b"")
            found = NotModified() if stat.version.is_same(own) else found
        else:
            found = await store.revalidate(own, head_size)
        if isinstance(found, Modified):
            return Modified(self._shown(found.stat, version.key, version_id), found.head)
        return found

    def _shown(self, stat: ObjectStat, key: str, version_id: str | None = None) -> ObjectStat:
        """*stat* under *key*; a version that was asked for by its id is read by it."""
        version = renamed(stat.version, self._targets.bucket, key)
        if version_id is not None:
            version = version.with_version_id(version_id)
        return replace(stat, version=version)


def renamed(version: ObjectVersion, bucket: str, key: str) -> ObjectVersion:
    """*version* under another name, with all that is known of it."""
    other = ObjectVersion(bucket, key, version.etag, version.size)
    other = other.with_version_id(version.version_id, is_replaced=version.is_replaced)
    return other.doubted() if version.is_doubted else other


def _shows(shown: ObjectVersion, on_end: OnReadEnd) -> OnReadEnd:
    """*on_end*, called with the version as it is *shown*."""

    def ended(version: ObjectVersion, failure: BaseException | None) -> None:
        on_end(renamed(version, shown.bucket, shown.key), failure)

    return ended


def _renamed_versions(page: VersionPage, own_prefix: str, prefix: str) -> VersionPage:
    """*page* of what begins with *own_prefix*, by keys that begin with *prefix*."""

    def rename(key: str) -> str:
        return prefix + key.removeprefix(own_prefix)

    marker = page.next_marker
    return VersionPage(
        [row._replace(key=rename(row.key)) for row in page.versions],
        [*map(rename, page.prefixes)],
        None if marker is None else VersionMarker(rename(marker.key), marker.version_id),
    )


Rename = Callable[[str], str]


def renamed_page(page: ListPage, rename: Rename) -> ListPage:
    """*page* with each key and common prefix as *rename* has it."""
    return replace(
        page,
        objects=[row._replace(key=rename(row.key)) for row in page.objects],
        prefixes=[rename(prefix) for prefix in page.prefixes],
        incomplete=tuple((index, rename(key)) for index, key in page.incomplete),
    )
