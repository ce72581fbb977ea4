"""The composition root: makes the parts of a mount and joins them.

Nothing else makes a store, a cache, a tree or a session with the kernel. Nothing here decides
anything.
"""

import encodings.idna  # noqa: F401 - getaddrinfo imports it late, when it may be unreadable
import gc
import logging
import sys
from collections.abc import Awaitable, Callable, Collection
from contextlib import closing, suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

import pyfuse3
import trio

from s3mount.cache.block_cache import BlockCache
from s3mount.config import Config, Prefetch
from s3mount.control.listening_socket import ListeningSocket
from s3mount.daemon.clock import now
from s3mount.daemon.filesystem_wiring import make_filesystem
from s3mount.daemon.fuse_wiring import REQUESTS_MAX, make_invalidator, make_operations
from s3mount.daemon.interfaces import Host, MountIdentity
from s3mount.daemon.mounting.options import session_options
from s3mount.daemon.store_wiring import ObservedStore, open_mounted_store
from s3mount.deferred_imports import import_deferred
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.namespace.tree import Tree
from s3mount.fuse.entry_invalidator import EntryInvalidator
from s3mount.fuse.session import kernel_session
from s3mount.metrics import Metrics
from s3mount.s3.endpoint.aws_settings import drop_empty_variables
from s3mount.s3.endpoint.credentials import Credentials, lasting_access_key
from s3mount.s3.endpoint.credentials import register_metrics as register_credential_metrics
from s3mount.s3.endpoint.plain_source import credential_chain
from s3mount.s3.model import StoreIdentity
from s3mount.s3.object_store import BucketStore, MetadataSource
from s3mount.s3.request_log import RequestLog

if TYPE_CHECKING:
    from s3mount.control.disk_cache import DiskContents
    from s3mount.daemon.disk_wiring import DiskTierMaker
    from s3mount.daemon.metadata_wiring import KnownMount
    from s3mount.filesystem.attributes.metadata_reader import MetadataReader

log = logging.getLogger(__name__)

SWITCH_INTERVAL = 0.0005  # seconds a thread waits for the interpreter: a tenth of Python's own
GC_THRESHOLD = 50_000  # new objects between two collections; one page of a listing has over 700


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
        background: trio.Nursery,
        config: Config,
        metrics: Metrics,
        disk: "DiskContents | None" = None,
    ) -> None:
        self._background = background
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
        self._background.start_soon(trio.to_thread.run_sync, import_deferred)

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


async def serve(config: Config, host: Host) -> None:
    """Serve until the kernel ends the session, or until cancelled. Raises S3MountError."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    drop_empty_variables()
    requests = _request_log()
    requests.register_metrics(host.metrics)
    with closing(credential_chain(config.store)) as credentials:
        register_credential_metrics(host.metrics, credentials.state)
        known = _known_mount(config, credentials)
        store, shown = await open_mounted_store(config.store, credentials, requests, known)
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

    return KnownMount(config, now, partial(lasting_access_key, credentials))


async def _serve_session(
    config: Config, host: Host, observed: ObservedStore, background: trio.Nursery
) -> None:
    invalidator = make_invalidator(config.store)
    disk = await _open_disk(config, observed.identity)
    blocks = _block_cache(config, observed.store, background, disk, host.metrics)
    records = None if disk is None else disk.records()
    filesystem = make_filesystem(config, observed, blocks, invalidator, background, records)
    background.start_soon(invalidator.run, filesystem.tree.referenced_pages)
    filesystem.register_metrics(host.metrics)
    metadata = _metadata_reader(observed.store, filesystem.tree, blocks, background)
    operations = make_operations(config, observed, filesystem, invalidator, metadata)
    served = ServedFileSystem(
        observed,
        filesystem,
        blocks,
        invalidator,
        metadata,
        background=background,
        config=config,
        metrics=host.metrics,
        disk=None if disk is None else disk.contents(config.store),
    )
    _configure_gc()
    path = host.attach()
    pyfuse3.init(operations, path, session_options(config.mount))
    try:
        host.ready(served)
        with kernel_session(int(path.rpartition("/")[2])):
            await pyfuse3.main(max_tasks=REQUESTS_MAX)
    finally:
        host.ended()
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
        connections=config.store.max_connections,
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


def _import_control_wiring() -> None:
    """Import late: the control socket is served when the mount has answered."""
    import s3mount.daemon.control_wiring  # noqa: F401, PLC0415


def import_late_libraries() -> None:
    """Import what is imported when it is needed otherwise: for a user who may not read it."""
    import_deferred()
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
