"""The check of the cache directory: what it says, and that it leaves nothing there."""

import os
import stat
from pathlib import Path

import pytest

from s3mount.config import DiskConfig, MountConfig
from s3mount.disk.data_files import DataFiles
from s3mount.doctor import cache_directory
from s3mount.doctor.check import run_check
from s3mount.doctor.machine import machine_checks
from s3mount.doctor.report import Finding, Outcome


def found(folder: Path, *, free_space: int = 0, run_as: str | None = None) -> Finding:
    disk = DiskConfig(folder=folder, free_space=free_space)
    mount = MountConfig(mountpoint="/nonexistent/mnt", run_as=run_as)
    checks = {each.name: each for each in machine_checks(mount, has_mountpoint=False, disk=disk)}
    return run_check(checks["cache dir"]).finding


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    return folder


def test_a_directory_that_suits_is_told_with_its_file_system_space_and_speed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_directory, "SLOW", 30.0)  # of a machine that is busy

    result = found(folder)

    assert result.outcome is Outcome.OK, result
    assert f"{folder}, " in result.text
    assert "GiB free" in result.text
    assert "ms for a small write" in result.text
    assert [*folder.iterdir()] == []


@pytest.mark.parametrize("name", ["cache", "absent/too/cache"])
def test_a_directory_that_is_absent_is_not_made(tmp_path: Path, name: str) -> None:
    result = found(tmp_path / name)

    assert result.outcome is Outcome.OK, result
    assert "absent: the mount makes it" in result.text
    assert [*tmp_path.iterdir()] == []


def test_a_directory_that_a_mount_would_make_private_is_left_as_it_is(folder: Path) -> None:
    folder.chmod(0o755)

    result = found(folder)

    assert result.outcome is not Outcome.FAILURE, result
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_directory_that_a_mount_would_refuse_is_a_failure(folder: Path) -> None:
    folder.chmod(0o777)

    result = found(folder)

    assert result.outcome is Outcome.FAILURE
    assert f"chmod 700 {folder}" in result.text


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "fuse"])
def test_a_network_file_system_is_a_failure(
    folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(cache_directory, "_file_system", lambda _: kind)

    result = found(folder)

    assert result.outcome is Outcome.FAILURE
    assert f"of the kind {kind}" in result.text


def test_less_free_space_than_is_to_be_left_is_a_warning(folder: Path) -> None:
    result = found(folder, free_space=1 << 60)

    assert result.outcome is Outcome.WARNING
    assert "less than --cache-free-space" in result.text


@pytest.mark.parametrize(("free", "shown"), [(3 << 29, "1.5 GiB free"), (5 << 20, "5 MiB free")])
def test_little_free_space_has_a_unit_that_suits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, free: int, shown: str
) -> None:
    monkeypatch.setattr(cache_directory, "_free_bytes", lambda _: free)

    assert shown in found(folder).text


def test_a_file_system_without_holes_is_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DataFiles, "probe_punching", lambda self: setattr(self, "can_punch", False))

    result = found(folder)

    assert result.outcome is Outcome.WARNING
    assert "it cannot punch holes" in result.text


def test_a_slow_disk_is_a_warning(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_directory, "SLOW", -1.0)

    assert found(folder).outcome is Outcome.WARNING


def test_a_disk_that_cannot_be_written_is_a_failure(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "pwrite", fail)

    assert "cannot be written: Read-only file system" in found(folder).text


def test_it_is_left_to_the_user_who_will_open_it(folder: Path) -> None:
    result = found(folder, run_as="nobody")

    assert result.outcome is Outcome.NOT_TRIED
    assert "nobody will open it" in result.text
