"""Files with the bytes of objects: one sparse file for each large object, packs of small ones.

All is opened by single names in open folders (`safe_paths`), and never through a symbolic link. For
any thread. A descriptor is closed when the last thread has done with it, never under one. Nothing
waits for the disk with the lock, which the event loop takes, as closing a file may, and fstat(2).
"""

import ctypes
import errno
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from s3mount.disk import safe_paths
from s3mount.disk.joined_writes import ALIGNMENT, JoinedWrite, aligned, joined_writes
from s3mount.disk.object_name import SEGMENT
from s3mount.disk.safe_paths import FILE_MODE, make_folder, open_folder, open_in
from s3mount.disk.segment import Location

OPEN_MAX: Final = 128
READAHEAD_MAX: Final = 128 << 10  # bytes; the kernel heeds no more of one advice (mm/readahead.c)
_KEEP_SIZE: Final = 1  # <linux/falloc.h>
_PUNCH_HOLE: Final = 2
_CREATED: Final = os.O_RDWR | os.O_CREAT
_UNSUPPORTED: Final = frozenset((errno.EOPNOTSUPP, errno.ENOSYS))

_libc: Final = ctypes.CDLL(None, use_errno=True)


class _OpenFile:
    """Descriptor that is closed when nothing refers to it."""

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self.descriptor)


