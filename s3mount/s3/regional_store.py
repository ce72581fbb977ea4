"""Store of one bucket in the region that the bucket is in, found by the requests themselves.

A mount of many buckets does not ask where each is. The first request to a bucket goes to the region
that the account's listing tells, else to that of the account, and a redirect leads to the other
one. So opening a bucket costs no request of its own, unless a HEAD is redirected without a region:
then a LIST of one key asks for it.

Invariants:

1. Until a bucket's region is *settled*, one request is in flight to it; the others wait. Any
   response but a redirect settles it, a refusal and an absence too. A failure without a response
   does not: it is raised to all who waited, and the next caller tries again.
2. A bucket that is created anew in another region redirects, and is followed there.
3. There is one store for each region that a bucket was found in, REGIONS_MAX at most, and none is
   closed before the mount is: reads may be in flight.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import trio

from s3mount.errors import S3MountError, SetupError, StoreError
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
    BucketStore,
    OnReadEnd,
    OnToken,
    Priority,
    RequestPriority,
    StartedRead,
)
from s3mount.s3.region_redirect import (
    REDIRECT,
    REGIONS_MAX,
    is_redirect,
    region_of_redirect,
    unwrapped,
)

T = TypeVar("T")


class RegionStore(BucketStore, Protocol):
    """Store of a bucket in one region; see `RemoteStore`."""

    async def has_versioning(self) -> bool: ...


Request = Callable[[RegionStore], Awaitable[T]]

Connect = Callable[[str], Awaitable[RegionStore]]
"""Makes the store of the bucket in a region; sends nothing. Raises SetupError."""

_BAD_REQUEST: Final = 400  # means much else, too
_PROBE: Final = ListQuery("", max_keys=1, reason=Reason.CHECK)

log = logging.getLogger(__name__)


class RegionalStore:
    """`BucketStore` of *bucket*, looked for in *region* first; for one trio run.

    *is_fixed*: the user has named the region, so no redirect is followed.
    """

    def __init__(self, bucket: str, region: str, connect: Connect, *, is_fixed: bool) -> None:
        self._bucket = bucket
        self._connect = connect
        self._is_fixed = is_fixed
        # the region that the next request goes to, the store that reads go to, which is that of the
        # last request, and the stores by region; held while one is made
        self._region = region
        self._current: RegionStore | None = None
        self._stores: dict[str, RegionStore] = {}
        self._connecting = trio.Lock()
        # held by the request that settles the region; how many did not, and why the last did not
        self._is_settled = False
        self._settling = trio.Lock()
        self._failures = 0
        self._failure: S3MountError | None = None

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:
        return await self._call(lambda store: store.head(key, reason))

    async def head_version(
        self, key: str, version_id: str, reason: Reason = Reason.LOOKUP
    ) -> ObjectStat:
        return await self._call(lambda store: store.head_version(key, version_id, reason))

    async def head_by_get(self, key: str, *, is_whole: bool = False) -> ObjectStat:
        return await self._call(lambda store: store.head_by_get(key, is_whole=is_whole))

    async def metadata(
        self,
        key: str,
        *,
        version_id: str | None = None,
        part_number: int | None = None,
        reason: Reason = Reason.ATTRIBUTES,
    ) -> ObjectMetadata:
        return await self._call(
            lambda store: store.metadata(
                key, version_id=version_id, part_number=part_number, reason=reason
            )
        )

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        return await self._call(lambda store: store.list_page(query, priority, on_token))

    def store_key(self, key: str, version_id: str | None = None) -> str:  # noqa: ARG002
        return key

    def posix_attributes(self, version: ObjectVersion) -> PosixAttributes | None:
        return None if self._current is None else self._current.posix_attributes(version)

    async def restore(
        self, key: str, order: RestoreOrder, *, version_id: str | None = None
    ) -> RestoreOutcome:
        return await self._call(lambda store: store.restore(key, order, version_id=version_id))

    async def list_versions(
        self, query: VersionQuery, priority: RequestPriority | None = None
    ) -> VersionPage:
        return await self._call(lambda store: store.list_versions(query, priority))

    async def has_versioning(self) -> bool:
        """Whether the bucket keeps versions, or did before. Raises what refuses to tell."""
        return await self._call(lambda store: store.has_versioning())

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        return await self._call(lambda store: store.revalidate(version, head_size))

    def has_capacity(self) -> bool:
        return self._current is None or self._current.has_capacity()

    def has_ranges(self) -> bool:
        return self._current is None or self._current.has_ranges()

    def has_scans(self, prefix: str) -> bool:
        return self._current is None or self._current.has_scans(prefix)

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
        """`ObjectStore.start_read`; *version* is from a response to a request of this store."""
        assert self._current is not None
        return self._current.start_read(version, byte_range, into, on_end, priority, reason=reason)

    # ---- regions -------------------------------------------------------------------------------

    async def _call(self, request: Request[T]) -> T:
        if self._is_settled:
            return await self._follow(request)
        failures = self._failures
        async with self._settling:
            if not self._is_settled:
                if self._failure is not None and self._failures != failures:
                    raise self._failure.detached()
                return await self._settle(request)
        return await self._follow(request)

    async def _settle(self, request: Request[T]) -> T:
        """Make the request that finds the region; a cancelled one finds nothing."""
        try:
            result = await self._follow(request)
        except S3MountError as exc:
            self._is_settled = self._is_settled or _is_of_region(exc)
            if not self._is_settled:
                self._failures += 1
                self._failure = exc.detached()
            raise
        self._is_settled = True
        return result

    async def _follow(self, request: Request[T]) -> T:
        """Make *request* in the region of the bucket, wherever that is now."""
        for _ in range(REGIONS_MAX):
            region = self._region
            store = await self._store(region)
            if region == self._region:  # else another request has followed the bucket meanwhile
                self._current = store
            try:
                return await request(store)
            except S3MountError as exc:
                other = await self._other_region(exc, region)
                if other is None:
                    raise
            if region == self._region:
                self._region = other
        raise self._lost()

    async def _store(self, region: str) -> RegionStore:
        """Return the store in *region*, made now if need be."""
        store = self._stores.get(region)
        if store is not None:
            return store
        async with self._connecting:
            if region not in self._stores:
                if len(self._stores) >= REGIONS_MAX:
                    self._region = next(iter(self._stores))  # where it may be again
                    raise self._lost()
                self._stores[region] = await self._connected(region)
        return self._stores[region]

    async def _connected(self, region: str) -> RegionStore:
        try:
            return await self._connect(region)
        except SetupError as exc:
            raise StoreError(str(exc), bucket=self._bucket) from exc

    async def _other_region(self, exc: S3MountError, region: str) -> str | None:
        """Return where *exc*, of a request in *region*, says that the bucket is; None if nowhere.

        Raises StoreError if it is to be looked for in no other region.
        """
        failure = unwrapped(exc)
        if not is_redirect(failure):
            return None
        other = region_of_redirect(failure)
        if other is None and not (self._is_settled and exc.status == _BAD_REQUEST):
            other = await self._asked_region(region)
        if other is None or other == region:
            return None
        if self._is_fixed:
            raise StoreError(
                f"bucket {self._bucket!r} is in region {other!r}, not {region!r}: "
                "leave --region out, so that each bucket is found in its own",
                bucket=self._bucket,
                status=exc.status,
                code=exc.code or REDIRECT,
            ) from exc
        log.info("bucket %r is in region %s", self._bucket, other)
        return other

    async def _asked_region(self, region: str) -> str | None:
        """Ask in *region* by a LIST: the response to a HEAD need not name the other one."""
        try:
            await self._stores[region].list_page(_PROBE)
        except S3MountError as exc:
            self._is_settled = self._is_settled or _is_of_region(exc)
            return region_of_redirect(unwrapped(exc))
        self._is_settled = True
        return None

    def _lost(self) -> StoreError:
        return StoreError(
            f"bucket {self._bucket!r} is redirected from region to region",
            bucket=self._bucket,
            code=REDIRECT,
        )


def _is_of_region(exc: S3MountError) -> bool:
    """Whether *exc* is a response of the region that the bucket is in."""
    has_responded = exc.status is not None and exc.status < 500
    return has_responded and not is_redirect(unwrapped(exc))
