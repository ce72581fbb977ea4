"""scripts/demo and a mount at its path."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_a_mount_at_its_path_is_left_alone() -> None:
    """It unmounted the user's own mount at /mnt/s3, which s3mount had refused to cover."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/lib/demo.py", "/dev/shm"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert "something is mounted at /dev/shm already" in done.stderr


def test_a_second_interrupt_does_not_interrupt_the_removal() -> None:
    """Ctrl-C, pressed twice, left the mount point behind, and a traceback."""
    program = """
import signal
from scripts.lib import demo

for number in demo.SIGNALS:
    signal.signal(number, demo.interrupt)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    for number in demo.SIGNALS:
        signal.raise_signal(number)
    print("removed")
"""

    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, cwd=ROOT
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "removed\n", "")
