"""The composition root's part for the tree of files, and what is fetched ahead of its readers."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import trio

from s3mount.cache.block_cache import BlockCache
from s3mount.config import Config, Prefetch, StoreConfig, TreeConfig
from s3mount.daemon.clock import now
from s3mount.daemon.store_wiring import ObservedStore
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.handles.open_directories import OpenDirectories
from s3mount.filesystem.handles.open_files import OpenFiles
from s3mount.filesystem.names import NameEscape, ViewNames
from s3mount.filesystem.namespace.kernel_references import KernelCache
from s3mount.filesystem.namespace.number_lookup import NumberLookup
from s3mount.filesystem.namespace.tree import Tree, build_tree
from s3mount.filesystem.namespace.ttl_policy import TtlPolicy
from s3mount.filesystem.prefetch.next_file import NextFilePredictor
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.filesystem.prefetch.random_order_prefetcher import RandomOrderPrefetcher
from s3mount.filesystem.prefetch.sibling_prefetcher import SiblingPrefetcher
from s3mount.filesystem.prefetch.traversal_order import TraversalOrders
from s3mount.filesystem.prefetch.walk_prefetcher import WalkPrefetcher
from s3mount.s3.composition import unlisted_names
from s3mount.s3.object_store import ObjectStore

if TYPE_CHECKING:
    from s3mount.filesystem.persistence.record_store import RecordStore


def make_filesystem(  # noqa: PLR0917 - the parts of a mount
    config: Config,
    observed: ObservedStore,
    blocks: BlockCache,
    kernel: KernelCache,
    background: trio.Nursery,
    records: "RecordStore | None" = None,
) -> FileSystem:
    """Return the file system; *records* are where metadata is kept, if it is."""
    parts = _tree_parts(config, observed, background, records)
    tree = build_tree(
        parts.store,
        background,
        parts.config,
        config.store,
        clock=now,
        mounted_ns=int(time.time()) * 10**9,  # whole seconds, which every archive can hold
        first_bytes=blocks.put,
        kernel=kernel,
        no_prefetch=config.no_prefetch,
        names=ViewNames(unlisted_names(config.store), _escape(config.store)),
        ttl=parts.ttl,
        make=parts.make,
    )
    policies = parts.policies(
        tree, prefetch_policies(tree, config.no_prefetch, config.blocks.memory_limit)
    )
    return FileSystem(
        tree,
        OpenFiles(tree, blocks, policies),
        OpenDirectories(tree, policies),
        NumberLookup(tree),
    )


class TreeParts(NamedTuple):
    """Parts of a tree that the options for metadata decide: see `build_tree`.

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
    records: "RecordStore | None",
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
        clock=boot_clock(now),
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


def prefetch_policies(
    tree: Tree, no_prefetch: frozenset[Prefetch], memory_limit: int
) -> Sequence[PrefetchPolicy]:
    """The policies that are not turned off, for blocks in a memory of *memory_limit* bytes."""
    orders = TraversalOrders(tree.pages_of, tree.root)
    at_random = RandomOrderPrefetcher(tree.pages_of, tree.may_prefetch, memory_limit)
    policies: Sequence[tuple[Prefetch, PrefetchPolicy]] = (
        (Prefetch.WALKS, WalkPrefetcher(tree.cache)),
        (Prefetch.SIBLINGS, SiblingPrefetcher(orders)),
        (Prefetch.SIBLINGS, NextFilePredictor(orders)),
        (Prefetch.RANDOM_ORDER, at_random),
    )
    return tuple(policy for name, policy in policies if name not in no_prefetch)
