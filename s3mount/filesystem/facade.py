"""The file system as its door sees it: the tree, the open files and the open directories of one mount.

Joins the parts and decides nothing.
"""

from dataclasses import dataclass

from s3mount.filesystem.handles.open_directories import OpenDirectories
from s3mount.filesystem.handles.open_files import OpenFiles
from s3mount.filesystem.namespace.tree import Tree


@dataclass(frozen=True, slots=True)
class TreeStatistics:
    """What is held now: inodes the kernel refers to, entries and directories known, keys that no name can show.

    *metadata_used* is what names and attributes weigh, in bytes.
    """

    inodes: int
    directories: int
    entries: int
    metadata_used: int
    hidden_keys: int
    open_files: int
    open_directories: int


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One mounted tree."""

    tree: Tree
    files: OpenFiles
    directories: OpenDirectories

    def statistics(self) -> TreeStatistics:
        known = self.tree.cache.directories
        return TreeStatistics(
            inodes=len(self.tree.inodes),
            directories=known.directory_count,
            entries=known.entry_count,
            metadata_used=known.weight,
            hidden_keys=known.hidden_count,
            open_files=len(self.files),
            open_directories=len(self.directories),
        )
