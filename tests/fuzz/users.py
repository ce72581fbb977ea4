"""Users of a mount: random actions, whose results are compared with the bucket's history.

A result must match a state of the bucket since the round began, so that no check depends on speed.
A round without changes has one such state. `rounds` checks the last state at the end.
"""

import ctypes
import errno
import os
import random
import stat
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.property.history import DIRECTORY, History, State, sizes_of, stable_names
from tests.property.history_store import Behaviour, body_of
from tests.reference import can_be_a_name

LIBC = ctypes.CDLL(None, use_errno=True)
DIRENT = struct.Struct("=QqHB")  # struct linux_dirent64: inode, offset of the next, length, type
DT_DIR = 4
NO_NAME = (errno.ENOENT, errno.ENOTDIR)


class Deviation(Exception):
    """A result that no state of the bucket explains."""


class Dirent(NamedTuple):
    name: bytes
    is_directory: bool
    offset: int


class Checker:
    """Checker of what users may see below the mount point *root*, given the bucket's *history*."""

    def __init__(self, root: Path, history: History, behaviour: Behaviour) -> None:
        self.root = root
        self.history = history
        self.behaviour = behaviour

    @property
    def states(self) -> list[State]:
        return list(self.history.states)

    def path(self, path: str) -> Path:
        return self.root / path

    def sizes(self, path: str) -> set[int | None]:
        """Return what may be at *path*: sizes, DIRECTORY, or None for nothing."""
        above, _, name = path.rpartition("/")
        missing = {None} if above and self.sizes(above) != {DIRECTORY} else set()
        return sizes_of(self.states, above + "/" if above else "", os.fsencode(name)) | missing

    def check(self, is_right: bool, story: str) -> None:  # noqa: FBT001  # the condition of an assertion
        if not is_right:
            raise Deviation(story)

    def check_failure(self, path: str, exc: OSError, verb: str) -> None:
        """Check that *exc* may occur: for an absent name, a replaced file, an unordered listing."""
        sizes = self.sizes(path) if path else {DIRECTORY}
        is_unordered = self.behaviour.order in ("none", "at first")
        is_right = (
            (exc.errno in NO_NAME and sizes != {DIRECTORY} and (None in sizes or len(sizes) > 1))
            or (exc.errno in (errno.EISDIR, errno.ESTALE) and len(sizes) > 1)
            or (exc.errno == errno.EIO and verb == "readdir" and is_unordered)
        )
        code = errno.errorcode.get(exc.errno or 0)
        self.check(is_right, f"{verb} of {path!r}: {code}, though it may be {sizes}")


class User:
    """User that does random actions until *stop*."""

    def __init__(self, checker: Checker, seed: str, stop: threading.Event) -> None:
        self._checker = checker
        self._rnd = random.Random(seed)
        self._stop = stop

    def run(self) -> None:
        while not self._stop.is_set():
            self._rnd.choice(
                (self._walk, self._list, self._stat, self._stat, self._cat, self._cat)
            )()

    def _path(self) -> str:
        """Return a path that existed in some state, or perhaps a sibling of one."""
        keys = list(self._checker.states[self._rnd.choice((0, -1))].sizes) or ["a"]
        parts = self._rnd.choice(keys).split("/")
        parts = parts[: self._rnd.randint(1, len(parts))]
        if self._rnd.random() < 0.15:
            parts[-1] = self._rnd.choice(("a", "b", "-", "ab", "none"))
        return "/".join(parts) if all(map(can_be_a_name, map(os.fsencode, parts))) else "a"

    def _walk(self) -> None:
        """Walk the tree, as find and grep -r do."""
        pending = [""]
        while pending and not self._stop.is_set():
            path = pending.pop()
            names = list_directory(self._checker, path, lambda: None)
            for name, is_directory in names.items():
                below = f"{path}/{name.decode()}".removeprefix("/")
                if is_directory:
                    pending.append(below)
                elif self._rnd.random() < 0.2:
                    cat(self._checker, below)

    def _list(self) -> None:
        """List a directory slowly, with occasional seeks."""
        list_directory(self._checker, self._path().rpartition("/")[0], self._pause, self._rnd)

    def _pause(self) -> None:
        if self._rnd.random() < 0.3:
            self._stop.wait(self._rnd.random() * 0.05)

    def _stat(self) -> None:
        path, checker = self._path(), self._checker
        try:
            found = checker.path(path).stat()
        except OSError as exc:
            checker.check_failure(path, exc, "stat")
            return
        size = DIRECTORY if stat.S_ISDIR(found.st_mode) else found.st_size
        sizes = checker.sizes(path)
        checker.check(size in sizes, f"stat of {path!r} returns {size}, may return {sizes}")

    def _cat(self) -> None:
        cat(self._checker, self._path())


