"""FUSE request handlers that show POSIX attributes from the metadata of objects.

For `--posix-metadata` only: without it `Operations` serves, and nothing of this is imported.
Invariants:

1. Metadata never changes who may read a file: its read bits are always the mount's, and its owner
   and group too unless every user may read it. See docs/decisions/posix-metadata.md.
2. ctime is always the store's, so a program that copies a file does not take it for changed when
   its first bytes bring other attributes.
"""

import stat
from typing import Any, Final

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, RequestContext, readdir_reply

from s3mount.config import TreeConfig
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.namespace.tree import Attributes
from s3mount.fuse.entry_invalidator import EntryInvalidator
from s3mount.fuse.error_mapping import maps_errors
from s3mount.fuse.operations import EntryReply, Operations
from s3mount.fuse.xattr_operations import XattrOperations
from s3mount.s3.model import PosixAttributes
from s3mount.s3.object_store import PosixSource

_READ: Final = 0o444


class PosixOperations(Operations):
    """`Operations` of a mount that shows what *posix* knows of each file."""

    def __init__(
        self,
        filesystem: FileSystem,
        config: TreeConfig,
        timeout: float,
        *,
        invalidator: EntryInvalidator,
        posix: PosixSource,
        **options: Any,
    ) -> None:
        super().__init__(filesystem, config, timeout, invalidator=invalidator, **options)
        self._posix = posix
        self._mask = config.umask | config.fmask
        self._unread: dict[int, int] = {}  # handles of which no read has ended -> inodes

    # ---- bytes -----------------------------------------------------------------------------------

    @maps_errors
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        info = await super().open(inode, flags, ctx)
        self._unread[info.fh] = inode
        self._expire(inode)
        return info

    @maps_errors
    async def read(  # type: ignore[override]  # any buffer does
        self, fh: int, off: int, size: int
    ) -> bytes | bytearray | memoryview:
        found = await super().read(fh, off, size)
        if fh in self._unread:  # a response has brought the metadata by now
            self._expire(self._unread.pop(fh))
        return found

    @maps_errors
    async def release(self, fh: int) -> None:
        self._unread.pop(fh, None)
        await super().release(fh)

    def _expire(self, inode: int) -> None:
        """Have the kernel ask for the attributes of a file again if any are known."""
        if self._attributes_of(inode) is not None:
            self._invalidator.expire_attributes(inode)

    # ---- attributes ------------------------------------------------------------------------------

    def _reply(self, attributes: Attributes) -> EntryAttributes:
        reply = super()._reply(attributes)
        known = self._attributes_of(attributes.inode)
        if known is not None:
            self._apply(reply, known)
        return reply

    def _entry_reply(self, page: EntryPage, base: int) -> EntryReply:
        def reply(
            token: pyfuse3.ReaddirToken, name: bytes, attributes: EntryAttributes, offset: int
        ) -> bool:
            known = self._known(page, offset - base - 1)
            if known is None:
                return readdir_reply(token, name, attributes, offset)
            plain = attributes.st_mode, attributes.st_uid, attributes.st_gid
            self._apply(attributes, known)
            is_replied = readdir_reply(token, name, attributes, offset)
            attributes.st_mode, attributes.st_uid, attributes.st_gid = plain
            return is_replied

        return reply

    def _attributes_of(self, inode: int) -> PosixAttributes | None:
        found = self._tree.inodes.get(inode)
        return None if found is None else self._known(*found)

    def _known(self, page: EntryPage, index: int) -> PosixAttributes | None:
        if page.is_directory(index):
            return None
        return self._posix.posix_attributes(page.version(index))

    def _apply(self, reply: EntryAttributes, known: PosixAttributes) -> None:
        mode, uid, gid, mtime_ns, *_ = known
        mount_mode = stat.S_IMODE(self._file_mode)
        if mode is not None:
            reply.st_mode = stat.S_IFREG | shown_mode(mount_mode, self._mask, mode)
        if mount_mode & _READ == _READ:
            reply.st_uid = self._uid if uid is None else uid
            reply.st_gid = self._gid if gid is None else gid
        if mtime_ns is not None:
            reply.st_mtime_ns = mtime_ns


def shown_mode(mount_mode: int, mask: int, mode: int) -> int:
    """The permission bits of a file whose metadata has *mode*, on a mount with *mount_mode*.

    For those who may read by *mount_mode*, *mode* without *mask* says whether they may write and
    execute; all else is as *mount_mode* has it.
    """
    readers = mount_mode & _READ
    decided = readers >> 1 | readers >> 2
    return mount_mode & ~decided | mode & decided & ~mask


class PosixXattrOperations(PosixOperations, XattrOperations):
    """`Operations` of a mount that shows both."""
