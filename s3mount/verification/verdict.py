"""Verdict on one object: whether its bytes match, by which evidence, and where they do not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Final

from s3mount.frozen_dataclass import dataclass
from s3mount.s3.model import ByteRange, ObjectVersion

RANGES_MAX: Final = 100  # of those that a result tells


class Fault(StrEnum):
    """Origin of bytes that do not match.

    OBJECT: the store sends the same wrong bytes again. CACHE: what was in memory is wrong, and what
    the store sends matches. TRANSFER: the store, or what is between, sends other bytes each time.
    """

    OBJECT = "object"
    CACHE = "cache"
    TRANSFER = "transfer"


@dataclass(frozen=True, slots=True)
class BadRange:
    """Bytes that do not match; *part* counts from 1, None if it is no part of the upload.

    *expected* and *actual* are their checksums, if these are known.
    """

    byte_range: ByteRange
    part: int | None = None
    expected: bytes | None = None
    actual: bytes | None = None

    def as_object(self) -> Mapping[str, object]:
        return {
            "part": self.part,
            "start": self.byte_range.start,
            "stop": self.byte_range.stop,
            "expected": self.expected and self.expected.hex(),
            "actual": self.actual and self.actual.hex(),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of the verification of *version*.

    *matches* is None if there is nothing to verify with; *reason* says why, or what else there is
    to say. *expected* and *actual* are digests as text. *bad_ranges* is empty if it is not known
    where bytes are wrong.
    """

    version: ObjectVersion
    matches: bool | None
    method: str | None = None
    parts: int | None = None
    part_size: int | None = None
    expected: str | None = None
    actual: str | None = None
    fault: Fault | None = None
    bad_ranges: tuple[BadRange, ...] = field(default=())
    reason: str | None = None

    def as_object(self) -> Mapping[str, object]:
        """Return it as JSON has it."""
        return {
            "key": self.version.key,
            "version_id": self.version.version_id,
            "etag": self.version.etag,
            "size": self.version.size,
            "matches": self.matches,
            "method": self.method,
            "parts": self.parts,
            "part_size": self.part_size,
            "expected": self.expected,
            "actual": self.actual,
            "fault": self.fault,
            "bad_ranges": [each.as_object() for each in self.bad_ranges[:RANGES_MAX]],
            "reason": self.reason,
            "replaced": self.version.is_replaced,
        }


def bad_parts(
    sizes: Sequence[int], told: Mapping[int, bytes], actual: Sequence[bytes]
) -> tuple[BadRange, ...]:
    """Return the parts of *sizes* whose digest *actual* is not what is *told* of them, if it is."""
    rows = zip(_ranges(sizes), actual, strict=True)
    return tuple(
        BadRange(byte_range, number, told[number], digest)
        for number, (byte_range, digest) in enumerate(rows, 1)
        if told.get(number, digest) != digest
    )


def differing_parts(
    sizes: Sequence[int], wrong: Sequence[bytes], right: Sequence[bytes]
) -> tuple[BadRange, ...]:
    """Return the parts of *sizes* whose digests were *wrong*: another read got them *right*."""
    return bad_parts(sizes, dict(enumerate(right, 1)), wrong)


def _ranges(sizes: Sequence[int]) -> Iterator[ByteRange]:
    start = 0
    for size in sizes:
        yield ByteRange(start, start + size)
        start += size
