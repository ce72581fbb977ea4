"""Objects in a disk cache: bytes by name, whether they are right, and their size on the disk."""

import os
import random
import sqlite3
from functools import lru_cache
from pathlib import Path

from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.object_name import EXTENT, KIB, MIB, SEGMENT, ObjectName
from s3mount.disk.segment import Segment

SIZES = (1, 27 * KIB, 100_000, 300 * KIB + 1, MIB, MIB + 1, SEGMENT + EXTENT + 77)


def object_name(number: int, *, size: int | None = None, etag: str = "e") -> ObjectName:
    """An object of a small or a large size, by its number."""
    size = SIZES[number % len(SIZES)] if size is None else size
    return ObjectName("http://store:9000", "bucket", f"folder/key-{number}", etag, size)


@lru_cache(maxsize=64)
def content_of(name: ObjectName) -> bytes:
    """The bytes of *name*, which no other name has."""
    return random.Random(name.digest).randbytes(name.size)


def keep(cache: DiskCache, name: ObjectName) -> int:
    return cache.keep(name, 0, memoryview(content_of(name)))


def segment_count(name: ObjectName) -> int:
    return 1 if name.is_small else -(-name.size // SEGMENT)


def segments(cache: DiskCache, name: ObjectName) -> list[Segment]:
    found = (cache.find(name, number) for number in range(segment_count(name)))
    return [each for each in found if each is not None]


def right_bytes(cache: DiskCache, name: ObjectName) -> int:
    """How many bytes *cache* serves of *name*; AssertionError if one of them is wrong."""
    expected, count = content_of(name), 0
    for segment in segments(cache, name):
        start, stop = segment.start, segment.stop
        buffer = bytearray(stop - start)
        gaps = cache.read(segment, start, stop, memoryview(buffer))
        for low, high in gaps:
            buffer[low - start : high - start] = expected[low:high]
        assert buffer == expected[start:stop], f"wrong bytes of {name}"
        count += stop - start - sum(high - low for low, high in gaps)
    return count


def is_whole(cache: DiskCache, name: ObjectName) -> bool:
    return right_bytes(cache, name) == name.size


def size_on_disk(folder: Path) -> int:
    """Bytes that all of *folder* takes, whatever is removed meanwhile."""
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(f"{parent}/{name}").st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def generation_folder(folder: Path) -> Path:
    """Where the index and the bytes of a cache directory are."""
    (found,) = (folder / "1").glob("generation-*")
    return found


def open_index(folder: Path) -> sqlite3.Connection:
    """A connection to the index of a cache directory, to look at it or to change it."""
    path = generation_folder(folder) / "index.sqlite"
    return sqlite3.connect(path, isolation_level=None)
