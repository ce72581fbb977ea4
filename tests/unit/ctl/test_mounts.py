"""Which mount a name means: by the text of the mount table, without an access to a mount."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from s3mount.control.locations import FoundSocket
from s3mount.ctl.mounts import Machine, Mount
from s3mount.daemon.mounting.mount_table import MountEntry
from s3mount.errors import NotServed, UsageError


def _entry(path: str, source: str, minor: int, fstype: str = "fuse.s3mount") -> MountEntry:
    return MountEntry(minor, f"0:{minor}", path, fstype, source, 1000)


def _machine(*entries: MountEntry, sockets: Iterable[FoundSocket] = ()) -> Machine:
    root = MountEntry(1, "8:1", "/", "ext4", "/dev/vda1")
    return Machine(table=lambda: [root, *entries], sockets=lambda: [*sockets])


PHOTOS = _entry("/mnt/photos", "s3://photos/2024", 52)
LOGS = _entry("/mnt/logs", "logs", 53)


def _path(machine: Machine, path: str) -> tuple[str, str]:
    found = machine.find_path(path)
    return found.mount.mountpoint, found.relative


@pytest.mark.parametrize(
    "name",
    ["/mnt/photos", "/mnt/photos/", "/mnt/photos/a/b", "s3://photos/2024", "photos/2024/"],
)
def test_a_mount_is_named_by_its_mount_point_a_path_in_it_or_its_source(name: str) -> None:
    assert _machine(PHOTOS, LOGS).find(name).connection == 52


def test_the_only_mount_needs_no_name() -> None:
    assert _machine(PHOTOS).find(None) == Mount("s3://photos/2024", "/mnt/photos", 52, (), 1000)


def test_without_a_name_several_mounts_are_listed() -> None:
    with pytest.raises(UsageError, match=r"/mnt/photos .*, /mnt/logs \(logs\)"):
        _machine(PHOTOS, LOGS).find(None)


def test_without_a_name_the_only_mount_with_a_socket_for_this_user_is_meant() -> None:
    own = FoundSocket(52, Path("/run/user/1000/s3mount/52.socket"), 0)
    machine = _machine(PHOTOS, LOGS, sockets=[own])

    assert machine.find(None).mountpoint == "/mnt/photos"


def test_without_a_mount_it_is_said_how_to_make_one() -> None:
    with pytest.raises(NotServed, match="s3mount BUCKET MOUNTPOINT"):
        _machine().find(None)


def test_a_source_that_is_mounted_twice_is_no_name() -> None:
    again = _entry("/mnt/again", "photos/2024", 54)

    with pytest.raises(UsageError, match=r"mounted 2 times: /mnt/photos .*, /mnt/again"):
        _machine(PHOTOS, again).find("s3://photos/2024")


def test_a_path_elsewhere_is_refused_with_the_mounts_that_are_there() -> None:
    with pytest.raises(NotServed, match=r"/mnt/photosother is not in .* /mnt/photos"):
        _machine(PHOTOS).find("/mnt/photosother")


def test_the_topmost_of_two_mounts_at_a_path_is_meant() -> None:
    above = _entry("/mnt/photos", "other", 60)

    assert _machine(PHOTOS, above).find("/mnt/photos/a").connection == 60


def test_a_path_in_another_file_system_below_the_mount_is_not_in_it() -> None:
    inner = _entry("/mnt/photos/inner", "tmpfs", 61, "tmpfs")

    with pytest.raises(NotServed):
        _machine(PHOTOS, inner).find_path("/mnt/photos/inner/x")
    assert _path(_machine(PHOTOS, inner), "/mnt/photos/x") == ("/mnt/photos", "x")


def test_a_bind_mount_is_the_mount_that_it_shows_a_part_of() -> None:
    bind = replace(PHOTOS, identity=90, path="/srv/june", root="/2024/june")
    machine = _machine(PHOTOS, bind)

    assert machine.find(None).mountpoint == "/mnt/photos"
    assert machine.find("s3://photos/2024").mountpoint == "/mnt/photos"
    assert _path(machine, "/srv/june/a") == ("/mnt/photos", "2024/june/a")
    assert _path(machine, "/srv/june") == ("/mnt/photos", "2024/june")
    assert _path(_machine(bind), "/srv/june/a") == ("/srv/june", "2024/june/a")


def test_a_working_directory_without_a_path_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert _path(_machine(PHOTOS), "/mnt/photos/a") == ("/mnt/photos", "a")
    with pytest.raises(UsageError, match="absolute path"):
        _machine(PHOTOS).find_path("a")


def test_links_and_dots_are_resolved_outside_mounts_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A readlink in a mount that hangs would hang."""
    mount = tmp_path / "mount"
    mount.mkdir()
    (mount / "inner").symlink_to("/nowhere")
    (tmp_path / "link").symlink_to("mount")
    (tmp_path / "absolute").symlink_to(tmp_path / "link/deep")
    machine = _machine(_entry(str(mount.resolve()), "b", 52))
    monkeypatch.chdir(tmp_path)

    assert _path(machine, "link/inner/x")[1] == "inner/x"
    assert _path(machine, "absolute/./y/../z")[1] == "deep/z"
    with pytest.raises(NotServed):
        machine.find_path("link/..")


def test_a_cycle_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    with pytest.raises(UsageError, match="cycle"):
        _machine(PHOTOS).find_path(str(tmp_path / "a/x"))


def test_names_that_are_no_utf8_are_found_and_shown_escaped() -> None:
    name = os.fsdecode(b"/mnt/\xff\x1b[2J")
    machine = _machine(_entry(name, "b", 52), _entry("/mnt/c", "c", 53))

    assert _path(machine, os.fsdecode(b"/mnt/\xff\x1b[2J/a\xfe")) == (name, os.fsdecode(b"a\xfe"))
    with pytest.raises(UsageError) as failure:
        machine.find(None)
    assert r"/mnt/\udcff\x1b[2J" in str(failure.value)


def test_a_socket_of_another_user_is_not_trusted() -> None:
    """Any user may make a socket of any name in a folder of their own."""
    path = Path("/run/user/1001/s3mount/52.socket")

    def sockets_of(owner: int) -> tuple[Path, ...]:
        machine = _machine(PHOTOS, sockets=[FoundSocket(52, path, owner)])
        return machine.find(None).sockets

    assert sockets_of(1001) == ()
    assert sockets_of(0) == (path,)
    assert sockets_of(1000) == (path,)
