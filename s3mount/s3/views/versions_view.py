"""View that adds the versions of objects (`--versions`), as files of a directory beside them.

`d/.versions/NAME@ID` is the version ID of the object `d/NAME`, current or not, also of a deleted
one. NAME is empty for the marker object `d/`. A delete marker is no file. Invariants:

1. What the bucket has comes first: a key that looks like a version is that key, and a directory
   `.versions` that has keys lists those. Its versions are found by name then. Where an object is
   named `.versions` there is no such directory.
2. A version is known by its version id, which is the end of its name and that of its
   `ObjectVersion`. So a key of the bucket that looks like one is never read as one.
"""

import json
from dataclasses import replace
from typing import Final, NamedTuple

from s3mount.errors import AccessDenied, NotFound, StoreError
from s3mount.frozen_dataclass import dataclass
from s3mount.s3.model import (
    ByteRange,
    ListedObject,
    ListedVersion,
    ListPage,
    ListQuery,
    Modified,
    NotModified,
    ObjectVersion,
    PosixAttributes,
    Reason,
    Revalidation,
    VersionMarker,
    VersionQuery,
)
from s3mount.s3.object_store import (
    BucketStore,
    OnReadEnd,
    OnToken,
    Priority,
    RequestPriority,
    StartedRead,
    is_listed_nowhere,
)
from s3mount.s3.views import VERSIONS_DIRECTORY
from s3mount.s3.views.moment_view import as_denied
from s3mount.s3.views.store_view import StoreView, Target, renamed

_SUFFIX: Final = f"{VERSIONS_DIRECTORY}/"
_TOKEN: Final = "versions:"  # noqa: S105 - begins our own tokens
_NONE_YET: Final = "none:"  # begins the store's own, behind pages without a key


class VersionName(NamedTuple):
    """Version that a key of the view names: of the object *key* of the bucket."""

    key: str
    version_id: str


def version_named(key: str) -> VersionName | None:
    """Return the version that *key* may name, by its spelling alone."""
    path, _, name = key.rpartition("/")
    object_name, _, version_id = name.rpartition("@")
    parent, slash, directory = path.rpartition("/")
    object_key = f"{parent}{slash}{object_name}"
    if not (object_key and version_id) or directory != VERSIONS_DIRECTORY:
        return None
    return VersionName(object_key, version_id)


def name_of_version(row: ListedVersion) -> str:
    """Return the key that *row* is shown as."""
    parent, slash, name = row.key.rpartition("/")
    return f"{parent}{slash}{_SUFFIX}{name}@{row.version_id}"


def listed_beginning(query: ListQuery) -> str | None:
    """Return what the keys begin with whose versions *query* lists; None if it lists no versions.

    Its prefix may end within a name: then it lists those of the names that begin so.
    """
    path, slash, begun = query.prefix.rpartition("/")
    parent, above, directory = path.rpartition("/")
    if query.delimiter != "/" or not slash or directory != VERSIONS_DIRECTORY:
        return None
    return f"{parent}{above}{begun.partition('@')[0]}"  # what follows may be of the id


