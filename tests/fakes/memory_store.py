"""MemoryStore: an ObjectStore in memory, with versions, pages of any size, and faults on request.

For what no real store can be made to do. It passes the contract of tests/contract, like the real
ones.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import trio

from s3mount.errors import AccessDenied, NotFound, StaleVersion
from s3mount.s3.model import (
    ByteRange,
    ListedObject,
    ListPage,
    ListQuery,
    Modified,
    NotModified,
    ObjectStat,
    ObjectVersion,
    Revalidation,
)
from s3mount.s3.object_store import OnReadEnd, OnToken, Priority, RequestPriority
from tests.fakes.started_reads import TaskRead

ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")
EPOCH_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as *before* gets it: kind is HEAD, LIST, GET or REVALIDATE."""

    kind: str
    key: str
    span: ByteRange | None = None
    query: ListQuery | None = None
    priority: Priority = Priority.DEMAND


@dataclass(frozen=True, slots=True)
class _Stored:
    stat: ObjectStat
    body: bytes


async def _respond_at_once(_: Request) -> None:
    await trio.lowlevel.checkpoint()


@dataclass(slots=True, kw_only=True)
class MemoryStore:
    """Objects of one bucket.

    *before* is awaited with each request, before its response: it may wait, count, change the store,
    or raise what the store is to raise. *page_size* bounds every page. *is_ordered* False lists by
    directories: "dir/x" before "dir-1/x". *keeps_versions*: a replaced version can still be read.
    """

    bucket: str = "bucket"
    page_size: int = 1000
    is_ordered: bool = True
    keeps_versions: bool = False
    before: Callable[[Request], Awaitable[None]] = _respond_at_once
    requests: list[Request] = field(default_factory=list)
    _objects: dict[str, _Stored] = field(default_factory=dict)
    _former: dict[ObjectVersion, _Stored] = field(default_factory=dict)
    _ticks: Iterator[int] = field(default_factory=itertools.count)

    # arranging

    def put(
        self,
        key: str,
        body: bytes = b"",
        *,
        storage_class: str = "STANDARD",
        mtime_ns: int | None = None,
    ) -> ObjectVersion:
        """Store *body* under *key*; the new version."""
        if key in self._objects and self.keeps_versions:
            former = self._objects[key]
            self._former[former.stat.version] = former
        tick = next(self._ticks)
        stat = ObjectStat(
            version=ObjectVersion(self.bucket, key, hashlib.md5(body).hexdigest(), len(body)),
            mtime_ns=EPOCH_NS + tick * 1_000_000_000 if mtime_ns is None else mtime_ns,
            storage_class=storage_class,
            version_id=f"v{tick}" if self.keeps_versions else None,
            is_archived=storage_class in ARCHIVES,
        )
        self._objects[key] = _Stored(stat, bytes(body))
        return stat.version

    def delete(self, key: str) -> None:
        stored = self._objects.pop(key)
        if self.keeps_versions:
            self._former[stored.stat.version] = stored

    def stat(self, key: str) -> ObjectStat:
        """What HEAD would say, without a request."""
        return self._current(key).stat

    def counts(self) -> Counter[str]:
        """Requests so far, by kind."""
        return Counter(request.kind for request in self.requests)

    # ObjectStore

    async def head(self, key: str) -> ObjectStat:
        await self._receive(Request("HEAD", key))
        return self._current(key).stat

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,  # noqa: ARG002
        on_token: OnToken | None = None,  # noqa: ARG002
    ) -> ListPage:
        await self._receive(Request("LIST", query.prefix, query=query))
        return self._page(query)

    async def _read(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: memoryview,
        priority: Priority = Priority.DEMAND,
    ) -> None:
        await self._receive(Request("GET", version.key, span=span, priority=priority))
        stored = self._objects.get(version.key)
        if stored is None or stored.stat.version != version:
            stored = self._former.get(version)
        if stored is None:
            raise StaleVersion("replaced or deleted", bucket=self.bucket, key=version.key)
        self._check_readable(stored)
        into[:] = stored.body[span.start : span.stop]

    def has_capacity(self) -> bool:
        return True

    def start_read(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,
        on_end: OnReadEnd,
        priority: Priority,
    ) -> TaskRead:
        """In a task, since each request waits, for `before`."""
        read = partial(self._read, version, byte_range, into, priority)
        return TaskRead(version, read, on_end)

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        await self._receive(Request("REVALIDATE", version.key, span=ByteRange(0, head_size)))
        stored = self._current(version.key)
        if stored.stat.version == version:
            return NotModified()
        self._check_readable(stored)
        return Modified(stored.stat, stored.body[:head_size])

    # internals

    async def _receive(self, request: Request) -> None:
        self.requests.append(request)
        await self.before(request)

    def _current(self, key: str) -> _Stored:
        if key not in self._objects:
            raise NotFound("no such key", bucket=self.bucket, key=key)
        return self._objects[key]

    def _check_readable(self, stored: _Stored) -> None:
        if stored.stat.is_archived:
            raise AccessDenied("archived", bucket=self.bucket, key=stored.stat.version.key)

    def _page(self, query: ListQuery) -> ListPage:
        """A page. Tokens are the last name given, as S3's are in effect."""
        after = None if query.token is None else query.token[1:]
        size = max(1, min(self.page_size, query.max_keys))
        names = [
            name
            for name in self._names(query)
            if after is None or self._rank(name) > self._rank(after)
        ]
        chosen = names[:size]
        return ListPage(
            [self._listed(name) for name in chosen if not self._is_common(name, query)],
            [name for name in chosen if self._is_common(name, query)],
            f"t{chosen[-1]}" if len(names) > size else None,
        )

    def _names(self, query: ListQuery) -> list[str]:
        """Keys and common prefixes, in the order of the store.

        A prefix is listed if one of its keys comes after *start_after*.
        """
        skipped = query.start_after if query.token is None else None
        found = set()
        for key in self._objects:
            if key.startswith(query.prefix) and (
                skipped is None or self._rank(key) > self._rank(skipped)
            ):
                below = key[len(query.prefix) :]
                name, delimiter, _ = (
                    below.partition(query.delimiter) if query.delimiter else (below, "", "")
                )
                found.add(query.prefix + name + delimiter)
        return sorted(found, key=self._rank)

    def _is_common(self, name: str, query: ListQuery) -> bool:
        return bool(query.delimiter) and name.endswith(query.delimiter) and name != query.prefix

    def _rank(self, name: str) -> tuple[bytes, ...]:
        raw = name.encode("utf-8", "surrogateescape")
        return (raw,) if self.is_ordered else tuple(raw.split(b"/"))

    def _listed(self, key: str) -> ListedObject:
        stat = self._objects[key].stat
        return ListedObject(
            key, stat.version.size, stat.mtime_ns, stat.version.etag, stat.storage_class
        )
