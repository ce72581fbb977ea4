"""s3mount over a store in memory that a test controls, through the real kernel.

`python tests/mount/memory_mount.py ARGUMENT ...` takes the arguments of s3mount. Everything is real
except the store. It reads commands from stdin, one a line, and replies to each with a line of JSON:

    put KEY BODY      store an object
    delete KEY        delete it
    archive KEY CLASS make it archived, of a storage class
    restore KEY       let it be read again
    pages SIZE        list pages of SIZE entries from now on
    hold PREFIX       let requests for keys below PREFIX wait
    held              return how many wait
    release           let those continue that wait, and hold none any more
    break             make every handler fail as a bug does
    repair            make the handlers work again
    lookups           return the number of LOOKUP requests so far
    xattrs            return the number of requests for extended attributes so far (--xattrs)
    inodes            return how many inodes the kernel refers to
    requests          return the requests to the store since the last time: [kind, key, start,
                      stop] of a read, [kind, prefix, delimiter, start_after] of a LIST
    pause             after the next request arrives, do nothing until the next line
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, cast

import pyfuse3
import trio

from s3mount.cli.build_config import build_config
from s3mount.cli.exit_status import end_process, run_command
from s3mount.cli.parser import parse_arguments
from s3mount.config import Config
from s3mount.daemon import fuse_wiring, wiring
from s3mount.daemon.interfaces import Host
from s3mount.daemon.startup import run
from s3mount.daemon.store_wiring import ObservedStore
from s3mount.fuse import operations as handlers
from s3mount.fuse import xattr_operations
from s3mount.fuse.operations import Operations
from s3mount.fuse.xattr_operations import XattrOperations
from s3mount.s3.model import ByteRange, ListQuery
from s3mount.s3.object_store import BucketStore
from s3mount.s3.request_log import RequestLog
from tests.fakes.memory_store import MemoryStore, Request
from tests.mount.mount_process import Mount, served


class _Broken:
    """Replacement whose every attribute raises, as a bug does."""

    def __getattr__(self, name: str) -> NoReturn:
        raise ZeroDivisionError(name)


class _TestOperations(Operations):
    """Handlers that can be broken, and that count LOOKUPs."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.lookups = 0
        self._parts = {name: getattr(self, name) for name in ("_tree", "_files", "_directories")}

    async def lookup(
        self, parent_inode: int, name: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        self.lookups += 1
        return await super().lookup(parent_inode, name, ctx)

    @property
    def inode_count(self) -> int:
        return len(self._tree.inodes)

    def break_all(self) -> None:
        for name in self._parts:
            setattr(self, name, _Broken())
        vars(handlers)["pyfuse3"] = _Broken()

    def repair(self) -> None:
        for name, part in self._parts.items():
            setattr(self, name, part)
        vars(handlers)["pyfuse3"] = pyfuse3


class _TestXattrOperations(XattrOperations):
    """Handlers of a mount with --xattrs that count requests for attributes."""

    xattrs = 0

    async def getxattr(self, inode: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        type(self).xattrs += 1
        return await super().getxattr(inode, name, ctx)

    async def listxattr(self, inode: int, ctx: pyfuse3.RequestContext) -> list[bytes]:
        type(self).xattrs += 1
        return await super().listxattr(inode, ctx)


def _as_json(request: Request) -> list[object]:
    match request:
        case Request(span=ByteRange() as span):
            return [request.kind, request.key, span.start, span.stop]
        case Request(query=ListQuery() as query):
            return [request.kind, request.key, query.delimiter, query.start_after]
        case _:
            return [request.kind, request.key]


class _Control:
    """Commands, and the store and handlers that they change."""

    def __init__(self) -> None:
        self.store = MemoryStore(before=self._before)
        self.operations: _TestOperations
        self._prefix: str | None = None
        self._held = 0
        self._released = trio.Event()
        self._is_to_pause = False
        self._wait_readable = trio.lowlevel.wait_readable

    def make_operations(self, *arguments: Any, **options: Any) -> _TestOperations:
        self.operations = _TestOperations(*arguments, **options)
        return self.operations

    async def run_commands(self) -> None:
        pending = b""
        async for chunk in trio.lowlevel.FdStream(0):
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                sys.stdout.write(json.dumps(self._do(*line.decode().split(" ", 2))) + "\n")
                sys.stdout.flush()

    def _do(self, word: str, *operands: str) -> object:
        commands: dict[str, Callable[..., object]] = {
            "put": lambda key, body="": self.store.put(key, body.encode()).etag,
            "delete": self.store.delete,
            "archive": self.store.archive,
            "restore": lambda key: self.store.archive(key, is_archived=False),
            "pages": lambda size: setattr(self.store, "page_size", int(size)),
            "hold": self._hold,
            "held": lambda: self._held,
            "release": self._release,
            "break": lambda: self.operations.break_all(),  # noqa: PLW0108  # not with --xattrs
            "repair": lambda: self.operations.repair(),  # noqa: PLW0108
            "xattrs": lambda: _TestXattrOperations.xattrs,
            "lookups": lambda: self.operations.lookups,
            "inodes": lambda: self.operations.inode_count,
            "requests": self._take_requests,
            "pause": self._pause,
        }
        return commands[word](*operands)

    def _take_requests(self) -> list[object]:
        taken = self.store.requests[:]
        self.store.requests.clear()
        return [_as_json(request) for request in taken]

    def _hold(self, prefix: str) -> None:
        self._prefix, self._held, self._released = prefix, 0, trio.Event()

    def _release(self) -> None:
        self._prefix = None
        self._released.set()

    async def wait_readable(self, fd: Any) -> None:
        """Replace trio's wait_readable, which pyfuse3 calls before each read."""
        await self._wait_readable(fd)
        if self._is_to_pause and fd != 0:
            self._is_to_pause = False
            sys.stdout.write("null\n")
            sys.stdout.flush()
            os.set_blocking(0, True)  # trio's stream does not
            os.read(0, 1)
            os.set_blocking(0, False)

    def _pause(self) -> None:
        self._is_to_pause = True

    async def _before(self, request: Request) -> None:
        await trio.lowlevel.checkpoint()
        if self._prefix is not None and request.key.startswith(self._prefix):
            self._held += 1
            await self._released.wait()


async def serve(config: Config, host: Host) -> None:
    """Wire the mount as the composition root does, over a store in memory."""
    control = _Control()
    trio.lowlevel.wait_readable = control.wait_readable
    vars(fuse_wiring)["Operations"] = control.make_operations
    vars(xattr_operations)["XattrOperations"] = _TestXattrOperations
    async with trio.open_nursery() as loads:
        loads.start_soon(control.run_commands)
        background = cast("trio.Nursery", wiring.Background(loads))
        store = cast("BucketStore", control.store)  # the tree asks for nothing else
        observed = ObservedStore(store, RequestLog(), None, lambda: None, lambda: None)
        await wiring._serve_session(config, host, observed, background)
        loads.cancel_scope.cancel()


class ControlledMount:
    """Mount that a test controls by commands."""

    def __init__(self, served_mount: Mount) -> None:
        self.mount = served_mount
        self.path = served_mount.path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def command(self, *words: str) -> Any:
        """Send a command, and return its reply."""
        self.send(" ".join(words) + "\n")
        return self.receive()

    def send(self, text: str) -> None:
        assert self.mount.process.stdin is not None
        self.mount.process.stdin.write(text.encode())
        self.mount.process.stdin.flush()

    def receive(self) -> Any:
        assert self.mount.process.stdout is not None
        return json.loads(self.mount.process.stdout.readline())


@contextmanager
def memory_mount(at: Path, *options: str) -> Iterator[ControlledMount]:
    """Mount an empty bucket at the new directory *at*; the end checks exit status and log."""
    words = [
        sys.executable,
        __file__,
        "bucket",
        str(at),
        "--foreground",
        "--log-format",
        "json",
        *options,
    ]
    with served(words, at, env={}, has_pipes=True) as made:
        yield ControlledMount(made)


def _main() -> int:
    request = parse_arguments(sys.argv[1:])
    assert not isinstance(request, str)
    return run(build_config(request), serve)


if __name__ == "__main__":
    end_process(run_command("s3mount", _main))
