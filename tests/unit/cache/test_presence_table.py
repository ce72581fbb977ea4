"""The presence table: what it remembers takes bounded memory."""

from collections.abc import Iterable

from s3mount.cache.disk_tier.presence_table import MEMORY_MAX, PresenceTable
from s3mount.disk.checksum import LENGTH, unpack
from s3mount.disk.object_name import EXTENT, SEGMENT, ObjectName
from s3mount.disk.segment import Location, Segment, SegmentClass

COUNT = 3000
NAME = ObjectName("n", "b", "k", "etag", COUNT * SEGMENT)
EXTENTS = SEGMENT // EXTENT


def segments() -> Iterable[Segment]:
    for number in range(COUNT):
        checksums = unpack(b"\2" * LENGTH * EXTENTS, EXTENTS)
        start, stop = NAME.segment_range(number)
        yield Segment(
            NAME,
            NAME.digest,
            number,
            start,
            stop,
            Location(1, 0, 0),
            checksums,
            SegmentClass.KEPT,
        )


def test_the_segments_that_are_remembered_take_bounded_memory() -> None:
    table = PresenceTable(lambda: 0.0)

    for segment in segments():
        table.put(NAME.digest, segment.number, segment, table.generation)

    known = [table.has(NAME.digest, number, *NAME.segment_range(number)) for number in range(COUNT)]
    assert 0 < sum(known) * LENGTH * EXTENTS <= MEMORY_MAX
    assert known[-1]
