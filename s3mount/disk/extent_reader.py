"""Reading of extents: from the files of a segment, verified on the way."""

from collections.abc import Iterable, Iterator
from typing import Final

from s3mount.disk import checksum
from s3mount.disk.data_files import DataFiles
from s3mount.disk.object_name import EXTENT
from s3mount.disk.segment import Location, Segment

DROPPED_FROM: Final = 1 << 20  # bytes of one read, from which on the kernel need not keep the pages
JOINED_GAP: Final = 16 << 10  # bytes between two segments that cost less than one more advice


def read_extents(
    files: DataFiles, segment: Segment, start: int, stop: int, into: memoryview, *, nowait: bool
) -> list[int]:
    """Fill *into* with the bytes [*start*, *stop*) of *segment*, as far as extents are there.

    Returns those that the index has and the files have not, or not rightly; their bytes in *into*
    are undefined. With *nowait*, BlockingIOError if the disk would have to be waited for.
    """
    wrong = _read_present(files, segment, start, stop, into, nowait=nowait)
    if wrong and not nowait and files.close_removed(segment.location):
        wrong = _read_present(files, segment, start, stop, into, nowait=nowait)
    if not nowait and stop - start >= DROPPED_FROM and not segment.location.pack:
        # folios may be larger than the read: docs/decisions/disk-pages.md
        files.drop_pages(segment.location, segment.start, stop - segment.start)
    return wrong


def read_cached_extents(
    files: DataFiles, segment: Segment, start: int, stop: int, scratch: memoryview
) -> memoryview | None:
    """The bytes [*start*, *stop*) of *segment* if they are in the kernel's memory, and right.

    They lie in *scratch*, which has room for their whole extents. None if an extent is absent or
    wrong, or the kernel cannot tell. BlockingIOError if it reads them from the disk now.
    """
    base = segment.start
    first, last = (start - base) // EXTENT, -(-(stop - base) // EXTENT)
    low, high = base + first * EXTENT, min(base + last * EXTENT, segment.stop)
    content = scratch[: high - low]
    if not files.read_cached(segment.location, low, content):
        return None
    checksums, digest, number = segment.checksums, segment.digest, base // EXTENT
    for index in range(first, last):  # one that is not there has a checksum that no bytes have
        at = (index - first) * EXTENT
        found = checksum.checksum(content[at : at + EXTENT], digest, number + index)
        if found != checksums[index]:
            return None
    return content[start - low : stop - low]


def readahead_runs(segments: Iterable[Segment]) -> Iterator[tuple[Location, int, int]]:
    """What the kernel is to read ahead for all of *segments*, in the order of their files.

    Each is a location, a position and a length, of one segment or of neighbours in a pack: small
    objects that were read one after another have been written so.
    """
    run: tuple[Location, int, int] | None = None
    for segment in sorted(segments, key=_place):
        location, at = segment.location, segment.start
        if run is not None:
            first, start, length = run
            gap = location.offset + at - (first.offset + start + length)
            if location.pack == first.pack != 0 and gap <= JOINED_GAP:
                run = first, start, max(length, length + gap + segment.stop - at)
                continue
            yield run
        run = location, at, segment.stop - at
    if run is not None:
        yield run


def _place(segment: Segment) -> tuple[int, int, int]:
    location = segment.location
    file = 0 if location.pack else location.object_id
    return location.pack, file, location.offset + segment.start


def _read_present(
    files: DataFiles, segment: Segment, start: int, stop: int, into: memoryview, *, nowait: bool
) -> list[int]:
    wrong = []
    for low, high in _present_runs(segment, start, stop):
        wanted = into[low - start : high - start]
        wrong += _read_run(files, segment, low, wanted, nowait=nowait)
    return wrong


def _present_runs(segment: Segment, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The parts of [*start*, *stop*) that the index has, in order."""
    at = start
    for low, high in [*segment.gaps(start, stop), (stop, stop)]:
        if at < low:
            yield at, low
        at = high


def _read_run(
    files: DataFiles, segment: Segment, low: int, into: memoryview, *, nowait: bool
) -> list[int]:
    """Fill *into* with the bytes from *low* on, all of which the index has; the wrong extents."""
    high = low + len(into)
    extents = segment.extents(low, high)
    first, last = segment.extent_range(extents[0])[0], segment.extent_range(extents[-1])[1]
    if (first, last) == (low, high):
        count = files.read(segment.location, first, into, nowait=nowait)
        return _wrong(segment, extents, into[:count])
    # extents at the ends are read whole, as that is what the checksum is of
    buffer = memoryview(bytearray(last - first))
    count = files.read(segment.location, first, buffer, nowait=nowait)
    into[:] = buffer[low - first : high - first]
    return _wrong(segment, extents, buffer[:count])


def _wrong(segment: Segment, extents: range, content: memoryview) -> list[int]:
    """Those of *extents*, whose bytes *content* begins with, that are short or not right."""
    base = segment.extent_range(extents[0])[0]
    return [each for each in extents if not _is_right(segment, each, base, content)]


def _is_right(segment: Segment, extent: int, base: int, content: memoryview) -> bool:
    low, high = segment.extent_range(extent)
    if high - base > len(content):
        return False
    number = segment.start // EXTENT + extent
    found = checksum.checksum(content[low - base : high - base], segment.digest, number)
    return found == segment.checksums[extent]
