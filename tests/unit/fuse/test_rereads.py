"""The kernel asks again, once, for a part of what failed."""

from s3mount.errors import StoreFailed
from s3mount.fuse.rereads import PROMPTLY, FailedRead, Rereads
from s3mount.s3.values import Span

FAILED = FailedRead(Span(0, 131072), began=10.0, ended=14.0, failure=StoreFailed("down"))
BESIDE = FailedRead(Span(131072, 262144), began=10.0, ended=14.0, failure=StoreFailed("down"))
PAGE = Span(4096, 8192)


def _expecting(*failed: FailedRead) -> Rereads:
    rereads = Rereads()
    for each in failed:
        rereads.expect(1, each)
    return rereads


def test_a_page_of_a_failed_read_is_its_second_asking() -> None:
    assert _expecting(FAILED).take(1, PAGE, 14.0) is FAILED


def test_there_is_no_third_asking() -> None:
    rereads = _expecting(FAILED, BESIDE)
    rereads.take(1, PAGE, 14.0)

    assert rereads.take(1, PAGE, 14.0) is None
    assert rereads.take(1, BESIDE.span, 14.0) is None


def test_another_place_another_file_and_a_later_time_are_first_askings() -> None:
    rereads = _expecting(FAILED)

    assert rereads.take(1, Span(131072, 135168), 14.0) is None
    assert rereads.take(2, PAGE, 14.0) is None
    assert rereads.take(1, PAGE, 14.0 + 2 * PROMPTLY) is None


def test_a_closed_file_is_forgotten() -> None:
    rereads = _expecting(FAILED)
    rereads.forget(1)

    assert rereads.take(1, PAGE, 14.0) is None
