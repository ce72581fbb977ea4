"""A cache directory without a mount; mounts may use it meanwhile.

Root acts as the owner of the directory: what root made there, that user's mounts could not open,
and what that user has put there could lead root elsewhere.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from s3mount.config import DiskConfig
from s3mount.ctl.client import Reply
from s3mount.disk.contents import Selection
from s3mount.disk.description import described
from s3mount.disk.disk_cache import ALL, DiskCache
from s3mount.disk.folder_check import open_existing_folder
from s3mount.disk.usage import DiskLimits
from s3mount.disk.verification import CacheVerification
from s3mount.errors import CacheDirectoryError


class FolderCache:
    """The cache that is open; paths are BUCKET or BUCKET/KEY, of whichever store."""

    def __init__(self, cache: DiskCache) -> None:
        self._cache = cache

    def objects(self, path: str | None) -> Iterator[Reply]:
        return map(described, self._cache.objects(_selection(path)))

    def verify(self, path: str | None, show: Callable[[Reply], None]) -> Reply:
        verification = CacheVerification(
            self._cache, _selection(path), lambda: show(verification.progress())
        )
        return verification.run()

    def clear(self, path: str | None) -> Mapping[str, int]:
        return {"segments": self._cache.clear(_selection(path))}

    def pin(self, path: str, *, is_pinned: bool) -> Reply:
        count = self._cache.pin(_selection(path), is_pinned=is_pinned)
        return {"objects": count, "pinned": is_pinned}


class EmptyCache:
    """The cache of a directory in which no mount has made one. It makes none."""

    def objects(self, path: str | None) -> Iterator[Reply]:  # noqa: ARG002 - the protocol's
        return iter(())

    def verify(self, path: str | None, show: Callable[[Reply], None]) -> Reply:  # noqa: ARG002
        return {"objects": 0, "bytes": 0, "bad_extents": 0}

    def clear(self, path: str | None) -> Mapping[str, int]:  # noqa: ARG002
        return {"segments": 0}

    def pin(self, path: str, *, is_pinned: bool) -> Reply:  # noqa: ARG002
        return {"objects": 0, "pinned": is_pinned}


def _selection(path: str | None) -> Selection:
    if path is None:
        return ALL
    bucket, _, key = path.removeprefix("s3://").partition("/")
    return Selection(None, bucket or None, key)


@contextmanager
def opened_cache(folder: Path, size: int | None) -> Iterator[FolderCache | EmptyCache]:
    """Open the absolute *folder*, of mounts whose --cache-size is *size*; nothing is made in it.

    Raises CacheDirectoryError.
    """
    _become_owner(folder)
    if _is_empty(folder):
        yield EmptyCache()
        return
    limits = DiskLimits(DiskConfig(folder=folder).size if size is None else size)
    try:
        with closing(DiskCache(folder, limits)) as cache:
            yield FolderCache(cache)
    except (OSError, sqlite3.Error) as exc:
        raise CacheDirectoryError(f"the cache directory {folder} failed: {exc}") from exc


def _is_empty(folder: Path) -> bool:
    """Whether *folder*, which is private, has no files. Raises CacheDirectoryError."""
    descriptor = open_existing_folder(folder)
    try:
        return not os.listdir(descriptor)  # noqa: PTH208 - it is a descriptor
    finally:
        os.close(descriptor)


def _become_owner(folder: Path) -> None:
    """Become the owner of *folder* for good, if this is root. What is refused is seen later."""
    if os.geteuid() != 0:
        return
    try:
        found = folder.lstat()
    except OSError:
        return
    if found.st_uid != 0:
        os.setgroups([])
        os.setresgid(found.st_gid, found.st_gid, found.st_gid)
        os.setresuid(found.st_uid, found.st_uid, found.st_uid)
