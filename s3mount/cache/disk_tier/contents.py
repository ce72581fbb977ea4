"""Contents of the disk cache for commands of a running mount: listed, verified, dropped, pinned.

All of it waits for the disk, in threads; the event loop goes on. A cancelled command leaves its
thread behind, which ends before the next object or segment, except for the short changes of the
index. So a disk that does not respond keeps neither a client nor the end of the mount, and at most
`_THREADS` threads.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from s3mount.disk.contents import Selection
from s3mount.disk.description import described
from s3mount.disk.disk_cache import ALL, DiskCache
from s3mount.disk.usage import DiskLimits, DiskUsage
from s3mount.disk.verification import CacheVerification
from s3mount.errors import CacheDirectoryError

USAGE_LIMIT: Final = 2.0  # seconds: the status does not wait longer for the disk
_THREADS: Final = 4
_BATCH: Final = 500  # objects sent at once

Names = Sequence[bytes]
Item = Mapping[str, object]
Send = Callable[[Sequence[Item]], Awaitable[None]]
T = TypeVar("T")


class DiskContents:
    """Contents of *cache*; paths are those of a mount of *bucket* and *prefix*.

    *namespace* is that of the mount's objects. An empty *bucket* is every bucket of an account,
    whose paths begin with a bucket.
    """

    def __init__(self, cache: DiskCache, namespace: str, bucket: str, prefix: str) -> None:
        self._cache = cache
        self._namespace = namespace
        self._bucket = bucket
        self._prefix = prefix
        self._threads = trio.CapacityLimiter(_THREADS)

    @property
    def folder(self) -> Path:
        return self._cache.folder

    @property
    def limits(self) -> DiskLimits:
        return self._cache.limits

    async def usage(self) -> DiskUsage | None:
        """Return what the directory has in all; None if the disk does not respond."""
        with trio.move_on_after(USAGE_LIMIT):
            try:
                return await trio.to_thread.run_sync(
                    partial(self._cache.usage, counts_objects=True),
                    abandon_on_cancel=True,
                    limiter=self._threads,
                )
            except (OSError, sqlite3.Error):
                return None
        return None

    async def list(self, names: Names | None, send: Send) -> int:
        """Send each object of the path *names*; None: of the whole directory. Return their number.

        Raises CacheDirectoryError.
        """
        return await self._run(partial(self._list, self._selection(names), send))

    def begin_verification(self, names: Names | None) -> "DiskVerification":
        """Return the verification of the path *names*, which has not begun."""
        verification = CacheVerification(
            self._cache, self._selection(names), trio.from_thread.check_cancelled
        )
        return DiskVerification(verification, self._run)

    async def clear(self, names: Names | None) -> int:
        """Drop what is at the path *names*; return how many segments. Raises CacheDirectoryError.

        None drops all of the directory, with its records.
        """
        return await self._run(partial(self._cache.clear, self._selection(names)))

    async def pin(self, names: Names, *, is_pinned: bool) -> int:
        """Pin what is at the path *names* now, or unpin it; return how many objects.

        Raises CacheDirectoryError, also if that is too much.
        """
        pin = partial(self._cache.pin, self._selection(names), is_pinned=is_pinned)
        return await self._run(pin)

    def _selection(self, names: Names | None) -> Selection:
        if names is None:
            return ALL
        path = b"/".join(names).decode("utf-8", "surrogateescape")
        if self._bucket:
            return Selection(self._namespace, self._bucket, self._prefix + path)
        bucket, _, key = path.partition("/")
        return Selection(self._namespace, bucket or None, key)

    def _list(self, selection: Selection, send: Send) -> int:
        batch: list[Item] = []
        count = 0
        for cached in self._cache.objects(selection):
            batch.append(described(cached))
            count += 1
            if len(batch) == _BATCH:
                trio.from_thread.check_cancelled()
                trio.from_thread.run(send, batch)
                batch = []
        if batch:
            trio.from_thread.check_cancelled()
            trio.from_thread.run(send, batch)
        return count

    async def _run(self, operation: Callable[[], T]) -> T:
        try:
            return await trio.to_thread.run_sync(
                operation, abandon_on_cancel=True, limiter=self._threads
            )
        except (OSError, sqlite3.Error) as exc:
            if isinstance(exc.__cause__, CacheDirectoryError):  # which names the directory
                raise CacheDirectoryError(str(exc)) from exc
            raise CacheDirectoryError(f"the cache directory {self.folder} failed: {exc}") from exc


class DiskVerification:
    """A verification that runs in a thread."""

    def __init__(
        self,
        verification: CacheVerification,
        run: Callable[[Callable[[], Item]], Awaitable[Item]],
    ) -> None:
        self._verification = verification
        self._run = run

    def progress(self) -> Item:
        return self._verification.progress()

    async def run(self) -> Item:
        """Return the result. Raises CacheDirectoryError."""
        return await self._run(self._verification.run)
