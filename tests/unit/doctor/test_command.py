"""The command as a process: at a terminal, in a pipe, as another user, and wrong usage."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.field.case import BUCKET, SECRET
from tests.field.store import ScriptedStore
from tests.mount.mount_process import environment
from tests.terminal import terminal
from tests.unit.doctor.report import NOTHING, keys, run

COMMAND = [
    *(sys.executable, "-c"),
    "from s3mount.ctl.main import main; main()",
    "doctor",
]
NOBODY = 65534


def environ(**variables: str) -> Mapping[str, str]:
    return environment(**NOTHING, **keys(), **variables)


def test_a_pipe_gets_plain_lines_and_the_command(store: ScriptedStore) -> None:
    done = subprocess.run(
        [*COMMAND, BUCKET, "--endpoint-url", store.url, "--no-speed"],
        env=environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    *rows, blank, command = done.stdout.splitlines()

    assert (done.returncode, done.stderr, blank) == (0, "", "")
    assert re.fullmatch(r"ok         endpoint        http://127\.0\.0\.1:\d+/field, .*", rows[2])
    assert [row for row in rows if not re.match(r"(ok|warning|not tried) |  +-> ", row)] == []
    assert command.startswith("s3mount field /mnt/field --region us-east-1")
    assert "\x1b" not in done.stdout


def test_a_terminal_gets_colours_and_the_same_words(store: ScriptedStore) -> None:
    words = [*COMMAND, BUCKET, "--endpoint-url", store.url, "--no-speed"]
    with terminal(words, environ(), columns=160) as screen:
        screen.wait_for("s3mount field /mnt/field")
        status = screen.process.wait()

    assert status == 0
    assert "credentials     from the environment" in screen.text
    assert b"\x1b[32mok" in screen.received
    assert SECRET not in screen.text


AS_NOBODY = f"""
import os, sys
import s3mount.ctl.doctor, s3mount.doctor.examination  # nobody may not read the interpreter's files
from s3mount.ctl.main import main
from s3mount.daemon.syscalls import forbid_new_privileges
forbid_new_privileges()  # whatever the permissions of the device are just now
os.setgid({NOBODY})
os.setuid({NOBODY})
main()
"""


def test_a_user_who_may_not_use_fuse_is_told_so() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, "doctor"],
        env=environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    fuse, *_, conf = done.stdout.splitlines()

    assert (done.returncode, done.stderr) == (1, "")
    assert re.fullmatch(
        r"failure    fuse            (FUSE is not permitted to you: .*; as root: chmod 666 .*"
        r"|\S+/fusermount3 gains no privileges here .*)",
        fuse,
    )
    assert conf.startswith("ok         fuse.conf")


def test_without_a_bucket_the_machine_is_checked(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status, out, err = run(capfd, "--mountpoint", str(tmp_path))

    assert (status, err) == (0, "")
    assert [line.split()[1] for line in out.splitlines()] == ["fuse", "fuse.conf", "mount"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--frobnicate",), "no such option '--frobnicate'; see s3mountctl doctor --help"),
        ((BUCKET, "--timeout", "soon"), "--timeout: 'soon' is not a duration"),
        (("b!d",), "BUCKET: 'b!d' is not a bucket name"),
        ((BUCKET, "--config", "/nonexistent"), "--config /nonexistent: No such file"),
        ((BUCKET, "--allow-root", "--allow-other"), "contradict each other"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], part: str
) -> None:
    status, out, err = run(capfd, *arguments)

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert part in err


def test_help_has_every_option_of_a_mount(capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capfd, "--help")

    assert status == 0
    for flag in ("--endpoint-url", "--no-sign-request", "--mountpoint", "--no-speed", "--json"):
        assert flag in out
    assert "BUCKET[/PREFIX]" in out
