"""The kernel retries a part of a failed read, once, and after a page fault twice."""

from s3mount.errors import StoreError
from s3mount.fuse.handshake import BACKGROUND_MAX
from s3mount.fuse.read_retries import (
    FILES_MAX,
    READS_MAX,
    RETRIED_WITHIN,
    FailedRead,
    ReadRetryTracker,
)

FAILED = FailedRead(0, 131072, started=10.0, ended=14.0, failure=StoreError("down"))
PAGE = (4096, 8192)


def _expecting(*failed: FailedRead) -> ReadRetryTracker:
    tracker = ReadRetryTracker()
    for each in failed:
        tracker.record(1, each)
    return tracker


def test_a_read_of_a_page_of_a_failed_read_is_its_retry() -> None:
    failed = _expecting(FAILED).take(1, *PAGE, 14.0)

    assert failed is not None
    assert failed[:4] == FAILED[:4]
    assert str(failed.failure) == "down"


def test_a_failed_read_is_retried_once() -> None:
    tracker = _expecting(FAILED)
    tracker.take(1, *PAGE, 14.0)

    assert tracker.take(1, *PAGE, 14.0) is None
    tracker.record(2, FAILED)
    assert list(tracker._failed) == [2]


def test_each_of_many_reads_that_failed_at_once_is_retried() -> None:
    failed = [FAILED._replace(start=at << 20, stop=(at + 1) << 20) for at in range(BACKGROUND_MAX)]
    tracker = _expecting(*failed)

    retried = [tracker.take(1, each.start, each.start + 4096, 14.0) for each in failed]

    assert [each.start for each in failed] == [each.start for each in retried if each]


def test_a_retry_that_fails_is_retried_once_within_the_time_of_the_first_read() -> None:
    tracker = _expecting(FAILED)
    first = tracker.take(1, *PAGE, 14.0)
    retry = FailedRead(*PAGE, started=14.0, ended=14.1, failure=StoreError("down"))
    tracker.record(1, retry, retried=first)

    second = tracker.take(1, *PAGE, 14.1)
    tracker.record(1, retry, retried=second)

    assert second is not None
    assert second.started == FAILED.started
    assert tracker.take(1, *PAGE, 14.2) is None


def test_another_range_another_file_and_a_later_time_are_no_retry() -> None:
    tracker = _expecting(FAILED)

    assert tracker.take(1, 131072, 135168, 14.0) is None
    assert tracker.take(2, *PAGE, 14.0) is None
    assert tracker.take(1, *PAGE, 14.0 + 2 * RETRIED_WITHIN) is None


def test_a_closed_file_is_forgotten() -> None:
    tracker = _expecting(FAILED)
    tracker.forget(1)

    assert tracker.take(1, *PAGE, 14.0) is None


def test_what_is_kept_is_bounded_in_age_and_number() -> None:
    tracker = ReadRetryTracker()
    for number in range(1000):
        start, now = number * 10, number * 100.0
        tracker.record(1, FailedRead(start, start + 10, now, now, StoreError("down")))
    for handle in range(5000):
        tracker.record(handle, FAILED._replace(ended=1e6))
    for _ in range(1000):
        tracker.record(4999, FAILED._replace(ended=1e6))

    kept = list(tracker._failed.values())
    assert len(kept) == FILES_MAX
    assert max(map(len, kept)) == READS_MAX
    assert sum(map(len, kept)) == FILES_MAX - 1 + READS_MAX


def test_failures_of_files_that_are_not_read_any_more_are_dropped() -> None:
    tracker = _expecting(FAILED)

    tracker.record(2, FAILED._replace(ended=FAILED.ended + 2 * RETRIED_WITHIN))

    assert list(tracker._failed) == [2]


def test_a_kept_failure_holds_no_frames() -> None:
    failure = StoreError("down", key="key")
    try:
        raise failure from ZeroDivisionError()
    except StoreError:
        tracker = _expecting(FAILED._replace(failure=failure))

    kept = tracker.take(1, *PAGE, 14.0)

    assert kept is not None
    assert (str(kept.failure), kept.failure.key) == ("down", "key")
    assert (kept.failure.__traceback__, kept.failure.__cause__, kept.failure.__context__) == (
        None,
        None,
        None,
    )
