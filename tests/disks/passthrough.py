"""File system that passes everything through to a folder, late or not at all, as it is told.

python -m tests.disks.passthrough FOLDER MOUNTPOINT CONTROL

The first line of the file CONTROL says how it behaves: "well"; "delay SECONDS"; "fail ERRNO", where
the errno is that of each read and write of file content, of `open` and of `create`; or "read-only".
"""

import errno
import os
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar, cast

import pyfuse3
import trio

T = TypeVar("T")


class Passthrough(pyfuse3.Operations):
    """The files below *folder*, in threads; inode numbers are those of the folder's file system."""

    enable_writeback_cache = False

    def __init__(self, folder: Path, control: Path) -> None:
        super().__init__()
        self._paths: dict[int, Path] = {pyfuse3.ROOT_INODE: folder}
        self._control = control

    async def _behave(self, *, is_change: bool = False) -> None:
        said, _, argument = self._control.read_text().strip().partition(" ")
        if said == "delay":
            await trio.sleep(float(argument))
        elif said == "fail":
            raise pyfuse3.FUSEError(int(argument))
        elif said == "read-only" and is_change:
            raise pyfuse3.FUSEError(errno.EROFS)

    async def _call(self, function: Callable[..., T], *arguments: object, **options: object) -> T:
        try:
            return await trio.to_thread.run_sync(lambda: function(*arguments, **options))
        except OSError as exc:
            raise pyfuse3.FUSEError(exc.errno or errno.EIO) from exc

    def _path(self, parent: int, name: bytes) -> Path:
        return self._paths[parent] / os.fsdecode(name)

    def _entry(self, path: Path) -> pyfuse3.EntryAttributes:
        try:
            status = path.lstat()
        except OSError as exc:
            raise pyfuse3.FUSEError(exc.errno or errno.EIO) from exc
        entry = pyfuse3.EntryAttributes()
        for field in (
            *("st_ino", "st_mode", "st_nlink", "st_uid", "st_gid", "st_rdev", "st_size"),
            *("st_atime_ns", "st_mtime_ns", "st_ctime_ns", "st_blocks"),
        ):
            setattr(entry, field, getattr(status, field))
        entry.st_blksize = 4096
        entry.entry_timeout = entry.attr_timeout = 0
        return entry

    def _remember(self, path: Path) -> pyfuse3.EntryAttributes:
        entry = self._entry(path)
        self._paths[entry.st_ino] = path
        return entry

    async def getattr(self, inode: int, ctx: object = None) -> pyfuse3.EntryAttributes:  # noqa: ARG002 - pyfuse3's
        entry = self._entry(self._paths[inode])
        if inode == pyfuse3.ROOT_INODE:
            entry.st_ino = inode
        return entry

    async def lookup(
        self,
        parent_inode: int,
        name: bytes,
        ctx: object = None,  # noqa: ARG002
    ) -> pyfuse3.EntryAttributes:
        return self._remember(self._path(parent_inode, name))

    async def setattr(
        self,
        inode: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: object,
    ) -> pyfuse3.EntryAttributes:
        await self._behave(is_change=True)
        path = self._paths[inode]
        if fields.update_size:
            await self._call(os.truncate, path if fh is None else fh, attr.st_size)
        if fields.update_mode:
            await self._call(os.chmod, path, stat.S_IMODE(attr.st_mode))
        return await self.getattr(inode, ctx)

    async def open(self, inode: int, flags: int, ctx: object) -> pyfuse3.FileInfo:  # noqa: ARG002
        await self._behave()
        wanted = flags & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        return pyfuse3.FileInfo(fh=await self._call(os.open, self._paths[inode], wanted))

    async def create(
        self,
        parent_inode: int,
        name: bytes,
        mode: int,
        flags: int,
        ctx: object,  # noqa: ARG002
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        await self._behave(is_change=True)
        path = self._path(parent_inode, name)
        descriptor = await self._call(os.open, path, flags | os.O_CREAT, mode)
        return pyfuse3.FileInfo(fh=descriptor), self._remember(path)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        await self._behave()
        return await self._call(os.pread, fh, size, off)

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        await self._behave(is_change=True)
        return await self._call(os.pwrite, fh, buf, off)

    async def fsync(self, fh: int, datasync: bool) -> None:  # noqa: ARG002, FBT001
        await self._behave(is_change=True)
        await self._call(os.fsync, fh)

    async def flush(self, fh: int) -> None: ...

    async def release(self, fh: int) -> None:
        os.close(fh)

    async def unlink(self, parent_inode: int, name: bytes, ctx: object) -> None:  # noqa: ARG002
        await self._behave(is_change=True)
        await self._call(os.unlink, self._path(parent_inode, name))

    async def mkdir(
        self,
        parent_inode: int,
        name: bytes,
        mode: int,
        ctx: object,  # noqa: ARG002
    ) -> pyfuse3.EntryAttributes:
        await self._behave(is_change=True)
        path = self._path(parent_inode, name)
        await self._call(os.mkdir, path, mode)
        return self._remember(path)

    async def rmdir(self, parent_inode: int, name: bytes, ctx: object) -> None:  # noqa: ARG002
        await self._behave(is_change=True)
        await self._call(os.rmdir, self._path(parent_inode, name))

    async def rename(  # noqa: PLR0917 - pyfuse3's
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,  # noqa: ARG002
        ctx: object,  # noqa: ARG002
    ) -> None:
        await self._behave(is_change=True)
        new = self._path(parent_inode_new, name_new)
        await self._call(os.rename, self._path(parent_inode_old, name_old), new)
        self._remember(new)

    async def opendir(self, inode: int, ctx: object) -> int:  # noqa: ARG002
        return inode

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        names = sorted(path.name for path in self._paths[fh].iterdir())
        for number, name in enumerate(names[start_id:], start_id + 1):
            entry = self._remember(self._paths[fh] / name)
            if not pyfuse3.readdir_reply(token, os.fsencode(name), entry, number):
                break

    async def statfs(self, ctx: object) -> pyfuse3.StatvfsData:  # noqa: ARG002
        found = os.statvfs(self._paths[pyfuse3.ROOT_INODE])
        status = pyfuse3.StatvfsData()
        for field in (
            *("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail"),
            *("f_files", "f_ffree", "f_favail"),
        ):
            setattr(status, field, getattr(found, field))
        status.f_namemax = 255
        return status


def main() -> None:
    """Serve until the kernel ends the session."""
    folder, mountpoint, control = sys.argv[1:]
    options = {*pyfuse3.default_options, "fsname=passthrough", "default_permissions"}
    pyfuse3.init(Passthrough(Path(folder), Path(control)), mountpoint, options)
    threading.stack_size(1 << 18)
    try:
        trio.run(cast("Callable[[], object]", pyfuse3.main))  # type: ignore[arg-type]
    finally:
        pyfuse3.close(unmount=False)


if __name__ == "__main__":
    main()
