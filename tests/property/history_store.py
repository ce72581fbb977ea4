"""ObjectStore over a `History`: each response shows the bucket at one moment of its request.

A `Behaviour` sets the key order, the pages, the delays and the failures. Pages and delays follow
from the seed. Bodies are computed from keys and sizes, which is why this is no MemoryStore.
"""

import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import md5
from typing import NoReturn

import trio

from s3mount.errors import AccessDenied, NotFound, S3MountError, StaleVersion, StoreError
from s3mount.s3.model import (
    ByteRange,
    ListedObject,
    ListPage,
    ListQuery,
    Modified,
    NotModified,
    ObjectStat,
    ObjectVersion,
    Reason,
    Revalidation,
)
from s3mount.s3.object_store import OnReadEnd, OnToken, Priority, RequestPriority
from tests.fakes.key_order import (
    Order,
    in_byte_order,
    in_component_order,
    in_no_order,
    is_common_prefix,
    items_of,
)
from tests.fakes.started_reads import TaskRead
from tests.fakes.unasked_store import UnaskedStore
from tests.property.history import History

REQUESTS_MAX = 5_000  # in one example; more is an endless loop
EPOCH_NS = 1_700_000_000 * 10**9


def in_order_at_first(key: str) -> bytes:
    """Byte order up to "b", then none: disorder shows only after some pages."""
    return b"0" + in_byte_order(key) if key < "b" else b"1" + in_no_order(key)


ORDERS: dict[str, Order] = {
    "bytes": in_byte_order,
    "components": in_component_order,
    "none": in_no_order,
    "at first": in_order_at_first,
    "directory bucket": in_no_order,
}


@dataclass(frozen=True)
class Behaviour:
    """Policies of a store.

    *failing* are the kinds of requests that fail; LIST is a first page, MORE a later one.
    """

    order: str = "bytes"
    page_max: int = 1000
    has_random_pages: bool = False  # each page has a size of its own
    repeats: bool = False  # a page may start with the last item of the one before
    has_empty_pages: bool = False
    knows_start_after: bool = True
    tells_token_early: bool = False
    delay: float = 0.0  # seconds, at most, before a request is evaluated, and again after it
    failing: tuple[str, ...] = ()
    failure_rate: float = 0.0
    failure_status: int = 503

    @property
    def bucket(self) -> str:
        return "bucket--use1-az4--x-s3" if self.order == "directory bucket" else "bucket"

    @property
    def is_ordered(self) -> bool:
        return self.order in ("bytes", "components")


