"""Fixtures of the suites that boot machines: a store outside of them, and a bucket."""

from collections.abc import Iterator

import pytest

from tests.servers import S3Server, seaweedfs
from tests.systemd.service import BODY, KEY


@pytest.fixture(scope="session")
def server() -> Iterator[S3Server]:
    """Outside of the machines, which share this machine's loopback."""
    with seaweedfs() as (plain, _):
        yield plain


@pytest.fixture
def bucket(server: S3Server) -> str:
    """A new bucket with the file `KEY`."""
    name = server.make_bucket()
    server.client().put_object(Bucket=name, Key=KEY, Body=BODY)
    return name
