"""ObjectStore in memory, with policies for key order, page size, versions and failures.

It passes the contract suite of tests/contract, as the real stores do.
"""

import hashlib
import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import KW_ONLY, InitVar, dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import trio

from s3mount.errors import Archived, NotFound, StaleVersion, StoreError
from s3mount.s3.archive import ARCHIVE_CLASSES, RestoreOrder, RestoreOutcome
from s3mount.s3.model import (
    NULL_VERSION,
    ByteRange,
    ListedObject,
    ListedVersion,
    ListPage,
    ListQuery,
    Modified,
    NotModified,
    ObjectMetadata,
    ObjectStat,
    ObjectVersion,
    Reason,
    Revalidation,
    VersionPage,
    VersionQuery,
)
from s3mount.s3.object_store import OnReadEnd, OnToken, Priority, RequestPriority
from tests.fakes.key_order import Order, in_byte_order, is_common_prefix, items_of
from tests.fakes.started_reads import TaskRead
from tests.fakes.unasked_store import UnaskedStore

BUCKET = "bucket"
PAGE_MAX = 1000  # keys, of S3
EPOCH_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as the hook *before* sees it.

    *kind* is HEAD, LIST, GET or REVALIDATE, *key* a key or prefix; *number* counts from 1.
    """

    kind: str
    key: str
    span: ByteRange | None = None
    query: ListQuery | None = None
    priority: Priority = Priority.DEMAND
    number: int = field(default=0, compare=False)


Hook = Callable[[Request], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Stored:
    """One version of an object."""

    stat: ObjectStat
    body: bytes
    fields: Mapping[str, str] = field(default_factory=dict)
    user: Mapping[str, str] = field(default_factory=dict)


async def respond_at_once(_: Request) -> None:
    """Hook that adds nothing but the checkpoint."""
    await trio.lowlevel.checkpoint()


def hook(act: Callable[[Request], None]) -> Hook:
    """Make a hook of *act*, which may change the store or raise."""

    async def before(request: Request) -> None:
        await trio.lowlevel.checkpoint()
        act(request)

    return before


def fail_at(*numbers: int) -> Hook:
    """Hook that fails the requests of these *numbers* with 503."""

    def act(request: Request) -> None:
        if request.number in numbers:
            raise StoreError(f"injected into {request}", status=503, code="SlowDown")

    return hook(act)


@dataclass(slots=True)
class MemoryStore(UnaskedStore):
    """Objects of one bucket, at first *objects*; *order* is the order of its listings.

    *before* is awaited ahead of each response: it may wait, change the store, or raise. *page_size*
    bounds every page; above 1000 a page ignores max-keys. With *keeps_versions* a replaced version
    can still be read. ETags are MD5s of the bytes and *etag_salt*.
    """

    objects: InitVar[Mapping[str, bytes]] = MappingProxyType({})
    _: KW_ONLY
    bucket: str = BUCKET
    page_size: int = PAGE_MAX
    order: Order = in_byte_order
    knows_start_after: bool = True
    keeps_versions: bool = False
    etag_salt: bytes = b""
    before: Hook = respond_at_once
    requests: list[Request] = field(default_factory=list)
    _objects: dict[str, _Stored] = field(default_factory=dict)
    _former: dict[ObjectVersion, _Stored] = field(default_factory=dict)
    _ticks: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self, objects: Mapping[str, bytes]) -> None:
        for key, body in objects.items():
            self.put(key, body)

    # ---- contents

    def put(
        self,
        key: str,
        body: bytes = b"",
        *,
        storage_class: str = "STANDARD",
        mtime_ns: int | None = None,
        fields: Mapping[str, str] = MappingProxyType({}),
        user: Mapping[str, str] = MappingProxyType({}),
    ) -> ObjectVersion:
        """Store *body* under *key*, and return the new version. *fields* are what a HEAD tells."""
        if key in self._objects and self.keeps_versions:
            former = self._objects[key]
            self._former[former.stat.version] = former
        tick = next(self._ticks)
        etag = hashlib.md5(body + self.etag_salt).hexdigest()
        stat = ObjectStat(
            version=ObjectVersion(self.bucket, key, etag, len(body)),
            mtime_ns=EPOCH_NS + tick * 1_000_000_000 if mtime_ns is None else mtime_ns,
            storage_class=storage_class,
            version_id=f"v{tick}" if self.keeps_versions else None,
            is_archived=storage_class in ARCHIVE_CLASSES,
        )
        self._objects[key] = _Stored(stat, bytes(body), fields, user)
        return stat.version

    def delete(self, key: str) -> None:
        """Delete *key*; raises KeyError if there is none."""
        stored = self._objects.pop(key)
        if self.keeps_versions:
            self._former[stored.stat.version] = stored

    def archive(
        self, key: str, storage_class: str | None = None, *, is_archived: bool = True
    ) -> None:
        """Make *key* unreadable, as when a restored copy expires; or readable."""
        stored = self._objects[key]
        stat = replace(
            stored.stat,
            is_archived=is_archived,
            storage_class=storage_class or stored.stat.storage_class,
        )
        self._objects[key] = replace(stored, stat=stat)

    def change(self, key: str, body: bytes | None) -> None:
        """Store *body* under *key*, or, if it is None, delete what is there."""
        if body is not None:
            self.put(key, body)
        elif key in self._objects:
            self.delete(key)

    def replace_all(self, bodies: Mapping[str, bytes]) -> None:
        """Make *bodies* the contents; equal objects keep their version."""
        for key in self._objects.keys() - bodies.keys():
            self.delete(key)
        for key, body in bodies.items():
            if key not in self._objects or self._objects[key].body != body:
                self.put(key, body)

    @property
    def bodies(self) -> dict[str, bytes]:
        """A copy of the contents."""
        return {key: stored.body for key, stored in self._objects.items()}

    def stat(self, key: str) -> ObjectStat:
        """Return what a HEAD would, without a request."""
        return self._current(key).stat

    def counts(self) -> Counter[str]:
        """Requests so far, by kind."""
        return Counter(request.kind for request in self.requests)

    # ---- ObjectStore

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:  # noqa: ARG002
        await self._receive("HEAD", key)
        return self._current(key).stat

    async def head_version(
        self,
        key: str,
        version_id: str,
        reason: Reason = Reason.LOOKUP,  # noqa: ARG002
    ) -> ObjectStat:
        await self._receive("HEAD", key)
        return self._of_version_id(key, version_id).stat

    async def metadata(
        self,
        key: str,
        *,
        version_id: str | None = None,
        part_number: int | None = None,
        reason: Reason = Reason.ATTRIBUTES,  # noqa: ARG002
    ) -> ObjectMetadata:
        await self._receive("HEAD", key)
        stored = self._current(key) if version_id is None else self._of_version_id(key, version_id)
        fields = {"ContentLength": str(stored.stat.version.size), **stored.fields}
        if part_number is None:
            fields.pop("PartsCount", None)
        return ObjectMetadata(stored.stat, fields, stored.user)

    async def head_by_get(self, key: str, *, is_whole: bool = False) -> ObjectStat:
        size = self._objects[key].stat.version.size if key in self._objects else 0
        await self._receive("GET", key, span=ByteRange(0, size if is_whole else min(1, size)))
        return self._current(key).stat

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,  # noqa: ARG002
        on_token: OnToken | None = None,  # noqa: ARG002
    ) -> ListPage:
        await self._receive("LIST", query.prefix, query=query)
        return self._page(query)

    async def has_versioning(self) -> bool:
        await self._receive("LIST", "")
        return self.keeps_versions

    async def list_versions(
        self, query: VersionQuery, priority: RequestPriority | None = None
    ) -> VersionPage:
        """Each object as the null version, in one page, if no versions are kept."""
        if self.keeps_versions or query.delimiter or query.marker is not None:
            return await UnaskedStore.list_versions(self, query, priority)
        await self._receive("LIST", query.prefix)
        rows = [_null_version(self._objects[key].stat) for key in sorted(self._objects)]
        return VersionPage([row for row in rows if row.key.startswith(query.prefix)], [], None)

    async def _read(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: memoryview,
        priority: Priority = Priority.DEMAND,
    ) -> None:
        await self._receive("GET", version.key, span=span, priority=priority)
        stored = self._objects.get(version.key)
        if stored is None or stored.stat.version != version:
            stored = self._former.get(version)
        if stored is None:
            raise StaleVersion("replaced or deleted", bucket=self.bucket, key=version.key)
        self._check_readable(stored)
        into[:] = stored.body[span.start : span.stop]

    def start_read(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,
        on_end: OnReadEnd,
        priority: Priority,
        *,
        reason: Reason = Reason.READ,  # noqa: ARG002
    ) -> TaskRead:
        """Read in a task, since each request waits for the hook."""
        read = partial(self._read, version, byte_range, into, priority)
        return TaskRead(version, read, on_end)

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        await self._receive("REVALIDATE", version.key, span=ByteRange(0, head_size))
        stored = self._current(version.key)
        self._check_readable(stored)  # before the condition, as moto does
        if stored.stat.version == version:
            return NotModified()
        return Modified(stored.stat, stored.body[:head_size])

    async def restore(
        self,
        key: str,
        order: RestoreOrder,  # noqa: ARG002
        *,
        version_id: str | None = None,  # noqa: ARG002
    ) -> RestoreOutcome:
        """Restore *key* at once."""
        await self._receive("RESTORE", key)
        stored = self._current(key)
        if stored.stat.storage_class not in ARCHIVE_CLASSES:
            raise StoreError("not archived", bucket=self.bucket, key=key)
        outcome = RestoreOutcome.REQUESTED if stored.stat.is_archived else RestoreOutcome.EXTENDED
        restored = 'ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"'
        self._objects[key] = replace(
            stored,
            stat=replace(stored.stat, is_archived=False),
            fields={**stored.fields, "Restore": restored},
        )
        return outcome

    # ---- requests and pages

    async def _receive(self, kind: str, key: str, **details: Any) -> None:
        request = Request(kind, key, number=len(self.requests) + 1, **details)
        self.requests.append(request)
        await self.before(request)

    def _current(self, key: str) -> _Stored:
        if key not in self._objects:
            raise NotFound("no such key", bucket=self.bucket, key=key)
        return self._objects[key]

    def _of_version_id(self, key: str, version_id: str) -> _Stored:
        for stored in (*self._objects.values(), *self._former.values()):
            if (stored.stat.version.key, stored.stat.version_id) == (key, version_id):
                return stored
        raise NotFound("no such version", bucket=self.bucket, key=key)

    def _check_readable(self, stored: _Stored) -> None:
        if stored.stat.is_archived:
            raise Archived("archived", bucket=self.bucket, key=stored.stat.version.key)

    def _page(self, query: ListQuery) -> ListPage:
        """Return the next page; its token is the last item, as S3's is in effect.

        So keys that come and go between two pages are listed at most once.
        """
        items = items_of(self._keys(query), query, self.order)
        if query.token is not None:
            items = items[bisect_right(items, self.order(query.token[1:]), key=self.order) :]
        is_bounded = self.page_size <= PAGE_MAX
        size = min(self.page_size, query.max_keys) if is_bounded else self.page_size
        page = items[:size]
        return ListPage(
            [self._listed(item) for item in page if not is_common_prefix(item, query)],
            [item for item in page if is_common_prefix(item, query)],
            f"t{page[-1]}" if len(items) > size else None,
        )

    def _keys(self, query: ListQuery) -> Iterator[str]:
        """All keys, or those after StartAfter if the store knows it."""
        if not self.knows_start_after or query.start_after is None or query.token is not None:
            return iter(self._objects)
        first = self.order(query.start_after)
        return (key for key in self._objects if self.order(key) > first)

    def _listed(self, key: str) -> ListedObject:
        stat = self._objects[key].stat
        return ListedObject(
            key, stat.version.size, stat.mtime_ns, stat.version.etag, stat.storage_class
        )


def _null_version(stat: ObjectStat) -> ListedVersion:
    version = stat.version
    return ListedVersion(
        key=version.key,
        version_id=NULL_VERSION,
        is_latest=True,
        is_delete_marker=False,
        mtime_ns=stat.mtime_ns,
        size=version.size,
        etag=version.etag,
        storage_class=stat.storage_class,
    )
