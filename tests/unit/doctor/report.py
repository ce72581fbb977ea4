"""Report of `s3mountctl doctor` as a test sees it: rows by name, and all that was printed."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from s3mount.cli.exit_status import run_command
from s3mount.ctl.main import s3mountctl
from s3mount.ctl.mounts import Machine
from tests.faults.bucket import Bucket
from tests.field.case import BUCKET, KEYS, OBJECTS, SECRET

VARIABLES = (  # which would decide, if the machine of the test sets them
    *("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"),
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CREDENTIAL_EXPIRATION", "REQUESTS_CA_BUNDLE"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
)
NOTHING: Mapping[str, str] = {
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its outcome, and text and remedy in one."""

    outcome: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """Exit status, rows by the name of the check, the suggested command, and all output."""

    status: int
    rows: Mapping[str, Row]
    command: str | None
    output: str

    def __getitem__(self, name: str) -> Row:
        return self.rows[name]

    @property
    def outcomes(self) -> Mapping[str, str]:
        return {name: row.outcome for name, row in self.rows.items()}

    def names(self, outcome: str) -> list[str]:
        """Return the names of the checks with *outcome*."""
        return [name for name, row in self.rows.items() if row.outcome == outcome]


Doctor = Callable[..., Report]


def clear_environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Leave nothing of the AWS configuration and of proxies but *variables*."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**NOTHING, **variables}.items():
        monkeypatch.setenv(name, value)


def keys() -> dict[str, str]:
    return {name: value for name, value in KEYS.items() if value is not None}


def bucket(objects: Mapping[str, bytes] = OBJECTS) -> Bucket:
    """Return the bucket of scripted stores."""
    made = Bucket(BUCKET)
    for key, body in objects.items():
        made.put(key, body)
    return made


def examine(capfd: pytest.CaptureFixture[str], *arguments: str) -> Report:
    """Run `s3mountctl doctor --json`; nothing that it prints may hold the secret key."""
    status, out, err = run(capfd, *arguments, "--json")
    assert err == ""
    report = json.loads(out)
    rows = {
        each["check"]: Row(each["outcome"], f"{each['text']}; {each['remedy']}")
        for each in report["checks"]
    }
    return Report(status, rows, report["command"], out)


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run `s3mountctl doctor`; return its exit status, stdout and stderr."""
    capfd.readouterr()
    status = run_command("s3mountctl", lambda: s3mountctl(["doctor", *arguments], Machine()))
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    return status, out, err
