"""One sandbox and one store for the whole suite; each test has a unit instance of its own in it."""

import sys
from collections.abc import Iterator

import pytest

from tests.servers import S3Server
from tests.systemd.fixtures import bucket, server
from tests.systemd.sandbox import CHECKOUT, Sandbox, booted
from tests.systemd.service import Service

__all__ = ["bucket", "server"]  # fixtures of two suites


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """With s3mount installed, from the environment that runs the tests."""
    with booted() as running:
        running.run(CHECKOUT / "scripts/install", "--program", sys.prefix)
        yield running


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Of a unit instance: that of the test which uses it."""
    return str(request.node.name).removeprefix("test_").replace("_", "-")


@pytest.fixture
def unconfigured(sandbox: Sandbox, name: str) -> Iterator[Service]:
    """Yield a service, and remove all of it afterwards."""
    service = Service(sandbox, name)
    yield service
    service.stop()
    assert not service.is_mounted


@pytest.fixture
def service(unconfigured: Service, server: S3Server, bucket: str) -> Service:
    unconfigured.configure(server, bucket)
    return unconfigured
