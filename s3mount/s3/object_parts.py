"""Parts of objects that were uploaded in parts: the one source of them, a HEAD with a part number.

Invariants:

1. What is returned is of the version that was asked for, or it is StaleVersion. Some stores send a
   part's own ETag: then the object is asked for once more.
2. A version that is known to be replaced is asked for by its version id.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html#API_HeadObject_RequestSyntax
"""

from collections.abc import Iterable, Mapping
from typing import Final

import trio

from s3mount.errors import NotFound, S3MountError, StaleVersion
from s3mount.s3.model import ObjectMetadata, ObjectPart, ObjectVersion, Reason, is_same_etag
from s3mount.s3.object_store import MetadataSource

_AT_ONCE: Final = 4  # requests


class ObjectParts:
    """`PartSource` over *store*; keeps nothing."""

    def __init__(self, store: MetadataSource) -> None:
        self._store = store

    async def first(self, version: ObjectVersion, reason: Reason) -> ObjectPart:
        """See `PartSource`."""
        part = await self._part(version, 1, reason)
        await self._check(version, (part,), reason)
        return part

    async def all(self, version: ObjectVersion, count: int, reason: Reason) -> list[ObjectPart]:
        """See `PartSource`."""
        found: dict[int, ObjectPart] = {}
        failures: list[S3MountError] = []
        numbers = iter(range(1, count + 1))

        async def work(scope: trio.CancelScope) -> None:
            for number in numbers:
                try:
                    found[number] = await self._part(version, number, reason)
                except S3MountError as exc:  # raised below, not as one of a group
                    failures.append(exc)
                    scope.cancel()
                    return

        async with trio.open_nursery() as nursery:
            for _ in range(_AT_ONCE):
                nursery.start_soon(work, nursery.cancel_scope)
        if failures:
            raise failures[0]
        await self._check(version, found.values(), reason)
        return [found[number] for number in range(1, count + 1)]

    async def _part(self, version: ObjectVersion, number: int, reason: Reason) -> ObjectPart:
        found = await self._head(version, reason, number)
        fields = found.fields
        return ObjectPart(
            _number(fields, "ContentLength") or 0,
            _number(fields, "PartsCount"),
            {name: value for name, value in fields.items() if name.startswith("Checksum")},
            found.stat.version.etag,
        )

    async def _check(
        self, version: ObjectVersion, parts: Iterable[ObjectPart], reason: Reason
    ) -> None:
        """Raise StaleVersion unless *parts* are of *version*."""
        if all(is_same_etag(part.etag, version.etag) for part in parts):
            return
        current = await self._head(version, reason)
        if not version.is_same(current.stat.version):
            raise _stale(version)

    async def _head(
        self, version: ObjectVersion, reason: Reason, number: int | None = None
    ) -> ObjectMetadata:
        version_id = version.version_id if version.is_replaced else None
        try:
            return await self._store.metadata(
                version.key, version_id=version_id, part_number=number, reason=reason
            )
        except NotFound as exc:
            raise _stale(version) from exc


def _stale(version: ObjectVersion) -> StaleVersion:
    return StaleVersion("it was replaced or deleted", bucket=version.bucket, key=version.key)


def _number(fields: Mapping[str, str], name: str) -> int | None:
    digits = fields.get(name, "")
    return int(digits) if digits.isascii() and digits.isdigit() else None
