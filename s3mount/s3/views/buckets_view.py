"""View of many buckets: each is a top directory, so a key is BUCKET/KEY.

The listing of the root is that of the buckets' names, in one page, and costs no request to any of
them. All below a name is its bucket's own. Invariants:

1. A listing is of one bucket: what is below the root is never listed without a delimiter.
2. A bucket is a directory, empty or not, and whether or not it may be listed, or has a past: a
   lookup of it finds a marker, as of an empty directory in a bucket. Only reading the directory is
   refused.
3. A bucket is absent only if a listing of the account that began later than the call does not have
   it, or if the store says that there is none. No failure is an absence.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from s3mount.errors import AccessDenied, NoPast, NotFound, StoreError
from s3mount.s3.model import (
    ListedObject,
    ListPage,
    ListQuery,
    ObjectVersion,
    PosixAttributes,
    Reason,
)
from s3mount.s3.object_store import BucketStore, OnToken, RequestPriority
from s3mount.s3.views.store_view import StoreView, Target, renamed, renamed_page

NO_BUCKET: Final = "NoSuchBucket"
# of the first page of a bucket whose marker was shown instead: no store has such a token, as it is
# no text in UTF-8
_FIRST_PAGE: Final = "\ud800"


class Names(Protocol):
    """Names of the buckets; see `BucketNames`."""

    async def all(self, reason: Reason) -> list[str]: ...
    async def has(self, name: str, reason: Reason = Reason.LOOKUP) -> bool: ...
    def forget(self, name: str) -> None: ...


class Buckets:
    """`Targets`: the objects of the buckets that *names* has.

    *open_bucket* makes the store of a bucket, once, and sends nothing. *has_capacity* is that of
    all of them.
    """

    bucket: str = ""

    def __init__(
        self,
        names: Names,
        open_bucket: Callable[[str], BucketStore],
        has_capacity: Callable[[], bool],
    ) -> None:
        self._names = names
        self._open_bucket = open_bucket
        self.has_capacity = has_capacity
        # by name, and the one that was read last
        self._stores: dict[str, BucketStore] = {}
        self._last_read: BucketStore | None = None

    async def find(self, key: str) -> Target:
        name, _, own_key = key.partition("/")
        if not own_key or not await self._names.has(name):
            raise NotFound("no object is outside of a bucket", bucket=name, key=own_key)
        return Target(self.store(name), name, own_key)

    def find_nowait(self, key: str) -> Target:
        found = self.locate(key)
        self._last_read = found.store
        return found

    def locate(self, key: str) -> Target:
        """`find_nowait` for a key of which nothing is read."""
        name, _, own_key = key.partition("/")
        return Target(self.store(name), name, own_key)

    def store(self, name: str) -> BucketStore:
        """Return the store of the bucket *name*, whether or not there is one."""
        store = self._stores.get(name)
        if store is None:
            store = self._stores[name] = self._open_bucket(name)
        return store

    def has_ranges(self) -> bool:
        """Whether the store that was read last has ranges: most accounts are of one kind."""
        return self._last_read is None or self._last_read.has_ranges()

    async def list_page(
        self, query: ListQuery, priority: RequestPriority | None, on_token: OnToken | None
    ) -> ListPage:
        name, slash, own_prefix = query.prefix.partition("/")
        if not slash:
            return await self._list_names(query)
        if not await self._names.has(name, query.reason):
            raise _no_such_bucket(name)
        own = replace(
            query,
            prefix=own_prefix,
            token=None if query.token == _FIRST_PAGE else query.token,
            start_after=_without(f"{name}/", query.start_after),
        )
        page = await self._list_bucket(name, own, priority, on_token, is_first=_is_first(query))
        return renamed_page(page, f"{name}/".__add__)

    async def _list_names(self, query: ListQuery) -> ListPage:
        """Return the buckets whose names begin with the prefix of *query*, as directories."""
        if not query.delimiter:
            raise StoreError("the buckets are not listed as one", key=query.prefix)
        after = query.start_after or ""
        prefixes = [f"{name}/" for name in await self._names.all(query.reason)]
        found = [each for each in prefixes if each.startswith(query.prefix) and each > after]
        return ListPage([], found, None)

    async def _list_bucket(
        self,
        name: str,
        own: ListQuery,
        priority: RequestPriority | None,
        on_token: OnToken | None,
        *,
        is_first: bool,
    ) -> ListPage:
        """Return the page of *own*; *is_first*: of a bucket's directory, and not asked again."""
        try:
            page = await self.store(name).list_page(own, priority, on_token)
        except (AccessDenied, NoPast):
            if is_first:
                return ListPage([_MARKER], [], _FIRST_PAGE)
            raise
        except NotFound as exc:
            if exc.code != NO_BUCKET:
                raise
            self._names.forget(name)
            if own.prefix:
                raise
            raise _no_such_bucket(name) from exc
        is_empty = is_first and page.next_token is None and not (page.objects or page.prefixes)
        return replace(page, objects=[_MARKER]) if is_empty else page


class BucketsView(StoreView):
    """`BucketStore` of many *buckets*."""

    def __init__(self, buckets: Buckets) -> None:
        super().__init__(buckets)
        self._buckets = buckets

    def store_key(self, key: str, version_id: str | None = None) -> str:
        name, slash, own_key = key.partition("/")
        if not own_key:
            return key
        return f"{name}{slash}{self._buckets.store(name).store_key(own_key, version_id)}"

    def posix_attributes(self, version: ObjectVersion) -> PosixAttributes | None:
        store, bucket, own_key, _ = self._buckets.locate(version.key)
        return store.posix_attributes(renamed(version, bucket, own_key))

    def has_scans(self, prefix: str) -> bool:
        return "/" in prefix  # else it is of several buckets


_MARKER: Final = ListedObject("", 0, 0, "")  # the prefix itself, which is not shown


def _is_first(query: ListQuery) -> bool:
    """Whether *query* is for the first page of a bucket's directory."""
    is_of_bucket = query.prefix.find("/") == len(query.prefix) - 1 and query.delimiter == "/"
    return is_of_bucket and query.token is None and query.start_after is None


def _without(prefix: str, key: str | None) -> str | None:
    """Return *key* as the bucket has it; None if it is not below *prefix*, so before all keys."""
    return key[len(prefix) :] or None if key is not None and key.startswith(prefix) else None


def _no_such_bucket(name: str) -> NotFound:
    """Return what a LIST of nothing fails with at some stores: it is an absence of names below."""
    return NotFound("there is no such bucket", bucket=name, key="", code="NoSuchKey")
