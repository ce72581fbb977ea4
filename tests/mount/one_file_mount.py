"""s3mount that serves one fixed file without a store, for tests of the process.

`python tests/mount/one_file_mount.py ARGUMENT ...` takes the arguments of s3mount, through its own
command line. The bucket's name selects the behaviour: `refused` fails like a missing bucket,
`breaks` has a bug, `hangs` never replies, others serve. `swaps` first runs the shell command in
$SWAP as the serving user, at the moment of a `credential_process`: after the checks, before the
mount.
"""

import errno
import os
import stat
import sys
from collections.abc import Collection
from typing import Any

import pyfuse3
import trio

from s3mount.cli.build_config import build_config
from s3mount.cli.exit_status import run_command
from s3mount.cli.parser import parse_arguments
from s3mount.config import Config
from s3mount.control.listening_socket import ListeningSocket
from s3mount.control.protocol import Greeting
from s3mount.control.server import ControlServer
from s3mount.daemon.interfaces import Host, MountIdentity
from s3mount.daemon.mounting.options import session_options
from s3mount.daemon.startup import run
from s3mount.errors import SetupError

NAME = b"hello"
CONTENT = b"Hello, world\n"
INODE = pyfuse3.ROOT_INODE + 1


class ReadCounter:
    """Number of reads of the file: a statistic to log and reset."""

    def __init__(self) -> None:
        self.count = 0

    async def serve_control(
        self, listening: ListeningSocket, identity: MountIdentity, allowed: Collection[int]
    ) -> None:
        greeting = Greeting(
            s3mount="",
            pid=os.getpid(),
            connection=identity.connection,
            source=identity.source,
            mountpoint=identity.mountpoint,
            since=identity.since,
        )
        await ControlServer(listening, greeting, {}, allowed).run()

    def answered(self) -> None:
        """Nothing was put off."""

    def invalidate_all(self) -> None:
        self.count = 0


class OneFile(pyfuse3.Operations):
    """Directory with one file."""

    def __init__(self, reads: ReadCounter) -> None:
        super().__init__()
        self._reads = reads

    async def getattr(self, inode: int, _ctx: Any) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        entry.st_mode = (
            stat.S_IFDIR | 0o555 if inode == pyfuse3.ROOT_INODE else stat.S_IFREG | 0o444
        )
        entry.st_size = 0 if inode == pyfuse3.ROOT_INODE else len(CONTENT)
        return entry

    async def lookup(self, _parent: int, name: bytes, _ctx: Any) -> pyfuse3.EntryAttributes:
        if name != NAME:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return await self.getattr(INODE, None)

    async def open(self, inode: int, _flags: int, _ctx: Any) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=inode)

    async def opendir(self, inode: int, _ctx: Any) -> int:
        return inode

    async def readdir(self, _fh: int, start_id: int, token: Any) -> None:
        if start_id == 0:
            pyfuse3.readdir_reply(token, NAME, await self.getattr(INODE, None), 1)

    async def read(self, _fh: int, off: int, size: int) -> bytes:
        self._reads.count += 1
        return CONTENT[off : off + size]

    async def statfs(self, _ctx: Any) -> pyfuse3.StatvfsData:
        return pyfuse3.StatvfsData()


class Hanging(OneFile):
    """The same, but without a reply to any request."""

    async def statfs(self, _ctx: Any) -> pyfuse3.StatvfsData:
        await trio.sleep_forever()
        raise AssertionError


async def serve(config: Config, host: Host) -> None:
    """Wire the mount as the composition root does, without a store."""
    match config.store.bucket:
        case "refused":
            raise SetupError("there is no bucket 'refused'; check its name")
        case "breaks":
            raise ZeroDivisionError("a bug")
        case "waits":
            await trio.sleep_forever()
        case "swaps":
            await trio.run_process(["sh", "-ec", os.environ["SWAP"]])
    reads = ReadCounter()
    operations = Hanging(reads) if config.store.bucket == "hangs" else OneFile(reads)
    await trio.to_thread.run_sync(
        os.getpid
    )  # in a thread before the mount, as a store does its startup work
    pyfuse3.init(operations, host.attach(), session_options(config.mount))
    try:
        host.metrics.gauge("reads", "reads", "Reads since the last SIGHUP.", lambda: reads.count)
        host.ready(reads)
        await pyfuse3.main()
    finally:
        pyfuse3.close(unmount=False)


def _main() -> int:
    request = parse_arguments(sys.argv[1:])
    assert not isinstance(request, str)
    return run(build_config(request), serve)


if __name__ == "__main__":
    sys.exit(run_command("s3mount", _main))
