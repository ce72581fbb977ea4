"""Sources of the control socket's commands, without a mount."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from s3mount.cache.file_activity import FileActivity
from s3mount.config import PriceConfig
from s3mount.control.sources import Requests, Sources, StoreState
from s3mount.disk.contents import CachedObject
from s3mount.disk.description import described
from s3mount.disk.object_name import ObjectName
from s3mount.disk.usage import DiskLimits, DiskUsage
from s3mount.metrics import Metrics
from s3mount.s3.archive import RestoreOutcome
from s3mount.s3.model import (
    ListedVersion,
    ObjectMetadata,
    ObjectStat,
    ObjectVersion,
    VersionPage,
    VersionQuery,
)

# what the bill is reckoned from
COUNTED = (
    *("get_requests", "head_requests", "list_requests", "bytes_received", "reads"),
    *("lookup_hits", "lookup_misses", "listing_pages_read", "bytes_served"),
)


class OneFile:
    """The open files of a mount."""

    def activity(self, most: int) -> list[FileActivity]:  # noqa: ARG002
        return [FileActivity("k", 1, 2, 3, 4, 5)]


class NoNames:
    """A tree in which nothing is cached."""

    def refresh(self, names: object) -> int:  # noqa: ARG002
        return 0


class OneVersion:
    """A bucket with one version of one object."""

    async def list_versions(self, query: VersionQuery) -> VersionPage:
        row = ListedVersion(query.prefix, "v1", True, False, 0, 7, "etag")
        return VersionPage([row], [], None)


class OneObject:
    """A mount with the same file at each path."""

    async def describe(
        self,
        path: Sequence[bytes],  # noqa: ARG002
        *,
        has_parts: bool,
    ) -> Mapping[str, object]:
        return {"kind": "file", "parts": {} if has_parts else None}


class OneArchivedObject:
    """A mount whose only file is archived, and the object that it is."""

    key = "a"
    version = ObjectVersion("b", "a", "e", 7)
    is_directory = False
    mtime_ns = 0
    storage_class = "GLACIER"

    async def find(self, names: object) -> Self:  # noqa: ARG002
        return self

    async def metadata(self, key: str, **_: object) -> ObjectMetadata:
        stat = ObjectStat(ObjectVersion("b", key, "e", 7), 0, "GLACIER", is_archived=True)
        return ObjectMetadata(stat, {"StorageClass": "GLACIER"}, {})

    def store_key(self, key: str, version_id: str | None = None) -> str:  # noqa: ARG002
        return key

    async def restore(self, *_: object, **__: object) -> RestoreOutcome:
        return RestoreOutcome.REQUESTED


class OneCachedObject:
    """A disk cache with one object; `calls` has the names of each call."""

    folder = Path("/var/cache/s3mount")
    limits = DiskLimits(1 << 30, 0)

    def __init__(self) -> None:
        self.calls: list[tuple[str, Sequence[bytes] | None]] = []
        self.damaged = 0

    async def usage(self) -> DiskUsage | None:
        return DiskUsage(*range(13))

    async def list(
        self,
        names: Sequence[bytes] | None,
        send: Callable[[Sequence[Mapping[str, object]]], Awaitable[None]],
    ) -> int:
        self.calls.append(("list", names))
        name = ObjectName("n", "bucket", "prefix/a", "etag", 7)
        await send([described(CachedObject(name, 7, 4096, 1764160000250, False, False))])
        return 1

    def begin_verification(self, names: Sequence[bytes] | None) -> Self:
        self.calls.append(("verify", names))
        return self

    def progress(self) -> Mapping[str, object]:
        return {"phase": "reading", "objects": 1, "bytes": 7, "bytes_done": 7}

    async def run(self) -> Mapping[str, object]:
        return {"objects": 1, "bytes": 7, "bad_extents": self.damaged}

    async def clear(self, names: Sequence[bytes] | None) -> int:
        self.calls.append(("clear", names))
        return 3

    async def pin(self, names: Sequence[bytes], *, is_pinned: bool) -> int:
        self.calls.append(("pin" if is_pinned else "unpin", names))
        return 1


async def _at_once(_most: float) -> bool:
    return True


def make_sources(requests: Requests, state: StoreState) -> Sources:
    metrics, archived = Metrics(), OneArchivedObject()
    for name in COUNTED:
        metrics.counter(name, "things", "", lambda: 1)
    return Sources(
        store=lambda: state,
        requests=requests,
        files=OneFile(),
        metrics=metrics,
        tree=NoNames(),
        versions=OneVersion(),
        attributes=OneObject(),
        paths=archived,
        metadata=archived,
        restorer=archived,
        keys=archived,
        wait_dropped=_at_once,
        prices=PriceConfig(),
        set_log_level=lambda level: level,
        disk=OneCachedObject(),
    )
