"""Batches: what they tell is what the index has, whatever parts they have, at little cost."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from s3mount.cache.disk_tier.write_queue import BATCH_MAX
from s3mount.cache.disk_tier.writer import BATCH_SHARE
from s3mount.cli.build_config import DISK_MIN
from s3mount.disk import usage
from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.joined_writes import ALIGNMENT, aligned
from s3mount.disk.object_name import EXTENT, KIB, MIB, SEGMENT, ObjectName
from s3mount.disk.reservation import Kept
from s3mount.disk.usage import DiskLimits
from tests.cached_objects import content_of, object_name, right_bytes

LIMITS = DiskLimits(256 * MIB)
NAMES = [
    object_name(number, size=size, etag=etag)
    for number, size in enumerate((1, 5 * EXTENT + 1, SEGMENT + 3 * EXTENT + 77))
    for etag in ("e", "f")
]
_parts = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from((0, 1, EXTENT, 2 * EXTENT, SEGMENT - EXTENT, SEGMENT)),
    st.sampled_from((1, EXTENT, 2 * EXTENT, 3 * EXTENT + 5, 2 * SEGMENT)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_parts, min_size=1, max_size=6), min_size=1, max_size=4))
def test_what_a_batch_tells_is_what_is_there(
    batches: list[list[tuple[ObjectName, int, int]]],
) -> None:
    present: set[tuple[ObjectName, int]] = set()
    with _cache() as cache:
        for batch in batches:
            kept = [_kept(*part) for part in batch]

            written = cache.keep_all(kept)

            for each in kept:
                present |= {(each.name, extent) for extent in _whole_extents(each)}
            for segment in written.segments:
                found = cache.find(segment.name, segment.number)
                assert found is not None
                assert (found.location, found.checksums) == (segment.location, segment.checksums)
        assert {name: right_bytes(cache, name) for name in NAMES} == {
            name: sum(_length(name, extent) for each, extent in present if each == name)
            for name in NAMES
        }
        assert cache.usage().object_bytes == _room(present)
        _assert_sums_are_right(cache)


def test_a_full_directory_makes_room_for_the_largest_batch_of_small_objects() -> None:
    size = 2 * ALIGNMENT + 1  # which takes three blocks
    limits = DiskLimits(DISK_MIN)
    assert size * BATCH_MAX > limits.size // BATCH_SHARE  # so no other one takes more blocks
    content = memoryview(bytes(size))
    octets = []

    with _cache(limits) as cache:
        for batch in range(4):
            numbers = range(batch * BATCH_MAX, (batch + 1) * BATCH_MAX)
            names = (object_name(number, size=size) for number in numbers)
            octets.append(cache.keep_all([Kept(name, 0, content) for name in names]).octets)

    assert octets == [BATCH_MAX * size] * 4


def test_new_objects_are_told_by_their_batch_and_take_few_statements() -> None:
    names = [object_name(number, size=27 * KIB) for number in range(100)]
    statements: list[str] = []
    with _cache() as cache:
        connection = cache._current.generation.index._writer.connection
        connection.set_trace_callback(statements.append)

        written = cache.keep_all([Kept(name, 0, memoryview(content_of(name))) for name in names])

        connection.set_trace_callback(None)
        assert [segment.name for segment in written.segments] == names
        # those of triggers begin with a comment, or repeat what they belong to
        assert len({each for each in statements if not each.startswith("--")}) <= 5 * 100 + 30


@contextmanager
def _cache(limits: DiskLimits = LIMITS) -> Iterator[DiskCache]:
    with tempfile.TemporaryDirectory() as folder, closing(DiskCache(Path(folder), limits)) as cache:
        yield cache


def _kept(name: ObjectName, start: int, length: int) -> Kept:
    start = min(start, name.size)
    return Kept(name, start, memoryview(content_of(name))[start : start + length])


def _whole_extents(kept: Kept) -> list[int]:
    """The extents of the object, counted from its start, that are whole in *kept*."""
    stop = kept.start + len(kept.content)
    extents = range(-(-kept.name.size // EXTENT))
    return [
        each
        for each in extents
        if each * EXTENT >= kept.start and min((each + 1) * EXTENT, kept.name.size) <= stop
    ]


def _length(name: ObjectName, extent: int) -> int:
    return min((extent + 1) * EXTENT, name.size) - extent * EXTENT


def _room(present: set[tuple[ObjectName, int]]) -> int:
    small = {name for name, _ in present if name.is_small}
    large = (_length(name, extent) for name, extent in present if not name.is_small)
    return sum(aligned(name.size) for name in small) + sum(map(aligned, large))


def _assert_sums_are_right(cache: DiskCache) -> None:
    generation = cache._current.generation
    before = replace(cache.usage(), free_space=0)
    with generation.index.transaction() as connection:
        usage.recount(connection)
    assert replace(cache.usage(), free_space=0) == before
