"""The cache directory: made or opened, and refused unless it is private to this user.

Invariants of a directory that `prepare_folder` returns:

1. It belongs to this user, and neither its group nor others have any access to it. What others
   could read is made private; what they could write to is refused.
2. It is no symbolic link, and no other user can put another directory in its place: each
   directory above belongs to root or to this user, and others may not change it unless it is
   sticky. A link on the way is followed if nobody else controls it.
3. It holds nothing but a cache. So a home directory that was named by mistake is left alone.
"""

import contextlib
import errno
import os
import pwd
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from s3mount.disk.safe_paths import FOLDER_MODE, make_folder, open_folder
from s3mount.errors import CacheDirectoryError, CacheDiskError
from s3mount.path_resolution import UntrustedLinkError, closing, open_path
from s3mount.printable import printable

# what any version of the cache makes; lost+found: of the root of a file system, see e2fsck(8)
_OWN_NAMES: Final = re.compile(
    r"CACHEDIR\.TAG|lock|\d+(\.set-aside-\d+)?|probe-[\da-f-]+|lost\+found", re.ASCII
)
_ACCESS_OF_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_ROOT: Final = Path("/")
# what is wrong with the path, or with who may use it; all else is a failure of the disk
_REFUSALS: Final = frozenset(
    (
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EACCES,
        errno.EPERM,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EINVAL,
    )
)


def prepare_folder(path: Path) -> int:
    """Return a descriptor of the absolute directory *path*, which is made if it is absent.

    So are those above it. Raises CacheDirectoryError, whose message has the remedy, and
    CacheDiskError if the disk is full, read-only or failing.
    """
    return _open(path, makes=True)


def open_existing_folder(path: Path, *, will_be_prepared: bool = False) -> int:
    """Return a descriptor of the absolute directory *path*. Raises CacheDirectoryError.

    What others can read is refused, unless it *will_be_prepared*, and made private then.
    """
    return _open(path, makes=False, will_be_prepared=will_be_prepared)


def open_parent(path: Path) -> int:
    """Return an O_PATH descriptor of the directory above *path*. Raises CacheDirectoryError.

    No other user can replace it, nor the entry of *path* in it.
    """
    _check_path(path)
    return _open_above(path, path.parent)


def open_ancestor(path: Path) -> int:
    """As `open_parent`, of the nearest directory above *path* that is there."""
    _check_path(path)
    return _open_above(path, _ancestor(path))


def _check_path(path: Path) -> None:
    if not path.is_absolute() or not path.name or path.name == "..":
        raise _refusal(path, "it must be an absolute path to a directory of its own")


def _ancestor(path: Path) -> Path:
    return next(above for above in path.parents if os.path.lexists(above))


def _open_above(path: Path, above: Path) -> int:
    """Return an O_PATH descriptor of *above*, a directory above *path*. CacheDirectoryError."""
    trusted = _trusted()
    try:
        parent = open_path(str(above), is_trusted=lambda uid: uid in trusted)
    except UntrustedLinkError as exc:
        raise _refusal(path, f"a symbolic link {exc.whose} is on the way; name another") from exc
    except OSError as exc:
        raise failure_of(path, exc) from exc
    with _closed_on_error(parent), _failures_told(path):
        _check_parents(path, parent)
    return parent


def failure_of(path: Path, exc: OSError) -> CacheDirectoryError:
    """Return what *exc*, of an access to the cache directory *path* or in it, is to its user."""
    if exc.errno in _REFUSALS:
        return _refusal(path, _reason(path, exc))
    return CacheDiskError(
        f"the cache directory {printable(str(path))} cannot be used: {exc.strerror or exc}"
    )


def failure_within(path: Path, exc: OSError) -> CacheDirectoryError:
    """Return what *exc*, of an access in the private cache directory *path*, is to its user."""
    name = _name_within(path, exc.filename)
    match exc.errno:
        case errno.EACCES | errno.EPERM:
            what = f"{_user(os.geteuid())} may not use {name} in it"
            return _refusal(path, f"{what}; if another user has made that: {_chown(path)}")
        case errno.ELOOP | errno.EISDIR:
            kind = "symbolic link" if exc.errno == errno.ELOOP else "directory"
            return _refusal(path, f"{name} in it is a {kind}, and no file of a cache: remove it")
    return failure_of(path, exc)


def _name_within(path: Path, name: object) -> str:
    """Return how messages show the file *name* of an OSError: a path, or a name in a folder."""
    if not isinstance(name, str):
        return "something"
    return repr(printable(os.path.relpath(path / name, path)))


@contextlib.contextmanager
def _failures_told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise failure_of(path, exc) from exc


