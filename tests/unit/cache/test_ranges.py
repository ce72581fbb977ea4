"""Block arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.cache.ranges import KIB, MIB, FetchSizes, align, gaps, split, upload_part_size
from s3mount.s3.model import ByteRange, ObjectVersion

SIZES = FetchSizes(part=8 * MIB)


def version(size: int, etag: str = "0123") -> ObjectVersion:
    return ObjectVersion("b", "k", etag, size)


@pytest.mark.parametrize(
    ("offset", "stop", "size", "expected"),
    [
        (0, 1, 1 << 30, ByteRange(0, 128 * KIB)),
        (130 * KIB, 134 * KIB, 1 << 30, ByteRange(128 * KIB, 256 * KIB)),
        (126 * KIB, 130 * KIB, 1 << 30, ByteRange(0, 256 * KIB)),
        ((1 << 30) - 1, 1 << 30, 1 << 30, ByteRange((1 << 30) - 128 * KIB, 1 << 30)),
        (MIB, MIB + 1, MIB + 5, ByteRange(MIB, MIB + 5)),
        (5, 6, MIB, ByteRange(0, MIB)),
    ],
)
def test_a_lone_read_fetches_aligned_blocks_or_a_small_object_whole(
    offset: int, stop: int, size: int, expected: ByteRange
) -> None:
    assert expected == align(offset, stop, size, SIZES)


@given(st.integers(0, 20), st.integers(1, 20), st.sets(st.integers(0, 40)))
def test_gaps_and_present_ranges_together_are_what_was_wanted(
    start: int, length: int, cuts: set[int]
) -> None:
    present = _pairs(sorted(cuts))
    wanted = ByteRange(start, start + length)

    found = list(gaps(wanted, present))

    held = {at for span in present for at in range(span.start, span.stop)}
    expected = [at for at in range(wanted.start, wanted.stop) if at not in held]
    assert expected == [at for gap in found for at in range(gap.start, gap.stop)]
    assert all(len(gap) > 0 for gap in found)


def _pairs(cuts: list[int]) -> list[ByteRange]:
    return [ByteRange(start, stop) for start, stop in zip(cuts[::2], cuts[1::2], strict=False)]


def test_a_split_range_keeps_its_bytes() -> None:
    assert [ByteRange(3, 7), ByteRange(7, 11), ByteRange(11, 12)] == list(
        split(ByteRange(3, 12), 4)
    )


@pytest.mark.parametrize(
    ("etag", "size", "expected"),
    [
        ("abc-128", 1 << 30, 8 * MIB),
        ("abc-205", 1 << 30, 5 * MIB),
        ("abc-64", 1 << 30, 16 * MIB),
        ("abc-147", 1 << 30, 7 * MIB),
        ("abc-2", 1 << 30, 512 * MIB),
        ("abc", 1 << 30, None),
        ("abc-1", 1 << 30, None),
        ("abc-0", 1 << 30, None),
        ("abc-x", 1 << 30, None),
        ("abc-²", 1 << 30, None),
        ("", 1 << 30, None),
        ("7", 1 << 30, None),
        ("abc-3", 2, None),
        ("abc-99999", 1 << 40, None),
        ("abc-2", 0, None),
    ],
)
def test_an_upload_part_size_is_guessed_only_from_a_plausible_part_count(
    etag: str, size: int, expected: int | None
) -> None:
    assert expected == upload_part_size(etag, size)


@given(st.integers(5, 600), st.integers(2, 10_000), st.data())
def test_a_guessed_part_size_has_the_part_count_of_the_etag(
    part_mib: int, count: int, data: st.DataObject
) -> None:
    size = (count - 1) * part_mib * MIB + data.draw(st.integers(1, part_mib * MIB))

    guess = upload_part_size(f"abc-{count}", size)

    assert guess is None or -(-size // guess) == count


@pytest.mark.parametrize(
    ("upload_mib", "part_mib"),
    [
        (8, 8),
        (16, 8),
        (5, 5),
        (64, 8),
        (10, 5),
        (100, 6.25),
        (15, 7.5),
        (512, 8),
        (7, 7),
        (13, 6.5),
        (4, 4),
        (3, 8),
    ],
)
def test_parts_begin_where_upload_parts_do(upload_mib: int, part_mib: float) -> None:
    size = 100 * upload_mib * MIB

    part = SIZES.for_version(version(size, "abc-100")).part

    assert int(part_mib * MIB) == part


def test_fetches_fit_many_times_into_a_small_memory() -> None:
    sizes = SIZES.within(4 * MIB)

    assert FetchSizes(part=512 * KIB, block=128 * KIB, small=512 * KIB, piece=256 * KIB) == sizes


@pytest.mark.parametrize(("part", "limit"), [(5_000_000, 256 * MIB), (8 * MIB, 50_000_000)])
def test_parts_have_whole_blocks(part: int, limit: int) -> None:
    sizes = FetchSizes(part).within(limit)

    assert sizes.part % sizes.block == 0
    assert 0 <= min(part, limit // 8) - sizes.part < sizes.block
