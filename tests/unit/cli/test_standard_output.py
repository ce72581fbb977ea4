"""Every command, with an output that cannot be written: a full disk, a pipe without a reader."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

from s3mount.cli.standard_output import READER_GONE

ROOT = Path(__file__).parents[3]
COMMANDS: Final = {
    "s3mount": "s3mount.cli.main",
    "s3mountctl": "s3mount.ctl.main",
    "s3mount-clear": "s3mount.cli.clear",
    "mount.s3mount": "s3mount.cli.mount_helper",
}
# what each prints on stdout; mount.s3mount prints nothing there
PRINTING: Final = (
    ("s3mount", "--help"),
    ("s3mount", "--version"),
    ("s3mountctl", "--help"),
    ("s3mountctl", "--version"),
    ("s3mountctl", "list", "--help"),
    ("s3mountctl", "list"),
    ("s3mountctl", "list", "--json"),
    ("s3mountctl", "doctor", "--help"),
    ("s3mount-clear", "--help"),
)
REFUSED: Final = (
    ("s3mount",),
    ("s3mountctl", "nothing"),
    ("s3mount-clear",),
    ("mount.s3mount",),
)


def run(
    command: tuple[str, ...],
    stdout: int,
    stderr: int = subprocess.PIPE,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> "subprocess.CompletedProcess[str]":
    program = f"from {COMMANDS[command[0]]} import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(variables),
    )


def pipe_without_a_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("command", PRINTING, ids=" ".join)
def test_a_full_disk_is_one_line_and_status_1(command: tuple[str, ...]) -> None:
    full = os.open("/dev/full", os.O_WRONLY)

    done = run(command, full)

    os.close(full)
    error = f"{command[0]}: stdout cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, error)


@pytest.mark.parametrize("command", PRINTING, ids=" ".join)
def test_a_pipe_without_a_reader_ends_a_command_without_a_word(command: tuple[str, ...]) -> None:
    writer = pipe_without_a_reader()

    done = run(command, writer)

    os.close(writer)
    assert (done.returncode, done.stderr) == (READER_GONE, "")


@pytest.mark.parametrize("program", ["s3mount", "s3mountctl"])
def test_a_shell_that_does_not_read_completions_causes_no_traceback(program: str) -> None:
    writer = pipe_without_a_reader()
    variable = f"_{program.upper()}_COMPLETE"

    done = run((program,), writer, variables={variable: "bash_source"})

    os.close(writer)
    assert (done.returncode, done.stderr) == (READER_GONE, "")


@pytest.mark.parametrize("command", REFUSED, ids=" ".join)
@pytest.mark.parametrize("is_full", [True, False], ids=["full", "no-reader"])
def test_errors_that_cannot_be_written_keep_their_status(
    command: tuple[str, ...], *, is_full: bool
) -> None:
    stderr = os.open("/dev/full", os.O_WRONLY) if is_full else pipe_without_a_reader()

    done = run(command, subprocess.PIPE, stderr)

    os.close(stderr)
    assert (done.returncode, done.stdout) == (2, "")
