"""The kernel asks again, once, for a part of what failed."""

from s3mount.errors import StoreError
from s3mount.fuse.read_retries import FILES_MAX, PROMPTLY, READS_MAX, FailedRead, ReadRetryTracker
from s3mount.s3.model import ByteRange

FAILED = FailedRead(ByteRange(0, 131072), began=10.0, ended=14.0, failure=StoreError("down"))
BESIDE = FailedRead(ByteRange(131072, 262144), began=10.0, ended=14.0, failure=StoreError("down"))
PAGE = ByteRange(4096, 8192)


def _expecting(*failed: FailedRead) -> ReadRetryTracker:
    rereads = ReadRetryTracker()
    for each in failed:
        rereads.expect(1, each)
    return rereads


def test_a_page_of_a_failed_read_is_its_second_asking() -> None:
    failed = _expecting(FAILED).take(1, PAGE, 14.0)

    assert failed is not None
    assert failed[:3] == FAILED[:3]
    assert str(failed.failure) == "down"


def test_there_is_no_third_asking() -> None:
    rereads = _expecting(FAILED, BESIDE)
    rereads.take(1, PAGE, 14.0)

    assert rereads.take(1, PAGE, 14.0) is None
    assert rereads.take(1, BESIDE.span, 14.0) is None


def test_another_place_another_file_and_a_later_time_are_first_askings() -> None:
    rereads = _expecting(FAILED)

    assert rereads.take(1, ByteRange(131072, 135168), 14.0) is None
    assert rereads.take(2, PAGE, 14.0) is None
    assert rereads.take(1, PAGE, 14.0 + 2 * PROMPTLY) is None


def test_a_closed_file_is_forgotten() -> None:
    rereads = _expecting(FAILED)
    rereads.forget(1)

    assert rereads.take(1, PAGE, 14.0) is None


def test_what_is_kept_is_bounded_in_age_and_number() -> None:
    rereads = ReadRetryTracker()
    for number in range(1000):
        span = ByteRange(number * 10, number * 10 + 10)
        rereads.expect(1, FailedRead(span, number * 100.0, number * 100.0, StoreError("down")))
    for handle in range(5000):
        rereads.expect(handle, FAILED._replace(ended=1e6))
    for _ in range(1000):
        rereads.expect(4999, FAILED._replace(ended=1e6))

    kept = list(rereads._failed.values())
    assert len(kept) == FILES_MAX
    assert max(map(len, kept)) == READS_MAX
    assert sum(map(len, kept)) == FILES_MAX - 1 + READS_MAX


def test_the_failures_of_files_that_nobody_reads_any_more_are_dropped() -> None:
    rereads = _expecting(FAILED)

    rereads.expect(2, FAILED._replace(ended=FAILED.ended + 2 * PROMPTLY))

    assert list(rereads._failed) == [2]


def test_a_kept_failure_holds_no_frames() -> None:
    failure = StoreError("down", key="key")
    try:
        raise failure from ZeroDivisionError()
    except StoreError:
        rereads = _expecting(FAILED._replace(failure=failure))

    kept = rereads.take(1, PAGE, 14.0)

    assert kept is not None
    assert (str(kept.failure), kept.failure.key) == ("down", "key")
    assert (kept.failure.__traceback__, kept.failure.__cause__, kept.failure.__context__) == (
        None,
        None,
        None,
    )
