"""Each server in turn, and buckets and mounts of a module's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.mount_runner import MountRunner, adopting, public_directory
from tests.servers import S3Server


@pytest.fixture(scope="session", params=["seaweedfs", "moto", "rclone"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each server in turn: what works on all three works in the field."""
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where any user may go."""
    with public_directory() as made:
        yield made


@pytest.fixture
def runner(directory: Path) -> Iterator[MountRunner]:
    """s3mount with the stand-in for the store, at a mount point of its own."""
    place = directory / "mount"
    place.mkdir(mode=0o777)
    with adopting(place) as runner:
        yield runner


@pytest.fixture
def open_device() -> Iterator[None]:
    """/dev/fuse as udev leaves it, and some containers do not."""
    device = Path("/dev/fuse")
    mode = device.stat().st_mode
    device.chmod(0o666)
    yield
    device.chmod(mode)
