"""The operations on one bucket: HEAD, LIST, GET of a range, revalidation, and restore.

Each has a module of its own; here they are joined over one transport.
"""

import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from s3mount.s3.archive import RestoreOutcome, RestoreQuery
from s3mount.s3.model import (
    PAGE_SIZE,
    ByteRange,
    ListPage,
    ListQuery,
    ObjectMetadata,
    ObjectStat,
    ObjectVersion,
    Reason,
    Revalidation,
    VersionPage,
    VersionQuery,
)
from s3mount.s3.object_store import OnToken
from s3mount.s3.operations.etag_probe import EtagProbe
from s3mount.s3.operations.get_range import GetRange
from s3mount.s3.operations.head_metadata import HeadMetadata, MetadataQuery
from s3mount.s3.operations.head_object import HeadObject
from s3mount.s3.operations.list_bucket import ListBucket
from s3mount.s3.operations.list_dialect import ListDialect, ListObjects
from s3mount.s3.operations.modification_time import ModificationTimes
from s3mount.s3.operations.operation_runner import OperationRunner
from s3mount.s3.operations.revalidate import Revalidate
from s3mount.s3.operations.store_traits import StoreTraits
from s3mount.s3.scheduling.attempt import Sender
from s3mount.s3.transport import Transport

if TYPE_CHECKING:
    from s3mount.s3.operations.object_versions import ObjectVersions


class Operations(Protocol):
    """Single attempts at the operations of `ObjectStore`, from any thread.

    Every call blocks, until *deadline* (`time.monotonic()` seconds) at most, and raises
    S3MountErrors that no retry would mend, and Retryable.
    """

    def head(
        self,
        key: str,
        *,
        deadline: float,
        reason: Reason = Reason.LOOKUP,
        version_id: str | None = None,
    ) -> ObjectStat:
        """Return the attributes of *key*, current or of *version_id* (HeadObject)."""
        ...

    def metadata(self, query: MetadataQuery, *, deadline: float) -> ObjectMetadata:
        """Return all that HeadObject tells of an object; see `ObjectStore.metadata`."""
        ...

    def head_by_get(self, key: str, *, deadline: float, is_whole: bool = False) -> ObjectStat:
        """Return the attributes of *key* from the response to a GET of its first byte, or of all.

        No body is read.
        """
        ...

    def list_page(
        self, query: ListQuery, *, deadline: float, on_token: OnToken | None = None
    ) -> ListPage:
        """Return one page of a listing.

        *on_token* is called in this thread, at most once, before the page is parsed. What it gets
        is a hint; only the page itself is validated.
        """
        ...

    def list_versions(self, query: VersionQuery, *, deadline: float) -> VersionPage:
        """Return one page of versions and delete markers (ListObjectVersions)."""
        ...

    def has_versioning(self, *, deadline: float) -> bool:
        """Return whether the bucket keeps versions, or did before (GetBucketVersioning)."""
        ...

    def get_range(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        *,
        version_id: str | None,
        deadline: float,
        is_conditional: bool = True,
        reason: Reason = Reason.READ,
    ) -> Sender[str | None]:
        """Return the sender of GETs for *byte_range* of *version*; nothing is sent yet.

        It requests *version_id* if that is given, and else sends If-Match if *is_conditional*.
        """
        ...

    def revalidate(
        self, version: ObjectVersion, head_size: int, *, deadline: float
    ) -> Revalidation:
        """Return whether *version* is current, and else the first *head_size* bytes of the new.

        It has none of them if the store refused the condition.
        """
        ...

    def restore(self, query: RestoreQuery, *, deadline: float) -> RestoreOutcome:
        """Ask for the restore of an archived object; return what the store responds.

        Raises StoreError if it needs none, or the store has none.
        """
        ...

    def has_ranges(self) -> bool:
        """Whether the store sends parts of objects, as far as is known."""
        ...

    def preconnect(self, *, deadline: float) -> None: ...

    def renew_credentials(self, since: float, deadline: float, *, is_expired: bool) -> bool: ...

    def close(self) -> None: ...


class BucketOperations:
    """`Operations` on *bucket*, over *transport*; *prefix* is the mount's.

    Listings are requested by *page_size* rows.
    """

    def __init__(
        self,
        transport: Transport,
        bucket: str,
        *,
        dialect: ListDialect | None = None,
        traits: StoreTraits | None = None,
        prefix: str = "",
        page_size: int = PAGE_SIZE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._traits = traits = traits or StoreTraits()
        self._runner = runner = OperationRunner(transport, bucket)
        dialect = dialect or ListObjects()
        self._page_size = page_size
        self._probe = EtagProbe(transport, dialect, prefix, page_size)
        self._head_object = head_object = HeadObject(runner, traits)
        times = ModificationTimes()
        self._list_bucket = ListBucket(
            runner, dialect, head_object, times, clock, page_size=page_size
        )
        # the calls of the parts, for whoever holds the operations, without a frame of their own
        self.head = head_object.head
        self.head_by_get = head_object.head_by_get
        self.metadata = HeadMetadata(runner, traits, head_object).metadata
        self.list_page = self._list_bucket.list_page
        self.revalidate = Revalidate(runner, traits, head_object, times).revalidate
        self.preconnect = transport.preconnect
        self.renew_credentials = transport.renew_credentials
        self.close = transport.close

    def get_range(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        *,
        version_id: str | None,
        deadline: float,
        is_conditional: bool = True,
        reason: Reason = Reason.READ,
    ) -> GetRange:
        return GetRange(
            self._runner,
            self._traits,
            version,
            byte_range,
            version_id=version_id,
            deadline=deadline,
            probe=self._probe,
            head_object=self._head_object,
            is_conditional=is_conditional,
            reason=reason,
        )

    def restore(self, query: RestoreQuery, *, deadline: float) -> RestoreOutcome:
        # most mounts never restore anything
        from s3mount.s3.operations.restore_object import RestoreObject  # noqa: PLC0415

        return RestoreObject(self._runner).restore(query, deadline=deadline)

    def list_versions(self, query: VersionQuery, *, deadline: float) -> VersionPage:
        return self._versions.list_versions(query, deadline=deadline)

    def has_versioning(self, *, deadline: float) -> bool:
        return self._versions.has_versioning(deadline=deadline)

    @cached_property
    def _versions(self) -> "ObjectVersions":
        """The operations on versions, imported for the few mounts that are asked for any."""
        from s3mount.s3.operations.object_versions import ObjectVersions  # noqa: PLC0415

        return ObjectVersions(self._runner, self._page_size)

    def has_ranges(self) -> bool:
        return self._traits.has_ranges
