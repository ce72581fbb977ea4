"""Volume: one bucket, or one prefix of it, as a mount shows it."""

from typing import NamedTuple

from s3mount.filesystem.namespace.metadata_cache import MetadataCache
from s3mount.s3.object_store import ObjectStore


class Volume(NamedTuple):
    """The store of one bucket, its metadata cache, and the prefix of its root directory.

    *root* is empty or ends with a slash. Caches are keyed by (bucket, prefix): several volumes can
    share one limit.
    """

    store: ObjectStore
    cache: MetadataCache
    root: str

    @property
    def bucket(self) -> str:
        return self.cache.bucket
