"""Exit statuses and stderr of the commands: an expected failure is one line, no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from s3mount.cli.clear import may_have_left_a_mount

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
        (
            ("b", "/nowhere/at/all"),
            1,
            "s3mount: the mount point /nowhere/at/all does not exist; create it: mkdir -p",
        ),
        (("b", "/etc/passwd"), 1, "s3mount: the mount point /etc/passwd is not a directory"),
        (
            ("b", "/etc/passwd/x"),
            1,
            "s3mount: the mount point /etc/passwd/x cannot be reached: Not a directory",
        ),
        (("b", "/x\ny"), 1, "s3mount: the mount point /x y does not exist"),
    ],
)
def test_bad_input_is_one_line_and_a_status(
    arguments: tuple[str, ...], status: int, line: str
) -> None:
    done = s3mount(*arguments)

    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_import_nothing_that_serves(
    flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")  # as -X importtime

    done = s3mount(flag)

    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert "click" in imported
    assert not imported & {"boto3", "botocore", "pyfuse3", "tomllib", "trio", "urllib3"}


def test_closed_streams_cause_no_traceback() -> None:
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "s3mount"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    assert subprocess.run([*closed, "b", "/nowhere"], check=False, env=environment).returncode == 1
    assert subprocess.run([*closed, "--help"], check=False, env=environment).returncode == 0


def test_help_goes_to_stdout() -> None:
    done = s3mount("--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: s3mount BUCKET[/PREFIX] MOUNTPOINT [OPTIONS]\n")


def test_errors_of_the_mount_helper_have_its_name() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from s3mount.cli.mount_helper import main; main()",
            "b",
            "/nowhere",
            "-o",
            "rw",
        ],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 1
    assert done.stderr.startswith("mount.s3mount: the mount point /nowhere does not exist")


def test_the_mount_helper_ends_without_the_finalization_of_python() -> None:
    program = (
        "import atexit; atexit.register(print, 'finalized'); "
        "from s3mount.cli.mount_helper import main; main()"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, "b", "/m", "-f"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert done.stdout == ""


def test_clearing_does_not_import_the_file_system() -> None:
    program = "import sys, s3mount.cli.clear; print({'trio', 'boto3', 'pyfuse3'} & {*sys.modules})"

    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("told", "may_have"),
    [
        ({}, True),
        ({"SERVICE_RESULT": "signal", "EXIT_CODE": "killed", "EXIT_STATUS": "KILL"}, True),
        ({"SERVICE_RESULT": "watchdog", "EXIT_CODE": "dumped", "EXIT_STATUS": "ABRT"}, True),
        ({"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": "0"}, False),
        ({"SERVICE_RESULT": "exit-code", "EXIT_CODE": "exited", "EXIT_STATUS": "1"}, False),
        ({"SERVICE_RESULT": "success", "EXIT_CODE": "killed", "EXIT_STATUS": "TERM"}, False),
        ({"SERVICE_RESULT": "exit-code"}, False),
    ],
    ids=[
        "by hand",
        "killed",
        "hung",
        "ended",
        "refused",
        "stopped before it mounted",
        "never started",
    ],
)
def test_a_live_mount_is_removed_only_after_a_main_process_that_may_have_left_it(
    told: dict[str, str], *, may_have: bool
) -> None:
    assert may_have_left_a_mount(told) is may_have


def test_host_look_ups_need_no_import_after_privileges_are_dropped() -> None:
    """It imports it, which fails after --run-as if Python is in the home of root: LookupError."""
    program = "import sys, s3mount.daemon.wiring; print('encodings.idna' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert done.stdout == "True\n"
