"""A store made of a dict, that lists as the many stores of the world do: small pages, any order, failures, changes meanwhile.

What no real store can be made to do at will. `tests/contract` holds what all stores have in common.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import md5

import trio

from s3mount.errors import NotFound, StaleVersion, StoreError
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

BUCKET = "shelf"


def in_byte_order(key: str) -> str:
    """As S3 lists."""
    return key


def in_component_order(key: str) -> str:
    """As stores over directories list: `a/x` before `a-b`."""
    return key.replace("/", "\0")


def in_no_order(key: str) -> str:
    """As nobody should list, and some (directory buckets) do."""
    return md5(key.encode(), usedforsecurity=False).hexdigest()


Order = Callable[[str], str]


@dataclass
class Shelf:
    """An ObjectStore; `before` is called before each request is answered, with its number, and may change `bodies` or raise."""

    bodies: dict[str, bytes] = field(default_factory=dict)
    page_size: int = 1000
    order: Order = in_byte_order
    knows_start_after: bool = True
    before: Callable[[int], None] = lambda _: None
    asked: list[str] = field(default_factory=list)

    async def head(self, key: str) -> ObjectStat:
        await self._ask(f"HEAD {key}")
        return self._stat(key)

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,  # noqa: ARG002
        on_token: OnToken | None = None,  # noqa: ARG002
    ) -> ListPage:
        await self._ask(f"LIST {query.prefix}")
        items = self._items(query)
        if query.token is not None:
            items = [item for item in items if self.order(item) > self.order(query.token)]
        page, rest = items[: self.page_size], items[self.page_size :]
        return ListPage(
            [self._listed(item) for item in page if not self._is_common(item, query)],
            [item for item in page if self._is_common(item, query)],
            page[-1] if rest else None,
        )

    async def _read(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: memoryview,
    ) -> None:
        await self._ask(f"GET {version.key}")
        if version.key not in self.bodies or self.version(version.key) != version:
            raise StaleVersion("replaced", key=version.key)
        into[:] = self.bodies[version.key][span.start : span.stop]

    def has_capacity(self) -> bool:
        return True

    def start_read(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,
        on_end: OnReadEnd,
        priority: Priority,  # noqa: ARG002
    ) -> TaskRead:
        """In a task, since each request waits."""
        return TaskRead(version, partial(self._read, version, byte_range, into), on_end)

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        await self._ask(f"GET {version.key}")
        stat = self._stat(version.key)
        return (
            NotModified()
            if stat.version == version
            else Modified(stat, self.bodies[version.key][:head_size])
        )

    def version(self, key: str) -> ObjectVersion:
        """The version of *key* that is current."""
        body = self.bodies[key]
        return ObjectVersion(BUCKET, key, md5(body, usedforsecurity=False).hexdigest(), len(body))

    async def _ask(self, request: str) -> None:
        await trio.lowlevel.checkpoint()
        self.asked.append(request)
        self.before(len(self.asked))

    def _items(self, query: ListQuery) -> list[str]:
        """The keys and common prefixes that answer *query* from its beginning, in the order of this store."""
        items = set()
        for key in self.bodies:
            if not key.startswith(query.prefix) or (
                self.knows_start_after
                and query.start_after is not None
                and self.order(key) <= self.order(query.start_after)
            ):
                continue
            below, slash, _ = key[len(query.prefix) :].partition("/")
            items.add(query.prefix + below + "/" if slash and query.delimiter else key)
        return sorted(items, key=self.order)

    def _is_common(self, item: str, query: ListQuery) -> bool:
        return query.delimiter == "/" and "/" in item[len(query.prefix) :]

    def _listed(self, key: str) -> ListedObject:
        version = self.version(key)
        return ListedObject(key, version.size, _mtime_ns(version), version.etag)

    def _stat(self, key: str) -> ObjectStat:
        if key not in self.bodies:
            raise NotFound("no such key", key=key)
        version = self.version(key)
        return ObjectStat(version, _mtime_ns(version))


def fail_at(*numbers: int) -> Callable[[int], None]:
    """A `before` that has these requests fail, counting from 1."""

    def before(number: int) -> None:
        if number in numbers:
            raise StoreError(f"request {number} was made to fail", status=503, code="SlowDown")

    return before


def _mtime_ns(version: ObjectVersion) -> int:
    return int(version.etag[:6], 16) * 10**9