class DataFiles:
    """The files in the folder of the descriptor *folder*, which it owns."""

    def __init__(self, folder: int) -> None:
        self._folder = _OpenFile(folder)
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _OpenFile] = OrderedDict()  # by path
        self.can_punch = True
        self.can_tell_cached = True  # until it has proved that it cannot

    def read(
        self, location: Location, position: int, into: memoryview, *, nowait: bool = False
    ) -> int:
        """Read the object's bytes from *position* on; how many there were, at most as *into* has.

        With *nowait*, BlockingIOError if the disk would have to be waited for.
        """
        file = self._file(_path(location), is_cached_only=nowait)
        offset, done = location.offset + position, 0
        read = _read_cached if nowait else _read_waiting
        while done < len(into):
            count = read(file.descriptor, into[done:], offset + done)
            if not count:
                break
            done += count
        return done

    def write_all(self, runs: Iterable[tuple[Location, int, memoryview]]) -> None:
        """Write *runs*, each a place in an object and its bytes from there on.

        Those that touch in a file take one call, if they come in their order. Pages of large
        objects are dropped (docs/decisions/disk-pages.md). Their segments are locked, so no file is
        removed meanwhile.
        """
        for write in joined_writes(runs):
            self.close_removed(write.location)
            file = self._file(_path(write.location), flags=_CREATED)
            if not write.run(file.descriptor) and not write.location.pack:
                self._drop_written(write)

    def read_cached(self, location: Location, position: int, into: memoryview) -> bool:
        """Fill *into* with the object's bytes from *position* on, if the kernel has them in memory.

        False if the file is not open or ends before, or if the kernel cannot tell. BlockingIOError
        if it has to wait for the disk, from which it then reads by itself.
        """
        path = _path(location)
        with self._lock:
            if (file := self._open.get(path)) is None:
                return False
            self._open.move_to_end(path)
        offset, done = location.offset + position, 0
        try:
            while done < len(into):
                rest = into[done:] if done else into
                count = os.preadv(file.descriptor, [rest], offset + done, os.RWF_NOWAIT)
                if not count:
                    return False
                done += count
        except OSError as exc:
            if exc.errno != errno.EOPNOTSUPP:  # tmpfs
                raise
            self.can_tell_cached = False
            return False
        return True

    def start_readahead(self, location: Location, position: int, length: int) -> None:
        """Have the kernel read these bytes of the object into its memory, as it finds time."""
        file = self._file(_path(location))
        offset = location.offset + position
        for at in range(offset, offset + length, READAHEAD_MAX):
            some = min(READAHEAD_MAX, offset + length - at)
            os.posix_fadvise(file.descriptor, at, some, os.POSIX_FADV_WILLNEED)

    def close_removed(self, location: Location) -> bool:
        """Close the file if it was removed by a process that was killed then; whether it was.

        The index then still tells of the file, and another one may take its place.
        """
        path = _path(location)
        with self._lock:
            file = self._open.get(path)
        if file is None or os.fstat(file.descriptor).st_nlink:
            return False
        with self._lock:
            if self._open.get(path) is file:  # else another thread has closed it
                del self._open[path]
        return True

    def drop_pages(self, location: Location, position: int, length: int) -> None:
        """Have the kernel write these bytes to the disk, and forget those that it has written.

        They are in the mount's memory, and in the kernel's cache of its files.
        """
        with suppress(OSError):  # advice
            file = self._file(_path(location))
            offset = location.offset + position
            os.posix_fadvise(file.descriptor, offset, length, os.POSIX_FADV_DONTNEED)

    def _drop_written(self, write: JoinedWrite) -> None:
        """Drop the pages of *write*, and those before it, which the disk has by now."""
        start = max(0, write.offset - SEGMENT)
        stop = write.offset + sum(map(len, write.contents))
        self.drop_pages(write.location, start, stop - start)

    def free(self, location: Location, position: int, length: int) -> None:
        """Give the disk back these bytes of the object; they read as zeros from now on.

        They begin at a multiple of `ALIGNMENT`, and the rest of their last one is freed, too.
        """
        if not self.can_punch:
            return
        length = aligned(length)
        try:
            file = self._file(_path(location), flags=os.O_RDWR)
        except FileNotFoundError:
            return
        offset = ctypes.c_int64(location.offset + position)
        mode = _PUNCH_HOLE | _KEEP_SIZE
        if _libc.fallocate64(file.descriptor, mode, offset, ctypes.c_int64(length)) != 0:
            number = ctypes.get_errno()
            if number not in _UNSUPPORTED:
                raise OSError(number, os.strerror(number))
            self.can_punch = False

    def remove(self, location: Location) -> None:
        """Remove the file, and what it has: other processes may have it open for long."""
        path = _path(location)
        try:
            os.ftruncate(self._file(path).descriptor, 0)
        except FileNotFoundError:
            return
        with self._lock:
            former = self._open.pop(path, None)
        del former
        with suppress(FileNotFoundError), self._parent_of(path) as (parent, name):
            safe_paths.remove(parent, name)

    def probe_punching(self) -> None:
        """Find out whether the file system frees parts of a file."""
        name = f"probe-{secrets.token_hex(8)}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(name, flags, 0o600, dir_fd=self._folder.descriptor)
        try:
            os.unlink(name, dir_fd=self._folder.descriptor)
            os.pwrite(descriptor, bytes(2 * ALIGNMENT), 0)
            length = ctypes.c_int64(ALIGNMENT)
            mode = _PUNCH_HOLE | _KEEP_SIZE
            self.can_punch = not _libc.fallocate64(descriptor, mode, ctypes.c_int64(0), length)
        finally:
            os.close(descriptor)

    def free_space(self) -> int:
        """Bytes that are free on the file system, for this user."""
        status = os.fstatvfs(self._folder.descriptor)
        return status.f_bavail * status.f_frsize

    def close(self) -> None:
        with self._lock:
            former, self._open = self._open, OrderedDict()
        del former

    def _file(self, path: str, *, flags: int = 0, is_cached_only: bool = False) -> _OpenFile:
        """The open file *path*; with O_CREAT in *flags* it is created."""
        with self._lock:
            if (file := self._open.get(path)) is not None:
                self._open.move_to_end(path)
                return file
        if is_cached_only:
            raise BlockingIOError(errno.EAGAIN, "the file is not open")
        file = _OpenFile(self._open_path(path, is_created=bool(flags & os.O_CREAT)))
        with self._lock:
            former = [self._open.pop(path, None)]  # if another thread has opened it, too
            self._open[path] = file
            if len(self._open) > OPEN_MAX:
                former.append(self._open.popitem(last=False)[1])
        return file  # and the former ones are closed

    def _open_path(self, path: str, *, is_created: bool) -> int:
        with self._parent_of(path, is_made=is_created) as (parent, name):
            try:
                return open_in(parent, name, os.O_RDWR)
            except FileNotFoundError:
                if not is_created:
                    raise
            try:
                descriptor = open_in(parent, name, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                return open_in(parent, name, os.O_RDWR)
            os.fchmod(descriptor, FILE_MODE)  # whatever the umask
            return descriptor

    @contextmanager
    def _parent_of(self, path: str, *, is_made: bool = False) -> Iterator[tuple[int, str]]:
        """The open folder of *path*, which *is_made* if it is absent, and the name in it."""
        *folders, name = path.split("/")
        current = os.dup(self._folder.descriptor)
        try:
            for each in folders:
                below = (make_folder if is_made else open_folder)(current, each)
                os.close(current)
                current = below
            yield current, name
        finally:
            os.close(current)


def _read_waiting(descriptor: int, into: memoryview, offset: int) -> int:
    return os.preadv(descriptor, [into], offset)


def _read_cached(descriptor: int, into: memoryview, offset: int) -> int:
    """What the kernel has in memory. BlockingIOError if that is nothing, or cannot be told."""
    try:
        return os.preadv(descriptor, [into], offset, os.RWF_NOWAIT)
    except OSError as exc:
        if exc.errno == errno.EOPNOTSUPP:  # tmpfs
            raise BlockingIOError(errno.EAGAIN, "the file system cannot tell") from exc
        raise


def _path(location: Location) -> str:
    if location.pack:
        return f"packs/{location.pack:x}"
    return f"objects/{location.object_id & 0xFF:02x}/{location.object_id:x}"
