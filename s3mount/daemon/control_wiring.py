"""Composition of the control socket's server: its commands, and what they read and change.

It is imported when the mount has answered, since no start has to wait for it. Nothing here decides
anything.
"""

import os
from collections.abc import Callable, Collection, Sequence

from s3mount import __version__
from s3mount.cache.block_cache import BlockCache
from s3mount.cache.ranges import likely_part_size
from s3mount.config import Config, Prefetch
from s3mount.control.command_set import build_commands
from s3mount.control.disk_cache import DiskContents
from s3mount.control.listening_socket import ListeningSocket
from s3mount.control.protocol import Greeting
from s3mount.control.server import ControlServer
from s3mount.control.sources import Credentials, Requests, Sources, StoreState, WaitDropped
from s3mount.control.verify import verify_command
from s3mount.control.warm import warm_command
from s3mount.daemon.interfaces import MountIdentity
from s3mount.daemon.logging_setup import set_log_level
from s3mount.filesystem.attributes.metadata_reader import MetadataReader
from s3mount.filesystem.attributes.path_attributes import PathAttributes
from s3mount.filesystem.namespace.path_lookup import PathLookup
from s3mount.filesystem.namespace.tree import Tree
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.filesystem.prefetch.walk_prefetcher import WalkPrefetcher
from s3mount.filesystem.warming.warm_up import WarmUps
from s3mount.frozen_dataclass import dataclass
from s3mount.metrics import Metrics
from s3mount.s3.model import StoreIdentity
from s3mount.s3.object_parts import ObjectParts
from s3mount.s3.object_store import BucketStore
from s3mount.verification.object_verifier import ObjectVerifier
from s3mount.verification.part_layouts import PartLayouts


@dataclass(frozen=True, slots=True)
class ControlledParts:
    """The parts of a mount that its commands read and change."""

    config: Config
    identity: StoreIdentity | None
    credentials: Callable[[], Credentials | None]
    requests: Requests
    metrics: Metrics
    tree: Tree
    store: BucketStore
    blocks: BlockCache
    metadata: MetadataReader
    wait_dropped: WaitDropped
    disk: DiskContents | None = None


def control_server(
    parts: ControlledParts,
    listening: ListeningSocket,
    identity: MountIdentity,
    allowed: Collection[int],
) -> ControlServer:
    """Return the server of *listening* for the users *allowed*, with all commands."""
    greeting = Greeting(
        s3mount=__version__,
        pid=os.getpid(),
        connection=identity.connection,
        source=identity.source,
        mountpoint=identity.mountpoint,
        since=identity.since,
    )
    sources = Sources(
        store=lambda: StoreState(parts.config.store, parts.identity, parts.credentials()),
        requests=parts.requests,
        files=parts.blocks,
        metrics=parts.metrics,
        tree=parts.tree,
        versions=parts.store,
        attributes=PathAttributes(parts.tree, parts.metadata, parts.store),
        paths=PathLookup(parts.tree),
        metadata=parts.store,
        restorer=parts.store,
        keys=parts.store,
        wait_dropped=parts.wait_dropped,
        prices=parts.config.prices,
        set_log_level=set_log_level,
        disk=parts.disk,
    )
    warm = warm_command(_warm_ups(parts), parts.requests, parts.config.prices)
    verify = verify_command(sources.paths, parts.store, _verifier(parts).begin)
    commands = build_commands(sources, greeting, {"warm": warm, "verify": verify})
    return ControlServer(listening, greeting, commands, allowed)


def _warm_ups(parts: ControlledParts) -> WarmUps:
    """Return what warms the caches, which walks as a reader with a policy of its own."""
    has_walks = Prefetch.WALKS not in parts.config.no_prefetch
    tree = parts.tree

    def policies() -> Sequence[PrefetchPolicy]:
        return (WalkPrefetcher(tree.cache),) if has_walks else ()

    return WarmUps(tree, parts.blocks.warming, policies, parts.config.store.max_connections)


def _verifier(parts: ControlledParts) -> ObjectVerifier:
    layouts = PartLayouts(ObjectParts(parts.store), likely_part_size)
    return ObjectVerifier(parts.store, parts.blocks, layouts)
