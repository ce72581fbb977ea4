"""The directory of the disk cache before privileges are dropped."""

import os
import stat
from pathlib import Path

import pytest

from s3mount.config import DiskConfig
from s3mount.daemon.cache_folder import check_place, make_for
from s3mount.daemon.privileges import account
from s3mount.errors import UsageError

NOBODY = account("nobody")


def test_root_makes_it_for_the_user_who_serves(tmp_path: Path) -> None:
    make_for(DiskConfig(folder=tmp_path / "cache"), NOBODY)

    found = (tmp_path / "cache").stat()
    assert (NOBODY.uid, NOBODY.gid, 0o700) == (found.st_uid, found.st_gid, found.st_mode & 0o7777)
    assert [tmp_path / "cache"] == [*tmp_path.iterdir()]


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_directory_that_is_there_keeps_its_owner_and_mode(tmp_path: Path, mode: int) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)

    make_for(DiskConfig(folder=tmp_path / "cache"), NOBODY)

    found = (tmp_path / "cache").stat()
    assert (0, mode) == (found.st_uid, stat.S_IMODE(found.st_mode))


def test_a_link_in_its_place_is_left_alone_and_so_is_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    for target in ("etc", "absent"):
        link = tmp_path / f"to-{target}"
        link.symlink_to(target)

        make_for(DiskConfig(folder=link), NOBODY)

        assert link.is_symlink()
    assert (tmp_path / "etc").stat().st_uid == 0
    assert not (tmp_path / "absent").exists()


def test_root_makes_nothing_in_a_directory_of_another_user(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, NOBODY.uid, NOBODY.gid)

    make_for(DiskConfig(folder=home / "cache"), NOBODY)

    assert [*home.iterdir()] == []


def test_root_follows_no_link_of_another_user_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    link = tmp_path / "link"
    link.symlink_to("etc")
    os.chown(link, NOBODY.uid, NOBODY.gid, follow_symlinks=False)

    make_for(DiskConfig(folder=link / "cache"), NOBODY)

    assert [*(tmp_path / "etc").iterdir()] == []


def test_a_directory_in_the_mount_point_is_refused_also_by_a_link(tmp_path: Path) -> None:
    mountpoint = tmp_path / "mnt"
    (mountpoint / "x").mkdir(parents=True)
    (tmp_path / "link").symlink_to(mountpoint)

    for folder in (tmp_path / "link" / "x", tmp_path / "link" / "absent"):
        with pytest.raises(UsageError, match="in the mount point"):
            check_place(DiskConfig(folder=folder), str(mountpoint))
    check_place(DiskConfig(folder=tmp_path / "mnt2"), str(mountpoint))
