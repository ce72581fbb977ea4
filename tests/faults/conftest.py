"""Fixtures: a mount whose credentials a program issues."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.faulty_mount import FaultyMount, MountOptions
from tests.faults.issuer import TIMEOUT, Issuer, faulty_mount


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture(params=["native", "boto3"])
def options(request: pytest.FixtureRequest) -> MountOptions:
    return MountOptions(request.param, 60, TIMEOUT)


@pytest.fixture
def mount(options: MountOptions, issuer: Issuer) -> Iterator[FaultyMount]:
    with faulty_mount(options, issuer) as running:
        yield running
