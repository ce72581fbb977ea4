"""Part layouts: how the bytes of a multipart object are divided into the parts of its upload.

Invariants:

1. A layout is of one version: responses about another one are StaleVersion. Some stores send the
   part's own ETag, so if one is not the object's, the object is asked for once more.
2. A layout covers all bytes of the object, and has as many parts as the evidence says.
3. One request is enough if parts of the first one's size, the last one shorter, make up the object.
   Other objects take one for each part.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html#API_HeadObject_RequestSyntax
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

import trio
from cachetools import LRUCache

from s3mount.errors import S3MountError, StaleVersion
from s3mount.s3.model import ObjectVersion, Reason, is_same_etag
from s3mount.s3.object_store import MetadataSource
from s3mount.verification.evidence import part_checksum

KEPT: Final = 8  # layouts, of up to 10,000 parts each
_AT_ONCE: Final = 4  # requests
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


class _Part(NamedTuple):
    size: int
    parts_count: int | None
    checksum: bytes | None
    etag: str


class PartLayouts:
    """Layouts of the objects of *store*, the latest of which are kept."""

    def __init__(self, store: MetadataSource, guess_part_size: GuessPartSize) -> None:
        self._store = store
        self._guess_part_size = guess_part_size
        self._kept: LRUCache[tuple[ObjectVersion, int], PartLayout] = LRUCache(KEPT)

    async def layout(self, version: ObjectVersion, count: int, algorithm: str) -> PartLayout | None:
        """The *count* parts of *version*; None if the store does not tell, nor can be guessed.

        A checkpoint only if it is not kept.
        """
        if count == 1:
            return PartLayout((version.size,), Source.ALL_PARTS)
        kept = self._kept.get((version, count))
        if kept is not None:
            return kept
        first = await self._first_part_size(version, count)
        if first is None:
            guess = self._guess_part_size(version.size, count)
            sizes = guess and uniform_sizes(version.size, count, guess)
            return PartLayout(sizes, Source.GUESS) if sizes else None
        sizes = uniform_sizes(version.size, count, first)
        if sizes is None:
            return await self.complete_layout(version, count, algorithm)
        return self._keep(version, PartLayout(sizes, Source.FIRST_PART))

    async def complete_layout(
        self, version: ObjectVersion, count: int, algorithm: str
    ) -> PartLayout | None:
        """`layout` by a request for each part, with its checksum of *algorithm* if that is told."""
        parts = await self._all_parts(version, count, algorithm)
        sizes = tuple(part.size for part in parts)
        if sum(sizes) != version.size:
            return None
        checksums = {number: part.checksum for number, part in enumerate(parts, 1) if part.checksum}
        return self._keep(version, PartLayout(sizes, Source.ALL_PARTS, checksums))

    def _keep(self, version: ObjectVersion, layout: PartLayout) -> PartLayout:
        self._kept[version, len(layout.sizes)] = layout
        return layout

    async def _first_part_size(self, version: ObjectVersion, count: int) -> int | None:
        """The size of the first of *count* parts; None if the store does not know parts."""
        try:
            part = await self._part(version, 1, "")
        except S3MountError as exc:
            if exc.status in _REFUSALS:
                return None
            raise
        await self._check(version, (part,))
        return part.size if part.parts_count == count and part.size < version.size else None

    async def _all_parts(self, version: ObjectVersion, count: int, algorithm: str) -> list[_Part]:
        found: dict[int, _Part] = {}
        failures: list[S3MountError] = []
        numbers = iter(range(1, count + 1))

        async def work(scope: trio.CancelScope) -> None:
            for number in numbers:
                try:
                    found[number] = await self._part(version, number, algorithm)
                except S3MountError as exc:  # raised below, not as one of a group
                    failures.append(exc)
                    scope.cancel()
                    return

        async with trio.open_nursery() as nursery:
            for _ in range(_AT_ONCE):
                nursery.start_soon(work, nursery.cancel_scope)
        if failures:
            raise failures[0]
        await self._check(version, found.values())
        return [found[number] for number in range(1, count + 1)]

    async def _part(self, version: ObjectVersion, number: int, algorithm: str) -> _Part:
        found = await self._store.metadata(version.key, part_number=number, reason=Reason.VERIFY)
        fields = found.fields
        return _Part(
            _number(fields, "ContentLength") or 0,
            _number(fields, "PartsCount"),
            part_checksum(fields, algorithm),
            found.stat.version.etag,
        )

    async def _check(self, version: ObjectVersion, parts: Iterable[_Part]) -> None:
        """Raise StaleVersion unless *parts* are of *version*."""
        if all(is_same_etag(part.etag, version.etag) for part in parts):
            return
        current = await self._store.metadata(version.key, reason=Reason.VERIFY)
        if not version.is_same(current.stat.version):
            raise StaleVersion("it was replaced", bucket=version.bucket, key=version.key)


def _number(fields: Mapping[str, str], name: str) -> int | None:
    digits = fields.get(name, "")
    return int(digits) if digits.isascii() and digits.isdigit() else None


def uniform_sizes(size: int, count: int, part_size: int) -> tuple[int, ...] | None:
    """Return *count* sizes of *part_size*, the last one perhaps smaller; None if none make *size*.

    Other sizes may make it as well: then the digests do not match.
    """
    last = size - (count - 1) * part_size
    return (part_size,) * (count - 1) + (last,) if 0 < last <= part_size else None
