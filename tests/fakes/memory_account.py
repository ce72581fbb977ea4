"""Account of buckets in memory, in regions: redirects, refusals and absences as S3 has them."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import trio

from s3mount.errors import AccessDenied, NotFound, S3MountError, StoreError
from s3mount.s3.model import (
    ByteRange,
    ListPage,
    ListQuery,
    ObjectStat,
    ObjectVersion,
    Reason,
    Revalidation,
)
from s3mount.s3.object_store import OnReadEnd, OnToken, Priority, RequestPriority
from s3mount.s3.regional_store import RegionalStore
from s3mount.s3.transport import ErrorResponse, ErrorResponseError
from s3mount.s3.views.bucket_names import BucketNames, BucketSelection
from s3mount.s3.views.buckets_view import Buckets, BucketsView
from tests.fakes.memory_store import MemoryStore
from tests.fakes.started_reads import TaskRead
from tests.fakes.unasked_store import UnaskedStore

HOME = "us-east-1"  # where a bucket is looked for first


@dataclass
class MemoryAccount:
    """Buckets by name, each in HOME unless *regions* says otherwise.

    *denied* buckets refuse everything; *failing* has what a bucket, or "" for the account, fails
    with. *page_size* bounds the pages of buckets. *redirect* is the status and code of a redirect,
    which names the region if it *tells_regions*, and for a HEAD if it *tells_head* as well.
    """

    buckets: dict[str, MemoryStore] = field(default_factory=dict)
    regions: dict[str, str] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    failing: dict[str, S3MountError] = field(default_factory=dict)
    page_size: int = 1000
    redirect: tuple[int, str] = (301, "PermanentRedirect")
    tells_regions: bool = True
    tells_head: bool = True
    # bucket ("": the account), region, kind
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    opened: Counter[tuple[str, str]] = field(default_factory=Counter)

    def view(self, words: Sequence[str] = (), region: str | None = None) -> BucketsView:
        """Return what a mount shows, of the buckets that *words* choose; *region* is fixed."""
        names = BucketNames(self, BucketSelection.of(words))

        def open_bucket(name: str) -> RegionalStore:
            connect = partial(self._connect, name)
            return RegionalStore(name, region or HOME, connect, is_fixed=region is not None)

        return BucketsView(Buckets(names, open_bucket, lambda: True))

    @property
    def bodies(self) -> dict[str, bytes]:
        """All objects as the view has them, with a marker for each bucket."""
        markers = {f"{name}/": b"" for name in self.buckets}
        return markers | {
            f"{name}/{key}": body
            for name, store in self.buckets.items()
            for key, body in store.bodies.items()
        }

    def take(self) -> Mapping[tuple[str, str], int]:
        """Return how many requests there were since the last call, by bucket and kind."""
        requests, self.requests = self.requests, []
        return Counter((bucket, kind) for bucket, _, kind in requests)

    async def _connect(self, bucket: str, region: str) -> "BucketInRegion":
        await trio.lowlevel.checkpoint()
        self.opened[bucket, region] += 1
        return BucketInRegion(self, bucket, region)

    # ---- the account as the view asks it: only its listing

    async def list_page(self, query: ListQuery) -> ListPage:
        self.requests.append(("", HOME, "LIST"))
        await trio.lowlevel.checkpoint()
        if "" in self.failing:
            raise self.failing[""].detached()
        names = sorted(name for name in self.buckets if name > (query.token or ""))
        page = names[: self.page_size]
        token = page[-1] if len(names) > len(page) else None
        return ListPage([], [f"{name}/" for name in page], token)


class BucketInRegion(UnaskedStore):
    """`BucketStore` of the bucket *name* of *account*, as *region* knows it."""

    def __init__(self, account: MemoryAccount, name: str, region: str) -> None:
        self._account = account
        self._name = name
        self._region = region

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:
        return await self._bucket("HEAD").head(key, reason)

    async def head_by_get(self, key: str, *, is_whole: bool = False) -> ObjectStat:
        return await self._bucket("GET").head_by_get(key, is_whole=is_whole)

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        return await self._bucket("LIST").list_page(query, priority, on_token)

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        assert version.bucket == self._name
        return await self._bucket("GET").revalidate(version, head_size)

    def start_read(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,
        on_end: OnReadEnd,
        priority: Priority,
        *,
        reason: Reason = Reason.READ,
    ) -> TaskRead:
        assert version.bucket == self._name
        try:
            bucket = self._bucket("GET")
        except S3MountError as exc:
            return TaskRead(version, _failing(exc), on_end)
        return bucket.start_read(version, byte_range, into, on_end, priority, reason=reason)

    def _bucket(self, kind: str) -> MemoryStore:
        """Count a request; raise what it fails with."""
        account, name = self._account, self._name
        account.requests.append((name, self._region, kind))
        region = account.regions.get(name, HOME)
        is_told = account.tells_regions and (kind != "HEAD" or account.tells_head)
        if name in account.failing:
            raise account.failing[name].detached()
        if name not in account.buckets:
            raise self._failure(NotFound, 404, "NoSuchBucket")
        if region != self._region:
            raise self._failure(StoreError, *account.redirect, region if is_told else None)
        if name in account.denied:
            raise self._failure(AccessDenied, 403, "AccessDenied")
        return account.buckets[name]

    def _failure(
        self, kind: type[S3MountError], status: int, code: str, region: str | None = None
    ) -> S3MountError:
        """Return an error as the operations make it, with the response as its cause."""
        failure = kind(f"refused: {code}", bucket=self._name, status=status, code=code)
        failure.__cause__ = ErrorResponseError(
            ErrorResponse(status=status, code=code, region=region)
        )
        return failure


def _failing(exc: S3MountError) -> Callable[[], Awaitable[None]]:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise exc

    return fail
