"""Part layouts: how the bytes of a multipart object are divided into the parts of its upload.

Invariants:

1. A layout covers all bytes of the object, and has as many parts as the evidence says.
2. One request is enough if parts of the first one's size, the last one shorter, make up the object.
   Other objects take one for each part.
3. A layout is kept for the evidence that it was asked for: other evidence of the same version may
   be of other parts, or have checksums of another algorithm.
"""

from collections.abc import Callable, Mapping
from dataclasses import field
from enum import Enum
from typing import Final

from cachetools import LRUCache

from s3mount.errors import S3MountError
from s3mount.frozen_dataclass import dataclass
from s3mount.s3.model import ObjectVersion, Reason
from s3mount.s3.object_store import PartSource
from s3mount.verification.evidence import Evidence, part_checksum

KEPT: Final = 8  # layouts, of up to 10,000 parts each
# of a store that does not know part numbers
_REFUSALS: Final = (400, 405, 416, 501)

GuessPartSize = Callable[[int, int], int | None]
"""Return the likely part size of an upload of so many bytes in so many parts; None if unknown."""


class Source(Enum):
    """Origin of a layout: a guess, the first part's size, or the sizes of all parts."""

    GUESS = "guessed"
    FIRST_PART = "first part"
    ALL_PARTS = "all parts"


@dataclass(frozen=True, slots=True)
class PartLayout:
    """The *sizes* of all parts in order; *checksums* are those that were told, by part number."""

    sizes: tuple[int, ...]
    source: Source
    checksums: Mapping[int, bytes] = field(default_factory=dict)


class PartLayouts:
    """Layouts of objects, from *parts*, the latest of which are kept."""

    def __init__(self, parts: PartSource, guess_part_size: GuessPartSize) -> None:
        self._parts = parts
        self._guess_part_size = guess_part_size
        self._kept: LRUCache[tuple[ObjectVersion, Evidence], PartLayout] = LRUCache(KEPT)

    async def layout(
        self, version: ObjectVersion, evidence: Evidence, count: int
    ) -> PartLayout | None:
        """The *count* parts of *version*; None if the store does not tell, nor can be guessed.

        A checkpoint only if it is not kept.
        """
        if count == 1:
            return PartLayout((version.size,), Source.ALL_PARTS)
        kept = self._kept.get((version, evidence))
        if kept is not None:
            return kept
        first = await self._first_part_size(version, count)
        if first is None:
            guess = self._guess_part_size(version.size, count)
            sizes = guess and uniform_sizes(version.size, count, guess)
            return PartLayout(sizes, Source.GUESS) if sizes else None
        sizes = uniform_sizes(version.size, count, first)
        if sizes is None:
            return await self.complete_layout(version, evidence, count)
        return self._keep(version, evidence, PartLayout(sizes, Source.FIRST_PART))

    async def complete_layout(
        self, version: ObjectVersion, evidence: Evidence, count: int
    ) -> PartLayout | None:
        """`layout` by a request for each part, with the checksums that are told of them."""
        parts = await self._parts.all(version, count, Reason.VERIFY)
        sizes = tuple(part.size for part in parts)
        if sum(sizes) != version.size:
            return None
        found = (part_checksum(part.checksums, evidence.algorithm) for part in parts)
        checksums = {number: checksum for number, checksum in enumerate(found, 1) if checksum}
        return self._keep(version, evidence, PartLayout(sizes, Source.ALL_PARTS, checksums))

    def _keep(self, version: ObjectVersion, evidence: Evidence, layout: PartLayout) -> PartLayout:
        self._kept[version, evidence] = layout
        return layout

    async def _first_part_size(self, version: ObjectVersion, count: int) -> int | None:
        """The size of the first of *count* parts; None if the store does not know parts."""
        try:
            part = await self._parts.first(version, Reason.VERIFY)
        except S3MountError as exc:
            if exc.status in _REFUSALS:
                return None
            raise
        return part.size if part.parts_count == count and part.size < version.size else None


def uniform_sizes(size: int, count: int, part_size: int) -> tuple[int, ...] | None:
    """Return *count* sizes of *part_size*, the last one perhaps smaller; None if none make *size*.

    Other sizes may make it as well: then the digests do not match.
    """
    last = size - (count - 1) * part_size
    return (part_size,) * (count - 1) + (last,) if 0 < last <= part_size else None
