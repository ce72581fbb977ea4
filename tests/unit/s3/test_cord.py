import pytest

from s3mount.s3.cord import Cord, CutError


def test_pulling_cuts_what_is_tied() -> None:
    cord, cuts = Cord(), []

    cord.tie(lambda: cuts.append("first"))
    cord.tie(lambda: cuts.append("second"))
    cord.pull()

    assert cuts == ["second"]


def test_nothing_is_cut_once_untied() -> None:
    cord, cuts = Cord(), []

    cord.tie(lambda: cuts.append("cut"))
    cord.untie()
    cord.pull()

    assert cuts == []


def test_what_is_tied_too_late_does_not_begin() -> None:
    cord = Cord()
    cord.check()

    cord.pull()

    with pytest.raises(CutError):
        cord.check()
    with pytest.raises(CutError):
        cord.tie(lambda: None)
