"""Locks on segments that are being written, which the kernel drops when their process ends.

A process takes the lock in the transaction that reserves the segment's room, and drops it after the
one that publishes its bytes. Eviction asks in a transaction, so no lock comes while it looks.
Open file description locks: unlike others of POSIX, two caches of one process conflict, too.
https://man7.org/linux/man-pages/man2/F_OFD_SETLK.2const.html
"""

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

NAME: Final = "writing"
_NUMBER_BITS: Final = 20  # a segment's number: 5 TiB have 655,360 segments
_FLOCK: Final = "hhqqi4x"  # struct flock of <fcntl.h>: type, whence, start, length, process


class WriteLocks:
    """The locks in the folder of the descriptor *folder*."""

    def __init__(self, folder: int) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(NAME, flags, 0o600, dir_fd=folder)
        os.fchmod(self._descriptor, 0o600)

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self._descriptor)

    def lock(self, segments: Iterable[tuple[int, int]]) -> None:
        """Lock *segments*: their object's id and their number. OSError.

        Objects with consecutive ids take one lock, which is of all that lies between the segments.
        """
        for start, stop in _runs(segments):
            self._call(fcntl.F_OFD_SETLK, fcntl.F_RDLCK, start, stop)

    def unlock_all(self) -> None:
        """Drop all locks of this process."""
        flock = struct.pack(_FLOCK, fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)  # all: its length is 0
        fcntl.fcntl(self._descriptor, fcntl.F_OFD_SETLK, flock)

    def is_locked(self, segment: tuple[int, int]) -> bool:
        """Whether another process writes *segment*."""
        start = _position(segment)
        found = self._call(fcntl.F_OFD_GETLK, fcntl.F_WRLCK, start, start + 1)
        return bool(struct.unpack(_FLOCK, found)[0] != fcntl.F_UNLCK)

    def _call(self, command: int, kind: int, start: int, stop: int) -> bytes:
        flock = struct.pack(_FLOCK, kind, os.SEEK_SET, start, stop - start, 0)
        return fcntl.fcntl(self._descriptor, command, flock)


def _position(segment: tuple[int, int]) -> int:
    object_id, number = segment
    return (object_id << _NUMBER_BITS) + number


def _runs(segments: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The positions [start, stop) of *segments*, joined if no other object lies between them."""
    start = stop = None
    for position in map(_position, segments):
        if start is not None and stop is not None:
            if stop <= position < stop + (1 << _NUMBER_BITS):
                stop = position + 1
                continue
            yield start, stop
        start, stop = position, position + 1
    if start is not None and stop is not None:
        yield start, stop
