"""FUSE request handlers that show symbolic links: for `--symlinks`.

Targets are the store's text. They are returned as they are, and only the kernel follows them, as
those of any file system. Invariants:

1. The kernel gets no inode before its type is known: a lookup waits for a HEAD, and a listing has
   the name without type and inode. So `ls` sends no HEAD, and no type depends on what was read.
2. What was shown as a link stays one, with its target, until the kernel forgets the inode.
3. A name stands for one file: a link `NAME.rclonelink` is shown as NAME only if nothing else is.
   A listing that does not tell yet whether something is waits for that.
"""

import errno
from collections.abc import Sequence
from typing import Any, Final

import pyfuse3
from pyfuse3 import EntryAttributes, FUSEError, RequestContext, readdir_reply

from s3mount.errors import NotFound, StaleVersion, StoreError
from s3mount.filesystem.handles.open_directories import DOTS
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.names import NAME_MAX, encode
from s3mount.filesystem.namespace.inode_table import ROOT
from s3mount.filesystem.namespace.tree import Attributes
from s3mount.fuse.error_mapping import logs_errors, maps_errors
from s3mount.fuse.operations import NAME_COST, EntryReply
from s3mount.fuse.posix_operations import PosixOperations
from s3mount.fuse.symlink_names import LINK_SUFFIX, link_name
from s3mount.fuse.symlink_replies import ListingReply, describe_link, kept, reply_untyped
from s3mount.fuse.symlink_types import EntryType, SymlinkTypes
from s3mount.fuse.xattr_operations import XattrOperations

ATTEMPTS: Final = 3  # of a lookup whose file is replaced meanwhile


