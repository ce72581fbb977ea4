"""FUSE request handlers: requests of the kernel to file system calls, to replies.

Translates and decides nothing. pyfuse3 replies to all other requests (flush, fsync, xattrs unless
`xattr_operations` has them) with ENOSYS, after which the kernel sends them no more. The kernel
itself refuses writes, because the mount is read-only.
"""

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, RequestContext, readdir_reply

from s3mount.config import TreeConfig
from s3mount.errors import DeadlineExceeded, NotFound, ReadOnly, S3MountError, StoreError
from s3mount.filesystem.facade import FileSystem
from s3mount.filesystem.handles.open_directories import DOTS, DirectoryHandle, EntrySlice
from s3mount.filesystem.listing.entry_page import EntryPage
from s3mount.filesystem.names import NAME_MAX
from s3mount.filesystem.namespace.tree import Attributes
from s3mount.fuse.entry_invalidator import EntryInvalidator
from s3mount.fuse.error_mapping import logs_errors, maps_errors, request_deadline
from s3mount.fuse.read_retries import FailedRead, ReadRetryTracker
from s3mount.fuse.user_limiter import UserLimiter

FOREVER = 1e8  # seconds: three years, which the arithmetic of every kernel can represent
BLOCK = 4096  # bytes, for statfs and st_blksize; some readers size their buffers by it
CAPACITY = 1 << 50  # bytes that df shows, all of them free
NAME_COST = 2  # requests to the store: HEAD and LIST
_DOTS = (b".", b"..")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_TRUNC | os.O_APPEND | os.O_CREAT

EntryReply = Callable[[pyfuse3.ReaddirToken, bytes, EntryAttributes, int], bool]


