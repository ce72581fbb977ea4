"""The cache directory: private to its user, and no other user can put another in its place."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from s3mount.disk.folder_check import failure_within, open_existing_folder, prepare_folder
from s3mount.errors import CacheDirectoryError

NOBODY = 65534


def prepared(path: Path) -> os.stat_result:
    """Prepare it, and return what is known of the directory that is open then."""
    folder = prepare_folder(path)
    try:
        return os.fstat(folder)
    finally:
        os.close(folder)


def refusal(path: Path) -> str:
    """Return why it is refused; asserts that nothing stays open."""
    before = descriptors()
    with pytest.raises(CacheDirectoryError) as raised:
        prepare_folder(path)
    assert descriptors() == before
    assert str(path) in str(raised.value)
    return str(raised.value)


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_a_directory_that_is_absent_is_made_for_its_user_alone(tmp_path: Path) -> None:
    cache = tmp_path / "cache"

    found = prepared(cache)

    assert os.path.samestat(cache.stat(), found)
    assert stat.S_IMODE(found.st_mode) == 0o700


def test_a_directory_that_is_there_is_opened_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = prepared(cache)
    for name in ("1", "1.set-aside-2", "CACHEDIR.TAG", "lock", "lost+found"):
        (cache / name).mkdir()

    assert os.path.samestat(first, prepared(cache))


def test_preparing_leaves_one_descriptor_open(tmp_path: Path) -> None:
    before = descriptors()

    folder = prepare_folder(tmp_path / "cache")

    assert before + 1 == descriptors()
    os.close(folder)


@pytest.mark.parametrize("mode", [0o702, 0o777, 0o1777])
def test_a_directory_that_every_user_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(mode)

    assert f"chmod 700 {cache}" in refusal(cache)


def test_a_directory_with_files_that_a_group_may_write_to_is_refused(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "1").mkdir()
    cache.chmod(0o770)

    assert f"chmod 700 {cache}" in refusal(cache)


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o704, 0o775, 0o500])
def test_a_directory_that_others_may_read_is_made_private(tmp_path: Path, mode: int) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(mode)

    os.close(prepare_folder(cache))

    assert stat.S_IMODE(cache.stat().st_mode) == 0o700


def test_a_directory_that_others_may_read_is_left_alone_by_who_only_looks(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o755)

    with pytest.raises(CacheDirectoryError, match="chmod 700"):
        open_existing_folder(cache)

    assert stat.S_IMODE(cache.stat().st_mode) == 0o755


def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o700)
    os.chown(cache, NOBODY, NOBODY)

    refused = refusal(cache)

    assert "it belongs to the user nobody" in refused
    assert "mount with --run-as nobody" in refused


def test_folders_of_another_user_in_a_directory_of_this_one_are_named(tmp_path: Path) -> None:
    denied = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "1"))

    told = str(failure_within(tmp_path, denied))

    assert "the user root may not use '1' in it" in told
    assert told.endswith(f"chown -R root {tmp_path}")


def test_a_file_is_named_also_if_it_was_opened_by_its_name_in_an_open_folder(
    tmp_path: Path,
) -> None:
    denied = PermissionError(errno.EACCES, "Permission denied", "writing")

    assert "may not use 'writing' in it" in str(failure_within(tmp_path, denied))


def test_a_symbolic_link_is_refused_also_to_a_directory_that_would_do(tmp_path: Path) -> None:
    prepared(tmp_path / "cache")
    link = tmp_path / "link"
    link.symlink_to("cache")

    assert "symbolic link" in refusal(link)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "not a directory" in refusal(tmp_path / "file")


def test_a_directory_of_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "letter.txt").write_text("dear")

    refused = refusal(home)

    assert "letter.txt" in refused
    assert "chmod" not in refused  # of a home directory, or /var
    assert [home / "letter.txt"] == [*home.iterdir()]


def test_a_directory_is_refused_if_every_user_may_replace_one_above_it(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "mine").mkdir(parents=True)
    shared.chmod(0o777)

    assert "every user may replace" in refusal(shared / "mine" / "cache")


def test_a_directory_in_a_sticky_one_is_private_enough(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)

    assert stat.S_IMODE(prepared(shared / "cache").st_mode) == 0o700


def test_a_directory_below_one_of_another_user_is_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)

    assert "nobody, who could replace it" in refusal(theirs / "cache")


def test_a_link_on_the_way_is_followed_if_it_is_ours(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "var").symlink_to("disk")

    found = prepared(tmp_path / "var" / "cache")

    assert os.path.samestat((tmp_path / "disk" / "cache").stat(), found)


def test_a_link_of_another_user_on_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "var").symlink_to("disk")
    os.chown(tmp_path / "var", NOBODY, NOBODY, follow_symlinks=False)

    assert "a symbolic link of uid 65534" in refusal(tmp_path / "var" / "cache")


def test_directories_above_it_that_are_absent_are_made_private(tmp_path: Path) -> None:
    os.close(prepare_folder(tmp_path / "absent" / "too" / "cache"))

    for path in ("absent", "absent/too", "absent/too/cache"):
        assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o700


def test_directories_above_it_are_not_made_in_one_that_others_control(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)

    assert "every user may replace" in refusal(tmp_path / "open" / "absent" / "cache")

    assert not (tmp_path / "open" / "absent").exists()


@pytest.mark.parametrize("path", ["cache", "/", "/tmp/.."])
def test_a_path_that_names_no_directory_of_its_own_is_refused(path: str) -> None:
    assert "an absolute path" in refusal(Path(path))


def test_a_directory_that_must_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(CacheDirectoryError):
        open_existing_folder(tmp_path / "cache")

    assert not (tmp_path / "cache").exists()


def test_what_the_group_puts_into_it_at_the_last_moment_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its user could go on changing it by a descriptor, whatever the mode of the directory."""
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o770)

    def names_before(folder: int, listdir: Callable[[int], list[str]] = os.listdir) -> list[str]:
        names = listdir(folder)
        (cache / "1").mkdir(exist_ok=True)
        return names

    monkeypatch.setattr(os, "listdir", names_before)
    with pytest.raises(CacheDirectoryError, match="other users have access"):
        prepare_folder(cache)
