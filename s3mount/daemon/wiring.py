"""The composition root: where the parts of a mount are made and joined.

Nothing else makes a store, a cache, a tree or a session with the kernel; nothing here decides anything.
"""

import encodings.idna  # noqa: F401 - for getaddrinfo, which imports it late, when it may not be readable any more
import gc
import logging
import math
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from typing import Any, cast

import pyfuse3
import trio

from s3mount.cache.block_cache import BlockCache
from s3mount.config import Config, StoreConfig
from s3mount.daemon.interfaces import Host
from s3mount.daemon.mounting.options import session_options
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.handles.open_directories import OpenDirectories
from s3mount.filesystem.handles.open_files import OpenFiles
from s3mount.filesystem.namespace.tree import KernelCache, Tree
from s3mount.fuse.entry_invalidator import EntryInvalidator
from s3mount.fuse.operations import Operations
from s3mount.fuse.session import kernel_session
from s3mount.fuse.user_limiter import UserLimiter
from s3mount.s3.boto.transport import BotoTransport
from s3mount.s3.endpoint.bucket_check import check_bucket
from s3mount.s3.endpoint.credentials import Credentials
from s3mount.s3.endpoint.resolve import credential_chain, supports_native
from s3mount.s3.native.transport import NativeTransport
from s3mount.s3.remote_store import RemoteStore
from s3mount.s3.transport import Transport

log = logging.getLogger(__name__)

SWITCH_INTERVAL = (
    0.0005  # seconds that a thread waits for the interpreter: a tenth of Python's own, for the loop
)
COLLECT_AFTER = 50_000  # new objects between two garbage collections; Python's own 700 come with one page of a listing
# requests of the kernel served at once, and how many of one user, and of all, may wait for the store: see docs/decisions/fairness.md
REQUESTS_MAX = 4096
QUEUE_MAX = 1024
WAITING_MAX = REQUESTS_MAX - 256
RESERVE = 8  # in a mount of several users, one of so many connections is kept from each of them


class Mount:
    """What is served, as the process around it sees it."""

    def __init__(self, filesystem: FileSystem) -> None:
        self._filesystem = filesystem

    def invalidate_all(self) -> None:
        try:
            self._filesystem.tree.forget_all()
        except Exception:  # it is called for a signal, by a task that must not end
            log.exception("invalidating the metadata cache failed: this is a bug")


class Background:
    """A nursery whose tasks fail alone: a failure is logged once, and ends neither the mount nor another task."""

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
        except Exception:  # whoever waits for this task has a deadline; all others go on
            log.exception("a background task failed: this is a bug")


async def serve(config: Config, host: Host) -> None:
    """Serve until the kernel ends the session, or until cancelled. Raises S3MountErrors where it cannot begin."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    with closing(credential_chain(config.store)) as credentials:
        connect = partial(_connect, config.store, credentials)
        store = _store(await trio.to_thread.run_sync(connect, abandon_on_cancel=True), config.store)
        try:
            store.prepare()
            async with trio.open_nursery() as loads:
                with closing(
                    credentials
                ):  # here: loads wait for their threads, and those for credentials
                    # start_soon is all that is used of a nursery
                    await _serve_session(
                        config, host, store, cast("trio.Nursery", Background(loads))
                    )
                loads.cancel_scope.cancel()
        finally:
            store.close()


async def _serve_session(
    config: Config, host: Host, store: RemoteStore, loads: trio.Nursery
) -> None:
    invalidations = EntryInvalidator(_clock)
    blocks = BlockCache(store, loads, config.blocks)
    filesystem = _filesystem(config, store, blocks, invalidations, loads)
    loads.start_soon(invalidations.run, filesystem.tree.told)
    for part in (store, blocks, filesystem):
        part.register_metrics(host.metrics)
    operations = Operations(
        filesystem,
        config.tree,
        config.store.timeout,
        limiter=_limiter(config),
        absences=invalidations,
    )
    _calm_collector()
    path = host.attach()
    pyfuse3.init(operations, path, session_options(config.mount))
    try:
        host.ready(Mount(filesystem))
        with kernel_session(int(path.rpartition("/")[2]), is_shared=_is_shared(config)):
            await pyfuse3.main(max_tasks=REQUESTS_MAX)
    finally:
        blocks.close()
        invalidations.end()
        if not invalidations.is_busy:  # else the process ends with the session as it is
            pyfuse3.close(unmount=False)


def _clock() -> float:
    """Seconds, also while the machine is suspended: what was known before it slept is as old as it is."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _limiter(config: Config) -> UserLimiter:
    """Bounds each user, but for the only one."""
    if not _is_shared(config):
        return UserLimiter(share=math.inf, queue=math.inf, total=math.inf)
    connections = config.store.max_connections
    return UserLimiter(
        share=connections - max(1, connections // RESERVE), queue=QUEUE_MAX, total=WAITING_MAX
    )


def _is_shared(config: Config) -> bool:
    return config.mount.allow_other or config.mount.allow_root


def _calm_collector() -> None:
    """Keep what exists already out of every later garbage collection, and have fewer of them.

    What boto3 and the imports made lives as long as the mount, and a listing makes thousands of tuples that are in no cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def _connect(config: StoreConfig, credentials: Credentials) -> Transport:
    """Find the bucket, and a way to it. Raises SetupError, saying what is wrong and what to do."""
    resolved = check_bucket(config, credentials)
    if config.transport == "lean" and supports_native(resolved):
        return NativeTransport(resolved, connections=config.max_connections)
    return BotoTransport(config, resolved)


def _store(transport: Transport, config: StoreConfig) -> RemoteStore:
    return RemoteStore(
        transport,
        max_connections=config.max_connections,
        timeout=config.timeout,
        bucket=config.bucket,
    )


def _filesystem(
    config: Config, store: RemoteStore, blocks: BlockCache, kernel: KernelCache, loads: trio.Nursery
) -> FileSystem:
    tree = Tree(
        store,
        loads,
        config.tree,
        config.store,
        clock=_clock,
        mounted_ns=time.time_ns(),
        first_bytes=blocks.seed,
        kernel=kernel,
    )
    return FileSystem(tree, OpenFiles(tree, blocks), OpenDirectories(tree))
