"""Open files: each is one version of one object for as long as it is open.

Opening makes sure that the version is current, within the metadata TTL. Reading knows no names.

A file that may be archived is open once its first byte has come: a program that cannot have its
bytes is told so by open(2). That costs no request, since its reader finds the byte in the cache.

A version that GET denies, though nothing has replaced it, is corrected while no byte of it is read
(`version_checker`): the file goes on as the version that GET tells.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Protocol

import trio

from s3mount.errors import (
    Archived,
    IsADirectory,
    ReplacedBeforeOpen,
    S3MountError,
    SizeCorrected,
    StaleVersion,
    UnknownVersion,
)
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.archived_files import refused_open
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.namespace.tree import Tree
from s3mount.filesystem.prefetch.policy import INDEX_AT_END, PrefetchPolicy
from s3mount.filesystem.prefetch.traversal_order import EntryRef
from s3mount.s3.model import ObjectStat, ObjectVersion

CHECKED_WITHIN = 1.0  # seconds that an open waits for first bytes: its reads wait for the same


class Reader(Protocol):
    """Reader of one version; see `cache`."""

    async def read(self, offset: int, size: int) -> bytes | bytearray | memoryview: ...
    def read_cached(self, offset: int, size: int) -> bytes | memoryview | None:
        """The same, or None if it would have to wait."""
        ...

    @property
    def has_had_bytes(self) -> bool:
        """Whether bytes of the version have come, for this reader or another."""
        ...

    def close(self) -> None: ...


class Blocks(Protocol):
    """Source of readers; see `cache`."""

    def open(self, version: ObjectVersion) -> Reader: ...
    def prefetch(self, version: ObjectVersion) -> bool:
        """Start to fetch a small object before it is opened; False if there is no room."""
        ...

    def prefetch_end(self, version: ObjectVersion) -> None:
        """Start to fetch the last block of a large object, which is open."""
        ...

    def expect_next(self, version: ObjectVersion, following: Iterable[ObjectVersion]) -> None:
        """A reader of *version*, which is open, may go on to those *following*, one by one."""
        ...


@dataclass(slots=True)
class _OpenFile:
    """*is_opening*: the kernel cannot send a READ yet.

    *is_final*: the version will not be corrected (again).

    *is_shorter_than_told*: the kernel may have been told a larger size than the file has.

    *was_read*: a read by this handle succeeded.
    """

    inode: int
    version: ObjectVersion
    mtime_ns: int
    reader: Reader
    is_opening: bool = False
    is_final: bool = False
    is_shorter_than_told: bool = False
    was_read: bool = False


class OpenFiles:
    """Open files by file handle number."""

    def __init__(self, tree: Tree, blocks: Blocks, policies: Sequence[PrefetchPolicy]) -> None:
        self._tree = tree
        self._blocks = blocks
        self._policies = policies
        self._files: dict[int, _OpenFile] = {}
        # open inodes that became smaller, while no READ across their new end has failed
        self._untold_ends: set[int] = set()
        self._numbers = count(1)
        self._check_ended: trio.Event | None = None  # while the first bytes of a new file are read

    def __len__(self) -> int:
        return len(self._files)

    async def open(self, inode: int) -> int:
        """Open the version that *inode* is; the number of its handle.

        Raises ReplacedBeforeOpen if it is not current: the kernel then looks the name up again.
        """
        await self._wait_for_check(inode)
        await self._tree.revalidate(*self._resolve(inode))
        page, index = self._resolve(inode)  # which may have been corrected, or moved, meanwhile
        number = self._open(inode, page, index)
        if self._tree.archived.may_be(page, index):
            await self._check_restored(number, page, index)
        elif self._is_doubtful(inode, page, index):
            await self._check(number, page)
        self._expect_next(number)
        return number

    def open_nowait(self, inode: int) -> int | None:
        """The same, or None if the version has to be revalidated, or seen."""
        page, index = self._resolve(inode)
        if not self._tree.is_current(page, index) or self._is_doubtful(inode, page, index):
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
        return not page.sizes[index] and self._is_doubtful(inode, page, index)

    async def check_size(self, inode: int) -> None:
        """Correct the size of *inode* if it `may_have_bytes`; a failure leaves it as it is."""
        await self._wait_for_check(inode)
        if not self.may_have_bytes(inode):
            return
        page, index = self._resolve(inode)
        number = self._add(inode, page, index)
        try:
            await self._check(number, page)
        except S3MountError:
            self._tree.versions.corrections.record_unchecked_size()
        else:
            self.release(number)

    async def read(self, handle: int, offset: int, size: int) -> bytes | bytearray | memoryview:
        """The bytes from *offset* on, fewer than *size* only at the end.

        They are valid until the next checkpoint. Raises StaleVersion, and the store's other errors.
        """
        file = self._files[handle]
        size_before = file.version.size
        reply = await self._read(file, offset, size)
        if self._may_exceed(file, offset, offset + size) or file.version.size < size_before:
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
        if file.inode in self._untold_ends and not self._files_of(file.inode):
            self._untold_ends.discard(file.inode)

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
        self._files[number] = _OpenFile(
            inode,
            version,
            page.mtimes[index],
            reader,
            is_shorter_than_told=page.is_corrected(index),
        )
        return number

    def _files_of(self, inode: int) -> list[_OpenFile]:
        return [each for each in self._files.values() if each.inode == inode]

    def _may_exceed(self, file: _OpenFile, offset: int, stop: int) -> bool:
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

    def _is_doubtful(self, inode: int, page: EntryPage, index: int) -> bool:
        """Whether a file's first bytes are to tell its version and size before it is open."""
        if not self._tree.versions.corrections.doubts(page, index):
            return False
        # an archived one tells nothing, and counts for nothing
        return not (self._tree.inodes.was_read(inode) or self._tree.archived.may_be(page, index))

    async def _wait_for_check(self, inode: int) -> None:
        """Wait for a check that is under way: it may tell that this file needs none."""
        if self._check_ended is not None and self._is_doubtful(inode, *self._resolve(inode)):
            with trio.move_on_after(CHECKED_WITHIN):
                await self._check_ended.wait()

    async def _check(self, number: int, page: EntryPage) -> None:
        """Correct the version of a new file if its first bytes tell another.

        Raises ReplacedBeforeOpen, without the file, if it was replaced.
        """
        ended = self._check_ended = trio.Event()
        try:
            await self._check_first_bytes(number, page)
        finally:
            ended.set()
            if self._check_ended is ended:
                self._check_ended = None

    async def _check_restored(self, number: int, page: EntryPage, index: int) -> None:
        """Read the first byte of a new file. Raises without the file what that fails with.

        That is Archived if it has to be restored, and ReplacedBeforeOpen if it was replaced.
        """
        file = self._files[number]
        file.is_opening = True
        try:
            await self._read(file, 0, 1)
        except UnknownVersion:
            pass  # its reads will tell
        except Archived as exc:
            self.release(number)
            raise refused_open(page, index, exc) from exc
        except StaleVersion as exc:
            self.release(number)
            raise ReplacedBeforeOpen(str(exc), bucket=exc.bucket, key=exc.key) from exc
        except BaseException:  # raised again
            self.release(number)
            raise
        file.is_opening = False

    async def _check_first_bytes(self, number: int, page: EntryPage) -> None:
        file = self._files[number]
        has_size = file.version.size > 0
        file.is_opening = True
        try:
            if has_size:
                if file.version.key.lower().endswith(INDEX_AT_END):
                    self._blocks.prefetch_end(file.version)  # it comes within the same round trip
                with trio.move_on_after(CHECKED_WITHIN):
                    await self._read(file, 0, 1)
            else:  # no READ will come for it, so nothing else would tell
                await self._correct(file, is_unread=True)
        except UnknownVersion:
            pass  # its reads will tell
        except StaleVersion as exc:
            self.release(number)
            raise ReplacedBeforeOpen(str(exc), bucket=exc.bucket, key=exc.key) from exc
        except S3MountError:
            if not has_size:
                self.release(number)
                raise
        except BaseException:  # raised again
            self.release(number)
            raise
        file.is_opening = False
        if has_size:  # a size of 0 tells nothing of others
            self._tree.versions.corrections.record_open(page)

    async def _read(
        self, file: _OpenFile, offset: int, size: int
    ) -> bytes | bytearray | memoryview:
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
                if file.reader is reader and not await self._correct(file):
                    self._tree.invalidate(file.version)
                    raise
            else:
                if file.reader is reader:  # else it was corrected meanwhile
                    return reply

    async def _correct(self, file: _OpenFile, *, is_unread: bool = False) -> bool:
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
        versions.correct(file.inode, stat)
        files = self._files_of(file.inode)
        if stat.version.size < file.version.size and not all(each.is_opening for each in files):
            self._untold_ends.add(file.inode)
        for each in files:
            self._go_on(each, stat)
        return True

    def _may_correct(self, file: _OpenFile) -> bool:
        """Whether no reader of the inode, nor the kernel, can have bytes of the version."""
        if file.reader.has_had_bytes or self._tree.inodes.was_read(file.inode):
            return False
        page, index = self._tree.inodes.resolve(file.inode)
        return page.version(index) == file.version

    def _go_on(self, file: _OpenFile, stat: ObjectStat) -> None:
        version = stat.version.doubted()
        former, file.reader = file.reader, self._blocks.open(version)
        file.is_shorter_than_told |= version.size < file.version.size
        file.version, file.mtime_ns, file.is_final = version, stat.mtime_ns, True
        former.close()

    def _on_first_read(self, file: _OpenFile) -> None:
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
