"""Fixtures of the mount tests: each server in turn, and mount points."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.mount_runner import MountRunner, adopting, public_directory
from tests.servers import S3Server


@pytest.fixture(scope="session", params=["seaweedfs", "moto", "rclone"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each server in turn: what works on all three should work on others."""
    found: S3Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def directory() -> Iterator[Path]:
    """Directory that every user may enter."""
    with public_directory() as made:
        yield made


@pytest.fixture
def runner(directory: Path) -> Iterator[MountRunner]:
    """Runner of the one-file mount, at its own mount point."""
    place = directory / "mount"
    place.mkdir(mode=0o777)
    with adopting(place) as runner:
        yield runner


@pytest.fixture
def open_device() -> Iterator[None]:
    """Open /dev/fuse to all users, as udev does and some containers do not."""
    device = Path("/dev/fuse")
    mode = device.stat().st_mode
    device.chmod(0o666)
    yield
    device.chmod(mode)
