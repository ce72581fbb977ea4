"""Lookup of a whole path, for requests about one object that do not come from the kernel."""

from collections.abc import Sequence
from typing import NamedTuple

from s3mount.errors import NotADirectory
from s3mount.filesystem.namespace.tree import Tree
from s3mount.s3.model import ObjectVersion


class FoundPath(NamedTuple):
    """The entry that a path names, as the mount shows it now.

    *key* is that of the file, or the prefix of the directory, which has no *version*.
    """

    key: str
    version: ObjectVersion | None = None
    mtime_ns: int = 0
    storage_class: str = ""
    owner: str | None = None

    @property
    def is_directory(self) -> bool:
        return self.version is None


class PathLookup:
    """Looks paths up in *tree*, from its caches where they are fresh."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    async def find(self, names: Sequence[bytes]) -> FoundPath:
        """The entry of the path *names*, relative to the root, which is named by none.

        Raises NotFound, NotADirectory, NameTooLong, or the store's failure. No reference is
        counted, so the entry may be gone from the caches when it is used.
        """
        found = FoundPath(self._tree.root)
        for name in names:
            if not found.is_directory:
                raise NotADirectory("not a directory", key=found.key)
            found = await self._find(found.key, name)
        return found

    async def _find(self, prefix: str, name: bytes) -> FoundPath:
        page, index = await self._tree.find(prefix, name)
        if page.is_directory(index):
            return FoundPath(page.key(index) + "/")
        return FoundPath(
            page.key(index),
            page.version(index),
            page.mtimes[index],
            page.storage_class(index),
            page.owner(index),
        )
