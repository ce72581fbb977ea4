"""Access below a directory descriptor: no name and no link leads out of it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3mount.disk.safe_paths import make_folder, open_folder, open_in, remove

Call = Callable[[int, str], object]


def create(folder: int, name: str) -> int:
    return open_in(folder, name, os.O_RDWR | os.O_CREAT)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("name", ["", ".", "..", "../secret", "/etc/passwd", "a/b"])
@pytest.mark.parametrize("call", [create, open_folder, make_folder, remove])
def test_only_a_single_name_is_accepted(folder: int, call: Call, name: str) -> None:
    with pytest.raises(OSError, match="not the name of a file"):
        call(folder, name)


@pytest.mark.parametrize("call", [create, open_folder, make_folder])
def test_a_symbolic_link_is_never_followed(tmp_path: Path, folder: int, call: Call) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    (tmp_path / "dangling").symlink_to("made")

    for name in ("link", "dangling"):
        with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
            call(folder, name)

    assert not (tmp_path / "made").exists()


def test_a_link_is_removed_and_not_what_it_names(tmp_path: Path, folder: int) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")

    remove(folder, "link")
    remove(folder, "link")  # it is gone already

    assert [tmp_path / "file"] == [*tmp_path.iterdir()]


def test_files_and_directories_are_private_and_not_inherited(folder: int) -> None:
    opened = create(folder, "file"), make_folder(folder, "directory")
    again = make_folder(folder, "directory")

    assert [False] * 3 == [os.get_inheritable(each) for each in (*opened, again)]
    assert ["0o600", "0o700"] == [oct(os.fstat(each).st_mode & 0o777) for each in opened]
    for each in (*opened, again):
        os.close(each)
