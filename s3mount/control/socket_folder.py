"""Folder of a mount's control socket: chosen, made and checked before privileges are dropped.

Invariants of a folder that `prepare` returns:

1. It belongs to the user who serves, and has mode 0700; so does a unit's, which systemd made.
2. It is no symbolic link. No user but its owner and root can put another directory in its place.
3. Clients look for sockets there (`locations`).

The umask does not matter.
"""

import contextlib
import errno
import os
import pwd
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from s3mount.control import locations
from s3mount.frozen_dataclass import dataclass

_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


class NoFolderError(Exception):
    """There is no place for a control socket of this user; the message says what would give one."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The user who serves; *is_other*: root mounts, and becomes this user later."""

    uid: int
    gid: int
    is_other: bool = False

    @property
    def name(self) -> str:
        """The name of the user, or the number if there is no name."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


def prepare(environment: Mapping[str, str], owner: Owner) -> Path:
    """Return the folder, made if need be. Raises NoFolderError, or OSError."""
    if not owner.is_other and (given := _unit_folder(environment)) is not None:
        with _opened(given) as folder:
            _check(given, os.fstat(folder), owner.uid)
        return given
    if os.geteuid() == 0:
        return _prepare_system_folder(owner)
    runtime = locations.runtime_folder(environment, owner.uid)
    if runtime is None:
        raise NoFolderError(
            f"neither $XDG_RUNTIME_DIR nor {locations.USERS / str(owner.uid)} is a directory; in a "
            "unit of systemd, RuntimeDirectory=s3mount/NAME gives one"
        )
    with _opened(runtime.parent) as parent:
        _check(runtime.parent, os.fstat(parent), owner.uid)
        _make(parent, runtime, 0o700, owner)
    return runtime


def _unit_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the directory that systemd made for this service; None if clients look elsewhere."""
    roots = locations.search_folders(environment, os.geteuid())
    for given in environment.get("RUNTIME_DIRECTORY", "").split(":"):
        if given.startswith("/") and locations.is_searched(Path(given), roots):
            return Path(given)
    return None


def _prepare_system_folder(owner: Owner) -> Path:
    root = Owner(os.geteuid(), os.getegid())
    folder = locations.SYSTEM / owner.name
    with _opened(folder.parent.parent) as run:
        _make(run, folder.parent, 0o755, root)
    with _opened(folder.parent) as parent:
        _make(parent, folder, 0o700, owner)
    return folder


def _make(parent: int, folder: Path, mode: int, owner: Owner) -> None:
    """Make *folder* in the directory *parent*, unless it is there, and give it to *owner*.

    *parent* is trusted. Another mount may have made it just now, and not have given it away yet.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder.name, 0o700, dir_fd=parent)
    with _opened(Path(folder.name), parent) as made:
        found = os.fstat(made)
        if found.st_uid not in (owner.uid, os.geteuid()):
            raise _wrong_owner(folder, found.st_uid, owner.uid)
        if stat.S_IMODE(found.st_mode) != mode:
            os.fchmod(made, mode)
        if found.st_uid != owner.uid:
            os.fchown(made, owner.uid, owner.gid)


@contextlib.contextmanager
def _opened(path: Path, parent: int | None = None) -> Iterator[int]:
    """Open a directory. Raises OSError, for a symbolic link as well."""
    descriptor = os.open(path, _FLAGS, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check(folder: Path, found: os.stat_result, uid: int) -> None:
    if found.st_uid != uid:
        raise _wrong_owner(folder, found.st_uid, uid)
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise PermissionError(errno.EPERM, "other users may change it", str(folder))


def _wrong_owner(folder: Path, found: int, wanted: int) -> PermissionError:
    reason = f"it belongs to uid {found}, not to {wanted}"
    return PermissionError(errno.EPERM, reason, str(folder))
