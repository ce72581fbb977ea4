"""Each server in turn, and buckets and mounts of a module's own."""

import pytest

from tests.servers import S3Server


@pytest.fixture(scope="session", params=["seaweedfs", "moto", "rclone"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each server in turn: what works on all three works in the field."""
    found: S3Server = request.getfixturevalue(request.param)
    return found
