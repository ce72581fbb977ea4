"""Reads of open files, whose version may be corrected before the first of its bytes is read.

A version that GET denies, though nothing has replaced it, is corrected (`version_checker`): the
files of its inode go on as the version that GET tells.

Invariants: a version is corrected once at most, and for all open files of its inode together. After
a byte of it was read, by any reader, it stays. Only open inodes have an untold end.
"""

from collections.abc import Mapping

from s3mount.errors import Archived, S3MountError, StaleVersion
from s3mount.filesystem.handles.open_file import Blocks, OpenFile
from s3mount.filesystem.namespace.tree import Tree
from s3mount.s3.model import ObjectStat


class CorrectedReads:
    """*files* are all that are open, by handle number."""

    def __init__(self, tree: Tree, blocks: Blocks, files: Mapping[int, OpenFile]) -> None:
        self._tree = tree
        self._blocks = blocks
        self._files = files
        # open inodes that became smaller, while no READ across their new end has failed
        self._untold_ends: set[int] = set()

    async def read(self, file: OpenFile, offset: int, size: int) -> bytes | bytearray | memoryview:
        """Read *file*, as the version that it is in the end. Raises what its reader raises."""
        while True:
            reader = file.reader
            try:
                reply = await reader.read(offset, size)
            except Archived:
                entry = self._tree.inodes.get(file.inode)
                if entry is not None:
                    self._tree.archived.record(*entry)
                raise
            except StaleVersion:
                if file.reader is reader and not await self.correct(file):
                    self._tree.invalidate(file.version)
                    raise
            else:
                if file.reader is reader:  # else it was corrected meanwhile
                    return reply

    def may_exceed(self, file: OpenFile, offset: int, stop: int) -> bool:
        """Whether the reader of a READ may take what follows the end of *file* for zeros.

        The kernel ignores the size that a short reply tells if it has requested it before it was
        told to ask for attributes (fuse_read_update_size). So the first READ across the end fails.
        No other such READ can be under way, as each locks the page with the end.
        """
        end = file.version.size
        if not file.is_shorter_than_told or stop <= end:
            return False
        is_untold = offset >= end or file.inode in self._untold_ends
        if offset < end:
            self._untold_ends.discard(file.inode)
        return is_untold

    async def correct(self, file: OpenFile, *, is_unread: bool = False) -> bool:
        """Whether *file*, whose version was denied, goes on as another that was no replacement.

        False, too, if the store does not tell. If it *is_unread*, so that nothing has denied its
        version yet: raises what the store fails with, and StaleVersion for a replacement.
        """
        versions, reader = self._tree.versions, file.reader
        if file.is_final or not self._may_correct(file):
            return False
        try:
            stat = await versions.find_actual(file.version, file.mtime_ns)
        except S3MountError:
            if is_unread:
                raise
            return False
        if file.reader is not reader:  # another read has corrected it
            return True
        if stat is None and is_unread:
            self._tree.invalidate(file.version)
            version = file.version
            raise StaleVersion("has bytes by now", bucket=version.bucket, key=version.key)
        if stat is None or stat.version.is_same(file.version) or not self._may_correct(file):
            file.is_final = True
            return False
        self._replace(file, stat)
        return True

    def on_release(self, inode: int) -> None:
        """A file of *inode* is no longer among those that are open."""
        if inode in self._untold_ends and not self._files_of(inode):
            self._untold_ends.discard(inode)

    def _may_correct(self, file: OpenFile) -> bool:
        """Whether no reader of the inode, nor the kernel, can have bytes of the version."""
        if file.reader.has_had_bytes or self._tree.inodes.was_read(file.inode):
            return False
        page, index = self._tree.inodes.resolve(file.inode)
        return page.version(index) == file.version

    def _replace(self, file: OpenFile, stat: ObjectStat) -> None:
        self._tree.versions.correct(file.inode, stat)
        files = self._files_of(file.inode)
        if stat.version.size < file.version.size and not all(each.is_opening for each in files):
            self._untold_ends.add(file.inode)
        for each in files:
            self._go_on(each, stat)

    def _go_on(self, file: OpenFile, stat: ObjectStat) -> None:
        version = stat.version.doubted()
        former, file.reader = file.reader, self._blocks.open(version)
        file.is_shorter_than_told |= version.size < file.version.size
        file.version, file.mtime_ns, file.is_final = version, stat.mtime_ns, True
        former.close()

    def _files_of(self, inode: int) -> list[OpenFile]:
        return [each for each in self._files.values() if each.inode == inode]
