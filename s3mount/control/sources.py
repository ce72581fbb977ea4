"""Interfaces of what the commands read: each is a small part of what serves the mount."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from s3mount.config import LogLevel, PriceConfig, StoreConfig
from s3mount.control.disk_cache import DiskContents
from s3mount.frozen_dataclass import dataclass
from s3mount.metrics import Metrics
from s3mount.s3.model import ObjectVersion, Reason, StoreIdentity, VersionPage, VersionQuery
from s3mount.s3.object_store import KeySource, MetadataSource, Restorer
from s3mount.s3.request_counts import KindCounts, KindLatency
from s3mount.s3.request_records import EndedRequest, PendingRequest, RequestKind

SetLogLevel = Callable[[LogLevel], LogLevel]
"""Log from a level on; return the level before."""


WaitDropped = Callable[[float], Awaitable[bool]]
"""Wait, at most so many seconds, until the kernel has dropped what it was told to; whether it has.
"""


class Refreshable(Protocol):
    """Tree whose cached metadata can be dropped."""

    def refresh(self, names: Sequence[bytes]) -> int:
        """Drop what is cached of a path and below, in the kernel soon; return how many names."""
        ...


class Attributes(Protocol):
    """Attributes of files and directories; see `filesystem.attributes.path_attributes`."""

    async def describe(self, path: Sequence[bytes], *, has_parts: bool) -> Mapping[str, object]:
        """All that is known of what is at *path*, with the parts of the object if *has_parts*."""
        ...


class FoundPath(Protocol):
    """Entry of a path; see `filesystem.namespace.path_lookup`. A directory has no *version*."""

    @property
    def key(self) -> str: ...
    @property
    def is_directory(self) -> bool: ...
    @property
    def version(self) -> ObjectVersion | None: ...
    @property
    def mtime_ns(self) -> int: ...
    @property
    def storage_class(self) -> str: ...


class Paths(Protocol):
    """Look-up of paths."""

    async def find(self, names: Sequence[bytes]) -> FoundPath:
        """The entry of the path *names*. Raises NotFound, NotADirectory, or the store's failure."""
        ...


class Requests(Protocol):
    """Log of the mount's HTTP requests; see `s3.request_log`."""

    def counts(self) -> Mapping[RequestKind, KindCounts]: ...
    def reasons(self) -> Mapping[Reason, int]: ...
    def latencies(self) -> Mapping[RequestKind, KindLatency]: ...
    def errors(self) -> Sequence[EndedRequest]: ...
    def in_flight(self, most: int) -> Sequence[PendingRequest]: ...
    def subscribe(
        self,
        subscriber: Callable[[EndedRequest], None],
        on_end: Callable[[], None],
        on_missed: Callable[[int], None],
    ) -> Callable[[], None]: ...
    def tell_subscribers(self) -> None: ...


class FileActivity(Protocol):
    """Reading of one open file; see `cache.block_cache`."""

    @property
    def key(self) -> str: ...
    @property
    def readers(self) -> int: ...
    @property
    def position(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def window(self) -> int: ...
    @property
    def served(self) -> int: ...


class OpenFiles(Protocol):
    """Open files."""

    def activity(self, most: int) -> Sequence[FileActivity]: ...


class Credentials(Protocol):
    """State of the credentials, of which nothing is a secret; see `s3.endpoint.credentials`."""

    @property
    def source(self) -> str: ...
    @property
    def expires_at(self) -> float | None: ...


class Versions(Protocol):
    """Versions of objects; see `s3.object_store`."""

    async def list_versions(self, query: VersionQuery) -> VersionPage: ...


@dataclass(frozen=True, slots=True)
class StoreState:
    """The store of the mount as it is spoken to now; *credentials* is None if it signs nothing."""

    config: StoreConfig
    identity: StoreIdentity | None
    credentials: Credentials | None


@dataclass(frozen=True, slots=True)
class Sources:
    """All that the commands of one mount read and change."""

    store: Callable[[], StoreState]
    requests: Requests
    files: OpenFiles
    metrics: Metrics
    tree: Refreshable
    versions: Versions
    attributes: Attributes
    paths: Paths
    metadata: MetadataSource
    restorer: Restorer
    keys: KeySource
    wait_dropped: WaitDropped
    prices: PriceConfig
    set_log_level: SetLogLevel
    disk: DiskContents | None = None
