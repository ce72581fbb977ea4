"""Names of object versions: digests that differ, and segments that make up the object."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.disk.object_name import (
    DIGEST_SIZE,
    EXTENT,
    MIB,
    SEGMENT,
    SMALL,
    ObjectName,
    extent_count,
)
from tests.cached_objects import segment_count

TEXTS = st.text("ab:1", max_size=3)
NAMES = st.builds(ObjectName, TEXTS, TEXTS, TEXTS, TEXTS, st.integers(0, 11))


@given(NAMES, NAMES)
def test_two_names_have_two_digests(first: ObjectName, second: ObjectName) -> None:
    assert (first.digest == second.digest) == (first == second)
    assert len(first.digest) == DIGEST_SIZE


def test_versions_of_an_object_share_their_path() -> None:
    one, other = (
        ObjectName("n", "b", "k\udcff", etag, size) for etag, size in (("e", 1), ("f", 2))
    )

    assert one.path_digest == other.path_digest
    assert 0 <= one.path_digest < 1 << 56
    assert one.path_digest != one._replace(key="l").path_digest


@pytest.mark.parametrize("size", [0, 1, EXTENT, SMALL, SMALL + 1, SEGMENT, 3 * SEGMENT + MIB + 1])
def test_segments_make_up_the_object(size: int) -> None:
    name = ObjectName("n", "b", "k", "e", size)

    ranges = [name.segment_range(number) for number in range(segment_count(name))]

    assert ranges[0][0] == 0
    assert ranges[-1][1] == size
    assert all(one[1] == next_one[0] for one, next_one in pairwise(ranges))
    assert sum(extent_count(stop - start) for start, stop in ranges) == extent_count(size)
