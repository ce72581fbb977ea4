"""The disk cache of a running mount, through its control socket."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from s3mount.ctl.client import Client, Reply, connected
from s3mount.ctl.mounts import Mount
from s3mount.errors import CommandFailed

ITEM_LIMIT: Final = 60.0  # seconds between items, and for a change of the index
CLEAR_LIMIT: Final = 600.0  # seconds: the file system frees what may be terabytes


class MountedCache:
    """The disk cache of the mount that *client* is connected to; paths are relative to it."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def objects(self, path: str | None) -> Iterator[Reply]:
        for kind, value in self._client.replies("cache-list", {"path": path}, limit=ITEM_LIMIT):
            if kind == "item":
                yield value

    def verify(self, path: str | None, show: Callable[[Reply], None]) -> Reply:
        return self._result("cache-verify", {"path": path}, ITEM_LIMIT, show)

    def clear(self, path: str | None) -> Reply:
        return self._result("cache-clear", {"path": path}, CLEAR_LIMIT)

    def pin(self, path: str, *, is_pinned: bool) -> Reply:
        return self._result("cache-pin", {"path": path, "pinned": is_pinned}, ITEM_LIMIT)

    def _result(
        self,
        command: str,
        arguments: Reply,
        limit: float,
        show: Callable[[Reply], None] = lambda _item: None,
    ) -> Reply:
        for kind, value in self._client.replies(command, arguments, limit=limit):
            if kind == "result":
                return value
            show(value)
        raise CommandFailed("the mount has sent no result")


@contextmanager
def mounted_cache(mount: Mount) -> Iterator[MountedCache]:
    """Connect to *mount*. Raises NotServed, and as the mount says, CommandFailed."""
    with connected(mount) as client:
        yield MountedCache(client)
