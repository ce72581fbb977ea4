"""Names of object versions in the disk cache, and which versions have none there."""

from collections.abc import Callable
from typing import Final, NamedTuple

from cachetools import LRUCache

from s3mount.disk.object_name import KEPT_MAX, SEGMENT, ObjectName
from s3mount.s3.model import SYNTHETIC_ETAG, ByteRange, ObjectVersion

REMEMBERED: Final = 4096  # versions, and keys


class NamedVersion(NamedTuple):
    """A name, and its digest, which is not to be computed for each read."""

    name: ObjectName
    digest: bytes


class SegmentPart(NamedTuple):
    """The bytes [*start*, *stop*) of the object, all in the segment *number*."""

    number: int
    start: int
    stop: int


class VersionNames:
    """Names in *namespace*, which says what bucket and key mean. Remembers the last ones.

    *on_replaced* is told the name of a version when a later one of its key is named.
    """

    def __init__(self, namespace: str, on_replaced: Callable[[ObjectName], object]) -> None:
        self._namespace = namespace
        self._on_replaced = on_replaced
        self._names: LRUCache[ObjectVersion, NamedVersion] = LRUCache(REMEMBERED)
        # the name of the version of each key that was named last
        self._latest: LRUCache[tuple[str, str], ObjectName] = LRUCache(REMEMBERED)

    def find(self, version: ObjectVersion) -> NamedVersion | None:
        """The name of *version*; None if nothing tells its bytes from others of the same size.

        None, too, if it is larger than what the disk keeps.
        """
        if version.is_doubted or version.size > KEPT_MAX:
            return None
        named = self._names.get(version)
        if named is None and version.etag and not version.etag.startswith(SYNTHETIC_ETAG):
            name = self._name(version)
            named = self._names[version] = NamedVersion(name, name.digest)
            if not version.is_replaced:
                self._note_current(name)
        return named

    def _name(self, version: ObjectVersion) -> ObjectName:
        bucket, key, etag, size = version
        if not bucket:  # in a mount of every bucket, keys begin with their own
            bucket, _, key = key.partition("/")
        return ObjectName(self._namespace, bucket, key, etag, size)

    def _note_current(self, name: ObjectName) -> None:
        key = name.bucket, name.key
        before = self._latest.get(key)
        self._latest[key] = name
        if before is not None and before != name:
            self._on_replaced(before)


def segment_parts(name: ObjectName, byte_range: ByteRange) -> list[SegmentPart]:
    """*byte_range* in parts that are each in one segment."""
    if name.is_small:
        return [SegmentPart(0, byte_range.start, byte_range.stop)]
    return [
        SegmentPart(
            number,
            max(byte_range.start, number * SEGMENT),
            min(byte_range.stop, (number + 1) * SEGMENT),
        )
        for number in range(byte_range.start // SEGMENT, -(-byte_range.stop // SEGMENT))
    ]
