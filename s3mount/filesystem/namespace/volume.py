"""Volume: one bucket, or one prefix of it, as a mount shows it.

Caches are keyed by (bucket, prefix), so several volumes can share one memory limit.
"""

from typing import NamedTuple

from s3mount.filesystem.namespace.metadata_cache import MetadataCache
from s3mount.s3.object_store import ObjectStore


class Volume(NamedTuple):
    """The store of one bucket, its metadata cache, and its root: "" or ending with a slash."""

    store: ObjectStore
    cache: MetadataCache
    root: str

    @property
    def bucket(self) -> str:
        return self.cache.bucket
