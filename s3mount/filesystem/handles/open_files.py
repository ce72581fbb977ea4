"""Open files: each is one version of one object for as long as it is open.

Opening makes sure that the version is current, within the metadata TTL. Reading knows no names.

Before open(2) succeeds, `open_checks` may read first bytes. Before a byte of a version is read,
`corrected_reads` may correct it.
"""

from collections.abc import Iterable, Sequence
from itertools import count, takewhile

from s3mount.errors import IsADirectory, S3MountError, SizeCorrected
from s3mount.filesystem.handles.corrected_reads import CorrectedReads
from s3mount.filesystem.handles.open_checks import OpenChecks
from s3mount.filesystem.handles.open_file import Blocks, OpenFile
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.namespace.tree import Tree
from s3mount.filesystem.prefetch.policy import PrefetchPolicy
from s3mount.filesystem.prefetch.traversal_order import EntryRef
from s3mount.s3.model import ObjectVersion


class OpenFiles:
    """Open files by file handle number."""

    def __init__(self, tree: Tree, blocks: Blocks, policies: Sequence[PrefetchPolicy]) -> None:
        self._tree = tree
        self._blocks = blocks
        self._policies = policies
        self._files: dict[int, OpenFile] = {}
        self._numbers = count(1)
        self._reads = CorrectedReads(tree, blocks, self._files)
        self._checks = OpenChecks(tree, blocks, self._reads)

    def __len__(self) -> int:
        return len(self._files)

    async def open(self, inode: int) -> int:
        """Open the version that *inode* is; the number of its handle.

        Raises ReplacedBeforeOpen if it is not current: the kernel then looks the name up again.
        """
        await self._checks.wait_for_check(inode)
        await self._tree.revalidate(*self._resolve(inode))
        page, index = self._resolve(inode)  # which may have been corrected, or moved, meanwhile
        number = self._open(inode, page, index)
        try:
            await self._check(self._files[number], page, index)
        except BaseException:  # raised again
            self.release(number)
            raise
        self._expect_next(number)
        return number

    def open_nowait(self, inode: int) -> int | None:
        """The same, or None if the version has to be revalidated, or seen."""
        page, index = self._resolve(inode)
        if not self._tree.is_current(page, index) or self._checks.is_doubtful(inode, page, index):
            return None
        if self._tree.archived.may_be(page, index):
            return None
        number = self._open(inode, page, index)
        self._expect_next(number)
        return number

    def may_have_bytes(self, inode: int) -> bool:
        """Whether the size of 0 that *inode* has may mean that the store did not tell one."""
        if inode == ROOT or not self._tree.versions.corrections.checks_sizes:
            return False
        page, index = self._tree.inodes.resolve(inode)
        return not page.sizes[index] and self._checks.is_doubtful(inode, page, index)

    async def check_size(self, inode: int) -> None:
        """Correct the size of *inode* if it `may_have_bytes`; a failure leaves it as it is."""
        await self._checks.wait_for_check(inode)
        if not self.may_have_bytes(inode):
            return
        page, index = self._resolve(inode)
        number = self._add(inode, page, index)
        try:
            await self._checks.check_version(self._files[number], page)
        except S3MountError:
            self._tree.versions.corrections.record_unchecked_size()
        finally:
            self.release(number)

    async def read(self, handle: int, offset: int, size: int) -> bytes | bytearray | memoryview:
        """The bytes from *offset* on, fewer than *size* only at the end.

        They are valid until the next checkpoint. Raises StaleVersion, and the store's other errors.
        """
        file = self._files[handle]
        size_before = file.version.size
        reply = await self._reads.read(file, offset, size)
        if self._reads.may_exceed(file, offset, offset + size) or file.version.size < size_before:
            raise _too_far(file.version)
        if not file.was_read:
            self._on_first_read(file)
        return reply

    def read_cached(self, handle: int, offset: int, size: int) -> bytes | memoryview | None:
        """The same, or None if it would have to wait."""
        file = self._files[handle]
        reply = file.reader.read_cached(offset, size)
        if reply is None or (file.is_shorter_than_told and len(reply) < size):
            return None
        if not file.was_read:
            self._on_first_read(file)
        return reply

    def key(self, handle: int) -> str:
        """The key of an open file."""
        return self._files[handle].version.key

    def release(self, handle: int) -> None:
        file = self._files.pop(handle)
        if file.reader.has_had_bytes:
            self._tree.inodes.mark_read(file.inode)
        file.reader.close()
        self._reads.on_release(file.inode)

    def _resolve(self, inode: int) -> tuple[EntryPage, int]:
        if inode == ROOT:
            raise IsADirectory("is a directory")
        page, index = self._tree.inodes.resolve(inode)
        if page.is_directory(index):
            raise IsADirectory("is a directory", bucket=page.bucket, key=page.key(index))
        return page, index

    def _open(self, inode: int, page: EntryPage, index: int) -> int:
        self._prefetch(page, index)
        return self._add(inode, page, index)

    def _add(self, inode: int, page: EntryPage, index: int) -> int:
        version = page.version(index)
        number = next(self._numbers)
        reader = self._blocks.open(version)
        self._files[number] = OpenFile(
            inode,
            version,
            page.mtimes[index],
            reader,
            is_shorter_than_told=page.is_corrected(index),
        )
        return number

    async def _check(self, file: OpenFile, page: EntryPage, index: int) -> None:
        if self._tree.archived.may_be(page, index):
            await self._checks.check_restored(file, page, index)
        elif self._checks.is_doubtful(file.inode, page, index):
            await self._checks.check_version(file, page)

    def _on_first_read(self, file: OpenFile) -> None:
        file.was_read = True
        for policy in self._policies:
            policy.on_read(file.inode, file.version.size)

    def _prefetch(self, page: EntryPage, index: int) -> None:
        has_room = True
        for policy in self._policies:  # each is told, since it counts opens
            following = policy.on_open(page, index)
            has_room = has_room and self._prefetch_files(following)

    def _prefetch_files(self, files: Iterable[EntryRef]) -> bool:
        """Whether there was room for all *files*; what follows one without room is left out."""
        may_prefetch, prefetch = self._tree.may_prefetch, self._blocks.prefetch
        return all(prefetch(page.version(at)) for page, at in files if may_prefetch(page, at))

    def _expect_next(self, number: int) -> None:
        """Tell the blocks which files a sequential reader of a new file goes on to."""
        page, index = self._resolve(self._files[number].inode)
        for policy in self._policies:
            if following := policy.next_files(page, index):
                likely = takewhile(lambda entry: self._tree.may_prefetch(*entry), following)
                versions = (entry.page.version(entry.at) for entry in likely)
                self._blocks.expect_next(self._files[number].version, versions)


def _too_far(version: ObjectVersion) -> SizeCorrected:
    """The failure of a read that was requested by a size that proved to be too large.

    A short reply would not do: several of them, in another order, leave the kernel with a size
    between the two, and the user with zeros (fs/fuse/file.c, fuse_short_read).
    """
    message = "the object is smaller than was told"
    return SizeCorrected(message, bucket=version.bucket, key=version.key)
