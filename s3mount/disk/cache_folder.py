"""Folder of a cache directory: which index it has, and where the bytes of objects are.

    DIR/CACHEDIR.TAG            tells backup programs to leave it out
    DIR/lock                    held while an index is made or set aside
    DIR/1/                      one folder for each format; others are left alone
    DIR/1/index.sqlite          and its -wal and -shm
    DIR/1/data-XXXXXXXXXXXXXXXX the bytes that this index tells of

A damaged index is removed, and its data folder with it: a new index begins with a new one, so no
file of before is ever taken for one of now. An index of an unknown format is set aside with all
that belongs to it, as `DIR/1.set-aside-N`.
"""

import fcntl
import logging
import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from s3mount.disk import index as indexes
from s3mount.disk.data_files import DataFiles
from s3mount.disk.index import Index
from s3mount.errors import CacheDirectoryError

log = logging.getLogger(__name__)

_DATA_FOLDER: Final = re.compile(r"data-[0-9a-f]{16}")
# https://bford.info/cachedir/
_TAG: Final = """Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by s3mount.
# For information about cache directory tags see https://bford.info/cachedir/
"""


class CacheFolder:
    """The cache directory *folder*, which exists and is private."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._format_folder = folder / str(indexes.FORMAT)

    def open(self) -> tuple[Index, DataFiles]:
        """Open what is there, or create it. CacheDirectoryError, OSError or sqlite3.Error."""
        with self._locked():
            _create_file(self.path / "CACHEDIR.TAG", _TAG)
            try:
                return self._open_index()
            except sqlite3.Error as exc:
                if not indexes.is_damage(exc):
                    raise
                log.warning("the index of the disk cache %s is damaged: it begins anew", self.path)
                self._remove_index()
                return self._open_index()

    def remove_damaged(self, index: Index) -> None:
        """Remove *index*, which is damaged, unless another process has done so."""
        with self._locked():
            if not index.is_replaced:
                log.warning("the index of the disk cache %s is damaged: it begins anew", self.path)
                self._remove_index()

    def remove_leftovers(self, data_folder: str) -> None:
        """Remove data folders that no index tells of."""
        with self._locked():
            leftovers = [
                path
                for path in self._format_folder.iterdir()
                if _DATA_FOLDER.fullmatch(path.name) and path.name != data_folder
            ]
        for path in leftovers:
            shutil.rmtree(path, ignore_errors=True)

    def data_folder(self, index: Index) -> str:
        """The name of the data folder of *index*. sqlite3.DatabaseError if it has none."""
        row = index.reader().execute("SELECT value FROM meta WHERE name = 'data'").fetchone()
        if row is None or not isinstance(row[0], str) or not _DATA_FOLDER.fullmatch(row[0]):
            raise sqlite3.DatabaseError("the index names no data folder")
        name: str = row[0]
        return name

    def _open_index(self) -> tuple[Index, DataFiles]:
        _make_folder(self._format_folder)
        path = self._format_folder / "index.sqlite"
        self._set_aside_unknown(path)
        if _create_file(path, "") or indexes.format_of(path) == (0, 0):
            indexes.create(path, f"data-{secrets.token_hex(8)}")
        index = Index(path)
        try:
            data = self._format_folder / self.data_folder(index)
            _make_folder(data)
            files = DataFiles(os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))
        except BaseException:  # raised again
            index.close()
            raise
        files.probe_punching()
        return index, files

    def _set_aside_unknown(self, path: Path) -> None:
        """Set an index aside that another program, or another version of this one, has made."""
        found = indexes.format_of(path) if path.exists() else (0, 0)
        if found in ((0, 0), (indexes.APPLICATION_ID, indexes.FORMAT)):
            return
        for number in range(1, 1000):
            aside = self.path / f"{indexes.FORMAT}.set-aside-{number}"
            if not aside.exists():
                break
        self._format_folder.rename(aside)
        log.warning("the disk cache has an unknown format (%d): set aside as %s", found[1], aside)
        _make_folder(self._format_folder)

    def _remove_index(self) -> None:
        path = self._format_folder / "index.sqlite"
        for suffix in ("", "-wal", "-shm", "-journal"):
            path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path / "lock", flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _make_folder(path: Path) -> None:
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if path.is_symlink() or not path.is_dir():
        raise CacheDirectoryError(f"{path} is not a folder: remove it")


def _create_file(path: Path, content: str) -> bool:
    """Create a file; False if there is one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, content.encode())
    finally:
        os.close(descriptor)
    return True
