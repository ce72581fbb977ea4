"""Reader of the metadata of object versions: one HEAD for each, and for all who ask at a time.

Invariants:

1. What is returned is of the version that was asked for. If another one is current, the version is
   requested by its version id, or it is StaleVersion, and the name is looked up anew.
2. Metadata may change while the version stays (tags, a restore), so it expires as a listing does,
   and a refresh of its name drops it.
3. The cache weighs at most its limit, which is not part of --metadata-limit.
4. A failure is not cached. But a store that refuses every HEAD is soon asked for none any more.
"""

from functools import partial
from sys import getsizeof
from typing import Final, NamedTuple, Protocol

import trio
from cachetools import LRUCache

from s3mount.errors import NotFound, NotSupported, ReplacedBeforeOpen, S3MountError, StaleVersion
from s3mount.filesystem.listing.single_flight import SingleFlight
from s3mount.filesystem.names import encode, parent_of
from s3mount.filesystem.namespace.tree import LOOKUP_TO_OPEN, Tree
from s3mount.s3.model import ObjectMetadata, ObjectPart, ObjectStat, ObjectVersion, Reason
from s3mount.s3.object_store import MetadataSource, PartSource

REFUSALS_MAX: Final = 5  # of HEAD, in a row; then none is sent any more
LIMIT: Final = 8 << 20  # bytes
PARTS_KEPT: Final = 1000  # files
_WEIGHT: Final = 3000  # bytes of one without its texts: objects, and dicts of some twenty fields
_REFUSALS_OF_HEAD: Final = (405, 501)  # statuses, of gateways that have GET only
_SECOND: Final = 1_000_000_000  # ns


def entry_stat(version: ObjectVersion, mtime_ns: int) -> ObjectStat:
    """Return what a reader is asked by: two versions of equal bytes differ in it, if told apart."""
    return ObjectStat(version, mtime_ns, version_id=version.version_id)


class Parts(NamedTuple):
    """Parts of an object that was uploaded in parts: how many, and the bytes of the first."""

    number: int
    size: int


def _is_of(entry: ObjectStat, stat: ObjectStat) -> bool:
    """Whether *stat* is of the version of *entry*, as the mount shows it.

    HEAD contradicts GET about a doubted version, so its time tells which one it is.
    """
    version = entry.version
    is_as_old = stat.mtime_ns // _SECOND == entry.mtime_ns // _SECOND
    return stat.version.is_same(version) or (version.is_doubted and is_as_old)


class _Cached(NamedTuple):
    requested_at: float
    metadata: ObjectMetadata

    @property
    def weight(self) -> int:
        """The cost in memory, in bytes."""
        fields = (*self.metadata.fields.items(), *self.metadata.user.items())
        texts = sum(getsizeof(name) + getsizeof(text) for name, text in fields)
        return _WEIGHT + getsizeof(self.metadata.stat.version.key) + texts


class VersionIds(Protocol):
    """Version ids that reads have brought; see `cache.block_cache`."""

    def known_version_id(self, version: ObjectVersion) -> str | None:
        """The version id of *version*, if a response has told it."""
        ...