class Operations(pyfuse3.Operations):
    """Handlers of one mount, called by pyfuse3."""

    supports_dot_lookup = True  # of numbers that the kernel has forgotten, for NFS
    enable_writeback_cache = False

    def __init__(
        self,
        filesystem: FileSystem,
        config: TreeConfig,
        timeout: float,
        *,
        limiter: UserLimiter,
        invalidator: EntryInvalidator,
    ) -> None:
        super().__init__()
        self._timeout = timeout
        self._limiter = limiter
        self._invalidator = invalidator
        # the uid that opened a handle: READ and READDIR name none
        self._file_users: dict[int, int] = {}
        self._directory_users: dict[int, int] = {}
        self._tree = filesystem.tree
        self._numbers = filesystem.numbers
        self._files = filesystem.files
        self._directories = filesystem.directories
        self._read_retries = ReadRetryTracker()
        self._uid = config.uid
        self._gid = config.gid
        file_mode = config.file_mode & ~(config.umask | config.fmask)
        directory_mode = config.dir_mode & ~(config.umask | config.dmask)
        self._file_mode = stat.S_IFREG | file_mode
        self._directory_mode = stat.S_IFDIR | directory_mode

    # ---- names -----------------------------------------------------------------------------------

    @maps_errors
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        if name in _DOTS:
            return self._reply(await self._lookup_dot(parent_inode, name, ctx))
        try:
            attributes = self._tree.lookup_nowait(parent_inode, name)
            if attributes is None:
                with self._deadline(parent_inode, name):
                    async with self._limiter.admitted(ctx.uid, NAME_COST):
                        attributes = await self._tree.lookup(parent_inode, name)
        except NotFound as exc:
            if exc.valid_for > 0 and self._invalidator.add_absent(
                parent_inode, name, exc.valid_for
            ):
                return self._reply_absent(exc.valid_for)
            raise
        return self._reply(attributes)

    async def _lookup_dot(self, inode: int, name: bytes, ctx: RequestContext) -> Attributes:
        """Look an inode (".") or its directory ("..") up by its number."""
        numbers = self._numbers
        with self._deadline(inode):
            async with self._limiter.admitted(ctx.uid, NAME_COST):
                return await (numbers.lookup if name == b"." else numbers.lookup_parent)(inode)

    @maps_errors
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        if self._files.may_have_bytes(inode):
            with self._deadline(inode):
                async with self._limiter.admitted(ctx.uid, NAME_COST):
                    await self._files.check_size(inode)
        return self._reply(self._tree.attributes(inode))

    @logs_errors
    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        failures: list[Exception] = []
        remaining = iter(inode_list)
        while True:  # once more after each failure, to release the references after it
            try:
                for inode, count in remaining:
                    self._tree.inodes.forget(inode, count)
                break
            except Exception as exc:  # noqa: BLE001  # a skipped reference is never released
                failures.append(exc)
        if failures:
            raise failures[0]

    # ---- directories -----------------------------------------------------------------------------

    @maps_errors
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        fh = self._directories.open(inode)
        self._directory_users[fh] = ctx.uid
        return fh

    @maps_errors
    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        try:
            await self._reply_pages(
                self._directories.handle(fh), self._directory_users[fh], start_id, token
            )
        except NotFound as exc:  # the bucket is gone; glibc takes ENOENT for the directory's end
            raise _as_failure(exc) from exc

    async def _reply_pages(
        self, handle: DirectoryHandle, uid: int, start_id: int, token: pyfuse3.ReaddirToken
    ) -> None:
        spent = await self._rewind(handle, uid) if start_id == 0 else 0.0
        attributes = self._attributes()
        offset = self._reply_dots(handle, start_id, token, attributes)
        found = handle.read_nowait(offset)
        if found is None and offset == start_id:  # nothing has been replied yet
            with self._deadline(handle.inode, spent=spent):
                async with self._limiter.admitted(uid):
                    found = await handle.read(offset)
        while found is not None and self._reply_entries(found, token, attributes):
            found = handle.read_nowait(found.base + len(found.page))

    async def _rewind(self, handle: DirectoryHandle, uid: int) -> float:
        """Go back to the beginning; return the seconds that it took."""
        if self._tree.is_listing_fresh(handle.inode):  # then it does not wait
            await handle.rewind()
            return 0.0
        started = trio.current_time()
        with self._deadline(handle.inode):
            async with self._limiter.admitted(uid):
                await handle.rewind()
        return trio.current_time() - started

    def _reply_dots(
        self,
        handle: DirectoryHandle,
        start: int,
        token: pyfuse3.ReaddirToken,
        attributes: EntryAttributes,
    ) -> int:
        """Reply `.` and `..`, which count no references; the offset after them."""
        self._set_kind(attributes, 0, is_directory=True)
        for offset, name, inode in ((0, b".", handle.inode), (1, b"..", handle.parent)):
            if offset >= start:
                self._describe(attributes, inode, -1, 0)
                readdir_reply(token, name, attributes, offset + 1)
        return max(start, DOTS)

    def _reply_entries(
        self, entries: EntrySlice, token: pyfuse3.ReaddirToken, attributes: EntryAttributes
    ) -> bool:
        """Reply entries, each with one reference, until the reply is full; whether all fit.

        This is the cost of each name in a listing, so common values are set once.
        """
        page, start, base = entries
        tree, sizes, describe = self._tree, page.sizes, self._describe
        reply = self._entry_reply(page, base)
        add_reference = tree.inodes.add_reference
        valid_for, is_directory = tree.valid_for(page), None
        has_corrections = tree.versions.corrections.has_any(page)
        checks_sizes = tree.versions.corrections.checks_sizes
        for index in range(start, len(page)):
            if has_corrections:
                tree.versions.apply(page, index)
            if (sizes[index] < 0) is not is_directory:
                is_directory = sizes[index] < 0
                self._set_kind(attributes, valid_for, is_directory=is_directory)
            inode = add_reference(page, index)
            if checks_sizes and not sizes[index] and self._files.may_have_bytes(inode):
                attributes.attr_timeout, is_directory = 0, None  # the kernel calls getattr for it
            describe(attributes, inode, sizes[index], tree.mtime_ns(page, index))
            if not reply(token, page.name(index), attributes, base + index + 1):
                tree.inodes.forget(inode, 1)
                return False
        return True

    def _entry_reply(self, page: EntryPage, base: int) -> EntryReply:  # noqa: ARG002
        """What replies each entry of *page*, whose first one has the offset *base*."""
        return readdir_reply

    @maps_errors
    async def releasedir(self, fh: int) -> None:
        self._directory_users.pop(fh, None)
        self._directories.release(fh)

    # ---- bytes -----------------------------------------------------------------------------------

    @maps_errors
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        if flags & _WRITING:
            raise ReadOnly("the mount is read-only")
        # an inode is one version, so its pages in the kernel never become stale
        handle = self._files.open_nowait(inode)
        if handle is None:
            with self._deadline(inode):
                async with self._limiter.admitted(ctx.uid, NAME_COST):
                    handle = await self._files.open(inode)
        self._file_users[handle] = ctx.uid
        return FileInfo(fh=handle, keep_cache=True)

    @maps_errors
    async def read(  # type: ignore[override]  # any buffer does
        self, fh: int, off: int, size: int
    ) -> bytes | bytearray | memoryview:
        cached = self._files.read_cached(fh, off, size)
        if cached is not None:
            return cached
        with request_deadline(self._timeout, partial(self._files.key, fh)):
            return await self._read(fh, off, size)

    async def _read(self, fh: int, off: int, size: int) -> bytes | bytearray | memoryview:
        started = trio.current_time()
        failed = self._read_retries.take(fh, off, off + size, started)
        try:
            if failed is None:
                return await self._read_admitted(fh, off, size)
            return await self._read_again(fh, off, size, failed)
        except (S3MountError, trio.Cancelled) as exc:
            ended = trio.current_time()
            failure = FailedRead(off, off + size, started, ended, _reason(exc))
            self._read_retries.record(fh, failure, retried=failed)
            raise

    async def _read_again(
        self, fh: int, off: int, size: int, failed: FailedRead
    ) -> bytes | bytearray | memoryview:
        """Read within what is left of the time that the first request had."""
        with trio.move_on_at(failed.started + self._timeout):
            return await self._read_admitted(fh, off, size)
        raise failed.failure

    async def _read_admitted(self, fh: int, off: int, size: int) -> bytes | bytearray | memoryview:
        async with self._limiter.admitted(self._file_users[fh]):
            return await self._files.read(fh, off, size)

    @maps_errors
    async def release(self, fh: int) -> None:
        self._file_users.pop(fh, None)
        try:
            self._read_retries.forget(fh)
        finally:
            self._files.release(fh)

    def _deadline(
        self, inode: int, name: bytes = b"", *, spent: float = 0.0
    ) -> AbstractContextManager[None]:
        """The deadline of a request about *name* in the directory *inode*, or *inode* itself."""
        key = partial(self._tree.key, inode, name)
        return request_deadline(self._timeout, key, spent=spent)

    # ---- the file system -------------------------------------------------------------------------

    @maps_errors
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:  # noqa: ARG002
        reply = pyfuse3.StatvfsData()
        reply.f_bsize = reply.f_frsize = BLOCK
        reply.f_blocks = reply.f_bfree = reply.f_bavail = CAPACITY // BLOCK
        reply.f_files = reply.f_ffree = reply.f_favail = CAPACITY // BLOCK
        reply.f_namemax = NAME_MAX
        return reply

    # ---- attributes ------------------------------------------------------------------------------

    def _reply(self, attributes: Attributes) -> EntryAttributes:
        inode, size, mtime_ns, valid_for = attributes
        reply = self._attributes()
        self._set_kind(reply, valid_for, is_directory=size < 0)
        if not size and self._files.may_have_bytes(inode):
            reply.attr_timeout = 0
        self._describe(reply, inode, size, mtime_ns)
        return reply

    def _reply_absent(self, valid_for: float) -> EntryAttributes:
        """The reply that makes a negative dentry."""
        reply = EntryAttributes()
        reply.st_ino = 0
        reply.entry_timeout = min(valid_for, FOREVER)
        return reply

    def _attributes(self) -> EntryAttributes:
        reply = EntryAttributes()
        reply.st_nlink = 1
        reply.st_uid = self._uid
        reply.st_gid = self._gid
        reply.st_blksize = BLOCK
        return reply

    def _set_kind(self, reply: EntryAttributes, valid_for: float, *, is_directory: bool) -> None:
        reply.st_mode = self._directory_mode if is_directory else self._file_mode
        reply.entry_timeout = min(valid_for, FOREVER)
        # an inode is one version of a file; its name is what expires
        reply.attr_timeout = reply.entry_timeout if is_directory else FOREVER

    @staticmethod
    def _describe(reply: EntryAttributes, inode: int, size: int, mtime_ns: int) -> None:
        reply.st_ino = inode
        reply.st_size = max(0, size)
        reply.st_blocks = (size + 511) >> 9
        reply.st_atime_ns = reply.st_mtime_ns = reply.st_ctime_ns = mtime_ns


def _reason(exc: S3MountError | trio.Cancelled) -> S3MountError:
    """Why a read failed."""
    return exc if isinstance(exc, S3MountError) else DeadlineExceeded("not read in time")


def _as_failure(exc: NotFound) -> StoreError:
    """*exc* as a failure, for a request that must not be told ENOENT."""
    known = {"bucket": exc.bucket, "key": exc.key, "code": exc.code, "request_id": exc.request_id}
    return StoreError(str(exc), status=exc.status, **known)
