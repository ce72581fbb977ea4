"""The composition root: where the parts of a mount are made and joined.

Nothing else makes a store, a cache, a tree or a session with the kernel; nothing here decides anything.
"""

import dataclasses
import gc
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from functools import partial

import pyfuse3
import trio

from s3mount.blocks.cache import BlockCache
from s3mount.config import Config, StoreConfig
from s3mount.filesystem.files import OpenFiles
from s3mount.filesystem.filesystem import FileSystem
from s3mount.filesystem.streams import OpenDirectories
from s3mount.filesystem.tree import KernelCache, Tree
from s3mount.fuse.invalidation import Invalidations
from s3mount.fuse.operations import Operations
from s3mount.s3.boto import BotoTransport
from s3mount.s3.credentials import Credentials
from s3mount.s3.lean.transport import LeanTransport
from s3mount.s3.probe import probe
from s3mount.s3.remote import RemoteStore
from s3mount.s3.session import credential_chain, lean_can_speak
from s3mount.s3.transport import Transport
from s3mount.service.fuse_options import session_options
from s3mount.service.serving import Host

SWITCH_INTERVAL = 0.0005  # seconds that a thread waits for the interpreter: a tenth of Python's own, for the loop
COLLECT_AFTER = 50_000  # new objects between two garbage collections; Python's own 700 come with one page of a listing
REQUESTS_MAX = 256  # requests of the kernel served at once; those beyond wait in the kernel


class Mount:
    """What is served, as the process around it sees it."""

    def __init__(self, filesystem: FileSystem, blocks: BlockCache, store: RemoteStore) -> None:
        self._filesystem = filesystem
        self._blocks = blocks
        self._store = store

    def statistics(self) -> Mapping[str, float]:
        parts = (self._store.statistics(), self._blocks.statistics(), self._filesystem.statistics())
        counts = {name: count for part in parts for name, count in dataclasses.asdict(part).items()}
        requests = counts.pop("requests")
        return {**{f"{kind.lower()}_requests": count for kind, count in requests.items()}, **counts}

    def forget(self) -> None:
        self._filesystem.tree.forget_all()


async def serve(config: Config, host: Host) -> None:
    """Serve until the kernel ends the session, or until cancelled. Raises S3MountErrors where it cannot begin."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    with closing(credential_chain(config.store)) as credentials:
        connect = partial(_connect, config.store, credentials)
        store = _store(await trio.to_thread.run_sync(connect, abandon_on_cancel=True), config.store)
        try:
            store.prepare()
            async with trio.open_nursery() as loads:
                with closing(credentials):  # here: loads wait for their threads, and those for credentials
                    await _serve_session(config, host, store, loads)
                loads.cancel_scope.cancel()
        finally:
            store.close()


async def _serve_session(config: Config, host: Host, store: RemoteStore, loads: trio.Nursery) -> None:
    invalidations = Invalidations()
    loads.start_soon(invalidations.run)
    blocks = BlockCache(store, loads, config.blocks)
    filesystem = _filesystem(config, store, blocks, invalidations, loads)
    operations = Operations(filesystem, config.tree, config.store.timeout)
    _calm_collector()
    pyfuse3.init(operations, host.attach(), session_options(config.mount))
    try:
        host.ready(Mount(filesystem, blocks, store))
        await pyfuse3.main(max_tasks=REQUESTS_MAX)
    finally:
        blocks.close()
        if not invalidations.is_busy:  # else the process ends with the session as it is
            pyfuse3.close(unmount=False)


def _calm_collector() -> None:
    """Keep what exists already out of every later garbage collection, and have fewer of them.

    What boto3 and the imports made lives as long as the mount, and a listing makes thousands of tuples that are in no cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)


def _connect(config: StoreConfig, credentials: Credentials) -> Transport:
    """Find the bucket, and a way to it. Raises SetupError, saying what is wrong and what to do."""
    resolved = probe(config, credentials)
    if config.transport == "lean" and lean_can_speak(resolved):
        return LeanTransport(resolved, connections=config.max_connections)
    return BotoTransport(config, resolved)


def _store(transport: Transport, config: StoreConfig) -> RemoteStore:
    return RemoteStore(transport, max_connections=config.max_connections, timeout=config.timeout, bucket=config.bucket)


def _filesystem(
    config: Config, store: RemoteStore, blocks: BlockCache, kernel: KernelCache, loads: trio.Nursery
) -> FileSystem:
    tree = Tree(
        store,
        loads,
        config.tree,
        config.store,
        clock=time.monotonic,
        mounted_ns=time.time_ns(),
        first_bytes=blocks.seed,
        kernel=kernel,
    )
    return FileSystem(tree, OpenFiles(tree, blocks), OpenDirectories(tree))
