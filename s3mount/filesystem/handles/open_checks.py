"""Checks of a new file by its first bytes, before open(2) succeeds.

A file that may be archived is open once its first byte has come: a program that cannot have its
bytes is told so by open(2). That costs no request, since its reader finds the byte in the cache.

A file whose version or size is doubtful is checked, too: its first bytes tell both. One check at a
time is waited for, as it may tell that the others are needless.
"""

import trio

from s3mount.errors import (
    Archived,
    ReplacedBeforeOpen,
    S3MountError,
    StaleVersion,
    UnknownVersion,
)
from s3mount.filesystem.handles.corrected_reads import CorrectedReads
from s3mount.filesystem.handles.open_file import Blocks, OpenFile
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.archived_files import refused_open
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.namespace.tree import Tree
from s3mount.filesystem.prefetch.policy import INDEX_AT_END

CHECKED_WITHIN = 1.0  # seconds that an open waits for first bytes: its reads wait for the same


class OpenChecks:
    """Checks of new files. One that fails raises, and its caller releases the file."""

    def __init__(self, tree: Tree, blocks: Blocks, reads: CorrectedReads) -> None:
        self._tree = tree
        self._blocks = blocks
        self._reads = reads
        self._check_ended: trio.Event | None = None  # while the first bytes of a new file are read

    def is_doubtful(self, inode: int, page: EntryPage, index: int) -> bool:
        """Whether a file's first bytes are to tell its version and size before it is open."""
        if not self._tree.versions.corrections.doubts(page, index):
            return False
        # an archived one tells nothing, and counts for nothing
        return not (self._tree.inodes.was_read(inode) or self._tree.archived.may_be(page, index))

    async def wait_for_check(self, inode: int) -> None:
        """Wait for a check that is under way: it may tell that this file needs none."""
        if self._check_ended is None or inode == ROOT:
            return
        if self.is_doubtful(inode, *self._tree.inodes.resolve(inode)):
            with trio.move_on_after(CHECKED_WITHIN):
                await self._check_ended.wait()

    async def check_version(self, file: OpenFile, page: EntryPage) -> None:
        """Correct the version of a new file if its first bytes tell another.

        Raises ReplacedBeforeOpen if it was replaced, and the store's errors if it has no size.
        """
        ended = self._check_ended = trio.Event()
        try:
            await self._check_first_bytes(file, page)
        finally:
            ended.set()
            if self._check_ended is ended:
                self._check_ended = None

    async def check_restored(self, file: OpenFile, page: EntryPage, index: int) -> None:
        """Read the first byte of a new file. Raises what that fails with.

        That is Archived if it has to be restored, and ReplacedBeforeOpen if it was replaced.
        """
        file.is_opening = True
        try:
            await self._reads.read(file, 0, 1)
        except UnknownVersion:
            pass  # its reads will tell
        except Archived as exc:
            raise refused_open(page, index, exc) from exc
        except StaleVersion as exc:
            raise ReplacedBeforeOpen(str(exc), bucket=exc.bucket, key=exc.key) from exc
        file.is_opening = False

    async def _check_first_bytes(self, file: OpenFile, page: EntryPage) -> None:
        has_size = file.version.size > 0
        file.is_opening = True
        try:
            if has_size:
                if file.version.key.lower().endswith(INDEX_AT_END):
                    self._blocks.prefetch_end(file.version)  # it comes within the same round trip
                with trio.move_on_after(CHECKED_WITHIN):
                    await self._reads.read(file, 0, 1)
            else:  # no READ will come for it, so nothing else would tell
                await self._reads.correct(file, is_unread=True)
        except UnknownVersion:
            pass  # its reads will tell
        except StaleVersion as exc:
            raise ReplacedBeforeOpen(str(exc), bucket=exc.bucket, key=exc.key) from exc
        except S3MountError:
            if not has_size:
                raise
        file.is_opening = False
        if has_size:  # a size of 0 tells nothing of others
            self._tree.versions.corrections.record_open(page)
