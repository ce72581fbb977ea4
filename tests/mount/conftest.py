"""Servers for the whole session, and a mount of one's own or of a module's bucket."""

from collections.abc import Iterator

import pytest

from tests.servers import S3Server, moto, rclone, seaweedfs

SERVERS = ("seaweedfs", "moto", "rclone")


@pytest.fixture(scope="session")
def _seaweedfs() -> Iterator[tuple[S3Server, S3Server]]:
    with seaweedfs() as both:
        yield both


@pytest.fixture(scope="session")
def seaweedfs_server(_seaweedfs: tuple[S3Server, S3Server]) -> S3Server:
    return _seaweedfs[0]


@pytest.fixture(scope="session")
def https_server(_seaweedfs: tuple[S3Server, S3Server]) -> S3Server:
    return _seaweedfs[1]


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    with moto() as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server() -> Iterator[S3Server]:
    with rclone() as server:
        yield server


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each server in turn: what works on all three works in the field."""
    found = request.getfixturevalue(f"{request.param}_server")
    assert isinstance(found, S3Server)
    return found
