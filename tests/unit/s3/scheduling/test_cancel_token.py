import pytest

from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError


def test_pulling_cuts_what_is_tied() -> None:
    cord, cuts = CancelToken(), []

    cord.tie(lambda: cuts.append("first"))
    cord.tie(lambda: cuts.append("second"))
    cord.pull()

    assert cuts == ["second"]


def test_nothing_is_cut_once_untied() -> None:
    cord, cuts = CancelToken(), []

    cord.tie(lambda: cuts.append("cut"))
    cord.untie()
    cord.pull()

    assert cuts == []


def test_what_is_tied_too_late_does_not_begin() -> None:
    cord = CancelToken()
    cord.check()

    cord.pull()

    with pytest.raises(RequestCancelledError):
        cord.check()
    with pytest.raises(RequestCancelledError):
        cord.tie(lambda: None)
