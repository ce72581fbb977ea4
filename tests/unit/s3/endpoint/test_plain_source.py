"""Keys of a plain configuration while a mount runs: replaced, spoilt for a moment, or no more."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from s3mount.config import StoreConfig
from s3mount.errors import S3MountError
from s3mount.s3.endpoint.plain_source import PlainSource
from s3mount.s3.transport import Retryable

PLAIN = "[default]\naws_access_key_id = A\naws_secret_access_key = {}\n"
PROGRAM = "[default]\ncredential_process = /nonexistent/program\n"
LATE_MODULES = ("s3mount.s3.endpoint.boto_session", "s3mount.s3.endpoint.credential_source")


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The credentials file, with keys; nothing of this machine is configured."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    path.write_text(PLAIN.format("old"))
    return path


@pytest.fixture
def source(credentials: Path) -> Iterator[PlainSource]:  # noqa: ARG001 - its keys
    with closing(PlainSource(StoreConfig(bucket="bucket"))) as made:
        assert _secret(made) == "old"
        yield made


def test_keys_that_were_replaced_are_found(source: PlainSource, credentials: Path) -> None:
    before = source.may_have_changed()
    credentials.with_name("new").write_text(PLAIN.format("new"))
    credentials.with_name("new").rename(credentials)
    after = source.may_have_changed()

    assert (before, after, _secret(source)) == (False, True, "new")
    assert source.may_have_changed() is False


@pytest.mark.parametrize("text", ["", "[default]\naws_acc", PROGRAM])
def test_keys_that_were_away_for_a_moment_are_found_again(
    text: str, source: PlainSource, credentials: Path
) -> None:
    credentials.write_text(text)
    with pytest.raises(S3MountError):
        source.look_up(fresh=True)
    credentials.write_text(PLAIN.format("new"))

    assert source.may_have_changed() is not False
    assert _secret(source) == "new"


@pytest.mark.parametrize("module", LATE_MODULES)
def test_modules_that_an_update_took_away_are_named_as_the_cause(
    module: str, source: PlainSource, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, module, None)
        credentials.write_text(PROGRAM)
        with pytest.raises(Retryable, match="updated or removed after this mount was made"):
            source.look_up(fresh=True)
    credentials.write_text(PLAIN.format("new"))

    assert _secret(source) == "new"


def _secret(source: PlainSource) -> str:
    return source.look_up(fresh=True).frozen.secret_key
