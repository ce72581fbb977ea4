"""Places of control sockets, as a server chooses them and a client finds them."""

import os
import socket
from pathlib import Path

import pytest

from s3mount.control import locations
from s3mount.control.listening_socket import ListeningSocket
from s3mount.control.locations import FoundSocket, find_sockets, search_folders, socket_path
from s3mount.control.socket_folder import NoFolderError, Owner, prepare
from s3mount.ctl.client import open_socket
from s3mount.ctl.mounts import Mount

ME = Owner(os.geteuid(), os.getegid())
NOBODY = Owner(65534, 65534, is_other=True)


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /run of its own."""
    made = tmp_path / "run"
    made.mkdir()
    monkeypatch.setattr(locations, "SYSTEM", made / "s3mount")
    monkeypatch.setattr(locations, "USERS", made / "user")
    return made


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this process for one without root's rights."""
    monkeypatch.setattr(os, "geteuid", lambda: ME.uid or 1)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_what_a_server_makes_is_found(run_directory: Path) -> None:
    folder = prepare({}, ME)
    listening = ListeningSocket(socket_path(folder, 52))

    found = find_sockets(search_folders({}, ME.uid))
    listening.close()

    assert found == [FoundSocket(52, folder / "52.socket", ME.uid)]
    assert folder == run_directory / "s3mount" / ME.name
    assert find_sockets(search_folders({}, ME.uid)) == []


def test_an_instance_of_any_name_has_a_socket(run_directory: Path) -> None:
    """A path above 107 bytes is no address of a Unix socket."""
    folder = run_directory / "s3mount" / f"s3mount@{'n' * 240}"
    folder.mkdir(parents=True, mode=0o700)
    listening = ListeningSocket(socket_path(prepare({"RUNTIME_DIRECTORY": str(folder)}, ME), 52))

    (found,) = find_sockets(search_folders({}, ME.uid))
    mount = Mount("s3://b", "/mnt/b", 52, (found.path,), ME.uid)
    open_socket(mount).close()
    client, _ = listening.socket.accept()
    client.close()
    listening.close()

    assert found.path == folder / "52.socket"
    assert not found.path.exists()


def test_no_link_is_followed_and_no_mount_point_of_fuse_is_opened(run_directory: Path) -> None:
    """Root looks into folders of other users, who may have something there that hangs."""
    user = run_directory / "user/1000"
    user.mkdir(parents=True)
    elsewhere = run_directory / "elsewhere"
    elsewhere.mkdir()
    listening = ListeningSocket(elsewhere / "52.socket")
    (user / "s3mount").symlink_to(elsewhere)

    through_link = find_sockets(search_folders({}, 0))
    through_mount = find_sockets([run_directory], {str(elsewhere)})
    through_file = find_sockets([run_directory], {str(listening.path)})
    found = find_sockets([run_directory])
    listening.close()

    assert [each.path for each in found] == [elsewhere / "52.socket"]
    assert through_link == through_mount == through_file == []


def test_only_sockets_are_found(run_directory: Path) -> None:
    folder = prepare({}, ME)
    (folder / "1.socket").touch()
    (folder / "2.socket").symlink_to(folder / "1.socket")
    (folder / "x.socket").mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "3.sock"))

    assert find_sockets([run_directory / "s3mount", run_directory / "none"]) == []


@pytest.mark.usefixtures("run_directory")
def test_a_folder_is_the_users_alone_whatever_the_umask() -> None:
    before = os.umask(0o077)
    try:
        folder = prepare({}, NOBODY)
    finally:
        os.umask(before)

    assert (mode(folder), folder.stat().st_uid) == (0o700, NOBODY.uid)
    assert (mode(folder.parent), folder.parent.stat().st_uid) == (0o755, 0)
    assert prepare({}, NOBODY) == folder


def test_a_folder_of_another_user_is_refused(run_directory: Path) -> None:
    folder = prepare({}, NOBODY)
    os.chown(folder, 4711, 4711)

    with pytest.raises(PermissionError, match="belongs to uid 4711"):
        prepare({}, NOBODY)
    os.chown(run_directory / "s3mount", 4711, 4711)
    with pytest.raises(PermissionError, match="belongs to uid 4711"):
        prepare({}, NOBODY)


def test_a_symbolic_link_is_refused(run_directory: Path, tmp_path: Path) -> None:
    """A user could point root's chown at another directory."""
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    (run_directory / "s3mount").mkdir()
    (run_directory / "s3mount" / NOBODY.name).symlink_to(target)

    with pytest.raises(OSError, match="directory"):
        prepare({}, NOBODY)

    assert target.stat().st_uid == os.geteuid()


@pytest.mark.usefixtures("as_user")
def test_a_users_folder_is_below_the_runtime_directory(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)

    folder = prepare({"XDG_RUNTIME_DIR": str(runtime)}, ME)

    assert (folder, mode(folder)) == (runtime / "s3mount", 0o700)
    assert folder in search_folders({"XDG_RUNTIME_DIR": str(runtime)}, 4711)


@pytest.mark.usefixtures("as_user")
def test_a_runtime_directory_that_others_may_change_is_refused(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    runtime.chmod(0o777)

    with pytest.raises(PermissionError, match="other users may change it"):
        prepare({"XDG_RUNTIME_DIR": str(runtime)}, ME)


@pytest.mark.usefixtures("as_user")
def test_without_the_variable_the_users_directory_of_the_system_is_used(
    run_directory: Path,
) -> None:
    (run_directory / "user" / str(ME.uid)).mkdir(parents=True, mode=0o700)

    assert prepare({}, ME) == run_directory / "user" / str(ME.uid) / "s3mount"


@pytest.mark.usefixtures("as_user")
def test_a_user_without_a_runtime_directory_has_no_folder() -> None:
    with pytest.raises(NoFolderError, match="RuntimeDirectory="):
        prepare({"XDG_RUNTIME_DIR": "/nonexistent"}, ME)


@pytest.mark.usefixtures("as_user")
def test_a_unit_uses_the_directory_that_systemd_made(run_directory: Path) -> None:
    folder = run_directory / "s3mount" / "s3mount@photos"
    folder.mkdir(parents=True, mode=0o700)

    assert prepare({"RUNTIME_DIRECTORY": f"/run/other:{folder}"}, ME) == folder


def test_root_that_mounts_for_another_user_leaves_the_units_directory(run_directory: Path) -> None:
    folder = run_directory / "s3mount" / "s3mount@photos"
    folder.mkdir(parents=True, mode=0o700)

    assert prepare({"RUNTIME_DIRECTORY": str(folder)}, NOBODY) != folder


def test_a_file_that_a_dead_mount_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "52.socket"
    dead = ListeningSocket(path)
    dead.socket.close()
    assert path.is_socket()

    listening = ListeningSocket(path)

    assert mode(path) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listening.close()
    assert not path.exists()
    listening.close()


def test_the_file_of_a_later_mount_is_left(tmp_path: Path) -> None:
    """The kernel may give a number again before the process of the mount that had it ends."""
    path = tmp_path / "52.socket"
    earlier = ListeningSocket(path)
    later = ListeningSocket(path)

    earlier.close()

    assert path.is_socket()
    later.close()
