"""The readahead policy alone, with reads whose fetches end at once or never."""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.cache.ranges import KIB, MIB, FetchSizes, align, gaps
from s3mount.cache.readahead.forward_steps import (
    CREDIT,
    FACTOR,
    LONG_FACTOR,
    LONG_STEP,
    LONG_STEPS,
    RETRY_AFTER,
    SHORT_STEP,
    STEPS,
    StepLimit,
)
from s3mount.cache.readahead.policy import REORDER, Readahead
from s3mount.cache.readahead.sequential_stream import ALONE_FACTOR, WINDOW_FACTOR, SequentialStream
from s3mount.s3.model import ByteRange

SIZES = FetchSizes(part=8 * MIB)
SHARE = 192 * MIB
GIB = 1 << 30


@dataclass
class Reading:
    """Reads of one object; what is fetched is never evicted.

    A read that lacks bytes waits for *latency*, and until all that is planned with it has come, at
    *rate* bytes a second. Any other read waits for what is planned with it, too.
    """

    size: int = GIB
    share: int = SHARE
    sizes: FetchSizes = SIZES
    latency: float = 0.02
    rate: float = 90e6
    now: float = 0
    limit: StepLimit | None = None
    fetched: list[ByteRange] = field(default_factory=list)
    misses: int = 0

    def __post_init__(self) -> None:
        self.limit = self.limit or StepLimit()
        self.limit.clock = lambda: self.now
        self.policy = Readahead(self.size, self.sizes, self.limit)

    def read(self, offset: int, length: int) -> SequentialStream:
        stop = min(offset + length, self.size)
        stream = self.policy.record_read(offset, stop)
        began_at = self.now
        if next(gaps(ByteRange(offset, stop), self.fetched), None):
            self.misses += 1
            self.now += self.latency
            self.policy.grow_window(stream, stop)
            spans = self.policy.demand(stream, offset, stop, self.share)
        else:
            spans = self.policy.ahead(stream, self.share)
        before = self.bytes_fetched
        self.fetched = sorted(
            {*self.fetched, *(gap for span in spans for gap in gaps(span, self.fetched))}
        )
        self.now += (self.bytes_fetched - before) / self.rate
        if stream.steps is not None and stream.steps.is_long:
            stream.steps.record_wait(self.now - began_at)
        assert next(gaps(ByteRange(offset, stop), self.fetched), None) is None
        return stream

    @property
    def bytes_fetched(self) -> int:
        return sum(map(len, self.fetched))

    @property
    def bounds(self) -> set[int]:
        """Where fetches begin or end."""
        return {bound for span in self.fetched for bound in (span.start, span.stop)}


@given(
    st.lists(
        st.tuples(st.sampled_from((0, 0, 0, 1, 7, 40, -1, -9)), st.sampled_from((4, 128, 1024))),
        min_size=1,
        max_size=60,
    ),
    st.sampled_from((300 * KIB, 16 * MIB, GIB)),
    st.sampled_from((64 * KIB, 3 * MIB, 8 * MIB)),
)
def test_a_single_fetch_has_what_is_read_and_is_at_most_a_multiple_of_what_was_read(
    jumps: list[tuple[int, int]], size: int, share: int
) -> None:
    policy = Readahead(size, SIZES, StepLimit())
    position = read = 0
    for jump, length in jumps:
        offset = max(0, position + jump * 512 * KIB)
        stop = min(size, offset + length * KIB)
        if offset >= stop:
            break
        read, position = read + stop - offset, stop
        stream = policy.record_read(offset, stop)

        wanted = policy.demand_alone(stream, offset, stop, share)

        assert wanted.start <= offset < stop <= wanted.stop <= size
        least = align(offset, stop, size, SIZES)
        of_a_step = max(FACTOR * (SHORT_STEP + 1), LONG_FACTOR * (LONG_STEP + 1)) * SIZES.block
        most = max(ALONE_FACTOR * read, of_a_step * len(jumps))
        assert len(wanted) <= len(least) + max(SIZES.piece * 2, min(share, most))
        assert stream.frontier == stream.next_stop == wanted.stop


def test_the_first_read_fetches_one_block() -> None:
    reading = Reading()

    reading.read(0, 16 * KIB)

    assert [ByteRange(0, 128 * KIB)] == reading.fetched