@dataclass
class HistoryStore(UnaskedStore):
    """Store over *history*; *clock* returns moments that never repeat."""

    history: History
    behaviour: Behaviour
    clock: Callable[[], float]
    rnd: random.Random
    is_healed: bool = False
    requests: int = 0  # so far
    _items_of: dict[tuple[int, str, str, str | None], tuple[list[bytes], list[str]]] = field(
        default_factory=dict
    )

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:  # noqa: ARG002
        await self._arrive("HEAD", key)
        size = self.history.current.sizes.get(key)
        await self._leave()
        return self._stat(key, size)

    async def head_by_get(self, key: str, *, is_whole: bool = False) -> ObjectStat:  # noqa: ARG002
        await self._arrive("GET", key)
        size = self.history.current.sizes.get(key)
        await self._leave()
        return self._stat(key, size)

    async def list_page(
        self,
        query: ListQuery,
        priority: RequestPriority | None = None,  # noqa: ARG002
        on_token: OnToken | None = None,
    ) -> ListPage:
        await self._arrive("LIST" if query.token is None else "MORE", query.prefix)
        page = self._page(query)
        if on_token is not None and self.behaviour.tells_token_early:
            on_token(page.next_token)
        await self._leave()
        return page

    async def _read(
        self,
        version: ObjectVersion,
        span: ByteRange,
        into: memoryview,
    ) -> None:
        await self._arrive("GET", version.key)
        size = self.history.current.sizes.get(version.key)
        await self._leave()
        if size is None or self.version(version.key, size) != version:
            raise StaleVersion("replaced or deleted", key=version.key)
        into[:] = body_of(version.key, size)[span.start : span.stop]

    def start_read(
        self,
        version: ObjectVersion,
        byte_range: ByteRange,
        into: memoryview,
        on_end: OnReadEnd,
        priority: Priority,  # noqa: ARG002
        *,
        reason: Reason = Reason.READ,  # noqa: ARG002
    ) -> TaskRead:
        """Read in a task, since each request waits."""
        return TaskRead(version, partial(self._read, version, byte_range, into), on_end)

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        await self._arrive("REVALIDATE", version.key)
        size = self.history.current.sizes.get(version.key)
        await self._leave()
        stat = self._stat(version.key, size)
        if stat.version == version:
            return NotModified()
        return Modified(stat, body_of(version.key, stat.version.size)[:head_size])

    def version(self, key: str, size: int) -> ObjectVersion:
        return ObjectVersion(self.behaviour.bucket, key, _etag(key, size), size)

    async def _arrive(self, kind: str, key: str) -> None:
        self.requests += 1
        assert self.requests < REQUESTS_MAX, "endless requests"
        behaviour = self.behaviour
        await self._leave()
        if (
            not self.is_healed
            and kind in behaviour.failing
            and self.rnd.random() < behaviour.failure_rate
        ):
            _fail(behaviour.failure_status, kind, key)

    async def _leave(self) -> None:
        if self.behaviour.delay:
            await trio.sleep(self.rnd.random() * self.behaviour.delay)
        else:
            await trio.lowlevel.checkpoint()

    def _page(self, query: ListQuery) -> ListPage:
        ranks, items = self._items(query)
        start = 0 if query.token is None else self._start(query.token, ranks)
        if self.behaviour.has_empty_pages and self.rnd.random() < 0.3:
            begin = (
                f"> {self._start_after(query) or ''}"
                if query.token is None
                else query.token.split(" ", 1)[1]
            )
            return ListPage([], [], f"{self.requests} {begin}")
        stop = start + self._page_size()
        page = items[start:stop]
        mark = "=" if self.behaviour.repeats and len(page) > 1 and self.rnd.random() < 0.5 else ">"
        return ListPage(
            [self._listed(item) for item in page if not is_common_prefix(item, query)],
            [item for item in page if is_common_prefix(item, query)],
            f"{self.requests} {mark} {page[-1]}" if stop < len(items) else None,
        )

    def _start(self, token: str, ranks: list[bytes]) -> int:
        """Return the index of the page's first item: after the last one listed, or that again."""
        _, mark, last = token.split(" ", 2)
        bisect = bisect_left if mark == "=" else bisect_right
        return bisect(ranks, ORDERS[self.behaviour.order](last)) if last else 0

    def _page_size(self) -> int:
        least = 2 if self.behaviour.repeats else 1
        most = max(least, self.behaviour.page_max)
        return self.rnd.randint(least, most) if self.behaviour.has_random_pages else most

    def _items(self, query: ListQuery) -> tuple[list[bytes], list[str]]:
        """Return the items of the listing and their sort keys, in the order of this store."""
        after = self._start_after(query)
        known = (len(self.history.states), query.prefix, query.delimiter, after)
        if known not in self._items_of:
            order, sizes = ORDERS[self.behaviour.order], self.history.current.sizes
            keys = (
                sizes
                if after is None
                else [key for key in sizes if is_after(key, after, self.behaviour)]
            )
            items = items_of(keys, query, order)
            self._items_of[known] = [order(item) for item in items], items
        return self._items_of[known]

    def _start_after(self, query: ListQuery) -> str | None:
        return (
            query.start_after if self.behaviour.knows_start_after and query.token is None else None
        )

    def _listed(self, key: str) -> ListedObject:
        size = self.history.current.sizes[key]
        return ListedObject(key, size, _mtime_ns(size), _etag(key, size))

    def _stat(self, key: str, size: int | None) -> ObjectStat:
        if size is None:
            raise NotFound("no such key", key=key)
        return ObjectStat(self.version(key, size), _mtime_ns(size))


def is_after(key: str, after: str, behaviour: Behaviour) -> bool:
    """Return whether *key* is after StartAfter; stores without an order compare bytes."""
    order = ORDERS[behaviour.order] if behaviour.is_ordered else in_byte_order
    return order(key) > order(after)


def body_of(key: str, size: int) -> bytes:
    """Return the body of the version of *size* bytes; it starts with the key."""
    return f"{key}\n".encode().ljust(size, b"x")


def size_of(key: str, serial: int) -> int:
    """Return the size of version number *serial* of *key*; no two versions share one."""
    return len(key) + 1 + serial


def _etag(key: str, size: int) -> str:
    return md5(f"{key} {size}".encode(), usedforsecurity=False).hexdigest()


def _mtime_ns(size: int) -> int:
    return EPOCH_NS + size * 10**9


def _fail(status: int, kind: str, key: str) -> NoReturn:
    failure: type[S3MountError] = AccessDenied if status == 403 else StoreError
    raise failure(f"{kind} failed by request", status=status, key=key)
