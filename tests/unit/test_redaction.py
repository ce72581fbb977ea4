"""Redaction of what gives access, in whatever text it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3mount.printable import one_line, printable
from s3mount.redaction import redacted

SECRET = "aB3%2Fx9+K~_-Zq8"
SIGNED = [
    "https://b.s3.amazonaws.com/k?X-Amz-Credential={}&X-Amz-Date=2&X-Amz-Signature={}",
    "https://b.s3.amazonaws.com/k?x-amz-security-token={}&versionId=3",
    "bucket?AWSAccessKeyId={}&Expires=3&Signature={}",
    "https://storage.googleapis.com/b/k?X-Goog-Credential={}&X-Goog-Signature={}",
    "https://storage.googleapis.com/b/k?GoogleAccessId={}&Signature={}",
    "https://a.blob.core.windows.net/c/k?sv={}&ss={}&srt={}&sp={}&se={}&st={}&spr={}&sig={}",
    "https://a.blob.core.windows.net/c/k?skoid={}&sktid={}&skt={}&ske={}&sks={}&skv={}&sr={}",
    "https://b.oss.aliyuncs.com/k?OSSAccessKeyId={}&Expires=3&Signature={}&security-token={}",
    "https://b.oss.aliyuncs.com/k?x-oss-signature={}&x-oss-credential={}",
    "https://b.cos.myqcloud.com/k?q-sign-algorithm=sha1&q-ak={}&q-signature={}&x-cos-security-token={}",
    "https://b.obs.example/k?AccessKeyId={}&X-Obs-Security-Token={}",
    "https://gateway.example/b?access_token={}&api_key={}&password={}&client_secret={}",
    "key%3FX-Amz-Signature%3D{}%26token%3D{}",
    "http://joe:{}@proxy:3128",
    "http://{}@proxy:3128",
    "socks5h://joe:{}/x@{}@proxy:3128",
    "s3://joe:{}@bucket",
]
SHOWN = [
    "s3://bucket/year=2024/token=7/part-0",
    "s3://bucket/joe@example.com/key",
    "https://b.s3.amazonaws.com/k?versionId=3&partNumber=4",
    "joe@example.com: signature=v2/part=3",
    "http://127.0.0.1:9000: refused",
    "write http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT with special characters as %XX",
]


@pytest.mark.parametrize("text", SIGNED)
@pytest.mark.parametrize("around", ["{}", "cannot open '{}': refused", "a\n{}\nb"])
def test_what_gives_access_is_left_out(text: str, around: str) -> None:
    shown = around.format(text.replace("{}", SECRET))

    for output in (redacted(shown), printable(shown), printable(shown, 60), one_line(shown)):
        assert SECRET not in output
        assert SECRET[-6:] not in output


@pytest.mark.parametrize("text", SIGNED)
def test_the_rest_of_it_is_kept(text: str) -> None:
    assert redacted(text.replace("{}", SECRET)).replace("*", "").replace("joe:", "") == (
        text.replace("{}", "").replace("joe:", "").replace("/x@", "")
    )


@pytest.mark.parametrize("length", [190, 199, 200, 201, 1000, 4000])
@pytest.mark.parametrize("user", ["aws:{}", "{}", "{}:x-oauth", "a@b:{}"])
def test_a_password_may_be_a_long_token(user: str, length: int) -> None:
    text = f"proxy http://{user.replace('{}', '5ecre7' * (length // 6))}@proxy:3128: refused"

    for output in (redacted(text), printable(text), one_line(text)):
        assert "5ecre7" not in output


def test_a_scheme_after_other_letters_hides_no_password() -> None:
    assert redacted("tohttp://joe:5e@cre?7@proxy") == "tohttp://*@proxy"


@pytest.mark.parametrize("text", SHOWN)
def test_names_of_objects_and_addresses_are_shown_whole(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize("limit", range(20, 200, 7))
def test_no_cut_hides_what_a_value_is(limit: int) -> None:
    text = f"{'x' * 80}?X-Amz-Signature={'5ecre7' * 20}"

    assert "5ecre7" not in printable(text, limit)


@given(
    st.text("?&sig=token@:/ X-Amz-Signature%3D26https\n\u202e…*", max_size=200), st.integers(9, 99)
)
def test_it_is_idempotent_and_makes_nothing_longer(text: str, limit: int) -> None:
    once, shown = redacted(text), printable(text, limit)

    assert redacted(once) == once
    assert len(once) <= len(text)
    assert printable(shown, limit) == shown


@pytest.mark.parametrize(
    "piece", ["http://", "http://a:", "?token", "&a-", "s3://a:", "X-Amz-", "@", "=", "%3D"]
)
def test_a_long_text_costs_little(piece: str) -> None:
    """A store chooses texts: they must not take time that grows with the square of their length."""
    assert redacted(piece * 100_000)
