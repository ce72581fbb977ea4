"""Paths of control sockets: where a mount puts its own, and where clients look for all of them.

Pure but for look-ups of files. The socket of a mount is `<folder>/<connection>.socket`, where
*connection* is the minor number of the mount's device: its number in /proc/self/mountinfo and in
/sys/fs/fuse/connections. A folder is one of:

- /run/s3mount/USER, for mounts that root makes, which USER serves;
- /run/s3mount/s3mount@NAME, for a unit: its RuntimeDirectory=;
- $XDG_RUNTIME_DIR/s3mount, for a user's own mounts.
"""

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSTEM: Final = Path("/run/s3mount")
USERS: Final = Path("/run/user")  # pam_systemd(8)
_NAME: Final = "s3mount"
_SOCKET: Final = re.compile(r"([0-9]{1,10})\.socket")


@dataclass(frozen=True, slots=True)
class FoundSocket:
    """A control socket of the mount *connection*; *owner* is the uid of the process that made it.

    A client trusts it only if *owner* is root, or the user of that mount in the mount table
    (`user_id=`): others may make a socket of any name in folders of their own.
    """

    connection: int
    path: Path
    owner: int


def socket_path(folder: Path, connection: int) -> Path:
    return folder / f"{connection}.socket"


def runtime_folder(environment: Mapping[str, str], uid: int) -> Path | None:
    """Return the folder of a user's own mounts; None if the user has no runtime directory."""
    given = environment.get("XDG_RUNTIME_DIR", "")
    directory = Path(given) if given.startswith("/") else USERS / str(uid)
    return directory / _NAME if directory.is_dir() else None


def search_folders(environment: Mapping[str, str], uid: int) -> tuple[Path, ...]:
    """Return the folders below which the user *uid* looks for sockets; root looks at all users'."""
    own = runtime_folder(environment, uid)
    others = sorted(USERS.glob(f"*/{_NAME}")) if uid == 0 else []
    return tuple(dict.fromkeys((SYSTEM, *([own] if own else []), *others)))


def find_sockets(folders: Iterable[Path]) -> list[FoundSocket]:
    """Return the sockets in *folders* and one level below; what cannot be read is left out."""
    return [
        found
        for folder in folders
        for directory in (folder, *_entries(folder))
        for path in _entries(directory)
        if (found := _found(path)) is not None
    ]


def is_searched(folder: Path, roots: Iterable[Path]) -> bool:
    """Whether clients find sockets in *folder*."""
    return any(root in (folder, folder.parent) for root in roots)


def _entries(directory: Path) -> Iterator[Path]:
    try:
        yield from sorted(directory.iterdir())
    except OSError:  # no directory, or not for this user
        return


def _found(path: Path) -> FoundSocket | None:
    matched = _SOCKET.fullmatch(path.name)
    if matched is None:
        return None
    try:
        status = path.lstat()
    except OSError:
        return None
    if not stat.S_ISSOCK(status.st_mode):
        return None
    return FoundSocket(int(matched[1]), path, status.st_uid)
