"""The operations on one bucket: HEAD, LIST, GET of a range, and revalidation.

Each has a module of its own; here they are joined over one transport.
"""

import time
from collections.abc import Callable
from typing import Protocol

from s3mount.s3.model import (
    ByteRange,
    ListPage,
    ListQuery,
    ObjectMetadata,
    ObjectStat,
    ObjectVersion,
    Reason,
    Revalidation,
)
from s3mount.s3.object_store import OnToken
from s3mount.s3.operations.etag_probe import EtagProbe
from s3mount.s3.operations.get_range import GetRange
from s3mount.s3.operations.head_metadata import HeadMetadata, MetadataQuery
from s3mount.s3.operations.head_object import HeadObject
from s3mount.s3.operations.list_bucket import ListBucket
from s3mount.s3.operations.list_dialect import ListDialect, ListObjects
from s3mount.s3.operations.operation_runner import OperationRunner
from s3mount.s3.operations.revalidate import Revalidate
from s3mount.s3.operations.store_traits import StoreTraits
from s3mount.s3.scheduling.attempt import Sender
from s3mount.s3.transport import Transport


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

    def has_ranges(self) -> bool:
        """Whether the store sends parts of objects, as far as is known."""
        ...

    def preconnect(self, *, deadline: float) -> None: ...

    def renew_credentials(self, since: float, deadline: float, *, is_expired: bool) -> bool: ...

    def close(self) -> None: ...


class BucketOperations:
    """`Operations` on *bucket*, over *transport*; *prefix* is the mount's."""

    def __init__(
        self,
        transport: Transport,
        bucket: str,
        *,
        dialect: ListDialect | None = None,
        traits: StoreTraits | None = None,
        prefix: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._traits = traits = traits or StoreTraits()
        self._runner = runner = OperationRunner(transport, bucket)
        dialect = dialect or ListObjects()
        self._probe = EtagProbe(transport, dialect, prefix)
        head_object = HeadObject(runner, traits)
        self._list_bucket = ListBucket(runner, dialect, head_object, clock)
        # the calls of the parts, for whoever holds the operations, without a frame of their own
        self.head = head_object.head
        self.head_by_get = head_object.head_by_get
        self.metadata = HeadMetadata(runner, traits).metadata
        self.list_page = self._list_bucket.list_page
        self.revalidate = Revalidate(runner, traits, head_object).revalidate
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
            is_conditional=is_conditional,
            reason=reason,
        )

    def has_ranges(self) -> bool:
        return self._traits.has_ranges