class SymlinkOperations(PosixOperations):
    """`Operations` of a mount with symbolic links, which *types* tells from files."""

    def __init__(self, *arguments: Any, types: SymlinkTypes, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._types = types
        # links that the kernel refers to, with their targets; b"": the body has it
        self._links: dict[int, bytes] = {}
        self._replies: dict[pyfuse3.ReaddirToken, ListingReply] = {}  # those being made

    # ---- names -----------------------------------------------------------------------------------

    @maps_errors
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        with self._deadline(parent_inode, name):
            for _ in range(ATTEMPTS):
                reply = await self._lookup_any(parent_inode, name, ctx)
                if reply.st_ino in (0, ROOT):
                    return reply
                if await self._is_typed(reply.st_ino, ctx):
                    return self._typed(reply.st_ino)
        raise StaleVersion("replaced again and again", key=self._tree.key(parent_inode, name))

    async def _lookup_any(self, parent: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """Look *name* up, else the link of that name."""
        absence: FUSEError | None = None
        try:
            reply = await super().lookup(parent, name, ctx)
        except FUSEError as exc:
            if exc.errno != errno.ENOENT or not self._may_be_link(name):
                raise
            absence = exc
        else:
            if reply.st_ino or not self._may_be_link(name):
                return reply
        found = await self._lookup_link(parent, name + LINK_SUFFIX, ctx)
        if found is not None:
            return found
        if absence is not None:
            raise absence
        return reply

    async def _lookup_link(
        self, parent: int, name: bytes, ctx: RequestContext
    ) -> EntryAttributes | None:
        try:
            reply = await super().lookup(parent, name, ctx)
        except FUSEError as exc:
            if exc.errno != errno.ENOENT:
                raise
            return None
        if not reply.st_ino:
            return None
        if self._types.link_name(*self._tree.inodes.resolve(reply.st_ino)) is not None:
            return reply
        self._tree.inodes.forget(reply.st_ino, 1)
        return None

    def _may_be_link(self, name: bytes) -> bool:
        return (
            self._types.has_suffix
            and link_name(name + LINK_SUFFIX) == name
            and (len(name) + len(LINK_SUFFIX) <= NAME_MAX)
        )

    async def _is_typed(self, inode: int, ctx: RequestContext) -> bool:
        """Have the type of *inode* known; False, without its reference, if it was replaced."""
        page, index = self._tree.inodes.resolve(inode)
        if self._type_of(inode, page, index) is not EntryType.UNKNOWN:
            return True
        version = page.version(index)
        try:
            async with self._limiter.admitted(ctx.uid):
                is_current = await self._types.request(version)
        except BaseException:  # raised again
            self._tree.inodes.forget(inode, 1)
            raise
        found = self._tree.inodes.get(inode)
        if is_current and found and self._type_of(inode, *found) is not EntryType.UNKNOWN:
            return True
        self._tree.invalidate(version)
        self._tree.inodes.forget(inode, 1)
        return False

    def _typed(self, inode: int) -> EntryAttributes:
        """The attributes of an inode, with the type and the metadata that are known by now."""
        page, index = self._tree.inodes.resolve(inode)
        if self._type_of(inode, page, index) is EntryType.SYMLINK:
            self._record_link(inode, page, index)
        return self._reply(self._tree.attributes(inode))

    def _type_of(self, inode: int, page: EntryPage, index: int) -> EntryType:
        return EntryType.SYMLINK if inode in self._links else self._types.type_of(page, index)

    def _record_link(self, inode: int, page: EntryPage, index: int) -> None:
        if inode not in self._links:
            self._links[inode] = encode(self._types.target(page, index))

    @logs_errors
    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        await super().forget(inode_list)
        for inode, _ in inode_list:
            if inode in self._links and self._tree.inodes.get(inode) is None:
                del self._links[inode]

    # ---- directories -----------------------------------------------------------------------------

    @maps_errors
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        reply = self._replies[token] = ListingReply(has_entries=start_id < DOTS)
        try:
            await super().readdir(fh, start_id, token)
            while reply.undecided is not None and not reply.has_entries:
                await self._decide(reply, *reply.undecided, fh)
                reply.undecided = None
                await super().readdir(fh, start_id, token)
        finally:
            del self._replies[token]

    async def _decide(self, reply: ListingReply, prefix: str, name: bytes, fh: int) -> None:
        """Find out whether *name* stands for a file or a directory of its own."""
        inode = self._directories.handle(fh).inode
        with self._deadline(inode, name):
            async with self._limiter.admitted(self._directory_users[fh], NAME_COST):
                try:
                    await self._tree.find(prefix, name)
                    reply.is_taken[name] = True
                except NotFound:
                    reply.is_taken[name] = False

    def _entry_reply(self, page: EntryPage, base: int) -> EntryReply:
        reply_file = super()._entry_reply(page, base)

        def reply(
            token: pyfuse3.ReaddirToken, name: bytes, attributes: EntryAttributes, offset: int
        ) -> bool:
            listing, index = self._replies[token], offset - base - 1
            kind = self._type_of(attributes.st_ino, page, index)
            if kind is EntryType.OTHER:
                is_replied = reply_file(token, name, attributes, offset)
            elif kind is EntryType.UNKNOWN:
                is_replied = reply_untyped(token, name, attributes, offset)
            else:
                shown = self._shown_name(listing, page, index)
                if shown is None:
                    return False
                is_replied = self._reply_link(token, shown, attributes, offset, (page, index))
            listing.has_entries |= is_replied
            return is_replied

        return reply

    def _shown_name(self, listing: ListingReply, page: EntryPage, index: int) -> bytes | None:
        """The name that a link is shown under; None if *listing* has to decide it first."""
        link = self._types.link_name(page, index)
        if link is None:
            return page.name(index)
        is_taken = listing.is_taken.get(link)
        if is_taken is None:
            is_taken = self._is_listed(page, link)
        if is_taken is None:
            listing.undecided = page.prefix, link
            return None
        return page.name(index) if is_taken else link

    def _is_listed(self, page: EntryPage, name: bytes) -> bool | None:
        """Whether *name* is in the directory of *page*; None if its listing does not tell yet."""
        directory = self._tree.cache.find_directory(page.prefix)
        if directory is None or directory.listing is None:
            return None
        known = directory.get(name)
        if known is None or known.requested_at < directory.listing.requested_at:
            return None
        return known.exists

    def _reply_link(
        self,
        token: pyfuse3.ReaddirToken,
        name: bytes,
        attributes: EntryAttributes,
        offset: int,
        entry: tuple[EntryPage, int],
    ) -> bool:
        """Reply *entry*, a link, and record it."""
        inode = attributes.st_ino
        is_new = inode not in self._links
        self._record_link(inode, *entry)
        with kept(attributes):
            known = self._known(*entry)
            if known is not None:
                self._apply(attributes, known)
            describe_link(attributes, self._links[inode])
            is_replied = readdir_reply(token, name, attributes, offset)
        if is_new and not is_replied:
            del self._links[inode]
        return is_replied

    # ---- attributes and targets ------------------------------------------------------------------

    @maps_errors
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        if inode in self._links:  # whose size is no guess
            return self._reply(self._tree.attributes(inode))
        return await super().getattr(inode, ctx)

    def _reply(self, attributes: Attributes) -> EntryAttributes:
        reply = super()._reply(attributes)
        target = self._links.get(attributes.inode)
        if target is not None:
            describe_link(reply, target)
        return reply

    @maps_errors
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        target = self._links.get(inode)
        if target is None:
            raise FUSEError(errno.EINVAL)
        if not target:
            with self._deadline(inode):
                async with self._limiter.admitted(ctx.uid, NAME_COST):
                    target = await self._read_target(inode)
        return target

    async def _read_target(self, inode: int) -> bytes:
        handle = self._files.open_nowait(inode) or await self._files.open(inode)
        try:
            page, index = self._tree.inodes.resolve(inode)
            size = page.sizes[index]
            target = bytes(await self._files.read(handle, 0, size))
        finally:
            self._files.release(handle)
        if len(target) != size or not target or b"\0" in target:
            raise StoreError("this is no target of a symbolic link", key=page.key(index))
        return target


class SymlinkXattrOperations(SymlinkOperations, XattrOperations):
    """`Operations` of a mount that shows both."""
