"""The least possible FUSE mount of local files: what a mount costs that has all bytes on the disk.

python -m benchmarks.local_mount FOLDER MOUNTPOINT        until it is unmounted

It checks nothing, and is a measure only.
"""

import errno
import os
import stat
import sys
from pathlib import Path

import pyfuse3
import trio


class LocalFiles(pyfuse3.Operations):
    """The files below *folder*, read in the event loop."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._paths = {pyfuse3.ROOT_INODE: folder}

    async def getattr(self, inode: int, ctx: object = None) -> pyfuse3.EntryAttributes:  # noqa: ARG002 - pyfuse3's signature
        entry = pyfuse3.EntryAttributes()
        status = self._paths[inode].stat()
        entry.st_ino = inode
        entry.st_mode, entry.st_size = status.st_mode, status.st_size
        entry.attr_timeout = entry.entry_timeout = 3600.0
        return entry

    async def lookup(
        self, parent_inode: int, name: bytes, ctx: object = None
    ) -> pyfuse3.EntryAttributes:
        path = self._paths[parent_inode] / os.fsdecode(name)
        if not path.exists():
            raise pyfuse3.FUSEError(errno.ENOENT)
        inode = path.stat().st_ino + 2
        self._paths[inode] = path
        return await self.getattr(inode, ctx)

    async def open(self, inode: int, flags: int, ctx: object = None) -> pyfuse3.FileInfo:  # noqa: ARG002
        path = self._paths[inode]
        if not stat.S_ISREG(path.stat().st_mode):
            raise pyfuse3.FUSEError(errno.EISDIR)
        return pyfuse3.FileInfo(fh=os.open(path, os.O_RDONLY))

    async def read(self, fh: int, off: int, size: int) -> bytes:
        return os.pread(fh, size, off)

    async def release(self, fh: int) -> None:
        os.close(fh)


def main() -> None:
    """Serve until the kernel ends the session."""
    folder, mountpoint = sys.argv[1:]
    options = {*pyfuse3.default_options, "fsname=local"}
    pyfuse3.init(LocalFiles(Path(folder)), mountpoint, options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=False)


if __name__ == "__main__":
    main()
