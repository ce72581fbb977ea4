"""Checksums of extents and records: XXH3, 64 bits, seeded by what they belong to.

A seed of its own for each place makes bytes that were swapped with others as wrong as bytes that
were changed. The checksum finds faults of disks and of crashes. It is no protection from a user
with write access to the directory: permissions are.
"""

import struct
import sys
from array import array
from collections.abc import Sequence
from typing import Final

import xxhash

from s3mount.disk.damage import checked_bytes

ABSENT: Final = 0  # stands for an extent that takes no room
RESERVED: Final = 1  # for one that has room, whose bytes are not there, or no longer right
LENGTH: Final = 8  # bytes
_SEED_MAX: Final = (1 << 64) - 1
_STRIDE: Final = 0x9E3779B97F4A7C15  # odd, so that no two extents of an object have one seed


def checksum(content: memoryview | bytes, digest: bytes, extent: int = 0) -> int:
    """The checksum of *content*, which is extent number *extent* of what *digest* stands for."""
    seed = (int.from_bytes(digest[:8], "little") + extent * _STRIDE) & _SEED_MAX
    return max(xxhash.xxh3_64_intdigest(content, seed), RESERVED + 1)


def checksums_of(content: memoryview, digest: bytes, first: int, length: int) -> list[int]:
    """The `checksum` of each *length* bytes of *content*, which are the extents from *first* on."""
    seed = int.from_bytes(digest[:8], "little") + first * _STRIDE
    starts = range(0, len(content), length)
    return [
        max(
            xxhash.xxh3_64_intdigest(
                content[start : start + length], (seed + each * _STRIDE) & _SEED_MAX
            ),
            RESERVED + 1,
        )
        for each, start in enumerate(starts)
    ]


def pack(checksums: Sequence[int]) -> bytes:
    """*checksums* as they stand in the index."""
    return struct.pack(f"<{len(checksums)}Q", *checksums)


def unpack(packed: object, count: int) -> "array[int]":
    """The *count* checksums of a packed column. Raises DamagedIndexError if it has others.

    An array takes a seventh of the memory of a tuple, which many segments have that are known.
    """
    checksums = array("Q", checked_bytes(packed, LENGTH * count))
    if sys.byteorder == "big":
        checksums.byteswap()
    return checksums