def test_the_second_read_opens_a_window_of_short_fetches_first() -> None:
    reading = Reading()

    reading.read(0, 128 * KIB)
    reading.read(128 * KIB, 128 * KIB)

    assert [128, 256, 384, 768, 1536] == [len(span) // KIB for span in reading.fetched]


def test_a_fast_reader_has_the_widest_window_after_twelve_mebibytes() -> None:
    reading = Reading()

    for offset in range(0, 12 * MIB, 128 * KIB):
        stream = reading.read(offset, 128 * KIB)
        reading.policy.grow_window(stream, reading.fetched[-1].stop)

    assert 12 * MIB + SHARE - 8 * MIB <= reading.fetched[-1].stop <= 12 * MIB + SHARE


def test_a_stream_fetches_whole_parts_where_parts_begin() -> None:
    reading = Reading(size=256 * MIB)

    for offset in range(3 * MIB, 256 * MIB, 128 * KIB):
        stream = reading.read(offset, 128 * KIB)
        reading.policy.grow_window(stream, offset + 128 * KIB)

    parts = [span for span in reading.fetched if span.start >= 16 * MIB]
    assert [
        ByteRange(start, start + 8 * MIB) for start in range(16 * MIB, 256 * MIB, 8 * MIB)
    ] == parts


def test_a_reader_that_never_waits_keeps_a_small_window() -> None:
    reading = Reading()

    for offset in range(0, 100 * MIB, 128 * KIB):
        reading.read(offset, 128 * KIB)

    assert reading.fetched[-1].stop - 100 * MIB <= 8 * MIB


@pytest.mark.parametrize("size", [64 * MIB, GIB])
@pytest.mark.parametrize("seed", range(20))
def test_random_reads_of_4_kib_fetch_at_most_256_kib_each(seed: int, size: int) -> None:
    chance = random.Random(seed)
    reading = Reading(size)

    for _ in range(100):
        reading.read(chance.randrange(size // 4096) * 4096, 4096)

    assert reading.bytes_fetched <= 20 * MIB


def test_a_reader_that_lists_an_archive_waits_for_its_first_members_only() -> None:
    reading = Reading(size=200 * MIB)

    for offset in range(0, 200 * MIB, 200 * KIB):
        reading.read(offset, 10 * KIB)

    assert reading.misses == STEPS + 1
    assert len(reading.fetched) <= 45


@pytest.mark.parametrize("seed", range(20))
def test_members_of_an_archive_may_differ_in_size(seed: int) -> None:
    chance = random.Random(seed)
    reading = Reading(size=200 * MIB)

    offset = reads = 0
    while offset < reading.size:
        reading.read(offset, 10 * KIB)
        reads += 1
        offset += 10 * KIB + int(chance.expovariate(1 / (200 * KIB))) // 512 * 512

    assert reading.misses <= reads // 20


def test_a_reader_that_goes_back_from_the_end_waits_once_for_a_directory_before_it() -> None:
    reading = Reading(size=100 * MIB)

    reading.read(100 * MIB - 4 * KIB, 4 * KIB)
    for offset in range(99 * MIB, 100 * MIB - 32 * KIB, 32 * KIB):
        reading.read(offset, 32 * KIB)

    assert reading.misses == 2
    assert reading.bytes_fetched == MIB


def test_a_reader_that_goes_far_back_from_the_end_is_no_stream() -> None:
    reading = Reading(size=100 * MIB)

    reading.read(100 * MIB - 4 * KIB, 4 * KIB)
    reading.read(90 * MIB, 4 * KIB)

    assert reading.bytes_fetched == 2 * 128 * KIB


def test_a_read_just_before_the_end_without_one_at_the_end_is_no_stream() -> None:
    reading = Reading(size=100 * MIB)

    reading.read(99 * MIB, 4 * KIB)

    assert reading.bytes_fetched == 128 * KIB


@pytest.mark.parametrize("steps", [5, 20, 100, 500])
def test_short_steps_fetch_at_most_three_times_what_they_cover(steps: int) -> None:
    reading = Reading()

    for offset in range(0, steps * 400 * KIB, 400 * KIB):
        stream = reading.read(offset, 4 * KIB)
        stream.window = SHARE

    assert reading.bytes_fetched <= 3 * stream.position


def test_short_steps_that_become_very_long_open_no_window() -> None:
    reading = Reading()
    for offset in range(0, 4 * MIB, 200 * KIB):
        reading.read(offset, 4 * KIB)
    before = reading.bytes_fetched

    for offset in range(64 * MIB, 512 * MIB, 4 * MIB):
        reading.read(offset, 4 * KIB)

    assert before + 112 * 128 * KIB == reading.bytes_fetched


def test_very_long_steps_are_no_stream() -> None:
    reading = Reading()

    for offset in range(0, GIB, 4 * MIB):
        reading.read(offset, 4096)

    assert 256 * 128 * KIB == reading.bytes_fetched


def read_in_long_steps(reading: Reading, until: int) -> None:
    """Read as by an index: pages 0.6 to 1.8 MiB apart, and some a little back."""
    chance = random.Random(1)
    offset = 0
    while offset < until:
        reading.read(offset // 4096 * 4096, 4096)
        if chance.random() < 0.2:
            reading.read(max(0, offset - 256 * KIB) // 4096 * 4096, 4096)
        offset += int(chance.uniform(0.6, 1.8) * MIB)


def test_long_steps_are_read_through_on_a_fast_link() -> None:
    reading = Reading(rate=900e6)

    read_in_long_steps(reading, 256 * MIB)

    assert reading.misses <= 2 * LONG_STEPS
    assert reading.bytes_fetched <= 300 * MIB


@pytest.mark.parametrize("rate", [1e6, 12e6, 25e6])
def test_long_steps_are_tried_once_on_a_slow_link(rate: float) -> None:
    first = Reading(rate=rate)

    read_in_long_steps(first, 256 * MIB)
    second = Reading(limit=first.limit, rate=rate, now=first.now)
    read_in_long_steps(second, 256 * MIB)

    assert second.bytes_fetched <= second.misses * 160 * KIB  # some lie just before others
    assert first.bytes_fetched <= second.bytes_fetched + 16 * MIB
    # what was planned with the last read that was too slow has come late, too
    too_late = (CREDIT + 1) * (first.latency + 128 * KIB / rate) + 8 * MIB / rate
    assert first.now <= second.now - first.now + too_late


def test_long_steps_are_tried_again_after_some_time() -> None:
    first = Reading(rate=12e6)
    read_in_long_steps(first, 256 * MIB)

    later = Reading(limit=first.limit, rate=900e6, now=first.now + RETRY_AFTER)
    read_in_long_steps(later, 256 * MIB)

    assert later.misses <= 2 * LONG_STEPS


@pytest.mark.parametrize("seconds", [0.3, 60.0])
@pytest.mark.parametrize("step", [3, 2 * LONG_STEPS, 100])
def test_a_pause_of_the_reader_is_no_sign_of_a_slow_link(step: int, seconds: float) -> None:
    """A pause of 0.3 s ended the long steps of all readers of the mount for five minutes."""
    reading = Reading(rate=90e6)

    for number in range(200):
        if number == step:
            reading.now += seconds
        reading.read(number * MIB, 4096)

    assert reading.misses <= 2 * LONG_STEPS


@pytest.mark.parametrize("rate", [1e6, 12e6, 25e6])
def test_slow_responses_while_single_blocks_are_timed_do_not_hide_a_slow_link(rate: float) -> None:
    """One was a part of the usual time: the file was read through, five times slower."""
    reading = Reading(rate=rate)

    for number in range(200):
        reading.latency = 60 if number in {2, 4} else 0.02
        reading.read(number * MIB, 4096)

    assert reading.bytes_fetched <= 200 * 128 * KIB + 16 * MIB


def test_a_reader_that_stops_after_long_steps_has_fetched_twice_what_they_cover_at_most() -> None:
    for steps in range(1, 60):
        reading = Reading(rate=900e6)
        for offset in range(0, steps * MIB + 1, MIB):
            stream = reading.read(offset, 4096)
            stream.window = SHARE

        covered = steps * MIB + 128 * KIB
        assert reading.bytes_fetched <= max(steps + 1, 0) * 128 * KIB + (1 + LONG_FACTOR) * covered


def test_long_elements_with_long_gaps_are_not_read_through() -> None:
    reading = Reading(rate=900e6)

    for start in range(0, 256 * MIB, 2 * MIB):
        for offset in range(start, start + 512 * KIB, 128 * KIB):
            reading.read(offset, 128 * KIB)
        stream = reading.policy.latest
        assert stream is not None
        assert stream.steps is None or not stream.steps.is_sparse


@pytest.mark.parametrize("seed", range(20))
def test_reads_at_random_in_a_small_file_are_seldom_read_through(seed: int) -> None:
    chance = random.Random(seed)
    reading = Reading(size=256 * MIB, rate=900e6)

    for _ in range(400):
        reading.read(chance.randrange(reading.size // 4096) * 4096, 4096)

    assert reading.bytes_fetched <= 400 * 128 * KIB + 16 * MIB


def test_reading_backward_fetches_every_byte_once() -> None:
    reading = Reading(size=16 * MIB)

    for offset in reversed(range(0, 16 * MIB, 64 * KIB)):
        reading.read(offset, 64 * KIB)

    assert 16 * MIB == reading.bytes_fetched
    assert 128 == reading.misses


@pytest.mark.parametrize("seed", range(10))
def test_reads_that_overtake_each_other_are_one_stream(seed: int) -> None:
    chance = random.Random(seed)
    reading = Reading(size=64 * MIB)
    offsets = list(range(0, 64 * MIB, 128 * KIB))
    for start in range(0, len(offsets), REORDER):
        group = offsets[start : start + REORDER]
        chance.shuffle(group)
        offsets[start : start + REORDER] = group

    for offset in offsets:
        reading.read(offset, 128 * KIB)

    assert reading.misses <= 2 * REORDER


@pytest.mark.parametrize("count", [2, 8, 30])
def test_several_sequences_in_one_object_are_streams_each(count: int) -> None:
    reading = Reading(share=SHARE // count)

    for step in range(64):
        for start in range(count):
            reading.read(start * 32 * MIB + step * 128 * KIB, 128 * KIB)

    assert reading.misses == 2 * count


@pytest.mark.parametrize(("share", "load"), [(3 * MIB, 2 * MIB), (2 * MIB, MIB), (SHARE, 8 * MIB)])
def test_fetches_shrink_until_a_small_share_has_room_for_almost_half_as_much_again(
    share: int, load: int
) -> None:
    reading = Reading(size=64 * MIB, share=share)

    for offset in range(0, 64 * MIB, 128 * KIB):
        reading.read(offset, 128 * KIB)

    assert load == max(map(len, reading.fetched))


def test_a_stream_that_was_in_contention_fetches_little_ahead_at_first() -> None:
    reading = Reading()
    for offset in range(0, 32 * MIB, MIB):
        stream = reading.read(offset, MIB)
        reading.policy.shrink_window(stream)
    before = {*reading.fetched}

    reading.read(reading.fetched[-1].stop, MIB)

    assert [2 * MIB] == [len(span) for span in {*reading.fetched} - before]


def test_a_fast_reader_that_was_in_contention_has_the_widest_window_in_the_end() -> None:
    reading = Reading()
    reading.read(0, MIB)
    reading.policy.shrink_window(reading.read(MIB, MIB))

    for offset in range(2 * MIB, 768 * MIB, MIB):
        stream = reading.read(offset, MIB)
        reading.policy.grow_window(stream, offset + MIB)

    assert 768 * MIB + SHARE - 8 * MIB <= reading.fetched[-1].stop


@given(
    steps=st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=60),
    share=st.integers(1, 192),
)
def test_after_contention_a_fetch_is_at_most_twice_the_window(
    steps: list[tuple[int, bool]], share: int
) -> None:
    reading = Reading(size=GIB, share=share * MIB)
    reading.read(0, 256 * KIB)
    at = 256 * KIB

    for length, is_contended in steps:
        before = {*reading.fetched}
        stream = reading.read(at, length * 64 * KIB)
        at += length * 64 * KIB
        if stream.was_contended:
            ahead = [span for span in {*reading.fetched} - before if span.start >= at]
            assert all(len(span) <= max(2 * stream.window, SIZES.piece) for span in ahead)
        if is_contended:
            reading.policy.shrink_window(stream)
            assert stream.window <= MIB


@given(skipped=st.integers(1, 60), reads=st.integers(2, 60))
def test_what_is_ahead_of_a_reader_that_has_skipped_begins_and_ends_with_blocks(
    skipped: int, reads: int
) -> None:
    """Else its ends are fetched again after each remount: a disk keeps no part of an extent."""
    policy = Readahead(GIB, SIZES, StepLimit())
    policy.record_read(0, 4096)
    ranges: list[ByteRange] = []

    for number in range(reads):
        at = (skipped + number) * 4096
        ranges += policy.ahead(policy.record_read(at, at + 4096), SHARE)

    assert all(each.start % SIZES.block == each.stop % SIZES.block == 0 for each in ranges)


@pytest.mark.parametrize("is_hit", [False, True])
def test_a_skip_over_ready_bytes_fetches_no_more_ahead_than_one_that_missed(
    *, is_hit: bool
) -> None:
    """A remount fetched 128 KiB after a hit that nothing had fetched after the miss before it."""
    policy = Readahead(GIB, SIZES, StepLimit())
    first, far, between = 411_635_712, 412_164_096, (411_701_248, 411_832_320)
    policy.demand(policy.record_read(first, first + 4096), first, first + 4096, SHARE)

    stream = policy.record_read(far, far + 4096)
    if is_hit:
        assert policy.ahead(stream, SHARE) == ()
    else:
        assert len(policy.demand(stream, far, far + 4096, SHARE)) == 1

    for at in between:
        assert policy.ahead(policy.record_read(at, at + 4096), SHARE) == ()


def test_what_found_no_room_is_planned_again() -> None:
    policy = Readahead(GIB, SIZES, StepLimit())
    policy.demand(policy.record_read(0, 4096), 0, 4096, SHARE)
    stream = policy.record_read(4096, 256 * KIB)
    planned = policy.demand(stream, 4096, 256 * KIB, SHARE)

    stream.rewind(planned[1].start)

    assert planned[1:] == policy.ahead(stream, SHARE)


@given(
    reads=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 12)), max_size=60),
    size=st.integers(1, 400),
    share=st.integers(0, 200),
)
def test_every_plan_lies_in_the_object_and_within_the_share(
    reads: list[tuple[int, int]], size: int, share: int
) -> None:
    reading = Reading(size, share, FetchSizes(part=32, block=4, small=4, piece=8))

    for offset, length in reads:
        if offset < size:
            before = {*reading.fetched}
            stream = reading.read(offset, length)
            new = {*reading.fetched} - before
            assert all(0 <= span.start < span.stop <= size for span in new)
            beyond = sum(max(0, span.stop - max(span.start, stream.position)) for span in new)
            assert beyond <= max(share, 2 * 32)


@pytest.mark.parametrize("blocks", [17, 25, 40, 50, 64])
@pytest.mark.parametrize("share", [MIB, 2 * MIB, 4 * MIB, SHARE])
@pytest.mark.parametrize(("begin", "length"), [(0, 128 * KIB), (28 * MIB + 4 * KIB, 32 * KIB)])
def test_fetches_meet_where_extents_of_a_tier_do(
    blocks: int, share: int, begin: int, length: int
) -> None:
    size = 64 * MIB + 7
    reading = Reading(size, share, FetchSizes(part=blocks * 128 * KIB))

    for offset in range(begin, 48 * MIB, length):
        reading.read(offset, length)

    assert {bound % (32 * KIB) for bound in reading.bounds - {size}} == {0}


def test_a_stream_that_is_read_again_after_its_end_fetches_whole_blocks() -> None:
    reading = Reading()
    for offset in range(0, 2 * MIB, 100 * KIB):
        stream = reading.read(offset, 100 * KIB)
    stream.take_planned()
    reading.fetched.clear()

    reading.read(stream.position, 100 * KIB)

    assert {bound % SIZES.block for bound in reading.bounds} == {0}


@given(
    steps=st.lists(st.tuples(st.integers(-40, 60), st.integers(1, 4)), max_size=80),
    offset=st.integers(0, 3999),
    share=st.integers(0, 2000),
)
def test_what_is_fetched_is_limited_by_what_is_read(
    steps: list[tuple[int, int]], offset: int, share: int
) -> None:
    reading = Reading(4000, share, FetchSizes(part=32, block=4, small=40, piece=8))
    read = 0

    for step, length in steps:
        stream = reading.read(offset, length)
        stream.window = share
        read += length
        offset = max(0, stream.position + step) % (reading.size - 1)

    # the steps before a stream is sparse cover at most as much as those after it, and their mean
    # lags behind by three steps
    of_a_short_step = SHORT_STEP * (1 + 3 / STEPS) * (1 + FACTOR)
    of_a_long_step = LONG_STEP * (1 + 3 / LONG_STEPS) * (1 + LONG_FACTOR)
    of_a_step = max(of_a_short_step, of_a_long_step) * 4 + 3 * 4
    at_the_end = reading.sizes.small
    limit = (1 + WINDOW_FACTOR) * read + of_a_step * len(steps) + at_the_end
    assert reading.bytes_fetched <= limit
