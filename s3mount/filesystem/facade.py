"""Facade of one mounted file system: the tree, the open files and the open directories.

Joins the parts and decides nothing.
"""

from s3mount.filesystem.handles.open_directories import OpenDirectories
from s3mount.filesystem.handles.open_files import OpenFiles
from s3mount.filesystem.namespace.number_lookup import NumberLookup
from s3mount.filesystem.namespace.tree import Tree
from s3mount.frozen_dataclass import dataclass
from s3mount.metrics import Metrics


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One mounted tree."""

    tree: Tree
    files: OpenFiles
    directories: OpenDirectories
    numbers: NumberLookup

    def register_metrics(self, metrics: Metrics) -> None:
        """Register what is held now of names, attributes and handles, and hits and misses."""
        self._register_hits(metrics)
        self._register_kept(metrics)
        inodes, known = self.tree.inodes, self.tree.cache.directories
        gauge = metrics.gauge
        gauge("inodes", "inodes", "Inodes that the kernel refers to.", lambda: len(inodes))
        gauge(
            "cached_directories",
            "directories",
            "Directories cached.",
            lambda: known.directory_count,
        )
        gauge("cached_entries", "entries", "Entries cached.", lambda: known.entry_count)
        gauge("metadata_bytes", "bytes", "Memory of names and attributes.", lambda: known.weight)
        gauge("metadata_bytes_limit", "bytes", "Its limit: --metadata-limit.", lambda: known.limit)
        gauge("hidden_keys", "keys", "Keys that no path names.", lambda: known.hidden_count)
        gauge("open_files", "handles", "Open files.", lambda: len(self.files))
        gauge("open_directories", "handles", "Open directories.", lambda: len(self.directories))

    def _register_kept(self, metrics: Metrics) -> None:
        tree, counter = self.tree, metrics.counter
        counter(
            "stale_answers",
            "answers",
            "Names and attributes served beyond their lifetime, as S3 was away: --serve-stale.",
            lambda: tree.counts.stale_answers,
        )
        metrics.gauge(
            "stale_serving_seconds",
            "seconds",
            "Since when stale metadata is served, as S3 is away; 0 if it is not.",
            lambda: tree.counts.outage_seconds,
        )
        counter(
            "kept_listings_read",
            "listings",
            "Listings read from the cache directory, in place of requests.",
            lambda: tree.counts.kept_listings,
        )
        counter(
            "kept_names_read",
            "names",
            "Single names read from the cache directory.",
            lambda: tree.counts.kept_dentries,
        )

    def _register_hits(self, metrics: Metrics) -> None:
        tree, cache, counter = self.tree, self.tree.cache, metrics.counter
        counter("lookup_hits", "lookups", "Lookups from the cache.", lambda: tree.lookup_hits)
        counter("lookup_misses", "lookups", "Lookups that had to wait.", lambda: tree.lookup_misses)
        counter(
            "listing_hits", "reads", "Directories read from the cache.", lambda: cache.listing_hits
        )
        counter(
            "listing_misses",
            "reads",
            "Directories listed to be read.",
            lambda: cache.listing_misses,
        )
        counter("listing_pages_read", "pages", "Pages of listings read.", lambda: cache.pages_read)
