"""The operations of a store, as the rest of the program calls them.

What is awaited is a checkpoint, always, and ends within the store's deadline. It raises only
`S3MountError`s: `NotFound`, `AccessDenied`, `StaleVersion`, `StoreError`, `DeadlineExceeded`.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Protocol

from s3mount.errors import S3MountError
from s3mount.s3.archive import RestoreOrder, RestoreOutcome
from s3mount.s3.model import (
    ByteRange,
    ListPage,
    ListQuery,
    ObjectMetadata,
    ObjectPart,
    ObjectStat,
    ObjectVersion,
    PosixAttributes,
    Reason,
    Revalidation,
    VersionPage,
    VersionQuery,
)


class Priority(IntEnum):
    """Priority of a request. A caller waits for a demand, which never queues behind prefetch."""

    DEMAND = 0
    PREFETCH = 1


class RequestPriority:
    """The priority of one request, which may rise while it is in flight, and never falls.

    *on_promote* is set by what the request waits for, and called when the priority rises.
    """

    __slots__ = ("level", "on_promote")

    def __init__(self, level: Priority = Priority.DEMAND) -> None:
        self.level = level
        self.on_promote: Callable[[], None] | None = None

    def promote(self) -> None:
        """Give the request demand priority: a caller waits for it from now on."""
        if self.level is Priority.PREFETCH:
            self.level = Priority.DEMAND
            if self.on_promote is not None:
                self.on_promote()


OnToken = Callable[[str | None], None]
"""Called with the token of the next page, as a hint. Only the page itself is validated."""


OnReadEnd = Callable[[ObjectVersion, BaseException | None], None]
"""Called when a read has ended: with the version, its version id if known, and the failure.

The failure is an S3MountError, an ExpectedError if the read was cancelled, or a bug. It is None if
the buffer is filled."""


class StartedRead(Protocol):
    """A read that was started; its callback is called when it has ended."""

    def promote(self) -> None:
        """Give it demand priority: a reader waits for it. Does nothing if it has that already."""
        ...

    def cancel(self) -> None:
        """End it: its bytes are not needed. Does nothing once it has ended."""
        ...


class ObjectStore(Protocol):
    """Objects of one bucket, as the tree and the block cache ask for them."""

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:
        """The current attributes of *key* (HeadObject)."""
        ...

    async def head_by_get(self, key: str, *, is_whole: bool = False) -> ObjectStat:
        """The attributes of *key* in the response to a GET: of its first byte, or of all of it."""
        ...

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        """One page of a listing (ListObjectsV2); *priority* is its own, demand if None.

        *on_token* may be called before this page is parsed. AccessDenied if
        listing is refused, NotFound if the bucket is gone.
        """
        ...

    def has_capacity(self) -> bool:
        """Whether a prefetch request would be sent at once."""
        ...

    def has_ranges(self) -> bool:
        """Whether a part of an object costs less than the whole object, as far as is known."""
        ...

    def has_scans(self, prefix: str) -> bool:
        """Whether all that is below *prefix* can be listed at once, without a delimiter."""
        ...

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
        """Fill *into*, as long as *byte_range*, with these bytes of exactly this version.

        *byte_range* is not empty and lies within the object. *on_end* is called once, later and in
        the event loop, when nobody writes to *into* any more: after a cancellation too. It is told
        StaleVersion if the store has another version by now, and this one cannot be read by its
        version id either. After a failure the content of *into* is undefined.
        """
        ...

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        """Compare *version* with the current one (If-None-Match).

        If it was replaced, return the new one with its first *head_size* bytes. NotFound if the
        object was deleted.
        """
        ...


class MetadataSource(Protocol):
    """Source of all that S3 tells of one object; a file is served without it."""

    async def metadata(
        self,
        key: str,
        *,
        version_id: str | None = None,
        part_number: int | None = None,
        reason: Reason = Reason.ATTRIBUTES,
    ) -> ObjectMetadata:
        """All that HeadObject tells of *key*, with its checksums.

        With *part_number* the fields are of that part (from 1 on): ContentLength is the part's
        size, and PartsCount is told, if the object was uploaded in parts.
        """
        ...


class PartSource(Protocol):
    """Source of the parts that an object was uploaded in; see `object_parts`.

    All raise StaleVersion if *version* is not current, nor known to be replaced and read by its id.
    """

    async def first(self, version: ObjectVersion, reason: Reason) -> ObjectPart:
        """The first part, or all of an object that was uploaded whole."""
        ...

    async def all(self, version: ObjectVersion, count: int, reason: Reason) -> list[ObjectPart]:
        """The *count* parts in order, by a request for each."""
        ...


class Restorer(Protocol):
    """Requester of restores: no part of an `ObjectStore`, as only a user's command may."""

    async def restore(
        self, key: str, order: RestoreOrder, *, version_id: str | None = None
    ) -> RestoreOutcome:
        """Ask for the restore of *key*, current or of *version_id* (RestoreObject).

        The only request that is not a read. Raises StoreError if the object needs none, or the
        store has none.
        """
        ...


class PosixSource(Protocol):
    """Source of the attributes of uploaded files, as far as responses have brought them."""

    def posix_attributes(self, version: ObjectVersion) -> PosixAttributes | None:
        """The attributes in the metadata of *version*, without a request; None if none are known.

        They are kept with `--posix-metadata` only.
        """
        ...


class KeySource(Protocol):
    """Source of the keys that the store has for what a view of it shows."""

    def store_key(self, key: str, version_id: str | None = None) -> str:
        """The store's own key of what is shown as *key*, or the prefix of a directory's.

        Makes no request. *version_id* is that of the file, if it is known. In a mount of many
        buckets, the bucket comes before it.
        """
        ...


class BucketStore(ObjectStore, MetadataSource, Restorer, PosixSource, KeySource, Protocol):
    """All requests of one bucket that the views stand on."""

    async def head_version(
        self, key: str, version_id: str, reason: Reason = Reason.LOOKUP
    ) -> ObjectStat:
        """The attributes of one version of *key*, current or not. NotFound for a delete marker."""
        ...

    async def list_versions(
        self, query: VersionQuery, priority: RequestPriority | None = None
    ) -> VersionPage:
        """One page of versions and delete markers (ListObjectVersions).

        The order within a key is the store's: newest first at S3.
        """
        ...


async def is_listed_nowhere(store: ObjectStore, key: str) -> bool:
    """Whether a listing of *key* itself, in one page, has no such object; False if it fails.

    For a HEAD that is refused: some proxies respond 403 to that of whatever is not there.
    """
    try:
        page = await store.list_page(ListQuery(key, reason=Reason.LOOKUP))
    except S3MountError:
        return False
    is_listed = page.is_partial or any(each.key == key for each in page.objects)
    return page.next_token is None and not is_listed
