"""What stands at a mount point, as the kernel's mount table tells."""

from pathlib import Path

import pytest

from s3mount.config import MountConfig
from s3mount.errors import SetupError
from s3mount.service.mountpoint import MountEntry, checked_mountpoint, is_passed_descriptor, mount_at, mount_entries

TABLE = r"""
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
51 22 0:54 / /mnt/with\040space ro,nosuid,nodev,relatime - fuse.s3mount s3://b\040c ro,user_id=0,group_id=0
52 51 0:55 / /mnt/with\040space rw master:2 propagate_from:3 - tmpfs tmpfs rw
""".strip()


def test_lines_of_the_mount_table_are_read_as_proc_5_has_them() -> None:
    assert [*mount_entries(TABLE)] == [
        MountEntry(22, "254:1", "/", "ext4"),
        MountEntry(51, "0:54", "/mnt/with space", "fuse.s3mount"),
        MountEntry(52, "0:55", "/mnt/with space", "tmpfs"),
    ]


def test_the_mount_on_top_is_found_and_a_plain_directory_is_none(tmp_path: Path) -> None:
    found = mount_at("/proc")

    assert found is not None
    assert found.fstype == "proc"
    assert mount_at(str(tmp_path)) is None


def test_a_mount_point_is_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    assert checked_mountpoint(MountConfig(mountpoint=str(tmp_path / "link"))) == str(tmp_path.resolve() / "real")


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
