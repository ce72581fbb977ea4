"""Reading from segments of the disk: which parts are there, and how they get into a buffer.

Synchronous, for any thread. Knows neither the event loop nor the next source.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from s3mount.cache.disk_tier.names import NamedVersion, SegmentPart
from s3mount.cache.disk_tier.protocol import Disk
from s3mount.cache.ranges import MIB, gaps
from s3mount.disk.segment import Segment
from s3mount.s3.model import ByteRange

NEIGHBOURS: Final = 16  # segments, from a multiple of that on, that are found together
ISLAND: Final = 1 * MIB  # up to this, a further request costs more than the bytes between two gaps

BufferOf = Callable[[ByteRange], memoryview]
"""The buffer that is to be filled with some bytes of the object."""


class Found(NamedTuple):
    """A segment as it was found, and the bytes that were not read from it.

    *others* are segments of the object that were found beside it.
    """

    segment: Segment | None
    gaps: list[ByteRange]
    others: Sequence[Segment] = ()


def find_and_read(disk: Disk, named: NamedVersion, part: SegmentPart, buffer_of: BufferOf) -> Found:
    """Find the segment of *part* and those around it, and read what is there."""
    wanted = ByteRange(part.start, part.stop)
    segment = disk.find(named.name, part.number, named.digest)
    if segment is None:
        return Found(None, [wanted])
    absent = wide_gaps(segment, wanted)
    found = read_runs(disk, segment, list(gaps(wanted, absent)), buffer_of)
    return Found(segment, absent + found.gaps, _find_others(disk, named, part.number))


def _find_others(disk: Disk, named: NamedVersion, number: int) -> Sequence[Segment]:
    """The segments around *number*: a reader that seeks needs no find for each of them."""
    if named.name.is_small:
        return ()
    first = number // NEIGHBOURS * NEIGHBOURS
    found = disk.find_many([named], range(first, first + NEIGHBOURS))
    return [each for each in found if each.number != number]


def read_runs(
    disk: Disk,
    segment: Segment,
    runs: list[ByteRange],
    buffer_of: BufferOf,
    *,
    nowait: bool = False,
) -> Found:
    """Read *runs*, all of which *segment* has; BlockingIOError if that waits with *nowait*."""
    missing: list[ByteRange] = []
    for run in runs:
        into = buffer_of(run)
        lacking = disk.read(segment, run.start, run.stop, into, nowait=nowait)
        missing += [ByteRange(*each) for each in lacking]
    if runs:
        disk.touch((segment,))
    return Found(segment, missing)


def wide_gaps(segment: Segment, wanted: ByteRange) -> list[ByteRange]:
    """The parts of *wanted* that *segment* does not have, with small parts between that it has."""
    return joined([ByteRange(*each) for each in segment.gaps(wanted.start, wanted.stop)], ISLAND)


def joined(parts: list[ByteRange], distance: int = 0) -> list[ByteRange]:
    """*parts* in order; two with at most *distance* bytes between them are one."""
    whole: list[ByteRange] = []
    for part in sorted(parts):
        if whole and part.start - whole[-1].stop <= distance:
            whole[-1] = ByteRange(whole[-1].start, part.stop)
        else:
            whole.append(part)
    return whole
