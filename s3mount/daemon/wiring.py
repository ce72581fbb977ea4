"""The composition root: makes the parts of a mount and joins them.

Nothing else makes a store, a cache, a tree or a session with the kernel. Nothing here decides
anything.
"""

import encodings.idna  # noqa: F401 - getaddrinfo imports it late, when it may be unreadable
import gc
import logging
import math
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import closing, suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import pyfuse3
import trio

from s3mount.cache.block_cache import BlockCache
from s3mount.config import Config, Prefetch, StoreConfig, Symlinks, TreeConfig
from s3mount.control.listening_socket import ListeningSocket
from s3mount.daemon.interfaces import Host, MountIdentity
from s3mount.daemon.mounting.options import session_options
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.handles.open_directories import OpenDirectories
from s3mount.filesystem.handles.open_files import OpenFiles
from s3mount.filesystem.names import NameEscape, ViewNames
from s3mount.filesystem.namespace.kernel_references import KernelCache
from s3mount.filesystem.namespace.number_lookup import NumberLookup
from s3mount.filesystem.namespace.tree import Tree, build_tree
from s3mount.filesystem.namespace.ttl_policy import TtlPolicy
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.filesystem.prefetch.sibling_prefetcher import SiblingPrefetcher
from s3mount.filesystem.prefetch.traversal_order import TraversalOrders
from s3mount.filesystem.prefetch.walk_prefetcher import WalkPrefetcher
from s3mount.fuse.entry_invalidator import EntryInvalidator
from s3mount.fuse.operations import Operations
from s3mount.fuse.session import kernel_session
from s3mount.fuse.user_limiter import UserLimiter
from s3mount.metrics import Metrics
from s3mount.s3.bucket_check import open_store
from s3mount.s3.composition import check_views, connect, unlisted_names, view_of
from s3mount.s3.endpoint.aws_settings import drop_empty_variables
from s3mount.s3.endpoint.credentials import Credentials, CredentialState, lasting_access_key
from s3mount.s3.endpoint.credentials import register_metrics as register_credential_metrics
from s3mount.s3.endpoint.plain_source import credential_chain
from s3mount.s3.model import ObjectStat, ObjectVersion, StoreIdentity
from s3mount.s3.object_store import BucketStore, MetadataSource, ObjectStore, PosixSource
from s3mount.s3.request_log import RequestLog

if TYPE_CHECKING:
    from s3mount.control.disk_cache import DiskContents
    from s3mount.daemon.disk_records import Records
    from s3mount.daemon.disk_wiring import DiskTierMaker
    from s3mount.daemon.metadata_wiring import KnownMount
    from s3mount.filesystem.attributes.metadata_reader import MetadataReader

log = logging.getLogger(__name__)

SWITCH_INTERVAL = 0.0005  # seconds a thread waits for the interpreter: a tenth of Python's own
GC_THRESHOLD = 50_000  # new objects between two collections; one page of a listing has over 700
# kernel requests served at once, and how many of one user, and of all, may wait for the store:
# see docs/decisions/fairness.md
REQUESTS_MAX = 4096
QUEUE_MAX = 1024
WAITING_MAX = REQUESTS_MAX - 256
RESERVED_SHARE = 8  # with several users, each leaves one of so many connections to the others


class ServedFileSystem:
    """The `Served` of a mount."""

    def __init__(
        self,
        observed: "ObservedStore",
        filesystem: FileSystem,
        blocks: BlockCache,
        invalidator: EntryInvalidator,
        metadata: Callable[[], "MetadataReader"],
        *,
        config: Config,
        metrics: Metrics,
        disk: "DiskContents | None" = None,
    ) -> None:
        self._config = config
        self._disk = disk
        self._observed = observed
        self._filesystem = filesystem
        self._blocks = blocks
        self._invalidator = invalidator
        self._metadata = metadata
        self._metrics = metrics

    async def serve_control(
        self, listening: ListeningSocket, identity: MountIdentity, allowed: Collection[int]
    ) -> None:
        await trio.to_thread.run_sync(_import_control_wiring)  # the event loop serves meanwhile
        from s3mount.daemon.control_wiring import ControlledParts, control_server  # noqa: PLC0415

        parts = ControlledParts(
            config=self._config,
            identity=self._observed.identity,
            credentials=self._observed.credentials,
            store=self._observed.store,
            requests=self._observed.requests,
            metrics=self._metrics,
            tree=self._filesystem.tree,
            blocks=self._blocks,
            metadata=self._metadata(),
            wait_dropped=self._invalidator.wait_dropped,
            disk=self._disk,
        )
        await control_server(parts, listening, identity, allowed).run()

    def answered(self) -> None:
        self._observed.preconnect()

    def invalidate_all(self) -> None:
        try:
            self._filesystem.tree.invalidate_all()
        except Exception:  # called for a signal, by a task that must not end
            log.exception("invalidating the metadata cache failed: this is a bug")


