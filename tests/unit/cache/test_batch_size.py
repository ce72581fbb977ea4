"""How much the disk cache's writer writes at once, by how long the last batches took."""

from hypothesis import given
from hypothesis import strategies as st

from s3mount.cache.disk_tier.readers import SLOW_AFTER
from s3mount.cache.disk_tier.write_queue import BATCH_LEAST, BatchSize

MOST = 4 * BATCH_LEAST


def test_a_batch_grows_with_a_disk_that_writes_it_soon() -> None:
    size = BatchSize(MOST)

    sizes = []
    for _ in range(4):
        sizes.append(size.octets)
        size.record(size.octets, SLOW_AFTER / 2)

    assert sizes == [BATCH_LEAST, 2 * BATCH_LEAST, MOST, MOST]


def test_a_few_bytes_are_no_evidence_of_a_fast_disk() -> None:
    size = BatchSize(MOST)

    size.record(BATCH_LEAST // 4, 0.0)

    assert size.octets == BATCH_LEAST


def test_a_batch_that_was_late_makes_the_next_one_as_much_smaller() -> None:
    size = BatchSize(MOST)
    for _ in range(2):
        size.record(size.octets, 0.0)

    size.record(MOST, 2 * SLOW_AFTER)

    assert size.octets == MOST // 2


@given(
    st.integers(1, MOST),
    st.lists(st.tuples(st.integers(0, MOST), st.floats(0, 100)), max_size=20),
)
def test_a_batch_is_within_its_bounds(most: int, batches: list[tuple[int, float]]) -> None:
    size = BatchSize(most)

    for octets, seconds in batches:
        size.record(octets, seconds)
        assert min(BATCH_LEAST, most) <= size.octets <= most
