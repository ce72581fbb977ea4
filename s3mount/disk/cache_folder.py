"""Folder of a cache directory: which generation it has, and what is removed or set aside.

    DIR/CACHEDIR.TAG                  tells backup programs to leave it out
    DIR/lock                          held while a generation is made, removed or set aside
    DIR/1/                            one folder for each format; others are left alone
    DIR/1/generation-XXXXXXXXXXXXXXXX an index, and the bytes that it tells of

Invariants:

1. While the lock is free, there is at most one generation, and it was whole when it got its name.
2. No path is used twice: SQLite removes files of an index by their paths, when the last process
   closes them. So a process that still has a removed generation harms no later one.
3. A generation of an unknown format is set aside with its folder, as `DIR/1.set-aside-N`.
"""

import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from s3mount.disk import index as indexes
from s3mount.disk.damage import INDEX_ERRORS, DamagedIndexError, is_damage
from s3mount.disk.data_files import DataFiles
from s3mount.disk.folder_check import prepare_folder
from s3mount.disk.generation import Generation
from s3mount.disk.index import Index
from s3mount.disk.usage import DiskLimits
from s3mount.disk.write_locks import WriteLocks

log = logging.getLogger(__name__)

INDEX: Final = "index.sqlite"
_ID: Final = "[0-9a-f]{16}"
_GENERATION: Final = re.compile(f"generation-{_ID}")
_LEFTOVER: Final = re.compile(f"(new|removed)-{_ID}")
# https://bford.info/cachedir/
_TAG: Final = """Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by s3mount.
# For information about cache directory tags see https://bford.info/cachedir/
"""


class CacheFolder:
    """The cache directory *folder*, for a cache within *limits*.

    It exists and is private, unless each `open` *is_prepared* by making it, or checking it.
    """

    def __init__(self, folder: Path, limits: DiskLimits, *, is_prepared: bool = False) -> None:
        self.path = folder
        self._limits = limits
        self._is_prepared = is_prepared
        self._format_folder = folder / str(indexes.FORMAT)
        self._has_generation = False  # as far as this process knows

    def open(self) -> Generation:
        """Open what is there, or create it. OSError, sqlite3.Error, CacheDirectoryError."""
        if self._is_prepared:
            os.close(prepare_folder(self.path))
        with self._locked():
            _create_file(self.path / "CACHEDIR.TAG", _TAG)
            _make_folder(self._format_folder)
            self._set_aside_unknown()
            folder = self._current() or self._create_again()
            self._has_generation = True
            try:
                return self._open(folder)
            except INDEX_ERRORS as exc:
                if not is_damage(exc):
                    raise
                self._remove(folder)
                return self._open(self._create())

    def remove_damaged(self, generation: Generation) -> None:
        """Remove *generation*, which is damaged, unless another process has done so."""
        with self._locked():
            if not generation.index.is_replaced:
                self._remove(generation.index.path.parent)

    def remove_leftovers(self) -> None:
        """Remove generations that were removed, or of which the making was broken off."""
        with self._locked():
            leftovers = [
                self._take_away(path)
                for path in self._format_folder.iterdir()
                if _LEFTOVER.fullmatch(path.name)
            ]
        for path in leftovers:
            shutil.rmtree(path, ignore_errors=True)

    def _current(self) -> Path | None:
        paths = self._format_folder.iterdir()
        found = (path for path in paths if _GENERATION.fullmatch(path.name))
        return min((path for path in found if not path.is_symlink()), default=None)

    def _open(self, folder: Path) -> Generation:
        path = folder / INDEX
        _check_index(path)
        index = Index(path)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            files = DataFiles(descriptor)
            files.probe_punching()
            return Generation(index, files, WriteLocks(descriptor), self._limits)
        except BaseException:  # raised again
            index.close()
            raise

    def _create_again(self) -> Path:
        if self._has_generation:
            log.warning("the disk cache %s was removed: it begins anew", self.path)
        return self._create()

    def _create(self) -> Path:
        generation_id = secrets.token_hex(8)
        folder = self._format_folder / f"new-{generation_id}"
        _make_folder(folder)
        _create_file(folder / INDEX, "")
        indexes.create(folder / INDEX)
        return folder.rename(self._format_folder / f"generation-{generation_id}")

    def _remove(self, folder: Path) -> None:
        log.warning("the index of the disk cache %s is damaged: it begins anew", self.path)
        self._has_generation = False
        self._take_away(folder)

    def _take_away(self, folder: Path) -> Path:
        return folder.rename(self._format_folder / f"removed-{secrets.token_hex(8)}")

    def _set_aside_unknown(self) -> None:
        """Set a generation aside that another version of this program has made."""
        folder = self._current()
        found = indexes.FORMAT if folder is None else _format(folder / INDEX)
        if found == indexes.FORMAT:
            return
        asides = (self.path / f"{indexes.FORMAT}.set-aside-{number}" for number in range(1, 1000))
        aside = next(path for path in asides if not path.exists())
        self._format_folder.rename(aside)
        log.warning("the disk cache has an unknown format (%d): set aside as %s", found, aside)
        _make_folder(self._format_folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path / "lock", flags, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _format(path: Path) -> int:
    """The format of an index; that of this program, if it is damaged."""
    with suppress(*INDEX_ERRORS):
        application, version = indexes.format_of(path)
        if application == indexes.APPLICATION_ID:
            return version
    return indexes.FORMAT


def _check_index(path: Path) -> None:
    """Raise DamagedIndexError if *path* is no index of this format."""
    if path.is_symlink() or not path.is_file():
        raise DamagedIndexError(f"{path} is no file")
    if indexes.format_of(path) != (indexes.APPLICATION_ID, indexes.FORMAT):
        raise DamagedIndexError(f"{path} is no index")


def _make_folder(path: Path) -> None:
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        path.chmod(0o700)  # whatever the umask
    if path.is_symlink() or not path.is_dir():
        raise NotADirectoryError(f"{path} is not a folder: remove it")


def _create_file(path: Path, content: str) -> None:
    """Create a file, unless there is one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        return
    try:
        os.fchmod(descriptor, 0o600)  # whatever the umask
        os.write(descriptor, content.encode())
    finally:
        os.close(descriptor)