def cat(checker: Checker, path: str) -> None:
    """Open and read a file, and check that its bytes are those of one version of its key."""
    try:
        descriptor = os.open(checker.path(path), os.O_RDONLY)
    except OSError as exc:
        checker.check_failure(path, exc, "open")
        return
    try:
        size, body = os.fstat(descriptor).st_size, os.read(descriptor, 1 << 16)
    except OSError as exc:
        is_directory = exc.errno == errno.EISDIR and DIRECTORY in checker.sizes(path)
        if not is_directory:
            checker.check_failure(path, exc, "read")
        return
    finally:
        os.close(descriptor)
    checker.check(
        body == body_of(path, len(body)), f"{path!r} reads {body[:80]!r}, {len(body)} bytes"
    )
    checker.check(size == len(body), f"{path!r} has {size} bytes by fstat, and reads {len(body)}")
    checker.check(
        size in checker.sizes(path), f"{path!r} has {size} bytes, may have {checker.sizes(path)}"
    )


def list_directory(
    checker: Checker, path: str, pause: Callable[[], None], seeks: random.Random | None = None
) -> dict[bytes, bool]:
    """List a directory by getdents(2), perhaps with seeks; each name with its is_directory."""
    try:
        descriptor = os.open(checker.path(path), os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        checker.check_failure(path, exc, "open")
        return {}
    try:
        entries = _read_entries(descriptor, checker, path, pause, seeks)
    except OSError as exc:
        checker.check_failure(path, exc, "readdir")
        return {}
    finally:
        os.close(descriptor)
    prefix, states = path + "/" if path else "", checker.states
    lost = sorted(stable_names(states, prefix) - entries.keys())
    checker.check(not lost, f"readdir of {path!r} lacks {lost[:5]}, and shows {len(entries)} names")
    return entries


def _read_entries(
    descriptor: int,
    checker: Checker,
    path: str,
    pause: Callable[[], None],
    seeks: random.Random | None,
) -> dict[bytes, bool]:
    size = 4096 if seeks is None else seeks.choice((280, 280, 600, 4096))
    entries: list[Dirent] = []
    prefix, seeks_left = path + "/" if path else "", 2
    while batch := list(_getdents(descriptor, size)):
        names = {entry.name for entry in entries}
        for name, is_directory, offset in batch:
            if name in (b".", b".."):
                continue
            checker.check(name not in names, f"readdir of {path!r} returns {name!r} twice")
            names.add(name)
            sizes = sizes_of(checker.states, prefix, name)
            is_right = DIRECTORY in sizes if is_directory else bool(sizes - {DIRECTORY, None})
            checker.check(
                is_right,
                f"readdir of {path!r}: {name!r} is a directory: {is_directory}; sizes {sizes}",
            )
            entries.append(Dirent(name, is_directory, offset))
        pause()
        if seeks is not None and seeks_left and entries and seeks.random() < 0.1:
            seeks_left -= 1
            del entries[seeks.randint(1, len(entries)) :]
            os.lseek(descriptor, entries[-1].offset, os.SEEK_SET)
    return {entry.name: entry.is_directory for entry in entries}


def _getdents(descriptor: int, size: int) -> Iterator[Dirent]:
    """Yield the entries of one getdents64(2) call."""
    buffer = ctypes.create_string_buffer(size)
    count = LIBC.getdents64(descriptor, buffer, size)
    if count < 0:
        raise OSError(ctypes.get_errno(), "getdents64")
    at = 0
    while at < count:
        _, offset, length, kind = DIRENT.unpack_from(buffer, at)
        name = buffer.raw[at + DIRENT.size : at + length].split(b"\0", 1)[0]
        yield Dirent(name, kind == DT_DIR, offset)
        at += length


def run_tools(root: Path, rnd: random.Random, stop: threading.Event) -> None:
    """Start programs that read the whole mount, and kill them after a while."""
    commands = ("find", "-size", "+0"), ("ls", "-lR"), ("grep", "-r", "none"), ("du", "-a")
    while not stop.is_set():
        command = rnd.choice(commands)
        process = subprocess.Popen(
            command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        stop.wait(rnd.choice((0.05, 0.2, 1.0)))
        process.kill()
        process.wait()