@dataclass(frozen=True, slots=True)
class VersionTargets:
    """`Targets` of the keys of *bucket* in *store*, and of the versions beside them."""

    store: BucketStore
    bucket: str

    async def find(self, key: str) -> Target:
        named = version_named(key)
        if named is None or await self._is_real(key):
            return Target(self.store, self.bucket, key)
        return Target(self.store, self.bucket, *named)

    def find_nowait(self, key: str) -> Target:
        return Target(self.store, self.bucket, key)

    async def list_page(
        self, query: ListQuery, priority: RequestPriority | None, on_token: OnToken | None
    ) -> ListPage:
        beginning = listed_beginning(query)
        is_versions = query.token is not None and query.token.startswith(_TOKEN)
        if beginning is None:
            return await self.store.list_page(query, priority, on_token)
        if not is_versions:
            page = await self._list_keys(query, priority)
            if page is not None:
                return page
            if await self._is_object(query.prefix.rpartition("/")[0]):
                return ListPage([], [], None)  # which is no directory, then
            query = replace(query, token=None)
        return await self._list_versions(query, beginning, priority)

    async def _list_keys(
        self, query: ListQuery, priority: RequestPriority | None
    ) -> ListPage | None:
        """List the keys of a directory of versions; None at the end of pages that had none."""
        token, start_after = query.token, query.start_after
        has_none = start_after is None and (token is None or token.startswith(_NONE_YET))
        if token is not None:
            query = replace(query, token=token.removeprefix(_NONE_YET))
        page = await self.store.list_page(query, priority)
        has_keys = page.objects or page.prefixes or page.is_partial
        page = replace(page, is_partial=True)  # versions are there, too
        if has_keys or not has_none:
            return page
        token = page.next_token
        return None if token is None else replace(page, next_token=_NONE_YET + token)

    def has_capacity(self) -> bool:
        return self.store.has_capacity()

    def has_ranges(self) -> bool:
        return self.store.has_ranges()

    async def _is_real(self, key: str) -> bool:
        """Whether the bucket has an object *key*."""
        try:
            await self.store.head(key)
        except NotFound:
            return False
        except AccessDenied:
            if await is_listed_nowhere(self.store, key):
                return False
            raise
        return True

    async def _is_object(self, key: str) -> bool:
        """`_is_real`; False if that is denied."""
        try:
            return await self._is_real(key)
        except AccessDenied:
            return False

    async def _list_versions(
        self, query: ListQuery, beginning: str, priority: RequestPriority | None
    ) -> ListPage:
        marker = None if query.token is None else _decode(query.token)
        page = await self.store.list_versions(
            VersionQuery(beginning, "/", marker, query.max_keys, query.reason), priority
        )
        rows = [
            ListedObject(
                name_of_version(row), row.size, row.mtime_ns, row.etag, *row[-1:], row.version_id
            )
            for row in page.versions
            if _is_file(row, query.prefix)
        ]
        token = None if page.next_marker is None else _TOKEN + json.dumps(page.next_marker)
        return ListPage(rows, [], token)


def _is_file(row: ListedVersion, prefix: str) -> bool:
    """Whether *row* is shown in a listing of *prefix*."""
    name = name_of_version(row)
    is_below = name.startswith(prefix) and "/" not in name[len(prefix) :]
    return is_below and not row.is_delete_marker


class VersionsView(StoreView):
    """`BucketStore` that shows *store*, and versions beside its objects."""

    def __init__(self, store: BucketStore, bucket: str) -> None:
        super().__init__(VersionTargets(store, bucket))
        self._store = store
        self._bucket = bucket

    def store_key(self, key: str, version_id: str | None = None) -> str:
        named = version_named(key)
        is_beside = named is not None and named.version_id == version_id
        return self._store.store_key(named.key if named and is_beside else key, version_id)

    def posix_attributes(self, version: ObjectVersion) -> PosixAttributes | None:
        named = named_by(version)
        if named is None:
            return self._store.posix_attributes(version)
        own = renamed(version, self._bucket, named.key)
        return self._store.posix_attributes(own.with_version_id(named.version_id, is_replaced=True))

    async def revalidate(self, version: ObjectVersion, head_size: int) -> Revalidation:
        """Compare, by a HEAD if it is a version beside an object: a key may have its name now."""
        if named_by(version) is None:
            return await self._store.revalidate(version, head_size)
        stat = await self.head(version.key, Reason.REVALIDATE)
        is_same = stat.version.is_same(version) and stat.version.version_id == version.version_id
        return NotModified() if is_same else Modified(stat, b"")

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
        named = named_by(version)
        if named is None:
            return self._store.start_read(
                version, byte_range, into, on_end, priority, reason=reason
            )
        own = renamed(version, self._bucket, named.key)
        own = own.with_version_id(named.version_id, is_replaced=True)

        def ended(_: ObjectVersion, failure: BaseException | None) -> None:
            on_end(version, as_denied(failure))

        return self._store.start_read(own, byte_range, into, ended, priority, reason=reason)


def named_by(version: ObjectVersion) -> VersionName | None:
    """Return the version beside an object that *version* is; None if it is an object itself."""
    named = version_named(version.key)
    return named if named is not None and named.version_id == version.version_id else None


def _decode(token: str) -> VersionMarker:
    try:
        return VersionMarker(*json.loads(token.removeprefix(_TOKEN)))
    except (TypeError, ValueError) as exc:
        raise StoreError("a listing is continued by a token of another one") from exc
