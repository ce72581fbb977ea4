"""Name of a cached object version, and the arithmetic of its segments and extents.

Pure. An *extent* is what has a checksum: 32 KiB of an object, from a multiple of that on. A
*segment* is what has a row in the index, and is evicted at once: 8 MiB of a large object, or all of
a small one.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

KIB: Final = 1 << 10
MIB: Final = 1 << 20

EXTENT: Final = 32 * KIB
SEGMENT: Final = 8 * MIB
SMALL: Final = 1 * MIB  # objects up to this are packed together
SIZE_MAX: Final = (1 << 63) - 1  # bytes, as SQLite has integers
NUMBER_MAX: Final = (1 << 20) - 1  # of a segment: 5 TiB have 655,360
KEPT_MAX: Final = (NUMBER_MAX + 1) * SEGMENT  # bytes of an object: segments beyond have no number
DIGEST_SIZE: Final = 20  # bytes: no two names have one digest, even if their author wants them to
PATH_DIGEST_SIZE: Final = 7  # bytes: a positive integer of SQLite


class ObjectName(NamedTuple):
    """Identity of the bytes of one version of one object.

    *namespace* says what bucket and key mean: the endpoint, and whatever else tells one store's
    objects from another's. *size* is in bytes.
    """

    namespace: str
    bucket: str
    key: str
    etag: str
    size: int

    @property
    def digest(self) -> bytes:
        """`DIGEST_SIZE` bytes that stand for the name."""
        return _digest((*self[:4], str(self.size)), DIGEST_SIZE)

    @property
    def path_digest(self) -> int:
        """A number that stands for the object, whatever its version."""
        return int.from_bytes(_digest(self[:3], PATH_DIGEST_SIZE), "big")

    @property
    def is_small(self) -> bool:
        return self.size <= SMALL

    def segment_range(self, number: int) -> tuple[int, int]:
        """Where segment *number* starts and stops."""
        if self.is_small:
            return 0, self.size
        return number * SEGMENT, min((number + 1) * SEGMENT, self.size)

    def extent_count(self, number: int) -> int:
        """How many extents segment *number* has."""
        start, stop = self.segment_range(number)
        return extent_count(stop - start)

    def extent_bytes(self, number: int, extents: Sequence[int]) -> int:
        """How many bytes *extents*, which rise, of segment *number* have."""
        if not extents:
            return 0
        start, stop = self.segment_range(number)
        return len(extents) * EXTENT - max(0, start + (extents[-1] + 1) * EXTENT - stop)

    def extent_range(self, number: int, extent: int) -> tuple[int, int]:
        """Where an extent of segment *number* starts and stops in the object."""
        start, stop = self.segment_range(number)
        return start + extent * EXTENT, min(start + (extent + 1) * EXTENT, stop)


def _digest(fields: tuple[str, ...], size: int) -> bytes:
    # with their lengths, so that no two tuples are one text
    text = b"".join(b"%d:%b" % (len(field), field) for field in map(encode, fields))
    return hashlib.blake2b(text, digest_size=size, person=b"s3mount cache").digest()


def encode(text: str) -> bytes:
    """The bytes of a key, or of another part of a name, as the store has them."""
    return text.encode("utf-8", "surrogateescape")


def extent_count(size: int) -> int:
    """How many extents *size* bytes have; none if that is negative."""
    return max(0, -(-size // EXTENT))
