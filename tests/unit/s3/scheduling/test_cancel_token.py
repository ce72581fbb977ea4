import pytest

from s3mount.s3.scheduling.cancel_token import CancelToken, RequestCancelledError


def test_pulling_ended_what_is_tied() -> None:
    token, ended = CancelToken(), []

    token.attach(lambda: ended.append("first"))
    token.attach(lambda: ended.append("second"))
    token.cancel()

    assert ended == ["second"]


def test_nothing_is_ended_once_detached() -> None:
    token, ended = CancelToken(), []

    token.attach(lambda: ended.append("call"))
    token.detach()
    token.cancel()

    assert ended == []


def test_a_call_attached_after_cancellation_does_not_begin() -> None:
    token = CancelToken()
    token.check()

    token.cancel()

    with pytest.raises(RequestCancelledError):
        token.check()
    with pytest.raises(RequestCancelledError):
        token.attach(lambda: None)
