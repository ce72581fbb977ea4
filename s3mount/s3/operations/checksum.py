"""Checksums of whole objects, as a store tells them with a response.

Pure. A checksum of another kind, of parts or of nothing known, is none: it verifies nothing.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

import anycrc

from s3mount.s3.transport import Fields

CHECKSUM_MODE: Final[Fields] = (("x-amz-checksum-mode", "ENABLED"),)
EMPTY_MD5: Final = hashlib.md5(b"", usedforsecurity=False).hexdigest()
ETAG: Final = "ETag"

_MD5_ETAG = re.compile(r"""\s*"?([0-9a-f]{32})"?\s*""", re.ASCII | re.IGNORECASE)
# what says that an ETag is no MD5: keys of others, and objects that were appended to
_ENCRYPTED_BY_KEY = {"aws:kms", "aws:kms:dsse"}
_CUSTOMER_KEY = "x-amz-server-side-encryption-customer-algorithm"
_ENCRYPTION = "x-amz-server-side-encryption"
_OBJECT_TYPES = ("x-oss-object-type", "x-cos-object-type", "x-obs-object-type")
_FULL = "FULL_OBJECT"
_TELLING = frozenset((_CUSTOMER_KEY, *_OBJECT_TYPES))


class Checksum(NamedTuple):
    """The digest that *algorithm* should have of a whole object; "ETag" is an MD5."""

    algorithm: str
    expected: bytes

    def of(self, content: memoryview) -> bytes:
        return _DIGESTS[self.algorithm](content)


def told_with(headers: Mapping[str, str]) -> Checksum | None:
    """Return the checksum in *headers*, of the algorithm that costs least; None if there is none.

    A composite one is a checksum of checksums. It ends with the number of parts, but not in each
    response.
    """
    if _HEADER_NAMES.isdisjoint(headers):
        return None
    kind = headers.get("x-amz-checksum-type", _FULL)
    if kind != _FULL and kind.upper() != _FULL:
        return None
    for header, (algorithm, length) in _HEADERS.items():
        if (value := headers.get(header)) is not None:
            digest = _decode(value)
            if len(digest) == length:
                return Checksum(algorithm, digest)
    return None


def md5_of_etag(raw_etag: str | None, headers: Mapping[str, str]) -> Checksum | None:
    """Return the MD5 that *raw_etag*, of the object of *headers*, may be; None if it cannot be one.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
    """
    match = _MD5_ETAG.fullmatch(raw_etag or "")
    if match is None or not may_have_md5_etag(headers):
        return None
    return Checksum(ETAG, bytes.fromhex(match[1]))


def may_have_md5_etag(headers: Mapping[str, str]) -> bool:
    """Return whether the ETag of the object of *headers* may be made of MD5s of its bytes."""
    if headers.get(_ENCRYPTION) in _ENCRYPTED_BY_KEY:
        return False
    return _TELLING.isdisjoint(headers) or _may_be_md5(headers)


def _may_be_md5(headers: Mapping[str, str]) -> bool:
    return _CUSTOMER_KEY not in headers and all(
        headers.get(name, "Normal").lower() == "normal" for name in _OBJECT_TYPES
    )


def md5(content: memoryview) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


def _decode(value: str) -> bytes:
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        return b""


def _crc(model: str, length: int) -> Callable[[memoryview], bytes]:
    calculate = anycrc.Model(model).calc
    return lambda content: calculate(content).to_bytes(length, "big")


def _hash(name: str, content: memoryview) -> bytes:
    return hashlib.new(name, content, usedforsecurity=False).digest()


_DIGESTS: Final[Mapping[str, Callable[[memoryview], bytes]]] = {
    "CRC64NVME": _crc("CRC64-NVME", 8),
    "CRC32C": _crc("CRC32C", 4),
    "CRC32": _crc("CRC32", 4),
    "SHA1": partial(_hash, "sha1"),
    "SHA256": partial(_hash, "sha256"),
    "MD5": md5,
    "SHA512": partial(_hash, "sha512"),
    ETAG: md5,
}
# in the order of their costs
_HEADERS: Final[Mapping[str, tuple[str, int]]] = {
    "x-amz-checksum-crc64nvme": ("CRC64NVME", 8),
    "x-amz-checksum-crc32c": ("CRC32C", 4),
    "x-amz-checksum-crc32": ("CRC32", 4),
    "x-amz-checksum-sha1": ("SHA1", 20),
    "x-amz-checksum-sha256": ("SHA256", 32),
    "x-amz-checksum-md5": ("MD5", 16),
    "x-amz-checksum-sha512": ("SHA512", 64),
}
_HEADER_NAMES: Final = frozenset(_HEADERS)
