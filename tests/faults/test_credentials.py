"""Credentials that expire under a mount, and are renewed by whoever gave them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bucket import Bucket
from tests.faults.hostile import Exchange, Step, behave
from tests.faults.mischief import refused
from tests.faults.rig import BUCKET, Flavour, Rig
from tests.faults.workloads import SMALL

EXPIRED = refused(400, "ExpiredToken", "The provided token has expired.")


class Issuer:
    """Gives out credentials by `credential_process`, as a company's login tool does."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "config"
        self._credentials = folder / "credentials.json"
        self.config.write_text(f"[default]\ncredential_process = cat {self._credentials}\n")
        self.issue("first-token")

    def issue(self, token: str) -> None:
        """From now on give out *token*."""
        credentials = {"AccessKeyId": "AKIDISSUED", "SecretAccessKey": "s", "SessionToken": token}
        self._credentials.write_text(json.dumps({"Version": 1, **credentials, "Expiration": "2099-01-01T00:00:00Z"}))


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture(params=["lean", "boto3"])
def rig(request: pytest.FixtureRequest, issuer: Issuer) -> Iterator[Rig]:
    bucket = Bucket(BUCKET)
    bucket.put("before", SMALL)
    bucket.put("after", SMALL)
    with Rig(Flavour(request.param, 60, 4.0), bucket, {"AWS_CONFIG_FILE": str(issuer.config)}) as running:
        yield running


def _expire(rig: Rig, token: str) -> None:
    def fault(exchange: Exchange) -> None:
        is_expired = exchange.request.headers.get("x-amz-security-token") == token
        (EXPIRED if is_expired else behave)(exchange)

    rig.store.misbehave(Step(None, fault))


def test_credentials_that_expire_are_asked_for_again(rig: Rig, issuer: Issuer) -> None:
    assert (rig.mountpoint / "before").read_bytes() == SMALL

    issuer.issue("second-token")
    _expire(rig, "first-token")

    assert (rig.mountpoint / "after").read_bytes() == SMALL
    assert rig.store.requests[-1].headers["x-amz-security-token"] == "second-token"


def test_credentials_that_nobody_renews_are_told_as_no_access(rig: Rig) -> None:
    assert (rig.mountpoint / "before").read_bytes() == SMALL

    _expire(rig, "first-token")
    with pytest.raises(PermissionError):
        (rig.mountpoint / "after").read_bytes()

    rig.store.mend()
    assert (rig.mountpoint / "after").read_bytes() == SMALL
    assert "first-token" not in rig.log_text
