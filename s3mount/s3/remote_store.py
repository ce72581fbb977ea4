"""The store over its operations: single attempts become operations that end within a deadline.

Joins the parts of `scheduling`, and makes what sends each attempt.

1. HEAD, LIST and revalidation are calls in a thread. A caller that is cancelled returns at once,
   and the thread ends by itself. It holds its permit until then.
2. A read is started (`range_read`), and is the only operation that writes into a caller's buffer.
3. A callback that is called in the event loop raises nothing there: it would end the mount.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TypeVar

import outcome
import trio

from s3mount import unawaited
from s3mount.errors import S3MountError
from s3mount.metrics import Metrics
from s3mount.s3.archive import RestoreOrder, RestoreOutcome, RestoreQuery
from s3mount.s3.model import (
    ByteRange,
    ListPage,
    ListQuery,
    Modified,
    ObjectMetadata,
    ObjectStat,
    ObjectVersion,
    PosixAttributes,
    Reason,
    Revalidation,
    StoreIdentity,
    VersionPage,
    VersionQuery,
)
from s3mount.s3.object_store import OnToken, Priority, RequestPriority
from s3mount.s3.operations.bucket_operations import Operations
from s3mount.s3.operations.head_metadata import MetadataQuery
from s3mount.s3.operations.odd_row_log import OddRowLog
from s3mount.s3.scheduling.attempt import Sender
from s3mount.s3.scheduling.blocking_call import BlockingCall, monotonic
from s3mount.s3.scheduling.outage import OutageTracker
from s3mount.s3.scheduling.pauses import PausesLeft, invalid_pauses, pauses
from s3mount.s3.scheduling.range_read import ReadScheduler
from s3mount.s3.scheduling.retry import Retrier
from s3mount.s3.scheduling.store_scheduling import StoreScheduling
from s3mount.s3.silent_connections import SilentConnections
from s3mount.s3.store_metrics import StoreCounts, register_store_metrics

_PRECONNECTED = 8  # connections; see docs/decisions/connection-setup.md

T = TypeVar("T")


class RemoteStore:
    """`BucketStore` over *operations*; for one trio run.

    *timeout* is in seconds. *bucket* is named by failures that know none. *identity* is for the
    status of the mount. *scheduling* shares threads with other stores, and its owner closes them;
    else the store has its own, of *max_connections*, and of the *silent_connections* of the
    transport. *outage* counts the failures that are one.
    *posix_attributes* is that of `PosixSource`, *has_moved* that of `ReadScheduler`.
    """

    def __init__(
        self,
        operations: Operations,
        *,
        max_connections: int,
        timeout: float,
        bucket: str | None = None,
        identity: StoreIdentity | None = None,
        pauses: Callable[[], Iterator[float]] = pauses,
        invalid_pauses: Callable[[], Iterator[float]] = invalid_pauses,
        scheduling: StoreScheduling | None = None,
        silent_connections: SilentConnections | None = None,
        posix_attributes: Callable[[ObjectVersion], PosixAttributes | None] | None = None,
        outage: OutageTracker | None = None,
        has_moved: Callable[[BaseException], bool] = lambda _: False,
    ) -> None:
        self._operations = operations
        self.posix_attributes = posix_attributes or _no_attributes
        self.identity = identity
        self._timeout = timeout
        self._owns_scheduling = scheduling is None
        of_one_store = StoreScheduling.of_one_store
        self._scheduling = scheduling or of_one_store(max_connections, silent_connections)
        self._limiter = self._scheduling.limiter
        self._thread_pool = self._scheduling.thread_pool
        self._retrier = Retrier(
            self._limiter,
            self._thread_pool,
            renew_credentials=self._renew_credentials,
            pauses=pauses,
            invalid_pauses=invalid_pauses,
            bucket=bucket,
            timeout=timeout,
            outage=outage,
        )
        self._reads = ReadScheduler(
            self._retrier, self._scheduling, self._make_sender, timeout, has_moved=has_moved
        )
        self._odd_rows = OddRowLog()
        self.start_read = self._reads.start_read  # no frame more on the path of a read

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:
        return await self._head(key, partial(self._operations.head, key, reason=reason))

    async def head_version(
        self, key: str, version_id: str, reason: Reason = Reason.LOOKUP
    ) -> ObjectStat:
        call = partial(self._operations.head, key, reason=reason, version_id=version_id)
        return await self._head(key, call)

    async def _head(self, key: str, call: Callable[..., ObjectStat]) -> ObjectStat:
        stat = await self._call("HEAD", key, lambda deadline: call(deadline=deadline))
        return _with_version_id(stat)

    async def metadata(
        self,
        key: str,
        *,
        version_id: str | None = None,
        part_number: int | None = None,
        reason: Reason = Reason.ATTRIBUTES,
    ) -> ObjectMetadata:
        query = MetadataQuery(key, version_id, part_number, reason)
        call = partial(self._operations.metadata, query)
        return await self._call("HEAD", key, lambda deadline: call(deadline=deadline))

    async def restore(
        self, key: str, order: RestoreOrder, *, version_id: str | None = None
    ) -> RestoreOutcome:
        query = RestoreQuery(key, order, version_id)
        call = partial(self._operations.restore, query)
        return await self._call("RESTORE", key, lambda deadline: call(deadline=deadline))

    async def list_once(self, query: ListQuery) -> ListPage:
        """As `list_page`, by one attempt; the error's cause is the Retryable, if it is one.

        A success is the end of a start: what the store refused before says nothing of its load.
        """
        page = await self._call(
            "LIST",
            query.prefix,
            lambda deadline: self._operations.list_page(query, deadline=deadline),
            pauses=PausesLeft(iter(()), iter(())),
        )
        self._limiter.aimd.reset()
        return page

    async def head_by_get(self, key: str, *, is_whole: bool = False) -> ObjectStat:
        call = partial(self._operations.head_by_get, key, is_whole=is_whole)
        stat = await self._call("GET", key, lambda deadline: call(deadline=deadline))
        return _with_version_id(stat)

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,
        on_token: OnToken | None = None,
    ) -> ListPage:
        hint = None
        if on_token is not None:
            hint = partial(_call_in_event_loop, trio.lowlevel.current_trio_token(), on_token)
        page = await self._call(
            "LIST",
            query.prefix,
            lambda deadline: self._operations.list_page(query, deadline=deadline, on_token=hint),
            priority,
        )
        if page.odd_rows:
            self._odd_rows.note(query.prefix, page.odd_rows)
        return page

    async def list_versions(
        self, query: VersionQuery, priority: RequestPriority | None = None
    ) -> VersionPage:
        call = partial(self._operations.list_versions, query)
        return await self._call(
            "LIST", query.prefix, lambda deadline: call(deadline=deadline), priority
        )

    async def has_versioning(self) -> bool:
        """Whether the bucket keeps versions, or did before. Raises what refuses to tell."""
        call = self._operations.has_versioning
        return await self._call("GET", "", lambda deadline: call(deadline=deadline))

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        found = await self._call(
            "GET",
            version.key,
            lambda deadline: self._operations.revalidate(version, head_size, deadline=deadline),
        )
        if isinstance(found, Modified):
            return Modified(_with_version_id(found.stat), found.head)
        return found

    def has_capacity(self) -> bool:
        return self._limiter.has_capacity(Priority.PREFETCH)

    def has_ranges(self) -> bool:
        return self._operations.has_ranges()

    def has_scans(self, prefix: str) -> bool:  # noqa: ARG002 - a bucket has no bounds within
        return True

    def store_key(self, key: str, version_id: str | None = None) -> str:  # noqa: ARG002
        return key

    def preconnect(self) -> None:
        """Open connections now, so that the first requests need not wait for that.

        A lookup sends two requests at once, a run over small files more.
        """
        connect = partial(self._operations.preconnect, deadline=time.monotonic() + self._timeout)
        for _ in range(min(_PRECONNECTED, self._limiter.aimd.allowed)):
            self._thread_pool.submit(connect, _report_failure)

    @property
    def counts(self) -> StoreCounts:
        retrier, hedges = self._retrier, self._reads.hedge_policy
        return StoreCounts(
            retries=retrier.retries,
            errors=retrier.errors,
            hedges=hedges.sent,
            hedges_won=hedges.won,
            odd_rows=self._odd_rows.count,
            outage=retrier.outage.seconds,
            throttles=self._limiter.throttles,
            request_limit=self._limiter.aimd.allowed,
        )

    def register_metrics(self, metrics: Metrics) -> None:
        """Register what is counted of retries, hedges and throttling."""
        register_store_metrics(metrics, lambda: (self,))

    def close(self) -> None:
        """End the connections. Threads that still make an attempt fail, and end."""
        if self._owns_scheduling:
            self._scheduling.close()
        self._operations.close()

    def _make_sender(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        deadline: float,
        *,
        is_conditional: bool,
        reason: Reason,
    ) -> Sender[str | None]:
        version_id = version.version_id if version.is_replaced else None
        return self._operations.get_range(
            version,
            byte_range,
            version_id=version_id,
            deadline=monotonic(deadline),
            is_conditional=is_conditional,
            reason=reason,
        )

    def _renew_credentials(self, deadline: float, *, is_expired: bool) -> bool:
        """Whether there may be other credentials than those of an operation until *deadline*."""
        since = deadline - self._timeout
        return self._operations.renew_credentials(since, deadline, is_expired=is_expired)

    async def _call(
        self,
        kind: str,
        key: str,
        function: Callable[[float], T],
        priority: RequestPriority | None = None,
        *,
        pauses: PausesLeft | None = None,
    ) -> T:
        deadline = trio.current_time() + self._timeout
        call = BlockingCall(
            kind, key, function, deadline=deadline, thread_pool=self._thread_pool, priority=priority
        )
        try:
            result = await self._retrier.run(call, pauses=pauses)
        except S3MountError as exc:
            self._retrier.record_end(call, exc)
            raise
        self._retrier.record_end(call, None)
        return result


def _no_attributes(_: ObjectVersion) -> None:
    """`PosixSource.posix_attributes` of a store that keeps none."""


def _with_version_id(stat: ObjectStat) -> ObjectStat:
    if stat.version_id is None:
        return stat
    return replace(stat, version=stat.version.with_version_id(stat.version_id))


def _report_failure(result: outcome.Outcome[None]) -> None:
    if isinstance(result, outcome.Error):
        unawaited.report("opening a connection early", result.error)


def _call_in_event_loop(run: trio.lowlevel.TrioToken, on_token: OnToken, token: str | None) -> None:
    """Call *on_token* in the event loop, from a thread, without waiting for it."""
    with contextlib.suppress(trio.RunFinishedError):
        run.run_sync_soon(unawaited.call, "the callback of an early token", on_token, token)
