"""The operations on an account: its buckets are listed, and it has no objects of its own."""

from collections.abc import Mapping

from s3mount.errors import NotFound
from s3mount.s3.archive import RestoreOutcome, RestoreQuery
from s3mount.s3.model import (
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
from s3mount.s3.operations.head_metadata import MetadataQuery
from s3mount.s3.operations.list_buckets import ListBuckets
from s3mount.s3.operations.operation_runner import OperationRunner
from s3mount.s3.scheduling.attempt import Sender
from s3mount.s3.transport import Transport


class AccountOperations:
    """`Operations` over *transport*, whose pages are of buckets.

    *regions* has those that the store has told, by bucket; it is replaced whole.
    """

    def __init__(self, transport: Transport) -> None:
        self.regions: Mapping[str, str] = {}
        self._list_buckets = ListBuckets(OperationRunner(transport, ""))
        self.renew_credentials = transport.renew_credentials
        self.close = transport.close

    def list_page(
        self,
        query: ListQuery,
        *,
        deadline: float,
        on_token: OnToken | None = None,  # noqa: ARG002 - a hint, which few accounts need
    ) -> ListPage:
        page, regions = self._list_buckets.list_page(query, deadline=deadline)
        self.regions = regions if query.token is None else {**self.regions, **regions}
        return page

    def has_ranges(self) -> bool:
        return True

    def preconnect(self, *, deadline: float) -> None:
        """Do nothing: the buckets may be at other hosts."""

    def head(
        self,
        key: str,
        *,
        deadline: float,  # noqa: ARG002
        reason: Reason = Reason.LOOKUP,  # noqa: ARG002
        version_id: str | None = None,  # noqa: ARG002
    ) -> ObjectStat:
        raise _no_object(key)

    def metadata(self, query: MetadataQuery, *, deadline: float) -> ObjectMetadata:  # noqa: ARG002
        raise _no_object(query.key)

    def head_by_get(
        self,
        key: str,
        *,
        deadline: float,  # noqa: ARG002
        is_whole: bool = False,  # noqa: ARG002
    ) -> ObjectStat:
        raise _no_object(key)

    def revalidate(
        self,
        version: ObjectVersion,
        head_size: int,  # noqa: ARG002
        *,
        deadline: float,  # noqa: ARG002
    ) -> Revalidation:
        raise _no_object(version.key)

    def restore(self, query: RestoreQuery, *, deadline: float) -> RestoreOutcome:  # noqa: ARG002
        raise _no_object(query.key)

    def list_versions(self, query: VersionQuery, *, deadline: float) -> VersionPage:  # noqa: ARG002
        raise _no_object(query.prefix)

    def has_versioning(self, *, deadline: float) -> bool:  # noqa: ARG002
        return False

    def get_range(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,  # noqa: ARG002
        *,
        version_id: str | None,  # noqa: ARG002
        deadline: float,  # noqa: ARG002
        is_conditional: bool = True,  # noqa: ARG002
        reason: Reason = Reason.READ,  # noqa: ARG002
    ) -> Sender[str | None]:
        raise _no_object(version.key)


def _no_object(key: str) -> NotFound:
    return NotFound("no object is outside of a bucket", key=key)
