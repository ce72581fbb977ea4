"""Users of a mount: each does random things to it, and compares what it sees with the history of the bucket.

What is told must be true of a state that the bucket was in since the round began: so no verdict depends on how fast anything is.
In a round without changes there is one such state. `rounds` checks that in the end the last state is seen.
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
    """The mount told what no state of the bucket explains."""


class Dirent(NamedTuple):
    name: bytes
    is_directory: bool
    offset: int


class Views:
    """What may be seen below the mount point *root*, given the *history* of its bucket."""

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
        """What may stand at *path*: None: nothing."""
        above, _, name = path.rpartition("/")
        missing = {None} if above and self.sizes(above) != {DIRECTORY} else set()
        return sizes_of(self.states, above + "/" if above else "", os.fsencode(name)) | missing

    def check(self, is_right: bool, story: str) -> None:  # noqa: FBT001  # the condition of an assertion
        if not is_right:
            raise Deviation(story)

    def check_failure(self, path: str, exc: OSError, verb: str) -> None:
        """A name may be missing if it was once, and a file be stale if it was replaced; a listing may fail for its order."""
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
    """Does one random thing after another until *stop*."""

    def __init__(self, views: Views, seed: str, stop: threading.Event) -> None:
        self._views = views
        self._rnd = random.Random(seed)
        self._stop = stop

    def run(self) -> None:
        while not self._stop.is_set():
            self._rnd.choice(
                (self._walk, self._list, self._stat, self._stat, self._cat, self._cat)
            )()

    def _path(self) -> str:
        """A path that was there in some state, or perhaps one beside it."""
        keys = list(self._views.states[self._rnd.choice((0, -1))].sizes) or ["a"]
        parts = self._rnd.choice(keys).split("/")
        parts = parts[: self._rnd.randint(1, len(parts))]
        if self._rnd.random() < 0.15:
            parts[-1] = self._rnd.choice(("a", "b", "-", "ab", "none"))
        return "/".join(parts) if all(map(can_be_a_name, map(os.fsencode, parts))) else "a"

    def _walk(self) -> None:
        """As find and grep -r do."""
        ahead = [""]
        while ahead and not self._stop.is_set():
            path = ahead.pop()
            names = list_directory(self._views, path, lambda: None)
            for name, is_directory in names.items():
                below = f"{path}/{name.decode()}".removeprefix("/")
                if is_directory:
                    ahead.append(below)
                elif self._rnd.random() < 0.2:
                    cat(self._views, below)

    def _list(self) -> None:
        """As a slow reader does, who now and then seeks back."""
        list_directory(self._views, self._path().rpartition("/")[0], self._pause, self._rnd)

    def _pause(self) -> None:
        if self._rnd.random() < 0.3:
            self._stop.wait(self._rnd.random() * 0.05)

    def _stat(self) -> None:
        path, views = self._path(), self._views
        try:
            found = views.path(path).stat()
        except OSError as exc:
            views.check_failure(path, exc, "stat")
            return
        size = DIRECTORY if stat.S_ISDIR(found.st_mode) else found.st_size
        sizes = views.sizes(path)
        views.check(size in sizes, f"stat of {path!r} says {size}, may say {sizes}")

    def _cat(self) -> None:
        cat(self._views, self._path())


def cat(views: Views, path: str) -> None:
    """Open a file and read it: the bytes are those of one version of its own key."""
    try:
        descriptor = os.open(views.path(path), os.O_RDONLY)
    except OSError as exc:
        views.check_failure(path, exc, "open")
        return
    try:
        size, body = os.fstat(descriptor).st_size, os.read(descriptor, 1 << 16)
    except OSError as exc:
        is_directory = exc.errno == errno.EISDIR and DIRECTORY in views.sizes(path)
        if not is_directory:
            views.check_failure(path, exc, "read")
        return
    finally:
        os.close(descriptor)
    views.check(
        body == body_of(path, len(body)), f"{path!r} reads {body[:80]!r}, {len(body)} bytes"
    )
    views.check(size == len(body), f"{path!r} has {size} bytes by fstat, and reads {len(body)}")
    views.check(
        size in views.sizes(path), f"{path!r} has {size} bytes, may have {views.sizes(path)}"
    )


def list_directory(
    views: Views, path: str, pause: Callable[[], None], seeks: random.Random | None = None
) -> dict[bytes, bool]:
    """The names in a directory, and whether each is one, by getdents(2); perhaps with seeks."""
    try:
        descriptor = os.open(views.path(path), os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        views.check_failure(path, exc, "open")
        return {}
    try:
        told = _read_entries(descriptor, views, path, pause, seeks)
    except OSError as exc:
        views.check_failure(path, exc, "readdir")
        return {}
    finally:
        os.close(descriptor)
    prefix, states = path + "/" if path else "", views.states
    lost = sorted(stable_names(states, prefix) - told.keys())
    views.check(not lost, f"readdir of {path!r} lacks {lost[:5]}, and tells {len(told)} names")
    return told


def _read_entries(
    descriptor: int, views: Views, path: str, pause: Callable[[], None], seeks: random.Random | None
) -> dict[bytes, bool]:
    size = 4096 if seeks is None else seeks.choice((280, 280, 600, 4096))
    told: list[Dirent] = []
    prefix, seeks_left = path + "/" if path else "", 2
    while batch := list(_getdents(descriptor, size)):
        names = {entry.name for entry in told}
        for name, is_directory, offset in batch:
            if name in (b".", b".."):
                continue
            views.check(name not in names, f"readdir of {path!r} tells {name!r} twice")
            names.add(name)
            sizes = sizes_of(views.states, prefix, name)
            is_right = DIRECTORY in sizes if is_directory else bool(sizes - {DIRECTORY, None})
            views.check(
                is_right,
                f"readdir of {path!r} tells {name!r}, a directory: {is_directory}; may be {sizes}",
            )
            told.append(Dirent(name, is_directory, offset))
        pause()
        if seeks is not None and seeks_left and told and seeks.random() < 0.1:
            seeks_left -= 1
            del told[seeks.randint(1, len(told)) :]
            os.lseek(descriptor, told[-1].offset, os.SEEK_SET)
    return {entry.name: entry.is_directory for entry in told}


def _getdents(descriptor: int, size: int) -> Iterator[Dirent]:
    """What one call of getdents64(2) brings."""
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
