"""Segments: which parts are there, and which values of the index are no location."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.disk.damage import DamagedIndexError
from s3mount.disk.extent_reader import JOINED_GAP, readahead_runs
from s3mount.disk.object_name import EXTENT, SEGMENT, ObjectName
from s3mount.disk.segment import Location, Segment, SegmentClass, location_of

EXTENTS = 6
SIZE = SEGMENT + EXTENTS * EXTENT - 100


def segment(present: list[bool]) -> Segment:
    name = ObjectName("n", "b", "k", "e", SIZE)
    checksums = tuple(9 if each else index % 2 for index, each in enumerate(present))
    return Segment(
        name, name.digest, 1, SEGMENT, SIZE, Location(1, 0, 0), checksums, SegmentClass.KEPT
    )


@given(
    st.lists(st.booleans(), min_size=EXTENTS, max_size=EXTENTS),
    st.integers(0, EXTENTS * EXTENT - 101),
    st.integers(1, EXTENTS * EXTENT),
)
def test_gaps_are_the_parts_that_are_not_there(
    present: list[bool], offset: int, length: int
) -> None:
    start, stop = SEGMENT + offset, min(SEGMENT + offset + length, SIZE)

    gaps = segment(present).gaps(start, stop)

    step = 512  # bytes between the points that are looked at
    for at in [*range(start, stop, step), stop - 1]:
        is_gap = any(low <= at < high for low, high in gaps)
        assert is_gap is not present[(at - SEGMENT) // EXTENT]
    assert gaps == sorted(gaps)
    assert all(start <= low < high <= stop for low, high in gaps)
    assert segment(present).has(start, stop) is (gaps == [])


def packed(pack: int, offset: int, size: int) -> Segment:
    name = ObjectName("n", "b", "k", "e", size)
    return Segment(name, name.digest, 0, 0, size, Location(1, pack, offset), (), SegmentClass.KEPT)


def test_neighbours_in_a_pack_are_read_ahead_together() -> None:
    last = packed(1, 8192 + 11 + JOINED_GAP, 100)
    segments = [last, packed(1, 0, 5000), packed(1, 8192, 10)]

    runs = list(readahead_runs([*segments, packed(2, 0, 7)]))

    first = (Location(1, 1, 0), 0, 8192 + 10)
    assert [first, (last.location, 0, 100), (Location(1, 2, 0), 0, 7)] == runs


def test_segments_of_large_objects_are_read_ahead_by_themselves() -> None:
    segments = [segment([True] * EXTENTS)] * 2

    assert [(Location(1, 0, 0), SEGMENT, SIZE - SEGMENT)] * 2 == list(readahead_runs(segments))


@pytest.mark.parametrize(
    "row", [(-1, 0, 0), (1, 0, 5), (1, 1, 1 << 30), ("1", 0, 0), (1, None, 0), (1 << 60, 0, 0)]
)
def test_impossible_places_are_damage(row: tuple[object, object, object]) -> None:
    with pytest.raises(DamagedIndexError):
        location_of(*row)
