"""Checks of the mount point."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from s3mount.config import MountConfig
from s3mount.daemon.mounting.mount_point import MountPoint, checked_mountpoint
from s3mount.daemon.mounting.passed_descriptor import is_passed_descriptor
from s3mount.daemon.mounting.stale_mounts import clear
from s3mount.errors import SetupError

LONG_NAME = "d" * 200


def test_a_mount_point_is_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    place = checked_mountpoint(MountConfig(mountpoint=str(tmp_path / "link")))

    assert place.path == str(tmp_path.resolve() / "real")
    assert place.is_in_place
    os.close(place.descriptor)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "does not exist; create it"),
        ("file", "is not a directory"),
        ("loop", "cannot be reached"),
    ],
)
def test_a_mount_point_that_is_not_a_directory_is_refused(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(SetupError, match=message):
        checked_mountpoint(MountConfig(mountpoint=str(tmp_path / name)))


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A directory whose path is longer than a page: a descriptor of it, and the path."""
    path = str(tmp_path)
    here = os.open(tmp_path, os.O_PATH)
    while len(path) <= 4096:
        os.mkdir(LONG_NAME, dir_fd=here)
        above, here = here, os.open(LONG_NAME, os.O_PATH, dir_fd=here)
        os.close(above)
        path += f"/{LONG_NAME}"
    yield here, path
    os.close(here)


def test_a_path_longer_than_a_page_is_refused(deep: tuple[int, str]) -> None:
    """Each component can be opened, so that the failure comes late: it was a traceback."""
    with pytest.raises(SetupError, match="cannot be reached: File name too long"):
        checked_mountpoint(MountConfig(mountpoint=deep[1]))
    with pytest.raises(SetupError, match="cannot be reached: File name too long"):
        clear(deep[1])


def test_a_mount_point_moved_to_a_path_longer_than_a_page_is_not_in_place(
    deep: tuple[int, str],
) -> None:
    """The owner of a directory above may move it so; the helper process died of it."""
    assert not MountPoint("/home/way/mount", deep[0]).is_in_place


@pytest.mark.parametrize(
    ("path", "is_passed"),
    [("/dev/fd/7", True), ("/dev/fd/", False), ("/dev/fd/7/x", False), ("/mnt", False)],
)
def test_a_passed_descriptor_is_recognized_by_its_path(path: str, *, is_passed: bool) -> None:
    assert is_passed_descriptor(path) is is_passed
