"""What stands at a mount point, as the kernel's mount table tells."""

import os
from pathlib import Path

import pytest

from s3mount.config import MountConfig
from s3mount.errors import SetupError
from s3mount.service.mountpoint import checked_mountpoint, is_passed_descriptor


def test_a_mount_point_is_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    place = checked_mountpoint(MountConfig(mountpoint=str(tmp_path / "link")))

    assert place.path == str(tmp_path.resolve() / "real")
    assert place.is_in_place
    os.close(place.descriptor)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("none", "does not exist; create it"), ("file", "is not a directory"), ("loop", "cannot be reached")],
)
def test_what_is_no_directory_is_refused(tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(SetupError, match=complaint):
        checked_mountpoint(MountConfig(mountpoint=str(tmp_path / name)))


@pytest.mark.parametrize(
    ("path", "is_passed"), [("/dev/fd/7", True), ("/dev/fd/", False), ("/dev/fd/7/x", False), ("/mnt", False)]
)
def test_a_passed_descriptor_is_known_by_its_path(path: str, *, is_passed: bool) -> None:
    assert is_passed_descriptor(path) is is_passed
