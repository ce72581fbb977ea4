"""Paths of control sockets: where a mount puts its own, and where clients look for all of them.

Pure but for look-ups of files. They follow no symbolic link in a folder, and can leave out mount
points: other users own some of these folders, and what hangs there must not stop a client.

The socket of a mount is `<folder>/<connection>.socket`, where *connection* is the minor number of
the mount's device: its number in /proc/self/mountinfo and in /sys/fs/fuse/connections. A folder is
one of:

- /run/s3mount/USER, for mounts that root makes, which USER serves;
- /run/s3mount/s3mount@NAME, for a unit: its RuntimeDirectory=;
- $XDG_RUNTIME_DIR/s3mount, for a user's own mounts.
"""

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from s3mount.frozen_dataclass import dataclass

SYSTEM: Final = Path("/run/s3mount")
USERS: Final = Path("/run/user")  # pam_systemd(8)
_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
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
    others = [each / _NAME for each in _entries(USERS)] if uid == 0 else []
    return tuple(dict.fromkeys((SYSTEM, *([own] if own else []), *others)))


def find_sockets(
    folders: Iterable[Path], avoided: Collection[str] = frozenset()
) -> list[FoundSocket]:
    """Return the sockets in *folders* and one level below; what cannot be read is left out.

    The paths *avoided*, such as mount points of FUSE, are not looked at.
    """
    return [
        found
        for folder in folders
        for directory in (folder, *_entries(folder, avoided))
        for path in _entries(directory, avoided)
        if (found := _found(path)) is not None
    ]


def is_searched(folder: Path, roots: Iterable[Path]) -> bool:
    """Whether clients find sockets in *folder*."""
    return any(root in (folder, folder.parent) for root in roots)


def _entries(directory: Path, avoided: Collection[str] = frozenset()) -> Iterator[Path]:
    if str(directory) in avoided:
        return
    try:
        descriptor = os.open(directory, _FLAGS)
    except OSError:  # no directory, or not for this user
        return
    try:
        names = sorted(os.listdir(descriptor))  # noqa: PTH208 - of a descriptor
    except OSError:
        names = []
    finally:
        os.close(descriptor)
    paths = (directory / name for name in names)
    yield from (path for path in paths if str(path) not in avoided)


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
