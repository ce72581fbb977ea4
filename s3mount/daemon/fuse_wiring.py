"""The composition root's part for the kernel: the handlers of its requests, and who may wait."""

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from s3mount.config import Config, StoreConfig, Symlinks
from s3mount.daemon.clock import now
from s3mount.daemon.store_wiring import ObservedStore
from s3mount.filesystem.facade import FileSystem
from s3mount.fuse.entry_invalidator import EntryInvalidator
from s3mount.fuse.operations import Operations
from s3mount.fuse.user_limiter import UserLimiter
from s3mount.s3.model import ObjectStat, ObjectVersion
from s3mount.s3.object_store import BucketStore, PosixSource

if TYPE_CHECKING:
    from s3mount.filesystem.attributes.metadata_reader import MetadataReader

# kernel requests served at once, and how many of one user, and of all, may wait for the store:
# see docs/decisions/fairness.md
REQUESTS_MAX = 4096
QUEUE_MAX = 1024
WAITING_MAX = REQUESTS_MAX - 256
RESERVED_SHARE = 8  # with several users, each leaves one of so many connections to the others


def make_operations(
    config: Config,
    observed: ObservedStore,
    filesystem: FileSystem,
    invalidator: EntryInvalidator,
    metadata: Callable[[], "MetadataReader"],
) -> Operations:
    """Return the handlers of the kernel's requests; those of few mounts are imported for them."""
    make: Callable[..., Operations] = Operations
    options: dict[str, object] = {}
    if config.tree.has_xattrs:
        from s3mount.filesystem.attributes.extended_attributes import (  # noqa: PLC0415
            ExtendedAttributes,
        )
        from s3mount.fuse.xattr_operations import XattrOperations  # noqa: PLC0415

        make = XattrOperations
        options["attributes"] = ExtendedAttributes(filesystem.tree, metadata(), observed.store)
    if observed.posix is not None:
        make, more = _posix_handlers(config, observed, observed.posix)
        options |= more
    return make(
        filesystem,
        config.tree,
        config.store.timeout,
        limiter=_limiter(config),
        invalidator=invalidator,
        **options,
    )


def _posix_handlers(
    config: Config, observed: ObservedStore, posix: PosixSource
) -> tuple[Callable[..., Operations], dict[str, object]]:
    """Return the handlers that show *posix*, and symbolic links if asked to; their arguments."""
    from s3mount.fuse.posix_operations import (  # noqa: PLC0415
        PosixOperations,
        PosixXattrOperations,
    )

    has_xattrs = config.tree.has_xattrs
    if not config.store.symlinks:
        return PosixXattrOperations if has_xattrs else PosixOperations, {"posix": posix}
    from s3mount.fuse.symlink_operations import (  # noqa: PLC0415
        SymlinkOperations,
        SymlinkXattrOperations,
    )
    from s3mount.fuse.symlink_types import SymlinkTypes  # noqa: PLC0415

    head = _head_of(config.store, observed.store)
    types = SymlinkTypes(config.store.symlinks, posix, head)
    make = SymlinkXattrOperations if has_xattrs else SymlinkOperations
    return make, {"posix": posix, "types": types}


def make_invalidator(config: StoreConfig) -> EntryInvalidator:
    """Return what tells the kernel that names have changed."""
    if Symlinks.RCLONE not in config.symlinks:
        return EntryInvalidator(now)
    from s3mount.fuse.symlink_names import SymlinkInvalidator  # noqa: PLC0415

    return SymlinkInvalidator(now)


def _head_of(
    config: StoreConfig, store: BucketStore
) -> Callable[[ObjectVersion], Awaitable[ObjectStat]]:
    """Return what sends a HEAD for a version of *store*: by its id only in the past."""

    async def head(version: ObjectVersion) -> ObjectStat:
        if config.at_ns is not None and version.version_id is not None:
            return await store.head_version(version.key, version.version_id)
        return await store.head(version.key)

    return head


def _limiter(config: Config) -> UserLimiter:
    """Return a limiter of each user; without limits if there is only one."""
    if not is_shared(config):
        return UserLimiter(share=math.inf, queue=math.inf, total=math.inf)
    connections = config.store.max_connections
    return UserLimiter(
        share=connections - max(1, connections // RESERVED_SHARE),
        queue=QUEUE_MAX,
        total=WAITING_MAX,
    )


def is_shared(config: Config) -> bool:
    """Whether other users than the one who mounts may use the mount."""
    return config.mount.allow_other or config.mount.allow_root