def _open(path: Path, *, makes: bool, will_be_prepared: bool = False) -> int:
    if makes:
        _make_parents(path)
    with closing(open_parent(path)) as parent:
        try:
            folder = (make_folder if makes else open_folder)(parent, path.name)
        except OSError as exc:
            with contextlib.suppress(OSError):  # what cannot be opened may be another's
                _check_owner(path, os.stat(path.name, dir_fd=parent, follow_symlinks=False))
            raise failure_of(path, exc) from exc
    with _closed_on_error(folder), _failures_told(path):
        _check_folder(path, folder)
        if makes:
            _make_private(path, folder)
        elif not will_be_prepared or path.parent == _ROOT:
            _check_access(path, os.fstat(folder).st_mode & _ACCESS_OF_OTHERS)
    return folder


def _make_parents(path: Path) -> None:
    """Make the directories above *path* that are absent, below one that no other user controls."""
    _check_path(path)
    above = _ancestor(path)
    absent = path.parent.relative_to(above).parts
    if not absent:
        return
    current = _open_above(path, above)
    try:
        for name in absent:
            below = make_folder(current, name)
            os.close(current)
            current = below
    except OSError as exc:
        raise failure_of(path, exc) from exc
    finally:
        os.close(current)


@contextlib.contextmanager
def _closed_on_error(descriptor: int) -> Iterator[None]:
    try:
        yield
    except BaseException:  # raised again
        os.close(descriptor)
        raise


def _check_parents(path: Path, parent: int) -> None:
    """Raise CacheDirectoryError if another user could replace the directory, or one above it."""
    for found in _ancestors(parent):
        if found.st_uid not in _trusted():
            raise _refusal(
                path,
                f"a directory above it belongs to {_user(found.st_uid)}, who could replace it; "
                "name one below a directory of yours or of root's",
            )
        if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            raise _refusal(
                path,
                "every user may replace a directory above it; name another, or take the write "
                "permission of others: chmod o-w",
            )


def _ancestors(directory: int) -> Iterator[os.stat_result]:
    """Yield what is known of *directory*, and of each one above it."""
    current = os.dup(directory)
    try:
        found = os.fstat(current)
        while True:
            yield found
            above = os.open("..", os.O_PATH | os.O_CLOEXEC, dir_fd=current)
            os.close(current)
            current, below, found = above, found, os.fstat(above)
            if os.path.samestat(below, found):
                return
    finally:
        os.close(current)


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid == os.geteuid():
        return
    owner = f"it belongs to {_user(found.st_uid)}, and the cache is of {_user(os.geteuid())}"
    if os.geteuid() == 0:
        remedy = f"mount with --run-as {_name(found.st_uid)}, or name another directory"
    else:
        remedy = f"name another directory; if that is a cache already: {_chown(path)}"
    raise _refusal(path, f"{owner}; {remedy}")


def _check_folder(path: Path, folder: int) -> None:
    found = os.fstat(folder)
    _check_owner(path, found)
    names = os.listdir(folder)
    if (other := _foreign_name(names)) is not None:  # before any advice to change it
        raise _refusal(
            path,
            f"it holds other files, such as {printable(other)!r}; name a directory that is empty, "
            "or one that is absent, for the cache alone",
        )
    # what is empty has nothing of the group's
    _check_access(path, found.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if names else 0)))


def _make_private(path: Path, folder: int) -> None:
    """Take all access from others. CacheDirectoryError if the group has put something into it."""
    mode = os.fstat(folder).st_mode
    if path.parent == _ROOT:  # /mnt, /srv, /home: they were not made for a cache
        _check_access(path, mode & _ACCESS_OF_OTHERS)
    os.fchmod(folder, FOLDER_MODE)
    names = os.listdir(folder)
    _check_access(path, mode & stat.S_IWGRP if names else 0)


def _check_access(path: Path, access: int) -> None:
    if access:
        raise _refusal(
            path,
            f"other users have access to it (mode bits {access:03o}); "
            f"first: chmod 700 {printable(str(path))}",
        )


def _foreign_name(names: Iterable[str]) -> str | None:
    """Return a name that no version of the cache has made, if there is one."""
    return next((name for name in names if not _OWN_NAMES.fullmatch(name)), None)


def _reason(path: Path, exc: OSError) -> str:
    parent = printable(str(path.parent))
    match exc.errno:
        case errno.ENOENT:
            return f"it is not there, or {parent} is not; make that first"
        case errno.ENOTDIR:
            return "it is not a directory, or a symbolic link; name the directory itself"
        case errno.EACCES | errno.EPERM:
            return (
                f"{_user(os.geteuid())} may not open or make it in {parent}; "
                "make it for that user, with mode 0700"
            )
        case _:
            return f"{exc.strerror}; name another directory"


def _trusted() -> frozenset[int]:
    """Return the users who could do harm anyway: root and this one.

    In a user namespace, root is the owner of the root directory.
    """
    return frozenset({0, os.geteuid(), _ROOT.stat().st_uid})


def _user(uid: int) -> str:
    return f"the user {_name(uid)}"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _chown(path: Path) -> str:
    return f"chown -R {_name(os.geteuid())} {printable(str(path))}"


def _refusal(path: Path, reason: str) -> CacheDirectoryError:
    return CacheDirectoryError(f"the cache directory {printable(str(path))} is refused: {reason}")
