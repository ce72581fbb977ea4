"""The stride detector alone."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.cache.ranges import KIB, MIB, FetchSizes
from s3mount.cache.readahead.stride import MOST_AHEAD, STEPS, StrideDetector
from s3mount.s3.model import ByteRange

SIZES = FetchSizes(part=8 * MIB)
GIB = 1 << 30
SHARE = 96 * MIB


def planned(detector: StrideDetector, offsets: list[int], length: int) -> list[ByteRange]:
    return [
        span for offset in offsets for span in detector.record_read(offset, offset + length, SHARE)
    ]


@pytest.mark.parametrize("stride", [10 * MIB + 4096, -10 * MIB - 4096])
def test_a_stride_is_planned_ahead_after_three_steps(stride: int) -> None:
    detector = StrideDetector(GIB, SIZES)
    offsets = [GIB // 2 + n * stride for n in range(20)]

    assert [] == planned(detector, offsets[:STEPS], 4096)
    spans = planned(detector, offsets[STEPS : STEPS + 1], 4096)

    assert len(spans) == 2 * STEPS
    assert all(
        span.start <= at < at + 4096 <= span.stop
        for at, span in zip(offsets[STEPS + 1 :], spans, strict=False)
    )


def test_each_element_is_planned_once_and_sixteen_are_ahead() -> None:
    detector = StrideDetector(GIB, SIZES)

    spans = planned(detector, [n * 5 * MIB for n in range(100)], 4096)

    assert [n * 5 * MIB for n in range(STEPS + 1, 99 + MOST_AHEAD + 1)] == [
        span.start for span in spans
    ]


def test_elements_for_which_there_was_no_room_are_planned_again_at_the_end_of_the_object() -> None:
    detector = StrideDetector((STEPS + 3) * 5 * MIB, SIZES)
    planned(detector, [n * 5 * MIB for n in range(STEPS)], 4096)

    lost = planned(detector, [STEPS * 5 * MIB], 4096)
    detector.rewind(len(lost))

    assert len(lost) == 2
    assert planned(detector, [(STEPS + 1) * 5 * MIB], 4096) == lost[1:]


def test_an_element_may_be_read_in_pieces() -> None:
    detector = StrideDetector(GIB, SIZES)

    spans = planned(
        detector, [n * 5 * MIB + at for n in range(10) for at in (0, 256 * KIB)], 256 * KIB
    )

    assert all(len(span) == 512 * KIB for span in spans)
    assert spans[0].start == 5 * MIB * (STEPS + 1)


def test_a_short_stride_forward_is_left_to_readahead() -> None:
    detector = StrideDetector(GIB, SIZES)

    assert [] == planned(detector, [n * 512 * KIB for n in range(100)], 4096)


@pytest.mark.parametrize("seed", range(20))
def test_random_reads_plan_nothing(seed: int) -> None:
    chance = random.Random(seed)

    offsets = [chance.randrange(GIB // 4096) * 4096 for _ in range(1000)]

    assert [] == planned(StrideDetector(GIB, SIZES), offsets, 4096)


@given(
    steps=st.lists(st.tuples(st.sampled_from([-9, -2, 0, 3, 9, 40]), st.integers(1, 12))),
    size=st.integers(1, 400),
)
def test_every_plan_lies_in_the_object_and_is_no_more_than_twice_the_steps(
    steps: list[tuple[int, int]], size: int
) -> None:
    detector = StrideDetector(size, FetchSizes(part=32, block=1, small=8, piece=8))
    offset = size // 2

    for count, (step, length) in enumerate(steps, 1):
        offset = (offset + step) % size
        spans = detector.record_read(offset, min(offset + length, size), SHARE)
        assert all(0 <= span.start < span.stop <= size for span in spans)
        assert len(spans) <= min(2 * count, MOST_AHEAD)


@given(
    strides=st.lists(st.tuples(st.sampled_from([-40, 33, 50]), st.integers(1, 9)), max_size=9),
    share=st.integers(0, 40),
    lost=st.integers(0, 3),
)
def test_what_is_planned_is_expected_until_it_is_read_or_the_stride_is_broken(
    strides: list[tuple[int, int]], share: int, lost: int
) -> None:
    detector = StrideDetector(10_000, FetchSizes(part=32, block=1, small=8, piece=8))
    offset, expected = 5_000, set[ByteRange]()

    for stride, steps in strides:
        for _ in range(steps):
            offset += stride
            spans = detector.record_read(offset, offset + 4, share)
            expected -= {ByteRange(offset, offset + 4)}
            if detector.left:
                assert expected <= set(detector.take_planned())
                expected.clear()
            assert not expected & set(spans)
            detector.rewind(min(lost, len(spans)))
            expected |= set(spans[: len(spans) - min(lost, len(spans))])
            assert all(detector.is_expected(each.start, each.stop) for each in expected)
            assert len(expected) * 4 <= max(share, 0)
