"""Fixtures of the mount tests: each server in turn, and mount points."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.mount_runner import MountRunner, adopting, public_directory
from tests.servers import S3Server

SERVERS = ("seaweedfs", "moto", "rclone")
MORE_SERVERS = ("versitygw", "gofakes3")
# To save time, the others only have SERVERS. Moto, which is ten times as slow as the others, serves
# none of the modules that need thousands of requests; gofakes3 has no If-Match.
SELECTION = {
    "test_names.py": {*SERVERS, *MORE_SERVERS},
    "test_reading.py": {*SERVERS, *MORE_SERVERS},
    "test_consistency.py": {"seaweedfs", "rclone", "versitygw"},
    "test_directories.py": {"seaweedfs", "rclone", "gofakes3"},
    "test_tree.py": {"seaweedfs", "rclone", "gofakes3"},
}
# begun first, so that no worker is left alone with one of them at the end
LONGEST = (
    *("test_semantics.py", "test_reading.py", "test_consistency.py", "test_buckets.py"),
    *("test_huge_directories.py", "test_mount_point.py", "test_tree.py", "test_list_versions.py"),
    *("test_doctor.py", "test_directories.py"),
)
IS_EVERYWHERE = os.environ.get("S3MOUNT_SERVERS") == "all"


@pytest.hookimpl(trylast=True)  # after pytest's own order, by parameters of the session
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests of servers that a module is not run on, and begin with the longest."""
    left_out = [
        item
        for item in items
        if isinstance(item, pytest.Function)
        and not IS_EVERYWHERE
        and "server" in getattr(item, "fixturenames", ())
        and hasattr(item, "callspec")
        and item.callspec.params.get("server", SERVERS[0])
        not in SELECTION.get(item.path.name, SERVERS)
    ]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    name = item.path.name
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


@pytest.fixture(scope="session", params=[*SERVERS, *MORE_SERVERS])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each server in turn: what works on all of them should work on others."""
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
