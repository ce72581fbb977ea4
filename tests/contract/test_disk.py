"""What the disk tier asks of a disk, of the real one and of that in memory."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3mount.cache.disk_tier.protocol import Disk
from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.object_name import EXTENT, MIB, SEGMENT, ObjectName
from s3mount.disk.reservation import Kept
from s3mount.disk.usage import DiskLimits
from tests.fakes.memory_disk import MemoryDisk

LARGE = ObjectName("n", "b", "large", "etag", SEGMENT + 2 * MIB + 7)
SMALL = ObjectName("n", "b", "small", "etag", 3 * EXTENT + 5)
CONTENT = memoryview(random.Random(3).randbytes(LARGE.size))


@pytest.fixture(params=["memory", "real"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    if request.param == "memory":
        yield MemoryDisk()
        return
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    real = DiskCache(folder, DiskLimits(256 * MIB))
    yield real
    real.close()


def _keep(disk: Disk, name: ObjectName, start: int, stop: int) -> int:
    return disk.keep_all([Kept(name, start, CONTENT[start:stop])]).octets


def _read(
    disk: Disk, name: ObjectName, number: int, start: int, stop: int
) -> list[tuple[int, int]]:
    """Read, check the bytes that are there, and return the gaps."""
    segment = disk.find(name, number, name.digest)
    assert segment is not None
    into = memoryview(bytearray(stop - start))
    gaps = disk.read(segment, start, stop, into)
    at = start
    for low, high in [*gaps, (stop, stop)]:
        assert CONTENT[at:low] == into[at - start : low - start]
        at = high
    disk.touch((segment,))
    return gaps


def test_a_segment_is_absent_before_anything_is_kept(disk: Disk) -> None:
    assert disk.find(LARGE, 0) is None


@pytest.mark.parametrize("name", [LARGE, SMALL])
def test_all_that_is_kept_is_read(disk: Disk, name: ObjectName) -> None:
    assert _keep(disk, name, 0, name.size) >= name.size  # in blocks of the disk

    assert _read(disk, name, 0, 0, min(name.size, SEGMENT)) == []
    assert _read(disk, name, 0, 5, EXTENT + 9) == []
    if name is LARGE:
        assert _read(disk, name, 1, SEGMENT, name.size) == []


def test_only_whole_extents_are_kept_once(disk: Disk) -> None:
    assert _keep(disk, LARGE, EXTENT - 5, 3 * EXTENT + 5) == 2 * EXTENT
    assert _keep(disk, LARGE, 0, 3 * EXTENT) == EXTENT

    assert _read(disk, LARGE, 0, 0, 4 * EXTENT) == [(3 * EXTENT, 4 * EXTENT)]


def test_gaps_are_clipped_to_what_is_read(disk: Disk) -> None:
    _keep(disk, LARGE, EXTENT, 2 * EXTENT)

    gaps = _read(disk, LARGE, 0, EXTENT // 2, 3 * EXTENT - 1)

    assert gaps == [(EXTENT // 2, EXTENT), (2 * EXTENT, 3 * EXTENT - 1)]


def test_what_is_evicted_is_a_gap_even_for_those_who_have_found_it(disk: Disk) -> None:
    _keep(disk, SMALL, 0, SMALL.size)
    segment = disk.find(SMALL, 0)
    assert segment is not None

    disk.evict(SMALL)

    into = memoryview(bytearray(SMALL.size))
    assert disk.find(SMALL, 0) is None
    assert disk.read(segment, 0, SMALL.size, into) == [(0, SMALL.size)]
