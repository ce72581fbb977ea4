"""Memory store that keeps versions and delete markers, and lists them as S3 does."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

from s3mount.errors import NotFound, StaleVersion
from s3mount.s3.model import (
    NULL_VERSION,
    ByteRange,
    ListedVersion,
    ObjectMetadata,
    ObjectStat,
    ObjectVersion,
    Reason,
    VersionMarker,
    VersionPage,
    VersionQuery,
)
from s3mount.s3.object_store import OnReadEnd, Priority, RequestPriority
from tests.fakes.key_order import in_byte_order
from tests.fakes.memory_store import EPOCH_NS, MemoryStore
from tests.fakes.started_reads import TaskRead


@dataclass(slots=True)
class VersionedStore(MemoryStore):
    """`BucketStore` in memory; *now_ns* is the time of what is put or deleted next.

    *version_page_size* bounds pages of versions.
    """

    now_ns: int = EPOCH_NS
    version_page_size: int = 1000
    # newest first within a key
    history: dict[str, list[tuple[ListedVersion, bytes]]] = field(default_factory=dict)

    def __post_init__(self, objects: Mapping[str, bytes]) -> None:
        self.keeps_versions = True
        MemoryStore.__post_init__(self, objects)

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
        version_id: str = "",
    ) -> ObjectVersion:
        """Store *body*; with *version_id* null, in place of the version of that id."""
        version = MemoryStore.put(
            self,
            key,
            body,
            storage_class=storage_class,
            mtime_ns=self.now_ns if mtime_ns is None else mtime_ns,
            fields=fields,
            user=user,
        )
        stat = self._objects[key].stat
        row = ListedVersion(
            key,
            version_id or str(stat.version_id),
            True,
            False,
            stat.mtime_ns,
            version.size,
            version.etag,
            storage_class,
        )
        self._add(row, bytes(body))
        return version

    def delete(self, key: str) -> None:
        """Put a delete marker on *key*, whatever is there."""
        version_id = f"m{next(self._ticks)}"
        self._add(ListedVersion(key, version_id, True, True, self.now_ns), b"")
        self._objects.pop(key, None)

    def delete_version(self, key: str, version_id: str) -> None:
        """Delete a version or a delete marker for good; the one before it becomes current."""
        rows = [each for each in self.history[key] if each[0].version_id != version_id]
        self._set(key, rows)
        self._objects.pop(key, None)
        if rows and not rows[0][0].is_delete_marker:
            row, body = rows[0]
            MemoryStore.put(self, key, body, mtime_ns=row.mtime_ns)
            stored = self._objects[key]
            self._objects[key] = type(stored)(self._stat_of(row), body, stored.fields, stored.user)

    def _add(self, row: ListedVersion, body: bytes) -> None:
        others = self.history.get(row.key, [])
        if row.version_id == NULL_VERSION:
            others = [each for each in others if each[0].version_id != NULL_VERSION]
        self._set(row.key, [(row, body), *others])

    def _set(self, key: str, rows: list[tuple[ListedVersion, bytes]]) -> None:
        self.history[key] = [
            (row._replace(is_latest=index == 0), body) for index, (row, body) in enumerate(rows)
        ]

    # ---- BucketStore

    async def head_version(
        self,
        key: str,
        version_id: str,
        reason: Reason = Reason.LOOKUP,  # noqa: ARG002
    ) -> ObjectStat:
        await self._receive("HEAD", key)
        row, _ = self._version(key, version_id)
        return self._stat_of(row)

    async def metadata(
        self,
        key: str,
        *,
        version_id: str | None = None,
        part_number: int | None = None,
        reason: Reason = Reason.ATTRIBUTES,
    ) -> ObjectMetadata:
        if version_id is None:
            stat = await self.head(key, reason)
        else:
            stat = await self.head_version(key, version_id, reason)
        fields = {"VersionId": version_id or "", "PartNumber": str(part_number)}
        return ObjectMetadata(stat, fields, {})

    async def list_versions(
        self,
        query: VersionQuery,
        priority: RequestPriority | None = None,  # noqa: ARG002
    ) -> VersionPage:
        await self._receive("LIST", query.prefix)
        size = min(self.version_page_size, query.max_keys)
        versions: list[ListedVersion] = []
        prefixes: list[str] = []
        marker = None
        for item, row in self._items_after(query):
            if prefixes and item == prefixes[-1]:
                continue
            if len(versions) + len(prefixes) == size:
                return VersionPage(versions, prefixes, marker)
            if item == row.key:
                versions.append(row)
                marker = VersionMarker(row.key, row.version_id)
            else:
                prefixes.append(item)
                marker = VersionMarker(item)
        return VersionPage(versions, prefixes, None)

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
        if not (version.is_replaced and version.version_id):
            return MemoryStore.start_read(
                self, version, byte_range, into, on_end, priority, reason=reason
            )
        read = partial(self._read_version, version, byte_range, into)
        return TaskRead(version, read, on_end)

    # ---- rows

    async def _read_version(
        self, version: ObjectVersion, span: ByteRange, into: memoryview
    ) -> None:
        await self._receive("GET", version.key, span=span)
        try:
            row, body = self._version(version.key, str(version.version_id))
        except NotFound:
            row, body = None, b""
        if row is None or row.etag != version.etag:
            raise StaleVersion("replaced or deleted", bucket=self.bucket, key=version.key)
        into[:] = body[span.start : span.stop]

    def _items_after(self, query: VersionQuery) -> Iterator[tuple[str, ListedVersion]]:
        """Yield each row behind the marker, with its key or its common prefix."""
        marker, skip = query.marker, len(query.prefix)
        for key in sorted(self.history, key=in_byte_order):
            if not key.startswith(query.prefix):
                continue
            name, delimiter, _ = key[skip:].partition(query.delimiter or "\0")
            item = query.prefix + name + delimiter if query.delimiter else key
            rows = [row for row, _ in self.history[key]]
            if marker is not None:
                if marker.version_id is None and marker.key == item:
                    continue
                rows = [row for row in rows if in_byte_order(key) > in_byte_order(marker.key)] or (
                    _behind(rows, marker) if key == marker.key else []
                )
            yield from ((item, row) for row in rows)

    def _version(self, key: str, version_id: str) -> tuple[ListedVersion, bytes]:
        for row, body in self.history.get(key, []):
            if row.version_id == version_id and not row.is_delete_marker:
                return row, body
        raise NotFound("no such version", bucket=self.bucket, key=key)

    def _stat_of(self, row: ListedVersion) -> ObjectStat:
        version = ObjectVersion(self.bucket, row.key, row.etag, row.size)
        version_id = None if row.version_id == NULL_VERSION else row.version_id
        return ObjectStat(
            version.with_version_id(version_id), row.mtime_ns, row.storage_class, version_id
        )


def _behind(rows: list[ListedVersion], marker: VersionMarker) -> list[ListedVersion]:
    """The versions of the marker's key behind its version."""
    ids = [row.version_id for row in rows]
    return rows[ids.index(marker.version_id) + 1 :] if marker.version_id in ids else []
