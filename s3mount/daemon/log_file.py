"""The file of --log-file: a handler that appends to it, and the rules by which it is opened.

Invariants of the open file, also when it is opened again after a rename or removal:

1. It is a regular file. Its only name is the given one, which is not a symbolic link.
2. It belongs to the user of this process, or to root.
3. A new file has mode 0640, whatever the umask.
4. For root: no other user can change which file the path names. Each component is checked from the
   root down: its owner is trusted, and others may not write to it unless it is sticky. A group
   may: on Ubuntu /var/log is open to the group of the syslog daemon. scripts/lib/trusted.py has
   the same walk, with stricter rules for code that root runs; it cannot import this package before
   it has judged it.
"""

import errno
import logging
import os
import pwd
import stat
from pathlib import Path, PurePath
from typing import Final, TextIO, cast

MODE: Final = 0o640
# O_NONBLOCK: a FIFO that replaced the file between lstat and open must not block the process
_FLAGS: Final = (
    os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
)
_LINKS_MAX: Final = 40  # as the kernel follows, see path_resolution(7)
_WRITABLE_BY_ALL: Final = stat.S_IWOTH

log = logging.getLogger(__name__)


class LogFileHandler(logging.StreamHandler[TextIO]):
    """Handler that appends to the file at *path*, and follows logrotate.

    It opens the path again when another file, or none, is there. If that is refused, it goes on in
    the open file, and logs the reason there once. The constructor raises OSError if the file
    cannot be opened; later, a line that cannot be written is lost.

    State: *_identity* is the device and inode of the open file; *_refusal* is why the path could
    not be opened again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._refusal: str | None = None
        super().__init__(_stream(open_log_file(path)))
        self._identity = _identity(os.fstat(self.stream.fileno()))

    def emit(self, record: logging.LogRecord) -> None:
        if self._has_moved():
            self._reopen()
        super().emit(record)

    def close(self) -> None:
        super().close()
        self.stream.close()

    def _has_moved(self) -> bool:
        try:
            return _identity(self._path.lstat()) != self._identity
        except OSError:
            return True

    def _reopen(self) -> None:
        try:
            stream = _stream(open_log_file(self._path))
        except OSError as exc:
            self._log_refusal(str(exc.strerror))
            return
        self.stream.close()
        self.stream = stream
        self._identity = _identity(os.fstat(stream.fileno()))
        self._refusal = None

    def _log_refusal(self, reason: str) -> None:
        if reason == self._refusal:
            return
        self._refusal = reason
        message = (
            f"--log-file {self._path}: it cannot be opened again: {reason}; "
            "the log goes on in the old file"
        )
        super().emit(log.makeRecord(__name__, logging.WARNING, __file__, 0, message, (), None))


def open_log_file(path: Path) -> int:
    """Open the absolute *path* for appending. Raises OSError; `strerror` names the broken rule."""
    if os.geteuid() == 0:
        _check_components(path.parent)
    try:
        _check_kind(path, path.lstat())
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        return _create(path)
    try:
        _check_file(path, os.fstat(descriptor))
    except BaseException:  # raised again
        os.close(descriptor)
        raise
    return descriptor


def _create(path: Path) -> int:
    """Create the file. Raises FileExistsError if another process has just created it."""
    descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    os.fchmod(descriptor, MODE)
    return descriptor


def _check_kind(path: Path, found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise _refusal(path, "it is a symbolic link; name the file itself")
    if not stat.S_ISREG(found.st_mode):
        raise _refusal(
            path,
            "it is not a regular file; "
            "of devices, only /dev/stderr, /dev/stdout and /dev/null may be named",
        )


def _check_file(path: Path, opened: os.stat_result) -> None:
    _check_kind(path, opened)
    if opened.st_uid not in _trusted():
        raise _refusal(
            path, f"it belongs to {_user(opened.st_uid)}; remove it, or name another file"
        )
    # by name, after the open: the open file may have been unlinked in between
    named = path.lstat()
    if _identity(named) != _identity(opened) or named.st_nlink != 1:
        raise _refusal(path, "it has other names (hard links); name another file")


def _check_components(directory: Path) -> None:
    """Raise PermissionError if another user could make *directory* name another one: rule 4.

    From the root down: a user who could replace the next component is found before it is read.
    """
    here = Path("/")
    remaining = [*reversed(directory.parts)]
    links = 0
    while remaining:
        step = here / remaining.pop()
        found = step.lstat()
        _check_step(step, found)
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(step))
            remaining += reversed(PurePath(step.readlink()).parts)
        else:
            here = step.parent.parent if step.name == ".." else step


def _check_step(step: Path, found: os.stat_result) -> None:
    if found.st_uid not in _trusted():
        raise _refusal(
            step,
            f"{step} belongs to {_user(found.st_uid)}, who could redirect it; "
            "choose a directory of root's",
        )
    is_shared = (
        stat.S_ISDIR(found.st_mode)
        and found.st_mode & _WRITABLE_BY_ALL
        and not found.st_mode & stat.S_ISVTX
    )
    if is_shared:
        raise _refusal(step, f"every user may change {step}; choose a directory of root's")


def _trusted() -> frozenset[int]:
    """Return the users who could do harm anyway: root and this one.

    In a user namespace, root is the owner of the root directory.
    """
    return frozenset({0, os.geteuid(), Path("/").stat().st_uid})


def _user(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"the user {uid}"


def _refusal(path: Path, reason: str) -> PermissionError:
    return PermissionError(errno.EPERM, reason, str(path))


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _stream(descriptor: int) -> TextIO:
    return cast("TextIO", os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace"))
