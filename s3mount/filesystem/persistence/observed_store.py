"""Object store whose requests tell whether it can be reached."""

from s3mount.filesystem.persistence.outage import OutageMonitor
from s3mount.s3.model import (
    ByteRange,
    ListPage,
    ListQuery,
    ObjectStat,
    ObjectVersion,
    Reason,
    Revalidation,
)
from s3mount.s3.object_store import (
    ObjectStore,
    OnReadEnd,
    OnToken,
    Priority,
    RequestPriority,
    StartedRead,
)


class ObservedObjects:
    """`ObjectStore` over *store*; *monitor* records how each request for metadata ends."""

    def __init__(self, store: ObjectStore, monitor: OutageMonitor) -> None:
        self._store = store
        self._observe = monitor.observe

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:
        return await self._observe(self._store.head(key, reason))

    async def head_by_get(self, key: str, *, is_whole: bool = False) -> ObjectStat:
        return await self._observe(self._store.head_by_get(key, is_whole=is_whole))

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        return await self._observe(self._store.list_page(query, priority, on_token))

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        return await self._observe(self._store.revalidate(version, head_size))

    async def probe(self, prefix: str) -> None:
        """Request one row of a listing."""
        await self.list_page(ListQuery(prefix, max_keys=1, reason=Reason.CHECK))

    def has_capacity(self) -> bool:
        return self._store.has_capacity()

    def has_ranges(self) -> bool:
        return self._store.has_ranges()

    def has_scans(self, prefix: str) -> bool:
        return self._store.has_scans(prefix)

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
        return self._store.start_read(version, byte_range, into, on_end, priority, reason=reason)
