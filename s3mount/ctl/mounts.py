"""The mounts of this machine: from the mount table and the folders of control sockets.

Rule: no mount point is accessed, since a mount may hang. A path is matched by its text; symbolic
links are read only outside the mounts.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from s3mount.control.locations import FoundSocket, find_sockets, search_folders
from s3mount.daemon.mounting.mount_table import MountEntry, current_mounts
from s3mount.errors import NotServed, UsageError
from s3mount.frozen_dataclass import dataclass
from s3mount.printable import printable

_FSTYPE: Final = "fuse.s3mount"
_LINKS_MAX: Final = 40  # as in Linux, see path_resolution(7)


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of s3mount; *sockets* are those that may be its own, if this user sees any.

    *owner* is the user of the mount in the mount table (`user_id=`). A mount that was killed leaves
    its socket, and the kernel reuses numbers.
    """

    source: str
    mountpoint: str
    connection: int
    sockets: tuple[Path, ...]
    owner: int | None


@dataclass(frozen=True, slots=True)
class MountedPath:
    """A path in *mount*, relative to its root; "" is the root."""

    mount: Mount
    relative: str


def current_sockets() -> list[FoundSocket]:
    """Return the control sockets that this user may see."""
    mounted = {each.path for each in current_mounts() if each.fstype.startswith("fuse")}
    return find_sockets(search_folders(os.environ, os.getuid()), mounted)


@dataclass(frozen=True, slots=True)
class Machine:
    """The mount table and the control sockets, read anew at each call."""

    table: Callable[[], Sequence[MountEntry]] = current_mounts
    sockets: Callable[[], Sequence[FoundSocket]] = current_sockets

    def mounts(self) -> tuple[Mount, ...]:
        """Return the mounts of s3mount in the order of the table."""
        sockets = self.sockets()
        return tuple(_mount(entry, sockets) for entry in self.table() if entry.fstype == _FSTYPE)

    def find(self, name: str | None) -> Mount:
        """Return the mount that *name* means: a source, or a path; None means the only one.

        That is the only one of which this user sees a socket, else the only one at all.

        Raises NotServed if there is no such mount, UsageError if there are several.
        """
        mounts = self._file_systems()
        if name is None:
            return _only([mount for mount in mounts if mount.sockets] or mounts)
        named = [mount for mount in mounts if _bare(mount.source) == _bare(name)]
        if len(named) > 1:
            raise UsageError(f"{printable(name)} is mounted {len(named)} times: {_listed(named)}")
        return named[0] if named else self.find_path(name).mount

    def find_path(self, path: str) -> MountedPath:
        """Return the mount that *path* is in. Raises NotServed if that is none of s3mount."""
        entries = [*self.table()]
        ours = {entry.path for entry in entries if entry.fstype == _FSTYPE}
        resolved = _resolved(path, ours)
        entry = max(
            (each for each in entries if _is_in(resolved, each.path)),
            key=lambda each: (len(each.path), entries.index(each)),
            default=None,
        )
        if entry is None or entry.fstype != _FSTYPE:
            raise NotServed(
                f"{printable(path)} is not in a mount of s3mount: {_choice(self.mounts())}"
            )
        relative = f"{entry.root}/{resolved[len(entry.path) :]}"
        names = [name for name in relative.split("/") if name]
        return MountedPath(_mount(_whole(entry, entries), self.sockets()), "/".join(names))

    def _file_systems(self) -> list[Mount]:
        """Return one of the mounts of each file system: bind mounts are of the same process."""
        sockets = self.sockets()
        entries = [entry for entry in self.table() if entry.fstype == _FSTYPE]
        distinct: dict[str, MountEntry] = {}
        for entry in entries:
            distinct.setdefault(entry.device, _whole(entry, entries))
        return [_mount(entry, sockets) for entry in distinct.values()]


def _whole(entry: MountEntry, entries: Iterable[MountEntry]) -> MountEntry:
    """Return the mount of all of *entry*'s file system; *entry* if only parts are mounted."""
    if entry.root == "/":
        return entry
    of_all = (each for each in entries if each.device == entry.device and each.root == "/")
    return next(of_all, entry)


def _mount(entry: MountEntry, sockets: Iterable[FoundSocket]) -> Mount:
    """Return the mount of *entry*. A socket of any other user but its own and root is ignored."""
    connection = int(entry.device.partition(":")[2])
    own = (
        found.path
        for found in sockets
        if found.connection == connection and found.owner in (0, entry.user)
    )
    return Mount(entry.source, entry.path, connection, tuple(own), entry.user)


def _only(mounts: Sequence[Mount]) -> Mount:
    if not mounts:
        raise NotServed("there is no mount of s3mount; make one: s3mount BUCKET MOUNTPOINT")
    if len(mounts) > 1:
        raise UsageError(f"there are {len(mounts)} mounts, so name one: {_listed(mounts)}")
    return mounts[0]


def _choice(mounts: Sequence[Mount]) -> str:
    return f"mounts are {_listed(mounts)}" if mounts else "there is none"


def _listed(mounts: Iterable[Mount]) -> str:
    return ", ".join(f"{printable(each.mountpoint)} ({printable(each.source)})" for each in mounts)


def _bare(source: str) -> str:
    """Return *source* as all of its spellings have it; "s3://" is every bucket."""
    return source.removeprefix("s3://").rstrip("/") or source


def _is_in(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")


def _resolved(path: str, mountpoints: set[str]) -> str:
    """Return *path* absolute, with links resolved up to the first of *mountpoints*.

    Raises UsageError for a path that cannot be.
    """
    if "\0" in path:
        raise UsageError("a path must not contain NUL")
    steps = [*reversed(_absolute(path).split("/"))]
    here = "/"
    links = 0
    while steps:
        name = steps.pop()
        if name in ("", "."):
            continue
        here = os.path.normpath(os.path.join(here, name))  # noqa: PTH118 - text
        target = None if _is_in_any(here, mountpoints) else _target(here)
        if target is not None:
            links += 1
            if links > _LINKS_MAX:
                raise UsageError(f"{printable(path)} has a cycle of symbolic links")
            here = "/" if target.startswith("/") else os.path.dirname(here)  # noqa: PTH120
            steps += reversed(target.split("/"))
    return here


def _absolute(path: str) -> str:
    """Return *path* below the working directory. Raises UsageError if that has no path any more."""
    if path.startswith("/"):
        return path
    try:
        return os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - text
    except OSError as exc:
        raise UsageError(
            f"the working directory has no path any more ({exc.strerror}): "
            "change to it again, or give an absolute path"
        ) from exc


def _is_in_any(path: str, tops: set[str]) -> bool:
    return any(_is_in(path, top) for top in tops)


def _target(path: str) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115 - text, not to be normalized
    except OSError:
        return None
