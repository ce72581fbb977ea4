"""Attributes of the file or directory at a path, as the control socket tells them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from s3mount.errors import NotSupported, StaleVersion
from s3mount.filesystem.attributes.attribute_names import told_etag
from s3mount.filesystem.attributes.listing_states import ListingStates
from s3mount.filesystem.attributes.metadata_reader import MetadataReader, Parts, entry_stat
from s3mount.filesystem.namespace.path_lookup import FoundPath, PathLookup
from s3mount.filesystem.namespace.tree import Tree
from s3mount.s3.model import ObjectMetadata, ObjectVersion
from s3mount.s3.object_store import KeySource

_SECOND = 1e9  # ns


class PathAttributes:
    """Attributes of what is at the paths of *tree*; see docs/control.md for the fields."""

    def __init__(self, tree: Tree, metadata: MetadataReader, keys: KeySource) -> None:
        self._bucket = tree.cache.bucket
        self._paths = PathLookup(tree)
        self._listings = ListingStates(tree)
        self._metadata = metadata
        self._keys = keys

    async def describe(self, path: Sequence[bytes], *, has_parts: bool) -> Mapping[str, object]:
        """The attributes of *path*, with its parts if *has_parts*. Raises what a lookup raises.

        A file that was replaced since it was listed is looked up once more.
        """
        try:
            return await self._describe(path, has_parts=has_parts)
        except StaleVersion:
            return await self._describe(path, has_parts=has_parts)

    async def _describe(self, path: Sequence[bytes], *, has_parts: bool) -> Mapping[str, object]:
        found = await self._paths.find(path)
        if found.version is None:
            return self._of_directory(found.key)
        stat = entry_stat(found.version, found.mtime_ns)
        metadata: ObjectMetadata | None = None
        parts: Parts | None = None
        with suppress(NotSupported):  # what was listed is known all the same
            metadata = await self._metadata.get(stat)
            parts = await self._metadata.parts(stat) if has_parts else None
        return {
            **_of_file(found, found.version, metadata),
            "key": self._keys.store_key(found.key, found.version.version_id),
            "parts": None if parts is None else {"count": parts.number, "size": parts.size},
        }

    def _of_directory(self, prefix: str) -> Mapping[str, object]:
        listing = self._listings.find(prefix)
        return {
            "kind": "directory",
            "bucket": self._bucket,
            "prefix": self._keys.store_key(prefix),
            "listing": None if listing is None else listing._asdict(),
        }


def _of_file(
    found: FoundPath, version: ObjectVersion, metadata: ObjectMetadata | None
) -> dict[str, object]:
    told_id = None if metadata is None else metadata.stat.version_id
    return {
        "kind": "file",
        "bucket": version.bucket,
        "key": found.key,
        "size": version.size,
        "modified": found.mtime_ns / _SECOND,
        "etag": told_etag(version.etag),
        "version_id": version.version_id or told_id,
        "storage_class": found.storage_class,
        "owner": found.owner,
        "fields": None if metadata is None else dict(sorted(metadata.fields.items())),
        "metadata": None if metadata is None else dict(sorted(metadata.user.items())),
    }