class Background:
    """Nursery whose tasks fail alone: a failure is logged, and ends no other task."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(
        self, task: Callable[..., Awaitable[object]], *arguments: object, name: object = None
    ) -> None:
        self._nursery.start_soon(self._run, task, arguments, name=name or task)

    @staticmethod
    async def _run(task: Callable[..., Awaitable[object]], arguments: tuple[Any, ...]) -> None:
        try:
            await task(*arguments)
        except Exception:  # a caller that waits for this task has a deadline; others go on
            log.exception("a background task failed: this is a bug")


class ServedStore(Protocol):
    """The store of a mount, or the stores of all its buckets, but for their objects."""

    @property
    def identity(self) -> StoreIdentity | None: ...
    def register_metrics(self, metrics: Metrics) -> None: ...
    def preconnect(self) -> None: ...
    def close(self) -> None: ...


async def serve(config: Config, host: Host) -> None:
    """Serve until the kernel ends the session, or until cancelled. Raises S3MountError."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    drop_empty_variables()
    requests = _request_log()
    requests.register_metrics(host.metrics)
    with closing(credential_chain(config.store)) as credentials:
        register_credential_metrics(host.metrics, credentials.state)
        known = _known_mount(config, credentials)
        store, shown = await _open_store(config.store, credentials, requests, known)
        try:
            store.register_metrics(host.metrics)
            async with trio.open_nursery() as nursery:
                # closed in here: background tasks wait for threads, and those for credentials
                with closing(credentials):
                    # start_soon is all that is used of a nursery
                    background = cast("trio.Nursery", Background(nursery))
                    observed = ObservedStore(
                        shown,
                        requests,
                        store.identity,
                        credentials.state,
                        store.preconnect,
                        posix=shown if config.store.posix_metadata else None,
                        outage=None if known is None else known.outage,
                        access_key=lasting_access_key(credentials),
                    )
                    await _serve_session(config, host, observed, background)
                nursery.cancel_scope.cancel()
        finally:
            store.close()


def _known_mount(config: Config, credentials: Credentials) -> "KnownMount | None":
    """Return what may let a mount start while its store is away; None if nothing can."""
    store = config.store
    needs_response = store.is_account or store.versions or store.at_ns is not None
    if config.disk is None or not config.tree.serve_stale or needs_response:
        return None
    from s3mount.daemon.metadata_wiring import KnownMount  # noqa: PLC0415 - of few mounts

    return KnownMount(config, _clock, partial(lasting_access_key, credentials))


async def _open_store(
    config: StoreConfig,
    credentials: Credentials,
    requests: RequestLog,
    known: "KnownMount | None",
) -> tuple[ServedStore, BucketStore]:
    """Return the store of *config*, and what the mount shows of it. Raises SetupError."""
    if config.is_account:
        # what few mounts need
        from s3mount.s3.account_composition import open_account  # noqa: PLC0415

        account = await open_account(config, requests, credentials)
        return account, account.view
    store = await open_store(
        config,
        credentials,
        partial(connect, config, requests),
        None if known is None else known.may_start,
    )
    try:
        await check_views(config, store)
    except BaseException:  # raised again
        store.close()
        raise
    return store, view_of(config, store)


class ObservedStore(NamedTuple):
    """View of a store, the log of its requests, and what the control socket tells of it.

    *preconnect* opens connections in threads, which would compete with the start for the
    interpreter. *posix* tells the attributes that are shown with `--posix-metadata`. *outage* is
    why the mount has started without a response. *access_key* tells accounts apart.
    """

    store: BucketStore
    requests: RequestLog
    identity: StoreIdentity | None
    credentials: Callable[[], CredentialState | None]
    preconnect: Callable[[], None]
    posix: PosixSource | None = None
    outage: str | None = None
    access_key: str = ""


async def _serve_session(
    config: Config, host: Host, observed: ObservedStore, background: trio.Nursery
) -> None:
    invalidator = _invalidator(config.store)
    disk = await _open_disk(config, observed.identity)
    blocks = _block_cache(config, observed.store, background, disk, host.metrics)
    records = None if disk is None else disk.disk
    filesystem = _filesystem(config, observed, blocks, invalidator, background, records)
    background.start_soon(invalidator.run, filesystem.tree.referenced_pages)
    filesystem.register_metrics(host.metrics)
    metadata = _metadata_reader(observed.store, filesystem.tree, blocks, background)
    operations = _operations(config, observed, filesystem, invalidator, metadata)
    served = ServedFileSystem(
        observed,
        filesystem,
        blocks,
        invalidator,
        metadata,
        config=config,
        metrics=host.metrics,
        disk=None if disk is None else disk.contents(config.store),
    )
    _configure_gc()
    path = host.attach()
    pyfuse3.init(operations, path, session_options(config.mount))
    try:
        host.ready(served)
        is_shared = _is_shared(config) or config.store.is_account
        with kernel_session(int(path.rpartition("/")[2]), is_shared=is_shared):
            await pyfuse3.main(max_tasks=REQUESTS_MAX)
    finally:
        await filesystem.tree.flush()  # shielded: it ends soon, and raises nothing
        blocks.close()
        invalidator.end()
        if not invalidator.is_busy:  # else the process ends with the session as it is
            pyfuse3.close(unmount=False)
        if disk is not None:
            await disk.close()


