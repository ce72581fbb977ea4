"""Joined writes: what a batch writes to a file, one call for all that lies side by side.

The disk has several requests of one call at once, and the caller waits once, for it and for the
interpreter's lock.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from s3mount.disk.segment import Location

ALIGNMENT: Final = 4096  # what begins at it can be freed by itself
DIRECT_FROM: Final = 1 << 20  # bytes that are written past the kernel's cache of the file

_JOINED_MAX: Final = 1000  # buffers of one call, or one more: IOV_MAX is 1024, see limits.h
_ZEROS: Final = memoryview(bytes(ALIGNMENT))


class JoinedWrite(NamedTuple):
    """*contents* that go to a file one after another, from *offset* of the file on."""

    location: Location
    offset: int
    contents: list[memoryview]

    def run(self, descriptor: int) -> bool:
        """Write to the file of *descriptor*; whether the kernel has no pages of it. OSError."""
        done = _write_directly(descriptor, self.contents, self.offset) if self._is_direct else 0
        rest = _rest(self.contents, done)
        _write_all(descriptor, rest, self.offset + done)
        return not rest

    @property
    def _is_direct(self) -> bool:
        """Whether to write past the kernel's cache: its pages of small objects are to stay."""
        is_packed = self.location.pack and len(self.contents) > 1
        is_large = sum(map(len, self.contents)) >= DIRECT_FROM
        return is_large and not is_packed and not self.offset % ALIGNMENT


def joined_writes(runs: Iterable[tuple[Location, int, memoryview]]) -> Iterator[JoinedWrite]:
    """Writes of *runs*, each a place in an object and bytes, joined where they touch in a file.

    Small objects touch that have less than `ALIGNMENT` between them: that is filled with zeros, as
    the first one's room ends where the next one begins.
    """
    last: JoinedWrite | None = None
    end = 0
    for location, position, content in runs:
        offset = location.offset + position
        gap = offset - end
        if last is None or not _touch(last, location, gap) or len(last.contents) > _JOINED_MAX:
            if last is not None:
                yield last
            last = JoinedWrite(location, offset, [])
        elif gap:
            last.contents.append(_ZEROS[:gap])
        last.contents.append(content)
        end = offset + len(content)
    if last is not None:
        yield last


def aligned(size: int) -> int:
    """The bytes that *size* bytes take on the disk."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _touch(last: JoinedWrite, location: Location, gap: int) -> bool:
    """Whether bytes at *location* follow those of *last*, with *gap* bytes between them."""
    if location.pack:
        return last.location.pack == location.pack and 0 <= gap < ALIGNMENT
    return last.location == location and gap == 0


def _write_directly(descriptor: int, contents: Sequence[memoryview], offset: int) -> int:
    """Write *contents* without a copy in the kernel, but what is no whole block at the end.

    Returns how many bytes, or 0. File systems need not support it, nor buffers anywhere in memory:
    see open(2), O_DIRECT.
    """
    size = sum(map(len, contents))
    whole = size // ALIGNMENT * ALIGNMENT
    last = contents[-1]
    try:
        direct = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_CLOEXEC | os.O_DIRECT)
    except OSError:
        return 0
    try:
        _write_all(direct, [*contents[:-1], last[: len(last) - (size - whole)]], offset)
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise
        return 0
    finally:
        os.close(direct)
    return whole


def _write_all(descriptor: int, contents: Sequence[memoryview], offset: int) -> None:
    rest = _rest(contents, 0)
    while rest:
        count = os.pwritev(descriptor, rest, offset)
        if not count:  # a file system in user space may reply so
            raise OSError(errno.EIO, "nothing was written")
        offset += count
        rest = _rest(rest, count)


def _rest(contents: Sequence[memoryview], done: int) -> list[memoryview]:
    """*contents* without their first *done* bytes, and none that is empty."""
    rest = []
    for content in contents:
        if done < len(content):
            rest.append(content[done:] if done else content)
        done = max(0, done - len(content))
    return rest
