"""Going to the background: what the parent learns of the child."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import os, signal, sys
from s3mount.errors import SetupError
from s3mount.daemon.background import in_background

def live(launcher):
    {body}

try:
    sys.exit(in_background(live))
except SetupError as exc:
    sys.exit(f"refused: {{exc}}")
"""


def started(body: str) -> tuple[int, str]:
    """The exit status and stderr of a process that goes to the background to do *body*."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("launcher.ready(); return 0", (0, "")),
        ("launcher.ready(); launcher.failed('too late'); return 1", (0, "")),
        ("launcher.failed('no\\nbucket'); return 1", (1, "refused: no bucket\n")),
        ("launcher.failed('n\\udcffo'); return 1", (1, "refused: n\\udcffo\n")),
        ("return 0", (1, "refused: it was stopped before the mount answered\n")),
        (
            "raise ValueError",
            (
                1,
                (
                    "refused: the process in the background ended with status 1 "
                    "before the mount answered; try --foreground\n"
                ),
            ),
        ),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            (
                1,
                (
                    "refused: the process in the background was killed by SIGKILL "
                    "before the mount answered; try --foreground\n"
                ),
            ),
        ),
        ("os.write(1, b'out'); os.write(2, b'err'); launcher.ready(); return 0", (0, "")),
    ],
)
def test_the_parent_reports_the_outcome_of_the_child(body: str, outcome: tuple[int, str]) -> None:
    assert started(body) == outcome


def test_a_signal_to_the_terminal_does_not_reach_the_background() -> None:
    assert started("os.killpg(os.getpid(), 0); launcher.ready(); return 0") == (0, "")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
