"""FUSE request handlers of extended attributes, for a mount with `--xattrs`.

Without the option these handlers are not there: the kernel gets ENOSYS once, and sends no such
request any more. With it, the kernel asks for names of other namespaces too (ACLs, capabilities,
labels). These are ENOTSUP: GNU ls then asks for none of the other files of the device.
"""

import errno
from typing import Final

import trio
from pyfuse3 import FUSEError, RequestContext

from s3mount.config import TreeConfig
from s3mount.filesystem.attributes.extended_attributes import ExtendedAttributes
from s3mount.filesystem.facade import FileSystem
from s3mount.fuse.acl_searches import AclSearches
from s3mount.fuse.entry_invalidator import EntryInvalidator
from s3mount.fuse.error_mapping import maps_errors
from s3mount.fuse.operations import Operations
from s3mount.fuse.user_limiter import UserLimiter

_OURS: Final = (b"user.s3.", b"s3.")
_USER: Final = b"user."


class XattrOperations(Operations):
    """Handlers of one mount with extended attributes."""

    def __init__(
        self,
        filesystem: FileSystem,
        config: TreeConfig,
        timeout: float,
        *,
        limiter: UserLimiter,
        invalidator: EntryInvalidator,
        attributes: ExtendedAttributes,
    ) -> None:
        super().__init__(filesystem, config, timeout, limiter=limiter, invalidator=invalidator)
        self._xattrs = attributes
        self._searches = AclSearches(trio.current_time)

    @maps_errors
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        if not name.startswith(_OURS):
            raise FUSEError(errno.ENODATA if name.startswith(_USER) else errno.ENOTSUP)
        self._searches.on_value(ctx.pid)
        value = self._xattrs.value_nowait(inode, name)
        if value is None:
            with self._deadline(inode):
                async with self._limiter.admitted(ctx.uid):
                    value = await self._xattrs.value(inode, name)
        return value

    @maps_errors
    async def listxattr(self, inode: int, ctx: RequestContext) -> list[bytes]:
        names = self._xattrs.names_nowait(inode)
        if names is None:
            if self._searches.is_search(ctx.pid):
                raise FUSEError(errno.ENOTSUP)
            try:
                with self._deadline(inode):
                    async with self._limiter.admitted(ctx.uid):
                        names = await self._xattrs.names(inode)
            finally:
                self._searches.on_names(ctx.pid)
        return names
