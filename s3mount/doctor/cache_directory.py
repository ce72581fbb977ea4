"""Check of the directory of the disk cache: whose it is, its file system, its space and its speed.

A directory that is absent is not made: what is above it is looked at instead.
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from s3mount.config import DiskConfig
from s3mount.daemon.mounting.mount_table import mount_id, mount_of
from s3mount.daemon.privileges import account
from s3mount.disk.data_files import DataFiles
from s3mount.disk.folder_check import open_ancestor, open_existing_folder
from s3mount.disk.safe_paths import open_in, remove
from s3mount.doctor.check import NotTriedError
from s3mount.doctor.report import Finding, failure, ok, warning
from s3mount.errors import CacheDirectoryError
from s3mount.path_resolution import closing

SLOW: Final = 0.25  # seconds for a small write that is on the disk then
WRITTEN: Final = 128 << 10  # bytes
# file systems of several machines: SQLite's WAL needs memory that all its processes share
_NETWORK: Final = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "gpfs", "lustre", "ncpfs"),
        *("nfs", "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "virtiofs", "vboxsf"),
    )
)
_GIB: Final = 1 << 30
_MIB: Final = 1 << 20


def check_cache_directory(disk: DiskConfig, run_as: str | None) -> Finding:
    """Check the directory as the mount opens it. Raises CacheDirectoryError, NotTriedError."""
    if run_as is not None and account(run_as).uid != os.geteuid():
        raise NotTriedError(f"{run_as} will open it: run it as that user")
    is_absent = not os.path.lexists(disk.folder)
    with closing(_open(disk.folder, is_absent=is_absent)) as folder:
        name = f"{disk.folder}{' (absent: the mount makes it)' if is_absent else ''}"
        kind = _file_system(folder)
        if kind in _NETWORK or (kind.startswith("fuse") and kind != "fuseblk"):
            return failure(
                f"{name} is on a file system of the kind {kind}, where the index is not safe",
                "name a directory on a local disk",
            )
        if is_absent:
            return _check_absent(disk, name, kind, folder)
        return _check_space(disk, name, kind, folder) or _check_writes(name, kind, folder)


def _open(path: Path, *, is_absent: bool) -> int:
    """Return a descriptor of the directory, or of the nearest one above it that is there."""
    if is_absent:
        return open_ancestor(path)
    return open_existing_folder(path, will_be_prepared=True)


def _check_absent(disk: DiskConfig, name: str, kind: str, parent: int) -> Finding:
    if not os.access(Path(f"/proc/self/fd/{parent}"), os.W_OK, effective_ids=True):
        return failure(
            f"{name}, and this user may not make it",
            f"as root: install -d -m 700 -o USER {disk.folder}, for the user who serves",
        )
    return _check_space(disk, name, kind, parent) or ok(f"{name}, {kind}, {_free(parent)} free")


def _check_space(disk: DiskConfig, name: str, kind: str, folder: int) -> Finding | None:
    if _free_bytes(folder) < disk.free_space:
        return warning(
            f"{name} is on {kind} with {_free(folder)} free, less than --cache-free-space",
            "nothing is kept there before space is free; name a larger disk, or give less",
        )
    return None


def _check_writes(name: str, kind: str, folder: int) -> Finding:
    try:
        with _file(folder) as file:
            began = time.monotonic()
            os.pwrite(file, bytes(WRITTEN), 0)
            os.fsync(file)
            duration = time.monotonic() - began
        files = DataFiles(os.dup(folder))  # which closes it
        files.probe_punching()
    except OSError as exc:
        raise CacheDirectoryError(f"{name} cannot be written: {exc.strerror}") from exc
    found = f"{name}, {kind}, {_free(folder)} free, {duration * 1000:.1f} ms for a small write"
    if not files.can_punch:
        return warning(
            f"{found}; it cannot punch holes",
            "space is freed by whole files, and nothing can be pinned: ext4, XFS or Btrfs can",
        )
    if duration > SLOW:
        return warning(f"{found}: slow", "a slow disk is bypassed; name a faster one")
    return ok(found)


@contextmanager
def _file(folder: int) -> Iterator[int]:
    """Open a new file in *folder*, which is gone at the end."""
    name = f"probe-{secrets.token_hex(8)}"
    file = open_in(folder, name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    remove(folder, name)
    with closing(file):
        yield file


def _file_system(folder: int) -> str:
    entry = mount_of(mount_id(folder))
    return "unknown" if entry is None else entry.fstype


def _free(folder: int) -> str:
    free = _free_bytes(folder)
    return f"{free / _GIB:.1f} GiB" if free >= _GIB else f"{free / _MIB:.0f} MiB"


def _free_bytes(folder: int) -> int:
    found = os.statvfs(Path(f"/proc/self/fd/{folder}"))
    return found.f_bavail * found.f_frsize
