"""Path resolution to a descriptor, component by component, for paths that other users may change.

Invariant: each step opens one name, relative to the descriptor of the step before, and never
through a symbolic link. A link is read from its own descriptor. It is followed only if its owner
is trusted, and if no other user could have moved it there. So what was checked is what is opened.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final

_LINKS_MAX: Final = 40  # as in Linux, see path_resolution(7)
_ANY_UID: Final = -1
_FLAGS: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class UntrustedLinkError(OSError):
    """An untrusted user controls a symbolic link of the path; *whose* describes the link."""

    def __init__(self, path: str, whose: str) -> None:
        super().__init__(errno.ELOOP, os.strerror(errno.ELOOP), path)
        self.whose = whose


def open_path(path: str, *, is_trusted: Callable[[int], bool]) -> int:
    """Open the absolute *path* with O_PATH.

    A link is followed if *is_trusted* accepts the uids of the users who may change it; -1 is any
    user. The last component is opened without O_DIRECTORY: that would trigger an autofs which
    waits for this very mount. Raises UntrustedLinkError, or the OSError of the kernel.
    """
    remaining = _components(path)
    links = 0
    current = _open_root()
    try:
        while remaining:
            name = remaining.pop(0)
            found = open_component(current, name, is_directory=bool(remaining))
            target = _link_target(found)
            if target is None:
                current = _replace(current, found)
                continue
            links += 1
            with closing(found):
                _check_link(found, current, path, links, is_trusted)
            remaining = _components(target) + remaining
            if target.startswith("/"):
                current = _replace(current, _open_root())
    except BaseException:  # raised again
        os.close(current)
        raise
    return current


def open_unlinked(path: str) -> int:
    """Open the absolute *path* with O_PATH. Raises OSError if a component is a symbolic link."""
    return open_path(path, is_trusted=lambda _owner: False)


def open_component(directory: int, name: str, *, is_directory: bool = False) -> int:
    """Open *name* in *directory* with O_PATH, without following a link.

    *is_directory* triggers an autofs there to mount first.
    """
    if is_directory:
        with contextlib.suppress(NotADirectoryError):  # raised for a link as well
            return os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=directory)
    return os.open(name, _FLAGS, dir_fd=directory)


def path_of(descriptor: int) -> str:
    """Return the directory's present path, with ` (deleted)` appended if it was removed.

    Raises OSError if the path is longer than a page.
    """
    return os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - text, not to be normalized


@contextlib.contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close *descriptor* at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _components(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _open_root() -> int:
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


def _link_target(descriptor: int) -> str | None:
    """Return the target of a symbolic link; None if it is no link.

    By readlink, not fstat: a dead or hanging file system would have to answer that.
    """
    try:
        return os.readlink("", dir_fd=descriptor)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.EINVAL, errno.ENOTDIR):
            return None
        raise


def _check_link(
    link: int, directory: int, path: str, links: int, is_trusted: Callable[[int], bool]
) -> None:
    """Raise UntrustedLinkError if an untrusted user may have made the link, or moved it here."""
    if links > _LINKS_MAX:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
    owner, parent = os.fstat(link).st_uid, os.fstat(directory)
    if not is_trusted(owner):
        raise UntrustedLinkError(path, f"of uid {owner}")
    if not is_trusted(parent.st_uid):
        raise UntrustedLinkError(path, f"that uid {parent.st_uid} may replace")
    if _is_shared(parent) and not is_trusted(_ANY_UID):
        raise UntrustedLinkError(path, "that other users may replace")


def _is_shared(directory: os.stat_result) -> bool:
    """Whether users other than its owner may rename its entries; the sticky bit forbids that."""
    by_group = stat.S_IWGRP if directory.st_gid else 0
    return (
        bool(directory.st_mode & (stat.S_IWOTH | by_group)) and not directory.st_mode & stat.S_ISVTX
    )
