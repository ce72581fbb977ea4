"""Block arithmetic: which byte ranges of an object a read needs, and where parts begin.

Knows offsets, never bytes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, Protocol

from s3mount.frozen_dataclass import dataclass
from s3mount.s3.model import ByteRange, ObjectVersion

KIB: Final = 1 << 10
MIB: Final = 1 << 20

# What upload tools use by default: aws cli and boto3; s3cmd and minio; rclone; s3fs; goofys; and
# rounder numbers that people configure. Tried first, because one part count is often consistent
# with several sizes.
_USUAL_PART_SIZES: Final = tuple(
    n * MIB for n in (8, 16, 5, 10, 15, 20, 25, 32, 50, 64, 100, 128, 256, 512)
)


@dataclass(frozen=True, slots=True)
class FetchSizes:
    """The sizes of fetches, in bytes.

    *block*: the least that is fetched, at multiples of itself. At 128 KiB a round trip begins to
    cost more than its bytes, and the kernel reads as much ahead anyway. *small*: an object up to
    this is fetched whole by its first read. *piece*: the first fetch of a stream. *part*: the
    largest fetch.
    """

    part: int
    block: int = 128 * KIB
    small: int = 1 * MIB
    piece: int = 256 * KIB

    def within(self, limit: int) -> "FetchSizes":
        """The same, with fetches so small that several fit into a memory of *limit* bytes.

        Parts have whole blocks. A tier keeps the whole extents of a fetch, and so would never have
        those in which two parts meet.
        """
        most = max(1, limit // 8)
        block = min(self.block, most)
        return FetchSizes(
            max(block, min(self.part, most) // block * block),
            block,
            min(self.small, most),
            min(self.piece, most),
        )

    def for_version(self, version: ObjectVersion) -> "FetchSizes":
        """The same, with parts that begin where the upload parts do, if these are known and fit."""
        upload = upload_part_size(version.etag, version.size) or 0
        # no larger than ours, nor half of it
        for cuts in range(-(-upload // self.part), upload // max(1, self.part // 2) + 1):
            if cuts and upload % (cuts * self.block) == 0:
                return replace(self, part=upload // cuts)
        return self


def align(offset: int, stop: int, size: int, sizes: FetchSizes) -> ByteRange:
    """What to fetch for a read of [*offset*, *stop*) that belongs to no stream."""
    if size <= sizes.small:
        return ByteRange(0, size)
    return ByteRange(offset // sizes.block * sizes.block, align_stop(stop, size, sizes))


def align_stop(stop: int, size: int, sizes: FetchSizes) -> int:
    """Where `align` ends."""
    if size <= sizes.small:
        return size
    return min(size, -(-stop // sizes.block) * sizes.block)


class Extent(Protocol):
    """Anything that covers the bytes [*start*, *stop*)."""

    @property
    def start(self) -> int: ...
    @property
    def stop(self) -> int: ...


def gaps(wanted: ByteRange, present: Iterable[Extent]) -> Iterator[ByteRange]:
    """The parts of *wanted* that are in none of *present*, which are in order, without overlap."""
    at = wanted.start
    for extent in present:
        if extent.start > at:
            yield ByteRange(at, min(extent.start, wanted.stop))
        at = max(at, extent.stop)
        if at >= wanted.stop:
            return
    if at < wanted.stop:
        yield ByteRange(at, wanted.stop)


def split(byte_range: ByteRange, length: int) -> Iterable[ByteRange]:
    """*byte_range* in pieces of at most *length* bytes."""
    if len(byte_range) <= length:
        return (byte_range,)
    return [
        ByteRange(start, min(start + length, byte_range.stop))
        for start in range(byte_range.start, byte_range.stop, length)
    ]


def upload_part_size(etag: str, size: int) -> int | None:
    """The part size of an upload, guessed from the part count in a multipart ETag ("…-N").

    None if it is unknown.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    """
    _, _, suffix = etag.rpartition("-")
    count = int(suffix) if suffix.isascii() and suffix.isdigit() and "-" in etag else 0
    return likely_part_size(size, count)


def likely_part_size(size: int, count: int) -> int | None:
    """The part size of an upload of *size* bytes in *count* parts; None if it is unknown.

    All parts but the last have one size, so N parts fit sizes from ceil(size / N) to below
    size / (N - 1).
    """
    if not 1 < count <= 10_000:  # S3's own limit of parts
        return None
    least, most = -(-size // count), (size - 1) // (count - 1)
    for usual in _USUAL_PART_SIZES:
        if least <= usual <= most:
            return usual
    whole = -(-least // MIB) * MIB
    return whole if least <= whole <= most < whole + MIB else None