class MetadataReader:
    """Metadata of the files of *tree*, from *store*."""

    def __init__(
        self,
        store: MetadataSource,
        tree: Tree,
        nursery: trio.Nursery,
        version_ids: VersionIds,
        parts: PartSource,
        *,
        limit: int = LIMIT,
    ) -> None:
        self._store = store
        self._tree = tree
        self._version_ids = version_ids
        self._parts = parts
        self._clock = tree.cache.clock
        self._cache: LRUCache[ObjectStat, _Cached] = LRUCache(
            limit, getsizeof=lambda cached: cached.weight
        )
        # with the time of the request
        self._cached_parts: LRUCache[ObjectStat, tuple[float, Parts | None]] = LRUCache(PARTS_KEPT)
        tick = self._clock.tick
        self._calls: SingleFlight[ObjectStat, ObjectMetadata] = SingleFlight(nursery, tick)
        self._part_calls: SingleFlight[ObjectStat, Parts | None] = SingleFlight(nursery, tick)
        self._refusals = 0  # of HEAD, in a row

    def get_nowait(self, entry: ObjectStat) -> ObjectMetadata | None:
        """The metadata of *entry* (`entry_stat`), if it is fresh."""
        cached = self._cache.get(entry)
        is_fresh = cached is not None and self._is_fresh(entry, cached.requested_at)
        return cached.metadata if cached is not None and is_fresh else None

    async def get(self, entry: ObjectStat) -> ObjectMetadata:
        """The metadata of *entry*. StaleVersion, NotSupported, or the store's failure."""
        found = self.get_nowait(entry)
        if found is not None:
            return found
        if self._refusals >= REFUSALS_MAX:
            raise _not_supported(entry.version)
        since = self._usable_since(entry.version)
        return await self._calls.join(entry, since, partial(self._fetch, entry))

    async def parts(self, entry: ObjectStat) -> Parts | None:
        """The parts of *entry*; None if it was uploaded as a whole, or the store tells none.

        NotSupported if the store does not tell that a part is of this version.
        """
        requested_at, found = self._cached_parts.get(entry, (0.0, None))
        if entry in self._cached_parts and self._is_fresh(entry, requested_at):
            return found
        since = self._usable_since(entry.version)
        return await self._part_calls.join(entry, since, partial(self._fetch_parts, entry))

    async def _fetch_parts(self, entry: ObjectStat) -> Parts | None:
        requested_at = self._clock.tick()
        try:
            part = await self._first_part(entry.version)
        except StaleVersion:
            await self.get(entry)  # raises it again if the version was replaced
            raise _not_supported(
                entry.version, "the store does not tell whose part it is"
            ) from None
        except S3MountError as exc:
            if exc.status not in _REFUSALS_OF_HEAD:
                raise
            raise _not_supported(entry.version) from exc
        found = None if part.parts_count is None else Parts(part.parts_count, part.size)
        self._cached_parts[entry] = requested_at, found
        return found

    async def _first_part(self, version: ObjectVersion) -> ObjectPart:
        """The first part of *version*, if need be by its version id."""
        if self._refusals >= REFUSALS_MAX:
            raise _not_supported(version)
        try:
            return await self._parts.first(version, Reason.ATTRIBUTES)
        except StaleVersion:
            version_id = self._version_id(version)
            if version_id is None or version.is_replaced:
                raise
        replaced = version.with_version_id(version_id, is_replaced=True)
        return await self._parts.first(replaced, Reason.ATTRIBUTES)

    def _is_fresh(self, entry: ObjectStat, requested_at: float) -> bool:
        # for a moment even without a TTL: a program lists the names, then reads each value
        ttl, now = self._tree.cache.ttl, self._clock.now()
        is_recent = ttl.is_recent(requested_at, now, LOOKUP_TO_OPEN)
        return is_recent and self._invalidated_at(entry.version) < requested_at

    def _usable_since(self, version: ObjectVersion) -> float:
        """Since when a request in flight may be shared."""
        # an invalidation expires, but a HEAD in flight may be older than what is used of the cache
        recent = self._tree.cache.ttl.recent_since(self._clock.now(), LOOKUP_TO_OPEN)
        return max(recent, self._invalidated_at(version))

    def _invalidated_at(self, version: ObjectVersion) -> float:
        prefix, name = _split(version.key)
        return self._tree.cache.invalidations.last((version.bucket, prefix), name)

    def _version_id(self, version: ObjectVersion) -> str | None:
        return version.version_id or self._version_ids.known_version_id(version)

    async def _fetch(self, entry: ObjectStat) -> ObjectMetadata:
        try:
            found = await self._of_version(entry)
        except S3MountError as exc:
            if exc.status not in _REFUSALS_OF_HEAD:
                raise
            self._refusals += 1
            raise _not_supported(entry.version) from exc
        self._refusals = 0
        if found.weight <= self._cache.maxsize:
            self._cache[entry] = found
        return found.metadata

    async def _of_version(self, entry: ObjectStat) -> _Cached:
        """The current metadata, if that is of the version, else that of its version id."""
        version = entry.version
        if not version.is_replaced:
            requested_at = self._clock.tick()
            found = await self._current(entry)
            if found is not None:
                return _Cached(requested_at, found)
            self._note_replaced(version)
        requested_at = self._clock.tick()
        version_id = self._version_id(version)
        if version_id is None:
            raise _replaced(version)
        try:
            found = await self._store.metadata(version.key, version_id=version_id)
        except NotFound as exc:
            raise _replaced(version) from exc
        if not _is_of(entry, found.stat):
            raise _replaced(version)
        return _Cached(requested_at, found)

    def _note_replaced(self, version: ObjectVersion) -> None:
        """Have the name looked up again, unless it is known as another version already."""
        prefix, name = _split(version.key)
        directory = self._tree.cache.find_directory(prefix)
        known = None if directory is None else directory.get(name)
        if known is None or known.page is None or known.page.version(known.at) == version:
            self._tree.invalidate(version)

    async def _current(self, entry: ObjectStat) -> ObjectMetadata | None:
        """The metadata of the current version; None if that is another one, or there is none."""
        try:
            found = await self._store.metadata(entry.version.key)
        except NotFound:
            return None
        known = entry.version.version_id
        is_other_id = known is not None and found.stat.version_id not in (None, known)
        return found if _is_of(entry, found.stat) and not is_other_id else None


def _split(key: str) -> tuple[str, bytes]:
    """The prefix of the directory of a file, and its name there."""
    prefix = parent_of(key)
    return prefix, encode(key[len(prefix) :])


def _replaced(version: ObjectVersion) -> StaleVersion:
    message = "replaced or deleted before its metadata was read"
    return ReplacedBeforeOpen(message, bucket=version.bucket, key=version.key)


_NO_HEAD: Final = "the store has no HEAD, so only what listings tell is known of an object"


def _not_supported(version: ObjectVersion, message: str = _NO_HEAD) -> NotSupported:
    return NotSupported(message, bucket=version.bucket, key=version.key)
