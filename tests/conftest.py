"""Fixtures of all suites: the real servers, each started once, and a check of the log."""

import errno
import logging
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

from s3mount.daemon.mounting.mount_table import mount_of_device
from tests import servers
from tests.servers import S3Server

settings.register_profile("s3mount", deadline=None)  # no test fails for its duration
settings.load_profile("s3mount")


class _Watch(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.WARNING)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


@pytest.fixture
def allowed_warnings() -> list[str]:
    """Texts of warnings that a test may log, since chance or a parameter decides it."""
    return []


@pytest.fixture(autouse=True)
def expected_warnings(allowed_warnings: list[str]) -> Iterator[list[str]]:
    """Texts of warnings that the test has to log; with `allowed_warnings` the only ones it may."""
    expected: list[str] = []
    records: list[logging.LogRecord] = []
    watch = _Watch(records)
    logging.getLogger("s3mount").addHandler(watch)
    yield expected
    logging.getLogger("s3mount").removeHandler(watch)
    messages = [record.getMessage() for record in records]
    parts = [*expected, *allowed_warnings]
    assert [message for message in messages if not any(part in message for part in parts)] == []
    assert [part for part in expected if not any(part in message for message in messages)] == []


@pytest.fixture(scope="session", autouse=True)
def _no_stale_sockets() -> Iterator[None]:
    """Remove the control sockets that killed mounts have left."""
    yield
    for path in Path("/run/s3mount").glob("**/*.socket"):
        if mount_of_device(int(path.stem)) is None:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
                if client.connect_ex(str(path)) == errno.ECONNREFUSED:
                    path.unlink()


@pytest.fixture(scope="session")
def _seaweedfs_pair() -> Iterator[tuple[S3Server, S3Server]]:
    with servers.seaweedfs() as pair:
        yield pair


@pytest.fixture(scope="session")
def seaweedfs(_seaweedfs_pair: tuple[S3Server, S3Server]) -> S3Server:
    return _seaweedfs_pair[0]


@pytest.fixture(scope="session")
def seaweedfs_https(_seaweedfs_pair: tuple[S3Server, S3Server]) -> S3Server:
    return _seaweedfs_pair[1]


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    with servers.moto() as server:
        yield server


@pytest.fixture(scope="session")
def rclone() -> Iterator[S3Server]:
    with servers.rclone() as server:
        yield server


@pytest.fixture(scope="session")
def versitygw() -> Iterator[S3Server]:
    with servers.versitygw() as server:
        yield server


@pytest.fixture(scope="session")
def gofakes3() -> Iterator[S3Server]:
    with servers.gofakes3() as server:
        yield server


@pytest.fixture(params=["seaweedfs", "seaweedfs_https", "moto", "rclone", "versitygw", "gofakes3"])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Each of the real servers in turn."""
    server: S3Server = request.getfixturevalue(request.param)
    return server
