"""View of one bucket in which every key has a path: what no file can be named is escaped.

Keys are translated as `key_escape` says; what is before the root's prefix stays as it is. In
listings only the prefix is: what rows have behind it is the store's, and so is their order.
`EscapedEntryMerger` and `EscapedSubtreeBuilder` name them. Invariants:

1. A key is found at one path. A shadowed file is found only while its directory is there, which
   costs a LIST more.
2. An empty marker is its directory, so there is no file for it.
3. The listing of a part of an over-long component has the keys of that part, and no others.
"""

from dataclasses import replace

from s3mount.errors import NotFound
from s3mount.s3.model import ListPage, ListQuery, Modified, ObjectStat, Reason, Revalidation
from s3mount.s3.model import ObjectVersion as Version
from s3mount.s3.object_store import BucketStore, OnToken, RequestPriority
from s3mount.s3.views.key_escape import FILE, EscapedKey, EscapedPrefix, key_of, prefix_of
from s3mount.s3.views.store_view import StoreView, Target, renamed_page


class EscapedKeys:
    """`Targets`: the objects of *store*, which is one bucket, below the prefix *root*."""

    def __init__(self, store: BucketStore, bucket: str, root: str) -> None:
        self.bucket = bucket
        self._store = store
        self._root = root
        self.has_capacity = store.has_capacity
        self.has_ranges = store.has_ranges

    async def find(self, key: str) -> Target:
        if key.endswith("/"):
            return self.find_nowait(key)
        own_key, is_shadowed = self._file(key)
        if is_shadowed and not await self._has_keys(f"{own_key}/"):
            raise self._not_found(key)
        return Target(self._store, self.bucket, own_key)

    def find_nowait(self, key: str) -> Target:
        is_directory = key.endswith("/") or key == self._root
        own_key = self._directory(key).prefix if is_directory else self._file(key).key
        return Target(self._store, self.bucket, own_key)

    async def list_page(
        self, query: ListQuery, priority: RequestPriority | None, on_token: OnToken | None
    ) -> ListPage:
        shown = query.prefix
        if len(shown) > len(self._root) and not shown.endswith("/"):  # of one name
            own, prefix = None, self._file(shown).key
        else:
            own = self._directory(shown)
            prefix = own.prefix
        after = query.start_after
        if after is not None:
            after = prefix + after.removeprefix(shown)
        page = await self._store.list_page(
            replace(query, prefix=prefix, start_after=after), priority, on_token
        )
        if own is not None and own.begun:
            page = _without_others(page, own)
        if prefix == shown:
            return page
        return renamed_page(page, lambda key: shown + key[len(prefix) :])

    async def _has_keys(self, prefix: str) -> bool:
        query, tokens = ListQuery(prefix, "", max_keys=1, reason=Reason.LOOKUP), set[str]()
        while True:
            page = await self._store.list_page(query)
            if page.objects or page.prefixes or page.has_lost_objects:
                return True
            if page.next_token is None or page.next_token in tokens:
                return False
            tokens.add(page.next_token)
            # whole pages: a view of a moment has empty ones, of objects that came later
            query = ListQuery(prefix, "", token=page.next_token, reason=Reason.LOOKUP)

    def _file(self, shown: str) -> EscapedKey:
        """The key of a file. NotFound if it can have none."""
        found = key_of(shown.removeprefix(self._root))
        if found is None or not self._root + found.key:  # of the bucket itself
            raise self._not_found(shown)
        return found._replace(key=self._root + found.key)

    def _directory(self, shown: str) -> EscapedPrefix:
        """The beginning of the keys in a directory. NotFound if there can be none."""
        found = prefix_of(shown.removeprefix(self._root))
        if found is None:
            raise self._not_found(shown)
        return found._replace(above=self._root + found.above)

    def _not_found(self, shown: str) -> NotFound:
        # the code, as of stores that list nothing where no key is
        return NotFound("no key has this path", bucket=self.bucket, key=shown, code="NoSuchKey")


class EscapedView(StoreView):
    """`BucketStore` of one bucket, with a path for every key below *root*."""

    def __init__(self, store: BucketStore, bucket: str, root: str) -> None:
        super().__init__(EscapedKeys(store, bucket, root))

    async def head(self, key: str, reason: Reason = Reason.LOOKUP) -> ObjectStat:
        stat = await super().head(key, reason)
        _check_marker(stat)
        return stat

    async def revalidate(self, version: Version, head_size: int) -> Revalidation:
        found = await super().revalidate(version, head_size)
        if isinstance(found, Modified):
            _check_marker(found.stat)
        return found


def _check_marker(stat: ObjectStat) -> None:
    """Raise NotFound for a marker without bytes."""
    bucket, key, _, size = stat.version
    if not size and key.rpartition("/")[2] == FILE:
        raise NotFound("an empty marker is its directory", bucket=bucket, key=key)


def _without_others(page: ListPage, own: EscapedPrefix) -> ListPage:
    """*page* without the rows that are elsewhere, although they begin with the prefix."""
    return replace(
        page,
        objects=[row for row in page.objects if own.has(row.key)],
        prefixes=[prefix for prefix in page.prefixes if own.has(prefix)],
    )
