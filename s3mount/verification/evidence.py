"""Evidence of an object's bytes: which digest the store tells, and of what it is one.

Pure. A checksum that a user or S3 has stored comes before the ETag, which may be anything, and a
checksum of the whole object before one of its parts' checksums, which needs to know the parts.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
"""

import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Final

from s3mount.frozen_dataclass import dataclass
from s3mount.s3.model import ObjectMetadata
from s3mount.verification.digests import LENGTHS, MD5

PARTS_MAX: Final = 10_000  # of S3

_FIELDS: Final = {algorithm: f"Checksum{algorithm}" for algorithm in LENGTHS if algorithm != MD5}
_CHECKSUM: Final = re.compile(r"([A-Za-z0-9+/]+=*)(?:-([0-9]{1,5}))?", re.ASCII)
_ETAG: Final = re.compile(r"([0-9a-f]{32})(?:-([0-9]{1,5}))?", re.ASCII | re.IGNORECASE)
_ENCRYPTION: Final = "ServerSideEncryption"


@dataclass(frozen=True, slots=True)
class Evidence:
    """The digest *expected* of an object; of the digests of its *parts* if that is not None."""

    algorithm: str
    expected: bytes
    parts: int | None = None

    @property
    def method(self) -> str:
        """Name of it, for people."""
        if self.algorithm == MD5:
            return "MD5 ETag" if self.parts is None else "multipart ETag"
        return self.algorithm if self.parts is None else f"composite {self.algorithm}"

    def shown(self, digest: bytes) -> str:
        """*digest* as hexadecimal digits, with the number of parts as S3 writes it."""
        return digest.hex() + ("" if self.parts is None else f"-{self.parts}")


@dataclass(frozen=True, slots=True)
class NoEvidence:
    """Nothing that the store tells is a digest of the object's bytes, for this *reason*."""

    reason: str


def evidence_in(metadata: ObjectMetadata) -> Evidence | NoEvidence:
    """Return the evidence in what HeadObject tells."""
    checksums = [*_checksums(metadata)]
    for each in checksums:
        if each.parts is None:
            return each
    return checksums[0] if checksums else _etag_evidence(metadata)


def part_checksum(fields: Mapping[str, str], algorithm: str) -> bytes | None:
    """Return the checksum of one part in *fields* of a HEAD of that part; None if none is told."""
    match = _CHECKSUM.fullmatch(fields.get(_FIELDS.get(algorithm, ""), ""))
    return None if match is None or match[2] else _decoded(match[1], algorithm)


def _checksums(metadata: ObjectMetadata) -> Iterator[Evidence]:
    fields = metadata.fields
    kind = fields.get("ChecksumType", "").upper()
    of_etag = _part_count(metadata.stat.version.etag)
    for algorithm, name in _FIELDS.items():
        match = _CHECKSUM.fullmatch(fields.get(name, ""))
        expected = match and _decoded(match[1], algorithm)
        if match is None or expected is None:
            continue
        parts = _valid_count(match[2]) if match[2] else of_etag
        if match[2] or kind == "COMPOSITE":
            if parts is not None:
                yield Evidence(algorithm, expected, parts)
        elif kind == "FULL_OBJECT" or (not kind and of_etag is None):
            yield Evidence(algorithm, expected)


def _etag_evidence(metadata: ObjectMetadata) -> Evidence | NoEvidence:
    encryption = metadata.fields.get(_ENCRYPTION, "")
    if "SSECustomerAlgorithm" in metadata.fields:
        encryption = "SSE-C"
    match = _ETAG.fullmatch(metadata.stat.version.etag)
    if match is None:
        return NoEvidence("the store tells no checksum, and its ETag is no MD5")
    if metadata.has_md5_etag is False:
        why = f"it is encrypted ({encryption})" if encryption else "this store's ETags are none"
        return NoEvidence(f"the store tells no checksum, and the ETag is no MD5: {why}")
    if match[2] and _valid_count(match[2]) is None:
        return NoEvidence(f"the ETag tells of {match[2]} parts, and S3 has at most {PARTS_MAX}")
    return Evidence(MD5, bytes.fromhex(match[1]), _valid_count(match[2]))


def _part_count(etag: str) -> int | None:
    match = _ETAG.fullmatch(etag)
    return None if match is None else _valid_count(match[2])


def _valid_count(digits: str | None) -> int | None:
    count = int(digits or 0)
    return count if 0 < count <= PARTS_MAX else None


def _decoded(value: str, algorithm: str) -> bytes | None:
    try:
        digest = binascii.a2b_base64(value, strict_mode=True)
    except binascii.Error:
        return None
    return digest if len(digest) == LENGTHS[algorithm] else None
