"""Nothing secret in the output, so that it can be pasted into a report."""

import base64
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.field.case import BUCKET
from tests.field.store import ScriptedStore
from tests.unit.doctor.report import clear_environment, run

# as long as no word of a report, and without what the shell or TOML would cut
SECRETS = st.text("abXY019/+=%@:# '\"\\$é", min_size=12, max_size=24).filter(
    lambda text: text == text.strip() and len(set(text)) > 5
)
Given = tuple[Mapping[str, str], tuple[str, ...]]
Scene = Callable[[str, Path, str], Given]
"""From a secret, a folder and a URL to variables and arguments."""


def in_keys(secret: str, _folder: Path, url: str) -> Given:
    keys = {
        "AWS_ACCESS_KEY_ID": f"AKID{secret}",
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_SESSION_TOKEN": secret,
    }
    return keys, (BUCKET, "--endpoint-url", url)


def in_profile(secret: str, folder: Path, url: str) -> Given:
    path = folder / "credentials"
    path.write_text(f"[default]\naws_access_key_id = A\naws_secret_access_key = {secret}\n{secret}")
    return {"AWS_SHARED_CREDENTIALS_FILE": str(path)}, (BUCKET, "--endpoint-url", url)


def in_process(secret: str, folder: Path, url: str) -> Given:
    answer = folder / "answer"
    answer.write_text(f'{{"Version": 1, "SecretAccessKey": "{secret}", {secret}')
    path = folder / "config"
    path.write_text(f"[default]\ncredential_process = cat {answer}\n")
    return {"AWS_CONFIG_FILE": str(path)}, (BUCKET, "--endpoint-url", url)


def in_proxy(secret: str, _folder: Path, url: str) -> Given:
    proxy = url.replace("://", f"://me:{secret}@")
    return {"HTTP_PROXY": proxy}, (BUCKET, "--endpoint-url", "http://store.invalid")


def in_quoted_proxy(secret: str, _folder: Path, url: str) -> Given:
    proxy = url.replace("://", f"://me:{quote(secret, '')}@")
    return {"HTTP_PROXY": proxy}, (BUCKET, "--endpoint-url", "http://store.invalid")


def in_endpoint(secret: str, _folder: Path, url: str) -> Given:
    return {"AWS_ENDPOINT_URL": url.replace("://", f"://me:{secret}@")}, (BUCKET,)


def in_flag(secret: str, _folder: Path, url: str) -> Given:
    return {}, (BUCKET, "--endpoint-url", url.replace("://", f"://me:{secret}@"))


def in_unknown_flag(secret: str, _folder: Path, url: str) -> Given:
    return {}, (BUCKET, "--endpoint-url", url, f"--secret-key={secret}")


def in_signed_url(secret: str, _folder: Path, url: str) -> Given:
    signed = f"{url}/{BUCKET}?X-Amz-Signature={quote(secret, '')}&X-Amz-Security-Token={secret}"
    return {}, (BUCKET, "--endpoint-url", signed)


def in_prefix(secret: str, _folder: Path, url: str) -> Given:
    signature = f"X-Amz-Signature={quote(secret, '')}&X-Amz-Security-Token={quote(secret, '')}"
    return {}, (f"{BUCKET}/key?{signature}", "--endpoint-url", url, "--no-sign-request")


def in_bucket(secret: str, _folder: Path, url: str) -> Given:
    return {}, (f"{BUCKET}?AWSAccessKeyId=A&Signature={quote(secret, '')}", "--endpoint-url", url)


def in_file(secret: str, folder: Path, url: str) -> Given:
    path = folder / "s3mount.toml"
    path.write_text(f'secret-key = "{secret}"\n{secret}\n')
    return {}, (BUCKET, "--endpoint-url", url, "--config", str(path))


def spellings(secret: str) -> Iterator[str]:
    """Yield what a secret looks like in output: as it is, in a URL, in a header."""
    yield secret
    yield quote(secret, "")
    yield base64.b64encode(f"me:{secret}".encode()).decode()


@pytest.mark.parametrize(
    "scene",
    [
        *(in_keys, in_profile, in_process, in_proxy, in_quoted_proxy),
        *(in_endpoint, in_flag, in_unknown_flag, in_signed_url, in_file),
        *(in_prefix, in_bucket),
    ],
)
@settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(secret=SECRETS)
def test_no_secret_is_in_the_output(
    scene: Scene,
    secret: str,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    store: ScriptedStore,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        variables, arguments = scene(secret, tmp_path, store.url)
        clear_environment(patch, **variables)
        status, out, err = run(capfd, *arguments, "--no-speed", "--timeout", "2")

    assert status in (0, 1, 2)
    assert out or err
    for spelling in spellings(secret):
        assert spelling not in out + err
