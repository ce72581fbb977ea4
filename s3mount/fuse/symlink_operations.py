"""FUSE request handlers that show symbolic links: for `--symlinks`.

Targets are the store's text. They are returned as they are, and only the kernel follows them, as
those of any file system. Invariants:

1. The kernel gets no inode before its type is known: a lookup waits for a HEAD, and a listing has
   the name without type and inode. So `ls` sends no HEAD, and no type depends on what was read.
2. What was shown as a link stays one, with its target, until the kernel forgets the inode, or gets
   the name again with what a response about a later upload of equal bytes has told.
3. A name stands for one file: a link `NAME.rclonelink` is shown as NAME only if nothing else is.
   A listing that does not tell yet whether something is waits for that. The kernel has NAME, or
   that there is none, only as long as both are known: the file, and that nothing else is NAME.
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
                kind = await self._find_type(reply.st_ino, ctx)
                if kind is not EntryType.UNKNOWN:
                    return self._typed(reply, kind)
        raise StaleVersion("replaced again and again", key=self._tree.key(parent_inode, name))

    async def _lookup_any(self, parent: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """Look *name* up, else the link of that name."""
        if not self._may_be_link(name):
            return await super().lookup(parent, name, ctx)
        reply = await self._lookup_name(parent, name, ctx)
        if reply.st_ino:
            return reply
        found = await self._lookup_name(parent, name + LINK_SUFFIX, ctx)
        found.entry_timeout = min(found.entry_timeout, reply.entry_timeout)
        inode = found.st_ino
        if inode and self._types.link_name(*self._tree.inodes.resolve(inode)) is None:
            self._tree.inodes.forget(inode, 1)
            found.st_ino = 0
        if not found.st_ino and not found.entry_timeout:
            raise FUSEError(errno.ENOENT)
        return found

    async def _lookup_name(self, parent: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        """Look up a name of the tree; inode 0 if it is absent."""
        try:
            return await super().lookup(parent, name, ctx)
        except FUSEError as exc:
            if exc.errno != errno.ENOENT:
                raise
        return self._reply_absent(0)

    def _may_be_link(self, name: bytes) -> bool:
        return (
            self._types.has_suffix
            and link_name(name + LINK_SUFFIX) == name
            and (len(name) + len(LINK_SUFFIX) <= NAME_MAX)
        )

    async def _find_type(self, inode: int, ctx: RequestContext) -> EntryType:
        """The type of *inode*; UNKNOWN, without its reference, if it was replaced."""
        page, index = self._tree.inodes.resolve(inode)
        kind = self._types.type_of(page, index)
        if kind is not EntryType.UNKNOWN:
            return kind
        version = page.version(index)
        try:
            async with self._limiter.admitted(ctx.uid):
                is_current = await self._types.request(version)
        except BaseException:  # raised again
            self._tree.inodes.forget(inode, 1)
            raise
        found = self._tree.inodes.get(inode)
        if is_current and found:
            kind = self._types.type_of(*found, is_of_upload=False)
        if kind is EntryType.UNKNOWN:
            self._tree.invalidate(version)
            self._tree.inodes.forget(inode, 1)
        return kind

    def _typed(self, found: EntryAttributes, kind: EntryType) -> EntryAttributes:
        """The attributes of an inode of *kind*, with the metadata that is known by now."""
        inode = found.st_ino
        target = None
        if kind is EntryType.SYMLINK:
            target = encode(self._types.target(*self._tree.inodes.resolve(inode)))
        self._set_link(inode, target)
        reply = self._reply(self._tree.attributes(inode))
        reply.entry_timeout = min(reply.entry_timeout, found.entry_timeout)
        return reply

    def _set_link(self, inode: int, target: bytes | None) -> None:
        """Record the target of a link; None: it is none."""
        if target is None:
            self._links.pop(inode, None)
        else:
            self._links[inode] = target

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
            kind = self._types.type_of(page, index)
            if kind is EntryType.OTHER:
                is_replied = reply_file(token, name, attributes, offset)
                if is_replied and self._links:
                    self._set_link(attributes.st_ino, None)
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
        page, index = entry
        target = encode(self._types.target(page, index))
        with kept(attributes):
            known = self._known(page, index)
            if known is not None:
                self._apply(attributes, known)
            describe_link(attributes, target)
            if name != page.name(index):  # the kernel has it as long as nothing else is NAME
                absent_for = self._tree.valid_for(page, exists=False)
                attributes.entry_timeout = min(attributes.entry_timeout, absent_for)
            is_replied = readdir_reply(token, name, attributes, offset)
        if is_replied:
            self._set_link(attributes.st_ino, target)
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
