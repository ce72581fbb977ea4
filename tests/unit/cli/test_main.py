"""Exit statuses and stderr, as a shell sees them: one line, and no traceback, for whatever was expected."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def s3mount(*arguments: str, module: str = "s3mount") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        ((), 2, "s3mount: BUCKET is missing"),
        (("b", "/m", "--nope"), 2, "s3mount: --nope: there is no such option"),
        (("b", "/nowhere/at/all"), 1, "s3mount: the mount point /nowhere/at/all does not exist; create it: mkdir -p"),
        (("b", "/etc/passwd"), 1, "s3mount: the mount point /etc/passwd is not a directory"),
        (("b", "/etc/passwd/x"), 1, "s3mount: the mount point /etc/passwd/x cannot be reached: Not a directory"),
        (("b", "/x\ny"), 1, "s3mount: the mount point /x y does not exist"),
    ],
)
def test_bad_input_is_one_line_and_a_status(arguments: tuple[str, ...], status: int, line: str) -> None:
    done = s3mount(*arguments)

    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_closed_streams_are_no_bug() -> None:
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "s3mount"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    assert subprocess.run([*closed, "b", "/nowhere"], check=False, env=environment).returncode == 1
    assert subprocess.run([*closed, "--help"], check=False, env=environment).returncode == 0


def test_help_goes_to_stdout() -> None:
    done = s3mount("--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: s3mount BUCKET[/PREFIX] MOUNTPOINT [OPTIONS]\n")


def test_the_mount_helper_speaks_under_its_own_name() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from s3mount.cli.mount_helper import main; main()", "b", "/nowhere", "-o", "rw"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 1
    assert done.stderr.startswith("mount.s3mount: the mount point /nowhere does not exist")


def test_clearing_loads_nothing_of_what_serves() -> None:
    program = "import sys, s3mount.cli.clear; print({'trio', 'boto3', 'pyfuse3'} & {*sys.modules})"

    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert done.stdout == "set()\n"
