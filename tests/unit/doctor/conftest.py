"""Fixtures of the doctor: an environment without AWS configuration, and the command."""

from collections.abc import Iterator

import pytest

from tests.field.case import BUCKET
from tests.field.store import ScriptedStore
from tests.unit.doctor.report import Doctor, Report, bucket, clear_environment, examine, keys


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clear_environment(monkeypatch, **keys())


@pytest.fixture
def doctor(capfd: pytest.CaptureFixture[str]) -> Doctor:
    """Examine the bucket of the scripted store at the URL, without measuring."""

    def doctor(url: str, *options: str) -> Report:
        return examine(capfd, BUCKET, "--endpoint-url", url, "--no-speed", *options)

    return doctor


@pytest.fixture
def store() -> Iterator[ScriptedStore]:
    with ScriptedStore(bucket()) as store:
        yield store
