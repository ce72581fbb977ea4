"""Store that expects no request: the base of fakes that respond to some requests only."""

from s3mount.s3.archive import RestoreOrder, RestoreOutcome
from s3mount.s3.model import (
    ByteRange,
    ListPage,
    ListQuery,
    ObjectMetadata,
    ObjectStat,
    ObjectVersion,
    PosixAttributes,
    Reason,
    Revalidation,
    VersionPage,
    VersionQuery,
)
from s3mount.s3.object_store import (
    OnReadEnd,
    OnToken,
    Priority,
    RequestPriority,
    StartedRead,
)

# ruff: noqa: ARG002 - the parameters are those of the protocol


class UnaskedStore:
    """`BucketStore` whose every request fails the test; it has all abilities, and free capacity."""

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:
        raise self._unexpected("head")

    async def head_version(
        self, key: str, version_id: str, reason: Reason = Reason.LOOKUP
    ) -> ObjectStat:
        raise self._unexpected("head_version")

    async def head_by_get(self, key: str, *, is_whole: bool = False) -> ObjectStat:
        raise self._unexpected("head_by_get")

    async def metadata(
        self,
        key: str,
        *,
        version_id: str | None = None,
        part_number: int | None = None,
        reason: Reason = Reason.ATTRIBUTES,
    ) -> ObjectMetadata:
        raise self._unexpected("metadata")

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        raise self._unexpected("list_page")

    async def list_versions(
        self, query: VersionQuery, priority: RequestPriority | None = None
    ) -> VersionPage:
        raise self._unexpected("list_versions")

    async def has_versioning(self) -> bool:
        raise self._unexpected("has_versioning")

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        raise self._unexpected("revalidate")

    async def restore(
        self, key: str, order: RestoreOrder, *, version_id: str | None = None
    ) -> RestoreOutcome:
        raise self._unexpected("restore")

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
        raise self._unexpected("start_read")

    def store_key(self, key: str, version_id: str | None = None) -> str:
        return key

    def posix_attributes(self, version: ObjectVersion) -> PosixAttributes | None:
        return None

    def has_capacity(self) -> bool:
        return True

    def has_ranges(self) -> bool:
        return True

    def has_scans(self, prefix: str) -> bool:
        return True

    def _unexpected(self, method: str) -> AssertionError:
        return AssertionError(f"{type(self).__name__} expects no {method}")
