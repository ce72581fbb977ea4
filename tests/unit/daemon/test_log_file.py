"""The file of --log-file: no other user chooses it, at the first opening and at later ones."""

import contextlib
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s3mount.config import LogConfig
from s3mount.daemon import logging_setup
from s3mount.daemon.log_file import LogFileHandler, open_log_file
from s3mount.errors import SetupError

NOBODY = 65534


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory like /tmp."""
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(0o1777)
    return path


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[logging.Logger]:
    handler = LogFileHandler(path)
    log = logging.getLogger("log-file")
    log.addHandler(handler)
    try:
        yield log
    finally:
        log.removeHandler(handler)
        handler.close()


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def refusal(path: Path) -> str:
    """Why it may not be opened; asserts that nothing is."""
    before = descriptors()
    with pytest.raises(OSError) as raised:  # noqa: PT011 - the caller asserts what it says
        open_log_file(path)
    assert descriptors() == before
    return str(raised.value.strerror)


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_a_new_file_has_the_same_mode_under_any_umask(
    tmp_path: Path, umask: Callable[[int], int], mask: int
) -> None:
    umask(mask)

    with logging_to(tmp_path / "log"):
        assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o640


def test_an_existing_file_keeps_its_mode_and_content(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("before\n")
    file.chmod(0o604)

    with logging_to(file) as log:
        log.warning("after")

    assert file.read_text() == "before\nafter\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o604


def test_the_descriptor_is_not_inherited(tmp_path: Path) -> None:
    descriptor = open_log_file(tmp_path / "log")

    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root\n")
    (tmp_path / "link").symlink_to(tmp_path / "passwd")
    (tmp_path / "dangling").symlink_to(tmp_path / "none")

    assert refusal(tmp_path / "link") == "it is a symbolic link; name the file itself"
    assert refusal(tmp_path / "dangling") == "it is a symbolic link; name the file itself"
    assert (tmp_path / "passwd").read_text() == "root\n"
    assert not (tmp_path / "none").exists()


def test_a_file_with_other_names_is_refused(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("root\n")
    (tmp_path / "log").hardlink_to(tmp_path / "passwd")

    assert refusal(tmp_path / "log") == "it has other names (hard links); name another file"


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")

    assert refusal(tmp_path / "log").startswith("it is not a regular file")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/tty"])
def test_devices_and_directories_are_refused(tmp_path: Path, device: str) -> None:
    assert refusal(Path(device)).startswith("it is not a regular file")
    assert refusal(tmp_path).startswith("it is not a regular file")


def test_a_file_of_another_user_is_refused(shared: Path) -> None:
    (shared / "log").write_text("theirs\n")
    os.chown(shared / "log", NOBODY, NOBODY)

    assert (
        refusal(shared / "log") == "it belongs to the user nobody; remove it, or name another file"
    )
    assert (shared / "log").read_text() == "theirs\n"


def test_an_own_file_in_a_shared_directory_is_accepted(shared: Path) -> None:
    with logging_to(shared / "log") as log:
        log.warning("fine")

    assert (shared / "log").read_text() == "fine\n"


@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_a_directory_that_others_may_change_is_refused_to_root(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(mode)

    assert (
        refusal(directory / "log")
        == f"every user may change {directory}; choose a directory of root's"
    )
    assert not (directory / "log").exists()


def test_a_component_of_another_user_is_refused_to_root(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    (ours / "deep").mkdir(parents=True)
    (theirs / "way").symlink_to(ours / "deep")
    (tmp_path / "link").symlink_to("ours/../ours/deep")
    os.chown(theirs, NOBODY, NOBODY)

    assert refusal(theirs / "way" / "log").startswith(f"{theirs} belongs to the user nobody")
    os.close(open_log_file(tmp_path / "link" / "log"))
    os.lchown(tmp_path / "link", NOBODY, NOBODY)
    assert refusal(tmp_path / "link" / "log").startswith(
        f"{tmp_path}/link belongs to the user nobody"
    )


def test_a_cycle_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")

    assert refusal(tmp_path / "a" / "log") == "Too many levels of symbolic links"


def test_after_a_rotation_a_new_file_has_the_same_mode(
    tmp_path: Path, umask: Callable[[int], int]
) -> None:
    file = tmp_path / "log"
    with logging_to(file) as log:
        log.warning("one")
        file.rename(tmp_path / "log.1")
        umask(0)
        log.warning("two")

    assert ((tmp_path / "log.1").read_text(), file.read_text()) == ("one\n", "two\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_after_a_rotation_a_refused_file_leaves_the_log_in_the_old_one(
    tmp_path: Path,
) -> None:
    file, victim = tmp_path / "log", tmp_path / "victim"
    victim.write_text("")
    with logging_to(file) as log:
        log.warning("one")
        file.rename(tmp_path / "log.1")
        file.symlink_to(victim)
        log.warning("two")
        log.warning("three")
        file.unlink()
        log.warning("four")

    assert victim.read_text() == ""
    assert (tmp_path / "log.1").read_text().splitlines() == [
        "one",
        (
            f"--log-file {file}: it cannot be opened again: "
            "it is a symbolic link; name the file itself; "
            "the log goes on in the old file"
        ),
        "two",
        "three",
    ]
    assert file.read_text() == "four\n"


def test_a_rotation_leaves_no_descriptor_open(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log") as log:
        before = descriptors()
        for number in range(20):
            (tmp_path / "log").rename(tmp_path / f"log.{number}")
            log.warning("next")
        assert descriptors() == before


def test_threads_that_log_during_a_rotation_lose_no_line(tmp_path: Path) -> None:
    file = tmp_path / "log"
    with logging_to(file) as log:

        def write() -> None:
            for _ in range(200):
                log.warning("x")

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(10):
            with contextlib.suppress(FileNotFoundError):
                file.rename(tmp_path / f"log.{number}")
        for thread in threads:
            thread.join()

    assert sum(path.read_text().count("x\n") for path in tmp_path.iterdir()) == 800


@pytest.mark.parametrize("place", ["/dev/stderr", "/dev/stdout"])
def test_a_standard_stream_is_for_the_foreground(place: str) -> None:
    with pytest.raises(
        SetupError, match=f"--log-file {place}: it is not available in the background"
    ):
        logging_setup.set_up_log(LogConfig(file=Path(place)), foreground=False)


def test_every_refusal_is_one_line_that_names_the_option(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log")

    with pytest.raises(
        SetupError,
        match=r"^--log-file .*/log: it cannot be written: it is not a regular file; [^\n]*$",
    ):
        logging_setup.set_up_log(LogConfig(file=tmp_path / "log"), foreground=True)
