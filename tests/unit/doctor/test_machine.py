"""Checks of the machine, on devices, programs and files that are made for them."""

import os
import platform
from dataclasses import replace
from pathlib import Path

import pytest

from s3mount.config import MountConfig
from s3mount.daemon.mounting import mount_point, mounter
from s3mount.doctor import machine
from s3mount.doctor.check import Check, run_check
from s3mount.doctor.machine import machine_checks
from s3mount.doctor.report import Finding, Outcome

MOUNT = MountConfig(mountpoint="/nonexistent/mnt")


def found(name: str, mount: MountConfig = MOUNT) -> Finding:
    """Return the finding of the check *name*."""
    checks = {each.name: each for each in machine_checks(mount, has_mountpoint=True)}
    return run_check(checks[name]).finding


@pytest.fixture
def _user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look as a user without privileges looks."""
    monkeypatch.setattr("s3mount.daemon.syscalls.has_capability", lambda _: False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device that can be opened, where FUSE's is looked for."""
    path = tmp_path / "fuse"
    path.touch()
    monkeypatch.setattr(mounter, "FUSE_DEVICE", str(path))
    monkeypatch.setattr(machine, "FUSE_DEVICE", str(path))
    return path


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fusermount3 that is set-user-id."""
    path = tmp_path / "fusermount3"
    path.touch()
    path.chmod(0o4755)
    monkeypatch.setattr(machine, "find_program", lambda: str(path))
    return path


@pytest.fixture
def fuse_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where fuse.conf is looked for."""
    path = tmp_path / "fuse.conf"
    monkeypatch.setattr(mount_point, "_FUSE_CONFIGS", (path,))
    return path


def test_root_with_a_device_may_mount(device: Path) -> None:
    result = found("fuse")

    assert result.outcome is Outcome.OK
    assert f"{device} can be opened, mounting as root, Linux" in result.text


def test_a_missing_device_is_a_failure(device: Path) -> None:
    device.unlink()
    result = found("fuse")

    assert result.outcome is Outcome.FAILURE
    assert "modprobe fuse" in result.text


def test_root_without_the_capability_is_a_failure(
    device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert device.exists()
    monkeypatch.setattr("s3mount.daemon.syscalls.has_capability", lambda _: False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    result = found("fuse")

    assert result.outcome is Outcome.FAILURE
    assert "--cap-add SYS_ADMIN" in result.remedy


def test_an_old_kernel_is_a_failure(device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert device.exists()
    monkeypatch.setattr(platform, "release", lambda: "4.19.0-26-amd64")
    result = found("fuse")

    assert result.outcome is Outcome.FAILURE
    assert "5.4 or newer" in result.remedy


@pytest.mark.usefixtures("_user", "device", "program")
def test_a_user_mounts_by_fusermount3() -> None:
    result = found("fuse")

    assert result.outcome is Outcome.OK
    assert "fusermount3 is set-user-id root" in result.text


@pytest.mark.usefixtures("_user", "device")
def test_a_fusermount3_without_the_set_user_id_bit_is_a_failure(program: Path) -> None:
    program.chmod(0o755)
    result = found("fuse")

    assert result.outcome is Outcome.FAILURE
    assert f"chmod 4755 {program}" in result.remedy


@pytest.mark.usefixtures("_user", "device")
def test_a_missing_fusermount3_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_program", lambda: "")
    result = found("fuse")

    assert result.outcome is Outcome.FAILURE
    assert "apt install fuse3" in result.text


@pytest.mark.usefixtures("_user", "device", "program")
def test_a_sandbox_without_new_privileges_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3mount.daemon.syscalls.has_new_privileges", lambda: False)
    result = found("fuse")

    assert result.outcome is Outcome.FAILURE
    assert "outside of this sandbox" in result.remedy


@pytest.mark.usefixtures("_user")
@pytest.mark.parametrize(
    ("text", "allow_other", "outcome", "part"),
    [
        ("user_allow_other\n", True, Outcome.OK, "is set"),
        ("user_allow_other\n", False, Outcome.OK, "is set"),
        ("#user_allow_other\n", False, Outcome.OK, "not set"),
        ("#user_allow_other\n", True, Outcome.FAILURE, "add the line user_allow_other"),
        ("user_allow_other", True, Outcome.FAILURE, "ends with a newline"),
    ],
)
def test_fuse_conf_is_read_as_fusermount3_reads_it(
    fuse_conf: Path, text: str, *, allow_other: bool, outcome: Outcome, part: str
) -> None:
    fuse_conf.write_text(text)
    result = found("fuse.conf", replace(MOUNT, allow_other=allow_other))

    assert result.outcome is outcome
    assert part in result.text


def test_root_needs_no_fuse_conf() -> None:
    assert found("fuse.conf", replace(MOUNT, allow_other=True)).outcome is Outcome.OK


def test_a_mount_point_that_is_missing_is_a_failure(tmp_path: Path) -> None:
    result = found("mount point", replace(MOUNT, mountpoint=str(tmp_path / "missing")))

    assert result.outcome is Outcome.FAILURE
    assert "mkdir -p" in result.text


def test_a_mount_point_with_files_is_a_warning(tmp_path: Path) -> None:
    mount = replace(MOUNT, mountpoint=str(tmp_path / "mnt"))
    (tmp_path / "mnt").mkdir()
    before = found("mount point", mount)
    (tmp_path / "mnt" / "file").touch()
    after = found("mount point", mount)

    assert before.outcome is Outcome.OK
    assert after.outcome is Outcome.WARNING
    assert "hides its files" in after.text


def test_a_mount_point_that_a_user_may_not_write_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mnt").mkdir()
    monkeypatch.setattr("s3mount.daemon.syscalls.has_capability", lambda _: False)
    monkeypatch.setattr(os, "access", lambda *_: False)
    result = found("mount point", replace(MOUNT, mountpoint=str(tmp_path / "mnt")))

    assert result.outcome is Outcome.FAILURE
    assert "chown" in result.text


@pytest.mark.parametrize(
    ("name", "outcome", "part"),
    [
        ("nobody", Outcome.WARNING, "runuser -u nobody"),
        ("no-such-user", Outcome.FAILURE, "no user 'no-such-user'"),
    ],
)
def test_a_report_by_another_user_than_the_server_says_so(
    name: str, outcome: Outcome, part: str
) -> None:
    result = found("user", replace(MOUNT, run_as=name))

    assert result.outcome is outcome
    assert part in result.text + result.remedy


def test_without_a_mount_point_and_a_user_there_are_two_checks() -> None:
    checks: list[Check] = [*machine_checks(MOUNT, has_mountpoint=False)]

    assert [each.name for each in checks] == ["fuse", "fuse.conf"]
