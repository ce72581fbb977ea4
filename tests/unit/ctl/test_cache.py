"""The commands `s3mountctl cache`: of a mount, and of a directory alone."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from s3mount.disk.disk_cache import DiskCache
from s3mount.disk.object_name import EXTENT, ObjectName
from s3mount.disk.usage import DiskLimits
from tests.fakes.control_server import (
    ControlServer,
    control_server,
    items,
    results,
)
from tests.terminal import terminal
from tests.unit.ctl.running import Run, runner

ITEMS = (
    {
        "bucket": "photos",
        "key": "2024/b\x1b[31m",
        "etag": "e",
        "size": 9 << 20,
        "present": 1 << 20,
        "accessed": 1764160000.25,
        "pinned": True,
        "replaced": False,
    },
    {
        "bucket": "photos",
        "key": "2024/a",
        "etag": "e",
        "size": 5,
        "present": 5,
        "accessed": 1764160009.0,
        "pinned": False,
        "replaced": False,
    },
)
SCRIPT = {
    "cache-list": items(*ITEMS, result={"objects": 2}),
    "cache-verify": items(
        {"phase": "reading", "objects": 2, "bytes": 7, "bytes_done": 0},
        result={"objects": 2, "bytes": 7, "bad_extents": 0},
    ),
    "cache-clear": results({"segments": 12}),
    "cache-pin": results({"objects": 1, "pinned": True}),
}
LARGE = ObjectName("n", "photos", "2024/large", "e1", 2 << 20)
SMALL = ObjectName("n", "logs", "a", "e2", 5)

NOBODY = 65534
PROGRAM = "from s3mount.ctl.main import main; main()"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ControlServer]:
    with control_server(tmp_path / "socket", {**SCRIPT}) as server:
        yield server


@pytest.fixture
def run(tmp_path: Path, server: ControlServer, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command line beside *server*; returns exit status, stdout and stderr."""
    assert server.requests == []
    return runner(tmp_path / "socket", capfd, "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache directory with two objects."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    with closing(DiskCache(folder, DiskLimits(1 << 30))) as cache:
        cache.keep(LARGE, 0, memoryview(bytes(range(256)) * (LARGE.size // 256)))
        cache.keep(SMALL, 0, memoryview(b"hello"))
    return folder


def keys(out: str) -> list[str]:
    return [line.split()[-1] for line in out.splitlines()[1:]]


def test_ls_has_a_line_for_each_object_in_the_order_of_keys(run: Run) -> None:
    status, out, err = run("ls")
    head, first, second = out.splitlines()

    assert (status, err) == (0, "")
    assert head.split() == ["PRESENT", "SIZE", "LAST-USE", "STATE", "OBJECT"]
    assert first.split()[:2] == ["5", "5"]
    assert first.split()[-2:] == ["-", "photos/2024/a"]
    assert second.split()[-2:] == ["pinned", r"photos/2024/b\x1b[31m"]


@pytest.mark.parametrize(("order", "first"), [("size", r"b\x1b[31m"), ("use", "a"), ("name", "a")])
def test_ls_sorts_by_size_and_use_too(run: Run, order: str, first: str) -> None:
    assert keys(run("ls", "--sort", order)[1])[0] == f"photos/2024/{first}"


def test_json_of_ls_is_what_the_mount_said(run: Run) -> None:
    assert [json.loads(line) for line in run("ls", "--json")[1].splitlines()] == [*ITEMS]


@pytest.mark.parametrize(
    ("arguments", "command", "sent"),
    [
        (("ls",), "cache-list", {"path": None}),
        (("ls", "/mnt/photos"), "cache-list", {"path": ""}),
        (("verify", "/mnt/photos/a/b"), "cache-verify", {"path": "a/b"}),
        (("clear",), "cache-clear", {"path": None}),
        (("clear", "/mnt/photos/a"), "cache-clear", {"path": "a"}),
        (("pin", "/mnt/photos/a"), "cache-pin", {"path": "a", "pinned": True}),
        (("unpin", "/mnt/photos/a"), "cache-pin", {"path": "a", "pinned": False}),
    ],
)
def test_a_path_in_the_mount_is_told_relative_to_it(
    run: Run, server: ControlServer, arguments: tuple[str, ...], command: str, sent: object
) -> None:
    status, _, err = run(*arguments)

    assert (status, err) == (0, "")
    assert server.requests == [{"command": command, "arguments": sent}]


def test_what_was_done_is_one_line(run: Run) -> None:
    assert run("verify")[1] == "2 objects, 7 B verified; 0 extents damaged\n"
    assert run("clear")[1] == "12 segments dropped\n"
    assert run("pin", "/mnt/photos/a")[1] == "1 object pinned\n"
    assert json.loads(run("clear", "--json")[1]) == {"segments": 12}


def test_the_size_of_a_mount_is_its_own(run: Run) -> None:
    status, _, err = run("pin", "/mnt/photos/a", "--cache-size", "1GiB")

    assert (status, err) == (
        2,
        "s3mountctl: --cache-size is for --dir: a mount knows its own\n",
    )


def test_a_directory_alone_is_listed_without_a_mount(run: Run, folder: Path) -> None:
    status, out, err = run("ls", "--dir", str(folder))

    assert (status, err) == (0, "")
    assert keys(out) == ["logs/a", "photos/2024/large"]
    assert keys(run("ls", "--dir", str(folder), "photos/2024")[1]) == ["photos/2024/large"]
    assert keys(run("ls", "--dir", str(folder), "s3://logs")[1]) == ["logs/a"]
    assert run("ls", "--dir", str(folder), "photos/20")[1] == ""


def test_a_damaged_extent_is_found_once_and_the_rest_stays(
    run: Run, folder: Path, expected_warnings: list[str]
) -> None:
    expected_warnings.append("damaged bytes of '2024/large'")
    file = max(folder.glob("1/**/*"), key=lambda path: path.stat().st_size)
    with file.open("r+b") as opened:
        opened.seek(EXTENT + 7)
        opened.write(b"\0\0")

    status, out, _ = run("verify", "--dir", str(folder))

    assert (status, out.split(";")[1]) == (1, " 1 extent damaged\n")
    assert run("verify", "--dir", str(folder))[0] == 0
    present = [json.loads(line)["present"] for line in run(*ls_json(folder))[1].splitlines()]
    assert sorted(present) == [5, LARGE.size - EXTENT]


def ls_json(folder: Path) -> tuple[str, ...]:
    return "ls", "--json", "--dir", str(folder)


def test_clear_drops_what_is_below_a_path_or_all(run: Run, folder: Path) -> None:
    assert run("clear", "--dir", str(folder), "photos")[0] == 0
    assert keys(run("ls", "--dir", str(folder))[1]) == ["logs/a"]

    run("clear", "--dir", str(folder))

    assert run("ls", "--dir", str(folder))[1] == ""


def test_what_is_pinned_is_shown_and_can_be_unpinned(run: Run, folder: Path) -> None:
    assert run("pin", "--dir", str(folder), "photos")[1] == "1 object pinned\n"
    assert "  pinned  photos/2024/large" in run("ls", "--dir", str(folder))[1]

    assert run("unpin", "--dir", str(folder), "photos")[1] == "1 object unpinned\n"

    assert "pinned" not in run("ls", "--dir", str(folder))[1]


def test_a_path_of_which_nothing_is_on_disk_is_not_pinned_in_silence(
    run: Run, folder: Path
) -> None:
    status, out, _ = run("pin", "--dir", str(folder), "absent")

    assert (status, out) == (
        1,
        "0 objects pinned: nothing of that path is on disk, so warm it first\n",
    )
    assert run("unpin", "--dir", str(folder), "absent")[:2] == (0, "0 objects unpinned\n")


def test_more_than_the_size_allows_is_not_pinned(run: Run, folder: Path) -> None:
    arguments = ("pin", "--dir", str(folder), "photos", "--cache-size", "128KiB")

    status, _, err = run(*arguments)

    assert status == 1
    assert "at most 96KiB can be, three quarters of --cache-size" in err


def test_a_directory_that_is_absent_is_not_made(run: Run, tmp_path: Path) -> None:
    status, _, err = run("ls", "--dir", str(tmp_path / "absent"))

    assert (status, err.count("\n")) == (1, 1)
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (("ls",), (0, "")),
        (("verify",), (0, "0 objects, 0 B verified; 0 extents damaged\n")),
        (("clear",), (0, "0 segments dropped\n")),
        (("unpin", "photos"), (0, "0 objects unpinned\n")),
    ],
)
def test_an_empty_directory_is_left_empty(
    run: Run, tmp_path: Path, command: tuple[str, ...], expected: tuple[int, str]
) -> None:
    folder = tmp_path / "empty"
    folder.mkdir(mode=0o700)

    status, out, _ = run(command[0], "--dir", str(folder), *command[1:])

    assert (status, out) == expected
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("path", ["/mnt/photos/2024", "./2024"])
@pytest.mark.parametrize("command", ["ls", "verify", "clear", "pin", "unpin"])
def test_a_file_is_not_taken_for_a_bucket_of_a_directory(
    run: Run, folder: Path, command: str, path: str
) -> None:
    status, out, err = run(command, "--dir", str(folder), path)

    assert (status, out) == (2, "")
    assert f"PATH is BUCKET or BUCKET/KEY, and not a file: {path}" in err


def test_a_directory_that_others_may_read_is_refused(run: Run, folder: Path) -> None:
    folder.chmod(0o755)

    status, _, err = run("ls", "--dir", str(folder))

    assert status == 1
    assert f"chmod 700 {folder}" in err


def test_a_terminal_gets_a_table_and_the_bar_is_gone_at_the_end(folder: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, "cache"]
    arguments = ["--dir", str(folder)]

    with terminal([*command, "ls", *arguments], os.environ, 120, 20) as screen:
        assert screen.wait_end() == 0
    with terminal([*command, "verify", *arguments], os.environ, 120, 20) as bar:
        assert bar.wait_end() == 0

    head, *rows = screen.text.split("\n")
    assert head.split() == ["Present", "Size", "Last-use", "State", "Object"]
    assert [row.split()[-1] for row in rows[:2]] == ["logs/a", "photos/2024/large"]
    assert "2.0 MiB" in rows[1]
    assert bar.text.strip() == "2 objects, 2.0 MiB verified; 0 extents damaged"


@pytest.fixture
def reachable(folder: Path) -> Iterator[Path]:
    """The cache directory where its user, nobody, can reach it, unlike pytest's folders."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as parent:
        Path(parent).chmod(0o755)
        moved = Path(shutil.copytree(folder, Path(parent, "cache")))
        for path in (moved, *moved.glob("**/*")):
            os.chown(path, NOBODY, NOBODY)
        yield moved


def test_root_acts_as_the_user_of_the_directory(reachable: Path) -> None:
    """Files that root makes there, the mounts of that user could not open."""
    arguments = ("cache", "clear", "--dir", str(reachable))

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert {NOBODY} == {path.lstat().st_uid for path in (reachable, *reachable.glob("**/*"))}
