"""Incremental digests, by the names of S3's checksums; "MD5" is what ETags are made of.

Pure, and for one thread at a time. What holds Python's lock while it works gets short pieces.
"""

import hashlib
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

import anycrc

MD5: Final = "MD5"
# bytes that anycrc gets at once, since it holds the lock: 50 µs
_PIECE: Final = 256 << 10


class Digest(Protocol):
    """Digest of the bytes so far."""

    def update(self, content: memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


def new_digest(algorithm: str) -> Digest:
    """Return the digest of no bytes yet. KeyError for another name than those of LENGTHS."""
    return _DIGESTS[algorithm]()


class _Crc:
    """CRC with a function of a piece and the CRC before it."""

    def __init__(self, add: Callable[[memoryview, int], int], length: int) -> None:
        self._add = add
        self._length = length
        self._value = 0  # the CRC of no bytes, for all of S3's

    def update(self, content: memoryview, /) -> None:
        self._value = self._add(content, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._length, "big")


def _calculate(model: str, content: memoryview, value: int) -> int:
    calculate = anycrc.Model(model).calc
    for start in range(0, len(content), _PIECE):
        value = calculate(content[start : start + _PIECE], value)
    return value


def _hash(name: str) -> Digest:
    return hashlib.new(name, usedforsecurity=False)


_DIGESTS: Final[Mapping[str, Callable[[], Digest]]] = {
    "SHA256": partial(_hash, "sha256"),
    "SHA1": partial(_hash, "sha1"),
    MD5: partial(_hash, "md5"),
    "CRC64NVME": partial(_Crc, partial(_calculate, "CRC64-NVME"), 8),
    "CRC32C": partial(_Crc, partial(_calculate, "CRC32C"), 4),
    "CRC32": partial(_Crc, zlib.crc32, 4),
}
LENGTHS: Final[Mapping[str, int]] = {name: len(make().digest()) for name, make in _DIGESTS.items()}