def _block_cache(
    config: Config,
    store: BucketStore,
    background: trio.Nursery,
    disk: "DiskTierMaker | None",
    metrics: Metrics,
) -> BlockCache:
    blocks = BlockCache(
        store,
        background,
        config.blocks,
        has_readahead=Prefetch.READAHEAD not in config.no_prefetch,
        make_tier=None if disk is None else disk.make,
    )
    blocks.register_metrics(metrics)
    if disk is not None:
        disk.register_metrics(metrics)
    return blocks


async def _open_disk(config: Config, identity: StoreIdentity | None) -> "DiskTierMaker | None":
    """Open the disk cache of *config*, if it has one. Raises SetupError."""
    if config.disk is None:
        return None
    from s3mount.daemon.disk_wiring import open_disk  # noqa: PLC0415 - of few mounts

    return await open_disk(config, identity)


def _operations(
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


def _invalidator(config: StoreConfig) -> EntryInvalidator:
    if Symlinks.RCLONE not in config.symlinks:
        return EntryInvalidator(_clock)
    from s3mount.fuse.symlink_names import SymlinkInvalidator  # noqa: PLC0415

    return SymlinkInvalidator(_clock)


def _head_of(
    config: StoreConfig, store: BucketStore
) -> Callable[[ObjectVersion], Awaitable[ObjectStat]]:
    """Return what sends a HEAD for a version of *store*: by its id only in the past."""

    async def head(version: ObjectVersion) -> ObjectStat:
        if config.at_ns is not None and version.version_id is not None:
            return await store.head_version(version.key, version.version_id)
        return await store.head(version.key)

    return head


def _metadata_reader(
    store: MetadataSource, tree: Tree, blocks: BlockCache, background: trio.Nursery
) -> Callable[[], "MetadataReader"]:
    """Return what makes the reader of metadata, once, when it is needed."""

    @cache
    def make() -> "MetadataReader":
        from s3mount.filesystem.attributes.metadata_reader import MetadataReader  # noqa: PLC0415
        from s3mount.s3.object_parts import ObjectParts  # noqa: PLC0415

        return MetadataReader(store, tree, background, blocks, ObjectParts(store))

    return make


def _request_log() -> RequestLog:
    """Return the log of the mount's requests, which tells its subscribers in this event loop."""
    event_loop = trio.lowlevel.current_trio_token()

    def run_in_event_loop(function: Callable[[], None]) -> None:
        with suppress(trio.RunFinishedError):
            event_loop.run_sync_soon(function, idempotent=True)

    return RequestLog(run_in_event_loop)


def _clock() -> float:
    """Return seconds, also of suspension: cached metadata ages while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _limiter(config: Config) -> UserLimiter:
    """Return a limiter of each user; without limits if there is only one."""
    if not _is_shared(config):
        return UserLimiter(share=math.inf, queue=math.inf, total=math.inf)
    connections = config.store.max_connections
    return UserLimiter(
        share=connections - max(1, connections // RESERVED_SHARE),
        queue=QUEUE_MAX,
        total=WAITING_MAX,
    )


def _is_shared(config: Config) -> bool:
    return config.mount.allow_other or config.mount.allow_root


def _import_control_wiring() -> None:
    """Import late: the control socket is served when the mount has answered."""
    import s3mount.daemon.control_wiring  # noqa: F401, PLC0415


def import_late_libraries() -> None:
    """Import what is imported when it is needed otherwise: for a user who may not read it."""
    import s3mount.daemon.control_wiring  # noqa: PLC0415
    import s3mount.daemon.disk_wiring  # noqa: PLC0415
    import s3mount.daemon.metadata_wiring  # noqa: PLC0415
    import s3mount.filesystem.attributes.extended_attributes  # noqa: PLC0415
    import s3mount.filesystem.listing.escaped_merger  # noqa: PLC0415
    import s3mount.filesystem.prefetch.escaped_subtree  # noqa: PLC0415
    import s3mount.fuse.posix_operations  # noqa: PLC0415
    import s3mount.fuse.symlink_names  # noqa: PLC0415
    import s3mount.fuse.symlink_operations  # noqa: PLC0415
    import s3mount.s3.account_composition  # noqa: PLC0415
    import s3mount.s3.boto.transport  # noqa: PLC0415
    import s3mount.s3.endpoint.boto_address  # noqa: PLC0415
    import s3mount.s3.endpoint.credential_source  # noqa: PLC0415
    import s3mount.s3.endpoint.customer_key_files  # noqa: PLC0415
    import s3mount.s3.native.redirects  # noqa: PLC0415
    import s3mount.s3.operations.keyed_transport  # noqa: PLC0415
    import s3mount.s3.operations.object_versions  # noqa: PLC0415
    import s3mount.s3.operations.posix_recorder  # noqa: PLC0415
    import s3mount.s3.operations.restore_object  # noqa: PLC0415
    import s3mount.s3.views.escaped_view  # noqa: PLC0415
    import s3mount.s3.views.moment_view  # noqa: PLC0415
    import s3mount.s3.views.versioning_check  # noqa: PLC0415
    import s3mount.s3.views.versions_view  # noqa: F401, PLC0415


def _configure_gc() -> None:
    """Exclude existing objects from garbage collection, and collect less often from now on.

    The objects of imports live as long as the mount, and collecting them would take a tenth of its
    start. The thousands of tuples of a listing are in no cycle. If the start had to wait, what its
    attempts left is collected before: frozen, it would stay for ever.
    """
    if gc.isenabled():
        gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    gc.enable()


def _filesystem(  # noqa: PLR0917 - the parts of a mount
    config: Config,
    observed: ObservedStore,
    blocks: BlockCache,
    kernel: KernelCache,
    background: trio.Nursery,
    records: "Records | None" = None,
) -> FileSystem:
    parts = _tree_parts(config, observed, background, records)
    tree = build_tree(
        parts.store,
        background,
        parts.config,
        config.store,
        clock=_clock,
        mounted_ns=int(time.time()) * 10**9,  # whole seconds, which every archive can hold
        first_bytes=blocks.put,
        kernel=kernel,
        no_prefetch=config.no_prefetch,
        names=ViewNames(unlisted_names(config.store), _escape(config.store)),
        ttl=parts.ttl,
        make=parts.make,
    )
    policies = parts.policies(tree, prefetch_policies(tree, config.no_prefetch))
    return FileSystem(
        tree,
        OpenFiles(tree, blocks, policies),
        OpenDirectories(tree, policies),
        NumberLookup(tree),
    )


class TreeParts(NamedTuple):
    """What the options for metadata decide of a tree: see `build_tree`.

    *policies* adds to the prefetch policies of a tree.
    """

    store: ObjectStore
    config: TreeConfig
    ttl: TtlPolicy | None = None
    make: Callable[..., Tree] = Tree
    policies: Callable[[Tree, Sequence[PrefetchPolicy]], Sequence[PrefetchPolicy]] = (
        lambda _, policies: policies
    )


def _tree_parts(
    config: Config,
    observed: ObservedStore,
    background: trio.Nursery,
    records: "Records | None",
) -> TreeParts:
    """Return the parts of the tree; *records* are where metadata is kept, if it is."""
    if records is None and not config.tree.serve_stale:
        return TreeParts(observed.store, config.tree)
    from s3mount.daemon.metadata_wiring import (  # noqa: PLC0415 - of few mounts
        boot_clock,
        persistent_parts,
        record_store,
        with_kept_listings,
    )

    store_of_records, tree_config = record_store(records, config.tree)
    parts = persistent_parts(
        observed.store,
        tree_config,
        config.store,
        background,
        records=store_of_records,
        clock=boot_clock(_clock),
        endpoint="" if observed.identity is None else observed.identity.endpoint,
        access_key=observed.access_key,
        outage=observed.outage,
    )
    return TreeParts(*parts, with_kept_listings)


def _escape(config: StoreConfig) -> NameEscape | None:
    """Return what names the keys in the view of *config*; None if keys are hidden."""
    if not config.show_hidden:
        return None
    from s3mount.s3.views.key_escape import KeyEscape  # noqa: PLC0415 - of few mounts

    return KeyEscape()


def prefetch_policies(tree: Tree, no_prefetch: frozenset[Prefetch]) -> Sequence[PrefetchPolicy]:
    """The policies that are not turned off."""
    policies: dict[Prefetch, PrefetchPolicy] = {
        Prefetch.WALKS: WalkPrefetcher(tree.cache),
        Prefetch.SIBLINGS: SiblingPrefetcher(TraversalOrders(tree.pages_of, tree.root)),
    }
    return tuple(policy for name, policy in policies.items() if name not in no_prefetch)
